package demo

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"berth/backend"
)

// The guest's display is a text screen.
const (
	screenColumns = 80
	screenRows    = 25
	cellWidth     = 7 // of basicfont.Face7x13
	cellHeight    = 13
)

// Screenshot writes a PNG of the machine's text screen.
func (h *host) Screenshot(ctx context.Context, id backend.UUID, w io.Writer) error {
	const op = "take a picture of"
	lines, name, err := h.screenOf(ctx, op, id)
	if err != nil {
		return err
	}
	if err := png.Encode(w, render(lines)); err != nil {
		return failed(op, name, err, "check where the picture is to be written")
	}
	return nil
}

func (h *host) screenOf(ctx context.Context, op string, id backend.UUID) (lines []string, name string, err error) {
	v, err := h.find(ctx, op, id)
	if err != nil {
		return nil, "", err
	}
	defer h.leave()
	name = v.row.Name
	switch {
	case !v.row.State.Active():
		return nil, name, failed(op, name, fmt.Errorf("%w: %s is %s", backend.ErrState, name, v.row.State), "start it first")
	case !v.live.graphics:
		return nil, name, failed(op, name, fmt.Errorf("%w: it has no display", backend.ErrUnsupported), "")
	case v.stuck:
		return nil, name, failed(op, name, backend.ErrStuck, "")
	}
	return v.screen(), name, nil
}

// render draws the last lines that fit, in light grey on black.
func render(lines []string) image.Image {
	img := image.NewPaletted(image.Rect(0, 0, screenColumns*cellWidth, screenRows*cellHeight),
		color.Palette{color.Black, color.Gray{170}})
	lines = lines[max(0, len(lines)-screenRows):]
	pen := font.Drawer{Dst: img, Src: image.NewUniform(img.Palette[1]), Face: basicfont.Face7x13}
	for i, line := range lines {
		if r := []rune(line); len(r) > screenColumns {
			line = string(r[:screenColumns])
		}
		pen.Dot = fixed.P(0, i*cellHeight+basicfont.Face7x13.Ascent)
		pen.DrawString(line)
	}
	return img
}
