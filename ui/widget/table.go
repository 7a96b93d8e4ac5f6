package widget

import (
	"strings"

	"berth/themes"
)

// Cell is one cell of a table: plain text and how it looks.
type Cell struct {
	Text  string
	Style themes.Style
	// Span is how many columns it takes, the gaps between them too; 0 is one. The
	// cells of the other columns are passed over.
	Span int
}

// TableView draws a window onto a list of rows: a header and as many rows as
// fit. Its cost does not depend on how many rows there are.
type TableView struct {
	Columns []Column
	// Rows is how many there are, Top the first one shown, Cursor the one that
	// is highlighted (-1 for none).
	Rows, Top, Cursor int
	// Cells returns a row's cells, one for each of Columns. The slice may be
	// used again for the next row.
	Cells func(row int) []Cell
	// Line returns the text of a row that is one line across all columns, as a
	// heading between rows; ok is false for a row of cells. The text may be
	// styled. Nil where there are none.
	Line func(row int) (text string, ok bool)
	// RowStyle is laid under a row's cells: marked, flashing. Nil is plain.
	RowStyle func(row int) themes.Style
	// Empty is shown when there are no rows.
	Empty string

	Header, CursorStyle, Muted themes.Style
	ScrollFull, ScrollEmpty    themes.Style
	Glyphs                     *themes.Glyphs
}

// scrollBarWidth is what the scroll bar takes at a table's right.
const scrollBarWidth = 1

// StyleFrom takes the table's looks from a theme's styles.
func (t *TableView) StyleFrom(s *themes.Styles, g *themes.Glyphs) {
	t.Header, t.CursorStyle, t.Muted = s.Get(themes.RoleHeader), s.Get(themes.RoleCursor), s.Get(themes.RoleMuted)
	t.ScrollFull, t.ScrollEmpty = s.Get(themes.RoleBorder), s.Get(themes.RoleBorder)
	t.Glyphs = g
}

// VisibleRows is how many rows a table h cells high shows.
func VisibleRows(h int) int { return max(h-1, 0) }

// Clamp moves Top so that the cursor is shown and no room is left empty below
// the last row. Call it after the cursor, the rows or the height changed.
func (t *TableView) Clamp(h int) { t.Top = Scroll(t.Top, t.Cursor, t.Rows, VisibleRows(h)) }

// Scroll is the first row to show: top, moved as little as needed so that
// cursor is among the visible ones and the window is full if it can be.
func Scroll(top, cursor, rows, visible int) int {
	if cursor >= 0 && visible > 0 {
		top = min(top, cursor)
		top = max(top, cursor-visible+1)
	}
	return max(min(top, rows-visible), 0)
}

// RowAt is the row drawn at line y of the table, or -1 for the header and
// below the last row.
func (t *TableView) RowAt(y int) int {
	if row := t.Top + y - 1; y >= 1 && row < t.Rows {
		return row
	}
	return -1
}

// Render draws the table in exactly w × h cells.
func (t *TableView) Render(w, h int) string {
	var b strings.Builder
	b.Grow(max(w*h*2, 0))
	t.WriteTo(&b, w, h)
	return b.String()
}

// WriteTo is Render onto a builder that is used again and again. The lines
// are separated, not ended, by line breaks.
func (t *TableView) WriteTo(b *strings.Builder, w, h int) {
	if w <= 0 || h <= 0 {
		return
	}
	if t.Glyphs == nil {
		t.Glyphs = &themes.ASCII
	}
	t.header(b, w)
	thumbTop, thumbEnd := thumb(t.Top, t.Rows, h-1)
	for i := range h - 1 {
		b.WriteByte('\n')
		row := t.Top + i
		if row < 0 || row >= t.Rows {
			t.filler(b, i, h-1, w)
			continue
		}
		t.row(b, row, w-scrollBarWidth)
		switch {
		case thumbEnd == 0:
			b.WriteByte(' ')
		case i >= thumbTop && i < thumbEnd:
			t.ScrollFull.WriteTo(b, t.Glyphs.ScrollThumb)
		default:
			t.ScrollEmpty.WriteTo(b, t.Glyphs.ScrollBack)
		}
	}
}

func (t *TableView) header(b *strings.Builder, w int) {
	room := w
	for i := range t.Columns {
		c := &t.Columns[i]
		if i > 0 {
			room -= t.gap(b, room, t.Header)
		}
		width := min(c.Width, room)
		st := t.Header
		if c.Sort != 0 {
			st.Attr |= themes.Bold
		}
		writeFit(b, headerText(c, t.Glyphs.SortAsc, t.Glyphs.SortDesc), width, c.Right, st, "")
		room -= max(width, 0)
	}
	writeFit(b, "", room, false, plainBlank(t.Header), "")
}

// plainBlank is a style as it shows on blanks: without underline.
func plainBlank(s themes.Style) themes.Style {
	s.Attr &^= themes.Underline
	return s
}

// gap writes the blanks between two columns and returns their number.
func (t *TableView) gap(b *strings.Builder, room int, under themes.Style) int {
	n := min(columnGap, max(room, 0))
	if under.Bg == 0 && under.Attr&themes.Reverse == 0 {
		b.WriteString(blanks(n))
	} else {
		plainBlank(under).WriteTo(b, blanks(n))
	}
	return n
}

// row writes one row in exactly w cells.
func (t *TableView) row(b *strings.Builder, row, w int) {
	if t.Line != nil {
		if text, ok := t.Line(row); ok {
			b.WriteString(FitTail(text, w, t.Glyphs.Ellipsis))
			return
		}
	}
	var under themes.Style
	if t.RowStyle != nil {
		under = t.RowStyle(row)
	}
	if row == t.Cursor {
		under = t.CursorStyle.On(under)
	}
	cells := t.Cells(row)
	room := w
	for i := 0; i < len(t.Columns); i++ {
		c := &t.Columns[i]
		if i > 0 {
			room -= t.gap(b, room, under)
		}
		var cell Cell
		if i < len(cells) {
			cell = cells[i]
		}
		wide := c.Width
		for n := 1; n < cell.Span && i+1 < len(t.Columns); n++ {
			i++
			wide += columnGap + t.Columns[i].Width
		}
		width := max(min(wide, room), 0)
		st := cell.Style
		if under != (themes.Style{}) {
			st = st.On(under)
		}
		writeFit(b, cell.Text, width, c.Right && cell.Span < 2, st, t.Glyphs.Ellipsis)
		room -= width
	}
	if room > 0 {
		writeFit(b, "", room, false, plainBlank(under), "")
	}
}

// filler writes a line without a row; the message goes to the middle.
func (t *TableView) filler(b *strings.Builder, i, h, w int) {
	if t.Rows == 0 && t.Empty != "" && i == min(h/3, h-1) {
		cut, width := Cut(t.Empty, w, t.Glyphs.Ellipsis)
		left := (w - width) / 2
		b.WriteString(blanks(left))
		t.Muted.WriteTo(b, cut)
		b.WriteString(blanks(w - width - left))
		return
	}
	b.WriteString(blanks(w))
}

// thumb is which lines of a scroll bar h high are full; 0, 0 when everything
// is shown. It touches an end only when the list is there.
func thumb(top, rows, h int) (from, to int) {
	if h <= 0 || rows <= h {
		return 0, 0
	}
	size := max(h*h/rows, 1)
	from = (h - size) * top / max(rows-h, 1)
	if from == 0 && top > 0 {
		from = 1
	}
	if from >= h-size && top < rows-h {
		from = h - size - 1
	}
	from = max(min(from, h-size), 0)
	return from, from + size
}
