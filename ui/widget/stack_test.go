package widget

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"berth/themes"
)

func stackOf(w int, total float64, values ...float64) string {
	fill := StackGlyphs(&themes.ASCII)
	var parts []Share
	for i, v := range values {
		parts = append(parts, Share{Value: v, Glyph: fill[i]})
	}
	return Stack(parts, total, w, Share{Glyph: fill[3]})
}

func TestStack(t *testing.T) {
	for want, got := range map[string]string{
		"#####%%...": stackOf(10, 10, 5, 2, 0),
		"##########": stackOf(10, 10, 12, 3),
		"#%=.......": stackOf(10, 1000, 1, 1, 1), // what is not nothing shows
		"..........": stackOf(10, 0, 1),
		".....":      stackOf(5, 10, math.NaN(), -3),
		"####":       stackOf(4, 1, 1, 1, 1),
		"########%.": stackOf(10, 100, 80, 19),
		"#########.": stackOf(10, 100, 99.9),
		"":           stackOf(0, 1, 1),
	} {
		if got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

func TestStackIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		w := rng.IntN(50)
		s := Stack([]Share{{Value: rng.Float64() * 10, Glyph: "█", Style: themes.Style{Attr: themes.Bold}}, {Value: rng.Float64() * 10, Glyph: "▓"}}, rng.Float64()*20, w, Share{Glyph: "░"})
		if Width(s) != w {
			t.Fatalf("%d cells, not %d: %q", Width(s), w, s)
		}
	}
}

func TestStackGlyphsDiffer(t *testing.T) {
	for _, g := range []*themes.Glyphs{&themes.Unicode, &themes.ASCII} {
		seen := map[string]bool{}
		for _, s := range StackGlyphs(g) {
			if seen[s] || Width(s) != 1 {
				t.Errorf("%q is not told from the others, or not one cell wide", s)
			}
			seen[s] = true
		}
	}
}

func TestTicksAreOnWholeStepsAndHaveRoom(t *testing.T) {
	from := time.Date(2026, 3, 1, 21, 17, 0, 0, time.FixedZone("x", 5*3600+1800))
	for span := 5 * time.Minute; span < 500*24*time.Hour; span = span*3/2 + time.Minute {
		for _, w := range []int{1, 9, 37, 120, 300} {
			ticks := Ticks(from, from.Add(span), w)
			last := -labelRoom
			for _, k := range ticks {
				if k.X < 0 || k.X >= w || k.X-last < labelRoom-1 {
					t.Fatalf("span %s, width %d: tick at %d after %d", span, w, k.X, last)
				}
				last = k.X
			}
			if w >= 37 && len(ticks) == 0 && span < 300*24*time.Hour {
				t.Errorf("span %s, width %d: no tick", span, w)
			}
			if line := TickLabels(ticks, w); Width(line) != w {
				t.Fatalf("the labels are %d cells wide, not %d", Width(line), w)
			}
		}
	}
	labels := TickLabels(Ticks(from, from.Add(4*time.Hour), 60), 60)
	if !strings.Contains(labels, "22:00") || !strings.Contains(labels, "Mon 2") {
		t.Errorf("labels: %q", labels)
	}
	if Ticks(from, from, 10) != nil || Ticks(from, from.Add(time.Hour), 0) != nil {
		t.Error("an axis without length has ticks")
	}
}

func TestTimeX(t *testing.T) {
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	to := from.Add(100 * time.Minute)
	for d, want := range map[time.Duration]int{-time.Second: -1, 0: 0, 50 * time.Minute: 5, 99 * time.Minute: 9, 100 * time.Minute: 10, 200 * 365 * 24 * time.Hour: 10} {
		if got := TimeX(from.Add(d), from, to, 10); got != want {
			t.Errorf("%s is at %d, not %d", d, got, want)
		}
	}
}

func TestTableLineSpansAllColumns(t *testing.T) {
	tb := TableView{Columns: Layout(30, []ColumnSpec{{Title: "A", Min: 5}, {Title: "B", Min: 5, Flex: 1}}), Rows: 3, Cursor: -1, Glyphs: &themes.ASCII}
	tb.Line = func(i int) (string, bool) { return strings.Repeat("long ", 20), i == 1 }
	tb.Cells = func(i int) []Cell {
		if i == 1 {
			t.Fatal("a line was asked for its cells")
		}
		return []Cell{{Text: "a"}, {Text: "b"}}
	}
	tb.RowStyle = func(i int) themes.Style {
		if i == 1 {
			t.Fatal("a line was asked for its style")
		}
		return themes.Style{}
	}
	for _, l := range strings.Split(tb.Render(30, 5), "\n") {
		if Width(l) != 30 {
			t.Errorf("%d cells: %q", Width(l), l)
		}
	}
}
