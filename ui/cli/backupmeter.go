package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"

	"berth/model"
	"berth/themes"
)

const (
	// meterStep is how often a meter is drawn.
	meterStep = 100 * time.Millisecond
	barWidth  = 20
)

// meter shows how far a work in the foreground is, on one line of stderr, when
// that is a terminal.
type meter struct {
	app   *app
	what  string
	on    bool
	began time.Time
	drawn time.Time
	bar   *themes.Glyphs
}

func (a *app) meter(what string) *meter {
	g := themes.GlyphsFor(a.consoleEnv())
	return &meter{app: a, what: what, on: isTerminal(a.Stderr), began: time.Now(), bar: &g}
}

// show draws the line anew, unless that was done a moment ago. A total of 0 is
// not known.
func (m *meter) show(done, total int64, extra string) {
	now := time.Now()
	if !m.on || now.Sub(m.drawn) < meterStep {
		return
	}
	m.drawn = now
	text := m.text(done, total, now.Sub(m.began))
	if extra != "" {
		text += "  " + extra
	}
	fmt.Fprint(m.app.Stderr, "\r\x1b[K"+ansi.Truncate(text, max(m.app.errWidth()-1, 1), "…"))
}

func (m *meter) text(done, total int64, took time.Duration) string {
	rate := float64(done) / max(took.Seconds(), 0.001)
	text := m.what + "  "
	if total > 0 {
		text += barText(m.bar, done, total) + "  " + model.Bytes(float64(done)) + "/" + model.Bytes(float64(total))
	} else {
		text += model.Bytes(float64(done))
	}
	if took < time.Second {
		return text
	}
	text += "  " + model.Rate(rate) + "/s"
	if total > done && rate > 0 {
		text += "  " + model.Duration(time.Duration(float64(total-done)/rate*float64(time.Second))) + " left"
	}
	return text
}

// end takes the line away.
func (m *meter) end() {
	if m.on && !m.drawn.IsZero() {
		fmt.Fprint(m.app.Stderr, "\r\x1b[K")
	}
}

// barText is a bar with its percentage.
func barText(g *themes.Glyphs, done, total int64) string {
	share := min(max(float64(done)/float64(max(total, 1)), 0), 1)
	full := int(share * barWidth)
	return strings.Repeat(g.BarFull, full) + strings.Repeat(g.BarEmpty, barWidth-full) + fmt.Sprintf(" %3.0f%%", 100*share)
}

// errWidth is the width of the terminal on stderr.
func (a *app) errWidth() int {
	f, ok := a.Stderr.(interface{ Fd() uintptr })
	if !ok {
		return 80
	}
	w, _, err := term.GetSize(f.Fd())
	if err != nil || w <= 0 {
		return 80
	}
	return w
}
