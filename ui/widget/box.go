package widget

import (
	"strings"

	"berth/themes"
)

// BoxStyle is how a box looks.
type BoxStyle struct {
	Border, Title, Body themes.Style
	Glyphs              themes.Glyphs
	// Note stands at the right of the bottom line, as "3 of 17"; may be empty.
	Note string
	// Hint stands at the left of the bottom line; may be empty.
	Hint string
}

// Box draws a frame with a title around body, exactly w × h cells, and
// returns its lines. Body lines may be styled; what does not fit is cut off.
// Below 2 × 2 there is room for nothing but blanks.
func Box(title string, body []string, w, h int, st BoxStyle) []string {
	if w < 2 || h < 2 {
		return FitLines(nil, w, h)
	}
	g := &st.Glyphs
	lines := make([]string, 0, h)
	lines = append(lines, st.edge(g.TopLeft, g.TopRight, title, "", w))
	side := st.Border.Render(g.VLine)
	for i := range h - 2 {
		text := ""
		if i < len(body) {
			text = body[i]
		}
		if st.Body == (themes.Style{}) {
			text = FitTail(text, w-2, g.Ellipsis)
		} else {
			text = Paint(FitTail(text, w-2, g.Ellipsis), st.Body)
		}
		lines = append(lines, side+text+side)
	}
	return append(lines, st.edge(g.BottomLeft, g.BottomRight, st.Hint, st.Note, w))
}

// BoxInner is the room inside a box of w × h.
func BoxInner(w, h int) (int, int) { return max(w-2, 0), max(h-2, 0) }

// edge draws a box's top or bottom line with a label on the left and one on
// the right. A label that does not fit is cut, then left out.
func (st *BoxStyle) edge(left, right, label, note string, w int) string {
	g := &st.Glyphs
	room := w - 2
	var b strings.Builder
	label, labelWidth := st.label(label, room-2)
	note, noteWidth := st.label(note, room-2-labelWidth)
	b.WriteString(st.Border.Render(left + repeat(g.HLine, min(1, room-labelWidth))))
	b.WriteString(label)
	rest := room - min(1, room-labelWidth) - labelWidth - noteWidth
	tail := 0
	if noteWidth > 0 {
		tail = 1
	}
	b.WriteString(st.Border.Render(repeat(g.HLine, rest-tail)))
	b.WriteString(note)
	b.WriteString(st.Border.Render(repeat(g.HLine, tail) + right))
	return b.String()
}

// label is text with a blank on either side, in at most room cells; empty
// when there is no room for any of it.
func (st *BoxStyle) label(text string, room int) (string, int) {
	if text == "" || room < 4 {
		return "", 0
	}
	cut, width := Cut(text, room-2, st.Glyphs.Ellipsis)
	if strings.IndexByte(cut, 0x1b) < 0 {
		cut = st.Title.Render(cut)
	}
	return " " + cut + " ", width + 2
}

// Paint lays a style under text that may be styled: it holds again after
// every reset in it.
func Paint(text string, under themes.Style) string {
	if under == (themes.Style{}) || text == "" {
		return text
	}
	open := under.Open()
	if strings.IndexByte(text, 0x1b) >= 0 {
		text = strings.NewReplacer("\x1b[m", "\x1b[m"+open, "\x1b[0m", "\x1b[m"+open).Replace(text)
	}
	return open + text + "\x1b[m"
}
