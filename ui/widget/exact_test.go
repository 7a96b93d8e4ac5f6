package widget

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"berth/themes"

	"github.com/charmbracelet/x/ansi"
)

// texts are what names and messages may be made of.
var texts = []string{
	"", "web1", "a-rather-long-name-of-a-guest-that-goes-on", "世界", "データベース01", "e\u0301a\u0300o\u0302", "👩‍💻", "🇩🇪🇫🇷", "⚠️ attention", "한국어",
	"tab\there", "line\nbreak", "\x1b[31mred\x1b[m and plain", "\x1b[1;38;5;200m世界\x1b[m", "\u0301starts with a mark", "ends with a joiner\u200d",
	"bell\a", "\x1b]0;title\x07x", "\x1b[2Jy", "café", "ｆｕｌｌ", "a\x7fb", "\u200b", "नमस्ते",
}

var styles = func() *themes.Styles {
	t, err := themes.Source{}.Load("dark")
	if err != nil {
		panic(err)
	}
	return t.Styles(themes.ANSI256)
}()

// exact fails unless lines are h lines of w cells without control characters.
func exact(t *testing.T, what string, lines []string, w, h int) {
	t.Helper()
	if len(lines) != max(h, 0) {
		t.Errorf("%s: %d lines, want %d", what, len(lines), h)
		return
	}
	for i, l := range lines {
		if got := ansi.StringWidth(l); got != max(w, 0) {
			t.Errorf("%s: line %d is %d cells wide, want %d: %q", what, i, got, w, l)
		}
		if plain := ansi.Strip(l); strings.ContainsAny(plain, "\a\b\t\n\r\x7f") {
			t.Errorf("%s: line %d holds control characters: %q", what, i, l)
		}
	}
}

func TestFitIsExact(t *testing.T) {
	for _, s := range texts {
		for w := range 24 {
			for name, fit := range map[string]func(string, int) string{"Fit": Fit, "FitRight": FitRight, "FitCenter": FitCenter, "FitMiddle": FitMiddle} {
				if name == "FitMiddle" && strings.Contains(s, "\x1b") {
					continue
				}
				exact(t, fmt.Sprintf("%s(%q, %d)", name, s, w), []string{fit(s, w)}, w, 1)
			}
			exact(t, fmt.Sprintf("FitTail(%q, %d, ~)", s, w), []string{FitTail(s, w, "~")}, w, 1)
		}
	}
	if Fit("x", -3) != "" {
		t.Error("a negative width is not nothing")
	}
}

func TestFit(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Fit("web1", 6), "web1  "},
		{Fit("web-server", 6), "web-s…"},
		{Fit("世界", 3), "世…"},
		{Fit("世界", 4), "世界"},
		{Fit("世界人", 4), "世… "},
		{Fit("abc", 1), "a"},
		{FitRight("12.3", 6), "  12.3"},
		{FitRight("123456789", 6), "12345…"},
		{FitCenter("ab", 5), " ab  "},
		{FitMiddle("/var/lib/libvirt/images/web1.qcow2", 16), "/var/lib…1.qcow2"},
		{FitMiddle("short", 16), "short           "},
		{FitTail("web-server", 6, "~"), "web-s~"},
		{Fit("a\tb\nc", 5), "a b c"},
		{Fit("a\x1b[2Jb", 3), "ab "},
		{Fit("\x1b[31mredder\x1b[m", 4), "\x1b[31mred…\x1b[m"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// A cut in styled text must not let its style run on.
func TestCutEndsPlain(t *testing.T) {
	s, _ := Cut("\x1b[31mvery long red text", 6, "…")
	if !strings.HasSuffix(s, "\x1b[m") {
		t.Errorf("%q does not end plain", s)
	}
}

func TestBoxIsExact(t *testing.T) {
	for _, g := range []themes.Glyphs{themes.Unicode, themes.ASCII} {
		st := BoxStyle{Border: styles.Get(themes.RoleBorder), Title: styles.Get(themes.RoleTitle), Glyphs: g, Note: "3 of 17", Hint: "esc"}
		for w := range 30 {
			for h := range 6 {
				for _, title := range texts {
					exact(t, fmt.Sprintf("Box(%q, %d, %d)", title, w, h), Box(title, texts, w, h, st), w, h)
				}
			}
		}
		st.Body = themes.Style{Bg: themes.Basic(4)}
		exact(t, "painted box", Box("t", texts, 20, 20, st), 20, 20)
	}
}

func TestBox(t *testing.T) {
	st := BoxStyle{Glyphs: themes.ASCII, Note: "1/2"}
	got := strings.Join(Box("web1", []string{"hello"}, 16, 4, st), "\n")
	want := "+- web1 -------+\n|hello         |\n|              |\n+-------- 1/2 -+"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDialogsAreExact(t *testing.T) {
	st := DialogStyleFrom(styles, &themes.Unicode, true)
	for w := 2; w < 60; w += 3 {
		d := Dialog("Force off 世界?", texts, []string{"No", "Yes, force off"}, 0, w, st)
		lines := strings.Split(d, "\n")
		exact(t, fmt.Sprintf("Dialog %d", w), lines, w, len(lines))
		if toast := Toast("web1 世界 started; the guest agent answers", w, styles.Get(themes.RoleOK), &themes.Unicode); toast != "" {
			tw, th := Size(toast)
			exact(t, fmt.Sprintf("Toast %d", w), strings.Split(toast, "\n"), tw, th)
			if tw > w {
				t.Errorf("toast is %d wide, want at most %d", tw, w)
			}
		}
	}
}

func TestButtonAtMatchesDialog(t *testing.T) {
	labels := []string{"No", "Yes, delete"}
	d := Dialog("Delete", []string{"web1"}, labels, 1, 40, DialogStyle{Box: BoxStyle{Glyphs: themes.ASCII}})
	lines := strings.Split(d, "\n")
	row := lines[len(lines)-2]
	for i, l := range []string{"No", "[ Yes, delete ]"} {
		at := strings.Index(row, l)
		if at < 0 {
			t.Fatalf("no %q in %q", l, row)
		}
		if got := ButtonAt(labels, 40, at); got != i {
			t.Errorf("column %d of %q is button %d, want %d", at, row, got, i)
		}
	}
	if ButtonAt(labels, 40, 0) != -1 || ButtonAt(labels, 40, 39) != -1 {
		t.Error("the frame is a button")
	}
}

func TestChartsAreExact(t *testing.T) {
	values := []float64{0, 1, 2, math.NaN(), 50, 100, 1e300, math.Inf(1), -3, 0.001}
	st := GaugeStyle{Full: styles.Get(themes.RoleBarFull), Empty: styles.Get(themes.RoleBarEmpty)}
	for _, g := range []*themes.Glyphs{&themes.Unicode, &themes.ASCII} {
		st.Glyphs = g
		for w := range 20 {
			for _, limit := range []float64{0, 100, -1} {
				exact(t, "Sparkline", []string{Sparkline(values, w, limit, g)}, w, 1)
				for h := range 4 {
					if w > 0 {
						exact(t, "Graph", Graph(values, w, h, limit, g), w, h)
					}
				}
			}
			for _, v := range append(values, 0.5, 0.999) {
				exact(t, fmt.Sprintf("Gauge(%v, %d)", v, w), []string{Gauge(v, w, "12/34 世", st)}, w, 1)
				exact(t, fmt.Sprintf("Progress(%v, %d)", v, w), []string{Progress(v, w, -7, "copying", st)}, w, 1)
			}
		}
	}
}

func TestSparkline(t *testing.T) {
	g := &themes.Unicode
	if got := Sparkline([]float64{0, 0.1, 50, 100, math.NaN(), 200}, 8, 100, g); got != "  ▁▂▅█ █" {
		t.Errorf("got %q", got)
	}
	if got := Sparkline([]float64{1, 2, 3, 4}, 2, 0, g); got != "▆█" {
		t.Errorf("got %q: the newest belong to the right", got)
	}
}

func TestGauge(t *testing.T) {
	st := GaugeStyle{Glyphs: &themes.ASCII}
	for _, c := range []struct {
		f    float64
		want string
	}{{0, ".........."}, {0.0001, "#........."}, {0.5, "#####....."}, {0.9999, "#########."}, {1, "##########"}, {7, "##########"}, {math.NaN(), "    ?     "}} {
		if got := Gauge(c.f, 10, "", st); got != c.want {
			// The first step of a bar that is not empty is a whole cell in ASCII.
			t.Errorf("%v: got %q, want %q", c.f, got, c.want)
		}
	}
	if got := Gauge(0.5, 10, "50%", st); got != "###... 50%" {
		t.Errorf("got %q", got)
	}
}

func TestKeyHints(t *testing.T) {
	hints := []Hint{{Key: "enter", Text: "detail"}, {Key: "s", Text: "start"}, {Key: "世", Text: "界"}}
	for w := range 40 {
		exact(t, "KeyHints", []string{KeyHints(hints, w, HintStyleFrom(styles))}, w, 1)
	}
	if got := KeyHints(hints, 16, HintStyle{}); got != "s start  世 界  " && got != "enter detail    " {
		t.Errorf("got %q: hints are shown whole or not at all", got)
	}
	if got := KeyHints(hints, 10, HintStyle{}); got != "s start   " {
		t.Errorf("got %q", got)
	}
}

func TestWrap(t *testing.T) {
	for _, s := range texts {
		for w := 1; w < 20; w++ {
			for _, l := range Wrap(s, w) {
				if Width(l) > max(w, 2) { // a wide character needs two cells
					t.Errorf("Wrap(%q, %d) made %q", s, w, l)
				}
			}
		}
	}
	if got := strings.Join(Wrap("one two three\nfour", 7), "|"); got != "one two|three|four" {
		t.Errorf("got %q", got)
	}
}

func TestBeside(t *testing.T) {
	got := Beside([]string{"ab", "c"}, []string{"1", "2", "3"}, 1)
	if strings.Join(got, "|") != "ab 1|c  2|   3" {
		t.Errorf("got %q", got)
	}
}

// block makes a random block of exactly w × h cells.
func block(r *rand.Rand, w, h int) string {
	lines := make([]string, h)
	for i := range lines {
		var b strings.Builder
		for b.Len() < w {
			st := styles.Get(themes.Role(r.IntN(int(themes.RoleCount))))
			b.WriteString(st.Render(tidy(texts[r.IntN(len(texts)-12)])))
		}
		lines[i] = b.String()
	}
	return Block(lines, w, h)
}

func TestOverlayIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		w, h := 1+r.IntN(40), 1+r.IntN(8)
		ow, oh := 1+r.IntN(20), 1+r.IntN(6)
		x, y := r.IntN(60)-20, r.IntN(16)-6
		base, over := block(r, w, h), block(r, ow, oh)
		got := Overlay(base, over, x, y)
		exact(t, fmt.Sprintf("Overlay(%q, %q, %d, %d)", base, over, x, y), strings.Split(got, "\n"), w, h)
		exact(t, "Center", strings.Split(Center(base, over, w, h), "\n"), w, h)
		if t.Failed() {
			return
		}
	}
}

func TestOverlay(t *testing.T) {
	for _, c := range []struct {
		base, over string
		x, y       int
		want       string
	}{
		{"abcdef\nghijkl", "XY", 2, 1, "abcdef\nghXYkl"},
		{"abcdef", "XY", -1, 0, "Ybcdef"},
		{"abcdef", "XY", 5, 0, "abcdeX"},
		{"abcdef", "XY", 9, 0, "abcdef"},
		{"abcdef", "XY", 0, 3, "abcdef"},
		{"世界世界", "XY", 1, 0, " XY 世界"},
		{"abcdef", "世", 5, 0, "abcde "},
		{"\x1b[31mabcdef\x1b[m", "XY", 2, 0, "\x1b[31mab\x1b[mXY\x1b[31mef\x1b[m"},
		{"ab\x1b[31mcd\x1b[mef", "XY", 2, 0, "abXYef"},
		{"\x1b[31mab\x1b[mcdef", "XY", 2, 0, "\x1b[31mab\x1b[mXYef"},
	} {
		if got := Overlay(c.base, c.over, c.x, c.y); got != c.want {
			t.Errorf("Overlay(%q, %q, %d, %d)\n got %q\nwant %q", c.base, c.over, c.x, c.y, got, c.want)
		}
	}
}

func TestSimpleWidthIsRight(t *testing.T) {
	counted := 0
	for r := rune(1); r < 0x10000; r++ {
		s := "a" + string(r) + "b"
		w, ok := simpleWidth(s)
		if ok && w != ansi.StringWidth(s) {
			t.Errorf("U+%04X: simpleWidth says %d, x/ansi %d", r, w, ansi.StringWidth(s))
		}
		if ok {
			counted++
		}
	}
	if counted < 500 {
		t.Errorf("only %d characters are simple", counted)
	}
	if _, ok := simpleWidth("\xff"); ok {
		t.Error("a byte that is not UTF-8 passed as simple")
	}
}

func FuzzFit(f *testing.F) {
	for i, s := range texts {
		f.Add(s, i)
	}
	f.Fuzz(func(t *testing.T, s string, w int) {
		w = min(max(w, -2), 300)
		if got := ansi.StringWidth(Fit(s, w)); got != max(w, 0) {
			t.Errorf("Fit(%q, %d) is %d cells wide", s, w, got)
		}
		if got := ansi.StringWidth(FitRight(s, w)); got != max(w, 0) {
			t.Errorf("FitRight(%q, %d) is %d cells wide", s, w, got)
		}
	})
}

func FuzzOverlay(f *testing.F) {
	f.Add("hello world", "世", 3, 11)
	f.Add("\x1b[31mab世界\x1b[m", "\x1b[1mx", 3, 6)
	f.Fuzz(func(t *testing.T, base, over string, x, w int) {
		w = min(max(w, 1), 100)
		x = min(max(x, -200), 200)
		base, over = Fit(base, w), Fit(over, 7)
		got := Overlay(base, over, x, 0)
		if strings.Contains(got, "\n") || ansi.StringWidth(got) != w {
			t.Errorf("Overlay(%q, %q, %d, 0) is %d cells wide, want %d: %q", base, over, x, ansi.StringWidth(got), w, got)
		}
	})
}
