package widget

import (
	"strings"

	"berth/themes"
)

// DialogStyle is how a dialog looks.
type DialogStyle struct {
	Box                        BoxStyle
	Button, Focused, Dangerous themes.Style
}

// DialogStyleFrom takes the looks from a theme; a dangerous dialog has a frame
// in the colour of what is bad.
func DialogStyleFrom(s *themes.Styles, g *themes.Glyphs, dangerous bool) DialogStyle {
	d := DialogStyle{
		Box:       BoxStyle{Border: s.Get(themes.RoleFocusBorder), Title: s.Get(themes.RoleTitle), Glyphs: *g},
		Button:    s.Get(themes.RoleButton),
		Focused:   s.Get(themes.RoleButtonFocus),
		Dangerous: s.Get(themes.RoleBad),
	}
	if dangerous {
		d.Box.Border, d.Box.Title = d.Dangerous, d.Dangerous
	}
	return d
}

// Dialog draws a box w cells wide, as high as it needs: title, body, buttons
// on the last line. Body lines are wrapped unless they are styled, which are
// cut. focused is the button that enter presses, -1 for none.
func Dialog(title string, body, buttons []string, focused, w int, st DialogStyle) string {
	inner := max(w-4, 0)
	var lines []string
	for _, l := range body {
		if strings.IndexByte(l, 0x1b) >= 0 {
			lines = append(lines, " "+Fit(l, inner))
			continue
		}
		for _, part := range Wrap(l, inner) {
			lines = append(lines, " "+part)
		}
	}
	if len(buttons) > 0 {
		lines = append(lines, "", FitCenter(Buttons(buttons, focused, st), max(w-2, 0)))
	}
	return strings.Join(Box(title, lines, w, len(lines)+2, st.Box), "\n")
}

// Buttons draws buttons in a row. The focused one is bracketed too, so that it
// can be told without colours.
func Buttons(labels []string, focused int, st DialogStyle) string {
	parts := make([]string, len(labels))
	for i, l := range labels {
		if i == focused {
			parts[i] = st.Focused.Render("[ " + tidy(l) + " ]")
		} else {
			parts[i] = st.Button.Render("  " + tidy(l) + "  ")
		}
	}
	return strings.Join(parts, " ")
}

// ButtonAt is which button of a Dialog drawn w cells wide is at column x of
// its button line, or -1.
func ButtonAt(labels []string, w, x int) int {
	total := len(labels) - 1
	for _, l := range labels {
		total += Width(l) + 4
	}
	left := 1 + (max(w-2, 0)-total)/2
	for i, l := range labels {
		right := left + Width(l) + 4
		if x >= left && x < right {
			return i
		}
		left = right + 1
	}
	return -1
}

// Toast is a short message in a frame of its own, at most w cells wide, to be
// laid over a corner of the screen.
func Toast(text string, w int, look themes.Style, g *themes.Glyphs) string {
	if w < 5 {
		return ""
	}
	lines := Wrap(text, w-4)
	widest := 0
	for _, l := range lines {
		widest = max(widest, Width(l))
	}
	widest = min(widest, w-4)
	for i, l := range lines {
		lines[i] = " " + Fit(l, widest) + " "
	}
	st := BoxStyle{Border: look, Glyphs: *g}
	return strings.Join(Box("", lines, widest+4, len(lines)+2, st), "\n")
}
