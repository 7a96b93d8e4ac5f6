package cli

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"berth/model"
)

// columnGap is the number of blanks between two columns.
const columnGap = 2

// textColumn is one column of a table with all its cells, the title first.
type textColumn struct {
	model.Column
	cells []string
	width int
}

func newTextColumn(c model.Column, rows []*model.Row, now time.Time) textColumn {
	t := textColumn{Column: c, cells: make([]string, 0, len(rows)+1), width: ansi.StringWidth(c.Title)}
	t.cells = append(t.cells, c.Title)
	for _, r := range rows {
		text := c.Text(r, now)
		if text == "" {
			text = model.Unknown
		}
		t.width = max(t.width, ansi.StringWidth(text))
		t.cells = append(t.cells, text)
	}
	return t
}

// printTable writes aligned columns. No cell is cut, so that scripts that read
// tables see whole names; on a terminal whole columns are left out instead,
// unless they were asked for.
func (a *app) printTable(w io.Writer, p listPlan, rows []*model.Row, now time.Time) error {
	var cols []textColumn
	for _, c := range p.columns {
		cols = append(cols, newTextColumn(c, rows, now))
	}
	if width := a.width(); width > 0 && !p.chosen {
		cols = fitting(cols, width)
	}
	for i := range len(rows) + 1 {
		if _, err := io.WriteString(w, tableLine(cols, i)); err != nil {
			return err
		}
	}
	return nil
}

// fitting drops columns until the others fit width: those of the highest
// priority number first, of equal ones the rightmost. Number 0 always stays.
func fitting(cols []textColumn, width int) []textColumn {
	for {
		total, worst := -columnGap, 0
		for i, c := range cols {
			total += c.width + columnGap
			if c.Priority >= cols[worst].Priority {
				worst = i
			}
		}
		if total <= width || cols[worst].Priority == 0 {
			return cols
		}
		cols = slices.Delete(cols, worst, worst+1)
	}
}

func tableLine(cols []textColumn, row int) string {
	var b strings.Builder
	for i, c := range cols {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", columnGap))
		}
		cell := c.cells[row]
		pad := strings.Repeat(" ", c.width-ansi.StringWidth(cell))
		switch {
		case c.Right:
			b.WriteString(pad + cell)
		case i == len(cols)-1:
			b.WriteString(cell)
		default:
			b.WriteString(cell + pad)
		}
	}
	b.WriteByte('\n')
	return b.String()
}
