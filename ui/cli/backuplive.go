package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// liveLines are the lines at the bottom of a terminal that are drawn anew as
// transfers go on. A nil one shows nothing.
type liveLines struct {
	app    *app
	glyphs themes.Glyphs
	drawn  int // lines that stand there
}

// liveLines is nil when stderr is no terminal.
func (a *app) liveLines() *liveLines {
	if !isTerminal(a.Stderr) {
		return nil
	}
	return &liveLines{app: a, glyphs: themes.GlyphsFor(a.consoleEnv())}
}

func (l *liveLines) on() bool { return l != nil }

// clear takes the lines away, so that something else can be written.
func (l *liveLines) clear() {
	if l == nil || l.drawn == 0 {
		return
	}
	fmt.Fprint(l.app.Stderr, l.back()+"\x1b[J")
	l.drawn = 0
}

// back goes to the first of the lines.
func (l *liveLines) back() string {
	if l.drawn == 0 {
		return ""
	}
	return fmt.Sprintf("\r\x1b[%dA", l.drawn)
}

// draw shows the transfers, those that run first. The error is that of a
// terminal that is gone.
func (l *liveLines) draw(open []*backend.Transfer, now time.Time, queued int) error {
	w, h := l.size()
	lines := l.lines(open, now, queued, w, max(1, h-2))
	var b strings.Builder
	b.WriteString(l.back())
	for _, line := range lines {
		b.WriteString("\x1b[K" + ansi.Truncate(line, max(1, w-1), l.glyphs.Ellipsis) + "\n")
	}
	b.WriteString("\x1b[J")
	l.drawn = len(lines)
	_, err := fmt.Fprint(l.app.Stderr, b.String())
	return err
}

func (l *liveLines) size() (w, h int) {
	f, ok := l.app.Stderr.(interface{ Fd() uintptr })
	if ok {
		w, h, err := term.GetSize(f.Fd())
		if err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 80, 24
}

// lines are at most so many, of which the last says how many more there are.
func (l *liveLines) lines(open []*backend.Transfer, now time.Time, queued, width, most int) []string {
	open = slices.Clone(open)
	slices.SortStableFunc(open, func(a, b *backend.Transfer) int { return cmp.Compare(liveOrder(a), liveOrder(b)) })
	var name, stage int
	for _, t := range open {
		name, stage = max(name, ansi.StringWidth(subject(t))), max(stage, ansi.StringWidth(shortStage(t)))
	}
	name = min(name, max(8, width/4))
	var out []string
	for i, t := range open {
		if len(out) == most-1 && len(open)-i+queued > 1 {
			return append(out, fmt.Sprintf("%s and %d more", l.glyphs.Ellipsis, len(open)-i+queued))
		}
		out = append(out, l.line(t, now, name, stage))
	}
	if queued > 0 {
		out = append(out, fmt.Sprintf("%s and %d more", l.glyphs.Ellipsis, queued))
	}
	return out
}

// liveOrder puts what moves on top.
func liveOrder(t *backend.Transfer) int {
	switch t.State {
	case backend.TransferRunning:
		return 0
	case backend.TransferPaused:
		return 1
	case backend.TransferWaiting:
		return 2
	}
	return 3
}

// shortStage is the phase and the disk of what runs.
func shortStage(t *backend.Transfer) string {
	if t.State != backend.TransferRunning {
		return ""
	}
	return stageText(t, time.Time{})
}

func (l *liveLines) line(t *backend.Transfer, now time.Time, name, stage int) string {
	head := padTo(ansi.Truncate(subject(t), name, l.glyphs.Ellipsis), name)
	p := &t.Progress
	if t.State != backend.TransferRunning && (t.State != backend.TransferPaused || p.Total == 0) {
		return head + "  " + stageText(t, now)
	}
	word := padTo(stageText(t, now), stage)
	if p.Total <= 0 {
		return head + "  " + word
	}
	parts := append([]string{head, word, barText(&l.glyphs, p.Done, p.Total), model.Bytes(float64(p.Done)) + "/" + model.Bytes(float64(p.Total))}, pace(t)...)
	if len(p.Spark) > 0 {
		rates := make([]float64, len(p.Spark))
		for i, r := range p.Spark {
			rates[i] = float64(r)
		}
		parts = append(parts, widget.Sparkline(rates, min(len(rates), 10), 0, &l.glyphs))
	}
	return strings.Join(parts, "  ")
}

func padTo(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-ansi.StringWidth(s)))
}
