package libvirt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

const (
	screenshotMost = 256 << 20 // bytes of a picture as libvirt sends it
	screenshotSide = 16384     // pixels
)

var errPicture = fmt.Errorf("%w: libvirt sent a picture that cannot be read", backend.ErrUnsupported)

// Screenshot writes a PNG of the domain's first display to w.
func (h *Host) Screenshot(ctx context.Context, u backend.UUID, w io.Writer) error {
	const op = "take a screenshot of"
	if err := h.writable(op, h.label(u)); err != nil { // libvirt allows it on read-write connections only
		return err
	}
	d, err := h.find(ctx, u)
	if err != nil {
		return failed(op, h.label(u), err)
	}
	raw, err := ask(ctx, h.picture, func(lv *libvirt.Libvirt) ([]byte, error) { return screenshot(lv, d) })
	if err == nil {
		err = toPNG(w, raw)
	}
	return failed(op, h.label(u), err)
}

// screenshot collects the picture. go-libvirt looks for its MIME type where a
// stream's reply no longer is, and fails on that at the end of a whole picture;
// the picture itself tells what it is.
func screenshot(lv *libvirt.Libvirt, d libvirt.Domain) ([]byte, error) {
	b := &bounded{most: screenshotMost}
	_, err := lv.DomainScreenshot(d, b, 0, 0)
	var e libvirt.Error
	if errors.As(err, &e) || b.Len() == 0 || isConnectionError(err) && !errors.Is(err, io.EOF) {
		if err == nil {
			err = errPicture
		}
		return nil, err
	}
	if b.over {
		return nil, fmt.Errorf("%w: it is larger than %d MiB", errPicture, screenshotMost>>20)
	}
	return b.Bytes(), nil
}

// bounded is a buffer that keeps at most so many bytes and then only counts:
// go-libvirt locks up when the writer of a stream fails.
type bounded struct {
	bytes.Buffer
	most int
	over bool
}

// Write implements io.Writer. It never fails.
func (b *bounded) Write(p []byte) (int, error) {
	if b.over = b.over || b.Len()+len(p) > b.most; b.over {
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// toPNG turns libvirt's picture, a PPM or a PNG, into a PNG.
func toPNG(w io.Writer, raw []byte) error {
	if bytes.HasPrefix(raw, []byte("\x89PNG")) {
		c, err := png.DecodeConfig(bytes.NewReader(raw))
		if err != nil || c.Width > screenshotSide || c.Height > screenshotSide {
			return errPicture
		}
		_, err = w.Write(raw)
		return err
	}
	img, err := decodePPM(raw)
	if err != nil {
		return err
	}
	return png.Encode(w, img)
}

// decodePPM reads a binary PPM, "P6" (https://netpbm.sourceforge.net/doc/ppm.html).
func decodePPM(raw []byte) (image.Image, error) {
	r := bufio.NewReader(bytes.NewReader(raw))
	magic := make([]byte, 2)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != "P6" {
		return nil, errPicture
	}
	var head [3]int // width, height, the largest value of a sample
	for i := range head {
		n, err := ppmNumber(r)
		if err != nil {
			return nil, err
		}
		head[i] = n
	}
	width, height, top := head[0], head[1], head[2]
	if width < 1 || height < 1 || width > screenshotSide || height > screenshotSide || top != 255 {
		return nil, errPicture
	}
	if len(raw) < 3*width*height { // before so much memory is taken
		return nil, errPicture
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	row := make([]byte, 3*width)
	for y := range height {
		if _, err := io.ReadFull(r, row); err != nil {
			return nil, errPicture
		}
		out := img.Pix[y*img.Stride:]
		for x := range width {
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = row[3*x], row[3*x+1], row[3*x+2], 0xff
		}
	}
	return img, nil
}

// ppmNumber reads one number of the header and the one blank after it.
func ppmNumber(r *bufio.Reader) (int, error) {
	n, digits := 0, 0
	for {
		c, err := r.ReadByte()
		if err != nil {
			return 0, errPicture
		}
		switch {
		case c >= '0' && c <= '9':
			n = 10*n + int(c-'0')
			if digits++; digits > 6 {
				return 0, errPicture
			}
		case c == '#' && digits == 0:
			if _, err := r.ReadString('\n'); err != nil {
				return 0, errPicture
			}
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if digits > 0 {
				return n, nil
			}
		default:
			return 0, errPicture
		}
	}
}
