package screen

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"berth/themes"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/cellbuf"
)

// words are what random frames are made of: narrow, wide, combining, joined,
// flags, and characters that terminals disagree about.
var words = []string{
	"web1", "running", "12.3%", " ", "    ", "                     ", "─────", "│", "●", "世界", "e\u0301a\u0300", "👩‍💻", "🇩🇪", "⚠️", "ｆｕｌｌ", "한국", "…", "a", "1.2G", "~",
}

var looksOf = []themes.Style{
	{}, {Fg: themes.Basic(2)}, {Fg: themes.Basic(9), Attr: themes.Bold}, {Attr: themes.Reverse}, {Bg: themes.Basic(4)},
	{Fg: mustColor("#102030"), Bg: mustColor("200"), Attr: themes.Underline}, {Attr: themes.Faint | themes.Italic}, {Fg: mustColor("123")},
}

func mustColor(s string) themes.Color {
	c, err := themes.ParseColor(s)
	if err != nil {
		panic(err)
	}
	return c
}

func randomLine(r *rand.Rand, w int) string {
	var b strings.Builder
	for x := 0; x < w; {
		text := words[r.IntN(len(words))]
		b.WriteString(looksOf[r.IntN(len(looksOf))].Render(text))
		x += ansi.StringWidth(text)
	}
	line := ansi.Truncate(b.String(), r.IntN(w+1), "")
	if r.IntN(3) > 0 {
		line += strings.Repeat(" ", max(w-ansi.StringWidth(line), 0))
	}
	return line
}

// mutate makes the next frame from one: some lines changed, or scrolled, or
// all new.
func mutate(r *rand.Rand, lines []string, w int) []string {
	next := append([]string(nil), lines...)
	switch r.IntN(6) {
	case 0:
		for i := range next {
			next[i] = randomLine(r, w)
		}
	case 1, 2:
		k := r.IntN(len(next)) - len(next)/2
		for i := range next {
			if j := i + k; j >= 0 && j < len(lines) {
				next[i] = lines[j]
			} else {
				next[i] = randomLine(r, w)
			}
		}
		next[r.IntN(len(next))] = randomLine(r, w)
	case 3:
		next[r.IntN(len(next))] = ""
	default:
		for range 1 + r.IntN(4) {
			next[r.IntN(len(next))] = randomLine(r, w)
		}
	}
	return next
}

func TestTerminalShowsFrame(t *testing.T) {
	bases := []themes.Style{{}, {Fg: mustColor("#d5d8df"), Bg: mustColor("#16181d")}}
	for seed := range uint64(60) {
		for _, base := range bases {
			for _, bce := range []bool{true, false} {
				if err := randomSequence(t, seed, base, bce); err != nil {
					t.Fatalf("seed %d, base %v, bce %v: %v", seed, base, bce, err)
				}
			}
		}
	}
}

func randomSequence(t *testing.T, seed uint64, base themes.Style, bce bool) error {
	r := rand.New(rand.NewPCG(seed, 1))
	w, h := 1+r.IntN(60), 1+r.IntN(20)
	c := &canvas{bce: bce}
	c.profile = themes.TrueColor
	c.base = base
	e := newEmulator(t, w, h, bce)
	ref := cellbuf.Style{}
	if base.Fg != 0 {
		readSGR(base.Open(), &ref)
	}
	lines := make([]string, h)
	for step := range 12 {
		if r.IntN(8) == 0 {
			w, h = 1+r.IntN(60), 1+r.IntN(20)
			e.resize(w, h)
			lines = make([]string, h)
			c.forget() // the size may be the same again
		}
		lines = mutate(r, lines, w)
		frame := strings.Join(lines, "\n")
		_, _ = e.Write(c.draw(frame, w, h))
		if err := e.want(frame, ref); err != nil {
			return fmt.Errorf("step %d (%d×%d): %w", step, w, h, err)
		}
		if out := c.draw(frame, w, h); len(out) != 0 {
			return fmt.Errorf("step %d: unchanged frame wrote %q", step, out)
		}
	}
	return nil
}

// listFrame is a list like the VM screen's, 200 × 50, with figures that
// depend on tick; top is the first row shown.
func listFrame(tick, top int) string {
	var b strings.Builder
	muted, ok := looksOf[6], looksOf[1]
	for y := range 50 {
		if y > 0 {
			b.WriteByte('\n')
		}
		row := top + y
		cpu := float64(row % 7)
		if y >= 5 && y < 45 {
			cpu = float64((tick*7919+row*104729)%1000) / 10
		}
		line := fmt.Sprintf("guest-%04d %s hv1 %5.1f %s", row, ok.Render("● running "), cpu, muted.Render("10.77.0.11"))
		b.WriteString(line)
		b.WriteString(strings.Repeat(" ", max(200-ansi.StringWidth(line), 0)))
	}
	return b.String()
}

// The renderer of Bubble Tea v1 writes 14.8 kB for such a frame.
func TestFewBytesForFewChanges(t *testing.T) {
	c := &canvas{bce: true}
	c.profile = themes.TrueColor
	c.draw(listFrame(0, 0), 200, 50)
	worst := 0
	for tick := 1; tick < 10; tick++ {
		worst = max(worst, len(c.draw(listFrame(tick, 0), 200, 50)))
	}
	t.Logf("40 changed figures: %d bytes at most", worst)
	if worst >= 1000 {
		t.Errorf("40 changed figures took %d bytes, want less than 1000", worst)
	}
}

func TestFewBytesForScrolling(t *testing.T) {
	c := &canvas{bce: true}
	c.profile = themes.TrueColor
	e := newEmulator(t, 200, 50, true)
	_, _ = e.Write(c.draw(listFrame(0, 0), 200, 50))
	for _, top := range []int{1, 2, 5, 4, 0} {
		out := c.draw(listFrame(0, top), 200, 50)
		t.Logf("scrolled to %d: %d bytes", top, len(out))
		if len(out) > 1500 {
			t.Errorf("scrolling to %d took %d bytes, want at most 1500", top, len(out))
		}
		_, _ = e.Write(out)
		if err := e.want(listFrame(0, top), cellbuf.Style{}); err != nil {
			t.Fatal(err)
		}
	}
}

// Nothing in a frame may do more to the terminal than be seen.
func TestHostileFrame(t *testing.T) {
	c := &canvas{}
	e := newEmulator(t, 40, 3, false)
	frame := "a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc\x1b[?1049ld\x1b[10;10He\x07\r\x08f\u009b31mg\x9bh\x1bcz\x1b"
	out := c.draw(frame, 40, 3)
	_, _ = e.Write(out)
	if len(e.osc) > 0 || !e.modes[7] {
		t.Errorf("sequences got through: %q", out)
	}
	if got := ansi.Strip(strings.TrimRight(e.text(0), " ")); !strings.HasPrefix(got, "abcdef31mg") {
		t.Errorf("row shows %q", got)
	}
}

// Where only ASCII can be shown, nothing else is written, and every column
// stays where it was.
func TestASCIIOnly(t *testing.T) {
	c := &canvas{}
	c.ascii = true
	e := newEmulator(t, 40, 2, false)
	out := c.draw("│ 世界 ● café … e\u0301 👩‍💻 – │\n╭──╮ ok", 40, 2)
	for _, b := range out {
		if b > 0x7e {
			t.Fatalf("wrote %q", out)
		}
	}
	_, _ = e.Write(out)
	if got, want := strings.TrimRight(e.text(0), " "), "| ???? ? caf? ~ ? ?? - |"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := strings.TrimRight(e.text(1), " "), "+--+ ok"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whoever asks for fewer colours gets no others, whatever frames hold.
func TestColoursAreLimited(t *testing.T) {
	frame := "\x1b[1;38;2;240;10;10;48;5;200mx\x1b[0;32my"
	for p, want := range map[themes.Profile]string{
		themes.NoColor:   "\x1b[1mx\x1b[my",
		themes.ANSI16:    "\x1b[1;91;105mx\x1b[;32my\x1b[m",
		themes.ANSI256:   "\x1b[1;38;5;196;48;5;200mx\x1b[;32my\x1b[m",
		themes.TrueColor: "\x1b[1;38;2;240;10;10;48;5;200mx\x1b[;32my\x1b[m",
	} {
		c := &canvas{}
		c.profile = p
		c.draw("", 9, 1)
		if got := string(c.draw(frame, 9, 1)); got != want {
			t.Errorf("%s: got %q, want %q", p, got, want)
		}
	}
}

func BenchmarkDrawUnchanged(b *testing.B) {
	c := &canvas{bce: true}
	c.profile = themes.TrueColor
	frame := listFrame(0, 0)
	c.draw(frame, 200, 50)
	same := strings.Clone(frame)
	b.ReportAllocs()
	for b.Loop() {
		c.draw(same, 200, 50)
	}
}

func BenchmarkDrawFigures(b *testing.B) {
	c := &canvas{bce: true}
	c.profile = themes.TrueColor
	frames := []string{listFrame(0, 0), listFrame(1, 0), listFrame(2, 0)}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		c.draw(frames[i%3], 200, 50)
		i++
	}
}

func BenchmarkDrawScroll(b *testing.B) {
	c := &canvas{bce: true}
	c.profile = themes.TrueColor
	frames := []string{listFrame(0, 0), listFrame(0, 1)}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		c.draw(frames[i%2], 200, 50)
		i++
	}
}

func BenchmarkDrawAll(b *testing.B) {
	c := &canvas{bce: true}
	c.profile = themes.TrueColor
	frame := listFrame(0, 0)
	b.ReportAllocs()
	for b.Loop() {
		c.forget()
		c.draw(frame, 200, 50)
	}
}
