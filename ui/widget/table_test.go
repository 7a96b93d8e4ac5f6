package widget

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"berth/themes"

	"github.com/charmbracelet/x/ansi"
)

var specs = []ColumnSpec{
	{Title: "NAME", Min: 8, Max: 30, Flex: 1},
	{Title: "STATE", Min: 7, Max: 16},
	{Title: "HOST", Min: 4, Max: 16, Priority: 5},
	{Title: "CPU%", Min: 5, Priority: 1, Right: true, Sort: -1},
	{Title: "MEM", Min: 11, Priority: 2, Right: true},
	{Title: "READ/s", Min: 6, Priority: 10, Right: true},
	{Title: "WRITE/s", Min: 7, Priority: 10, Right: true},
	{Title: "IP", Min: 15, Max: 39, Priority: 4},
}

func titles(columns []Column) string {
	var t []string
	for _, c := range columns {
		t = append(t, fmt.Sprintf("%s:%d", c.Title, c.Width))
	}
	return strings.Join(t, " ")
}

func TestLayoutDropsByPriority(t *testing.T) {
	if got, want := titles(Layout(16, specs)), "NAME:8 STATE:6"; got != want {
		t.Errorf("16 cells: got %s, want %s: columns that stay are cut", got, want)
	}
	kept := func(w int) string {
		var t []string
		for _, c := range Layout(w, specs) {
			t = append(t, c.Title)
		}
		return strings.Join(t, " ")
	}
	for w, want := range map[int]string{
		200: "NAME STATE HOST CPU% MEM READ/s WRITE/s IP",
		70:  "NAME STATE HOST CPU% MEM READ/s IP",
		60:  "NAME STATE HOST CPU% MEM IP",
		52:  "NAME STATE CPU% MEM IP",
		40:  "NAME STATE CPU% MEM",
		24:  "NAME STATE CPU%",
		18:  "NAME STATE",
	} {
		if got := kept(w); got != want {
			t.Errorf("%d cells: kept %s, want %s", w, got, want)
		}
	}
}

func TestLayoutFills(t *testing.T) {
	for w := 18; w < 220; w++ {
		columns := Layout(w, specs)
		sum := len(columns) - 1
		for _, c := range columns {
			sum += c.Width
			s := specs[c.Index]
			if c.Width < s.Min {
				t.Errorf("%d cells: %s has %d, wants at least %d", w, c.Title, c.Width, s.Min)
			}
			if s.Flex == 0 && c.Width > max(s.Max, s.Min) {
				t.Errorf("%d cells: %s has %d, wants at most %d", w, c.Title, c.Width, s.Max)
			}
		}
		if sum > w-1 || w < 150 && sum < w-12 {
			t.Errorf("%d cells: columns take %d: %s", w, sum, titles(columns))
		}
		if w > 150 && sum != w-1 {
			t.Errorf("%d cells: the flexible column leaves %d", w, w-1-sum)
		}
	}
	if got := Layout(80, nil); len(got) != 0 {
		t.Errorf("no columns wanted, got %v", got)
	}
}

func TestColumnAt(t *testing.T) {
	columns := []Column{{Width: 4}, {Width: 2}, {Width: 3}}
	var got []int
	for x := -1; x < 12; x++ {
		got = append(got, ColumnAt(columns, x))
	}
	if want := "[-1 0 0 0 0 -1 1 1 -1 2 2 2 -1]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestScrollKeepsCursorInView(t *testing.T) {
	for _, c := range []struct{ top, cursor, rows, visible, want int }{
		{0, 0, 100, 10, 0}, {0, 9, 100, 10, 0}, {0, 10, 100, 10, 1}, {50, 49, 100, 10, 49},
		{95, 99, 100, 10, 90}, {5, -1, 100, 10, 5}, {5, -1, 3, 10, 0}, {0, 5, 100, 0, 0}, {7, 3, 0, 10, 0},
	} {
		if got := Scroll(c.top, c.cursor, c.rows, c.visible); got != c.want {
			t.Errorf("Scroll(%d, %d, %d, %d) = %d, want %d", c.top, c.cursor, c.rows, c.visible, got, c.want)
		}
	}
}

// list is a table of rows with all kinds of text.
func list(rows int, w int) *TableView {
	t := &TableView{Columns: Layout(w, specs), Rows: rows, Cursor: 3, Empty: "no VM matches the filter 世界"}
	t.StyleFrom(styles, &themes.Unicode)
	cells := make([]Cell, 0, 8)
	t.Cells = func(row int) []Cell {
		cells = cells[:0]
		for _, c := range t.Columns {
			cells = append(cells, Cell{Text: fmt.Sprint(c.Title, row), Style: styles.Get(themes.Role(row % int(themes.RoleCount)))})
		}
		if len(cells) > 0 {
			cells[0].Text = texts[row%len(texts)]
		}
		return cells
	}
	t.RowStyle = func(row int) themes.Style {
		if row%5 == 0 {
			return styles.Get(themes.RoleMarked)
		}
		return themes.Style{}
	}
	return t
}

func TestTableIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 600 {
		w, h, rows := r.IntN(90), r.IntN(12), r.IntN(40)
		table := list(rows, w)
		table.Top, table.Cursor = r.IntN(45)-2, r.IntN(45)-2
		if r.IntN(2) == 0 {
			table.Clamp(h)
		}
		what := fmt.Sprintf("table of %d rows from %d in %d×%d", rows, table.Top, w, h)
		got := table.Render(w, h)
		if w == 0 || h == 0 {
			if got != "" {
				t.Errorf("%s: %q", what, got)
			}
			continue
		}
		exact(t, what, strings.Split(got, "\n"), w, h)
	}
}

func TestTable(t *testing.T) {
	table := &TableView{
		Columns: []Column{{Title: "NAME", Width: 6, Sort: 1}, {Title: "CPU%", Width: 5, Right: true, Sort: 0}},
		Rows:    20, Top: 4, Cursor: 5, Glyphs: &themes.ASCII,
		CursorStyle: themes.Style{Attr: themes.Reverse},
		Cells: func(row int) []Cell {
			return []Cell{{Text: fmt.Sprintf("web%d", row)}, {Text: fmt.Sprint(row), Style: themes.Style{Fg: themes.Basic(2)}}}
		},
	}
	want := "\x1b[1mNAME^ \x1b[m  CPU%  \n" +
		"web4   \x1b[32m    4\x1b[m |\n" +
		"\x1b[7mweb5  \x1b[m\x1b[7m \x1b[m\x1b[7m    5\x1b[m\x1b[7m \x1b[m#\n" +
		"web6   \x1b[32m    6\x1b[m |"
	if got := table.Render(14, 4); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if table.RowAt(0) != -1 || table.RowAt(1) != 4 || table.RowAt(3) != 6 {
		t.Error("RowAt is wrong")
	}
}

func TestTableWithoutRowsSaysSo(t *testing.T) {
	got := ansi.Strip(list(0, 60).Render(60, 9))
	if !strings.Contains(got, "no VM matches") {
		t.Errorf("got %q", got)
	}
}

func TestThumb(t *testing.T) {
	for top := range 91 {
		from, to := thumb(top, 100, 10)
		if from < 0 || to > 10 || to-from != 1 || (top == 90) != (to == 10) || (top == 0) != (from == 0) {
			t.Errorf("top %d: thumb %d to %d", top, from, to)
		}
	}
	if f, e := thumb(0, 5, 10); f != 0 || e != 0 {
		t.Error("a scroll bar where all fits")
	}
}

func benchmarkTable(b *testing.B, rows int) {
	table := &TableView{Columns: Layout(200, specs), Rows: rows, Cursor: rows / 2}
	table.StyleFrom(styles, &themes.Unicode)
	ok, muted := styles.Get(themes.RoleOK), styles.Get(themes.RoleMuted)
	cells := []Cell{{Text: "guest-with-a-name"}, {Text: "● running", Style: ok}, {Text: "hv1", Style: muted}, {Text: "12.3"}, {Text: "512M/2.0G"}, {Text: "1.2M"}, {Text: "–", Style: muted}, {Text: "10.77.0.11"}}
	table.Cells = func(int) []Cell { return cells }
	table.Clamp(50)
	var out strings.Builder
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		out.Grow(40000)
		table.WriteTo(&out, 200, 50)
	}
}

func BenchmarkTable100(b *testing.B)   { benchmarkTable(b, 100) }
func BenchmarkTable10000(b *testing.B) { benchmarkTable(b, 10000) }

func BenchmarkFitASCII(b *testing.B) {
	for b.Loop() {
		Fit("guest-with-a-name", 30)
	}
}

func BenchmarkFitWide(b *testing.B) {
	for b.Loop() {
		Fit("● running 世界", 10)
	}
}

func BenchmarkOverlay(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	base, over := block(r, 200, 50), block(r, 60, 12)
	for b.Loop() {
		Overlay(base, over, 70, 15)
	}
}
