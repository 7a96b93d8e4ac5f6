package screen

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/cellbuf"
	"github.com/rivo/uniseg"
)

// emulator is a terminal of the VT102's kind with wrapping switched off,
// over cellbuf's cells: enough to check what package screen writes, and it
// fails on any sequence it does not know.
type emulator struct {
	t        *testing.T
	w, h     int
	bce      bool
	buf      *cellbuf.Buffer
	style    cellbuf.Style
	x, y     int
	top, end int // scroll region
	modes    map[int]bool
	osc      []string
	parser   *ansi.Parser
	prev     *cellbuf.Cell // printed last
}

func newEmulator(t *testing.T, w, h int, bce bool) *emulator {
	t.Helper()
	e := &emulator{t: t, bce: bce, modes: map[int]bool{7: true, 25: true}, parser: ansi.GetParser()}
	e.resize(w, h)
	return e
}

// resize leaves rubbish everywhere, as terminals may.
func (e *emulator) resize(w, h int) {
	e.w, e.h, e.buf = w, h, cellbuf.NewBuffer(w, h)
	e.x, e.y, e.top, e.end = min(e.x, w-1), min(e.y, h-1), 0, h
	rubbish := &cellbuf.Cell{Rune: '?', Width: 1}
	for y := range h {
		for x := range w {
			e.buf.SetCell(x, y, rubbish)
		}
	}
}

// Write takes what a program sends to the terminal.
func (e *emulator) Write(b []byte) (int, error) {
	for data := b; len(data) > 0; {
		seq, width, n, _ := ansi.DecodeSequence(data, ansi.NormalState, e.parser)
		e.one(seq, width)
		data = data[n:]
	}
	return len(b), nil
}

func (e *emulator) one(seq []byte, width int) {
	switch {
	case width > 0:
		e.print(string(seq), width)
	case seq[0] == '\r':
		e.x = 0
	case seq[0] == '\b':
		e.x = max(e.x-1, 0)
	case seq[0] == '\n':
		e.y = min(e.y+1, e.h-1)
	case ansi.HasCsiPrefix(seq):
		e.csi(seq)
	case ansi.HasOscPrefix(seq):
		e.osc = append(e.osc, string(seq))
	case seq[0] >= 0xc0 && e.prev != nil: // combines with what was printed last
		e.prev.Comb = append(e.prev.Comb, []rune(string(seq))...)
	default:
		e.t.Errorf("emulator: unexpected %q", seq)
	}
}

func (e *emulator) print(s string, width int) {
	if e.x+width > e.w {
		e.t.Errorf("emulator: %q at column %d of %d", s, e.x, e.w)
		return
	}
	runes := []rune(s)
	e.split(e.x)
	e.split(e.x + width)
	e.prev = &cellbuf.Cell{Rune: runes[0], Comb: runes[1:], Width: width, Style: e.style}
	line := e.buf.Line(e.y)
	line[e.x] = e.prev
	if width > 1 {
		line[e.x+1] = &cellbuf.Cell{Style: e.style}
	}
	e.x = min(e.x+width, e.w-1)
}

// split blanks a wide character that a write at x cuts in half.
func (e *emulator) split(x int) {
	if x <= 0 || x >= e.w {
		return
	}
	if c := e.buf.Cell(x, e.y); c != nil && c.Width == 0 {
		blank := &cellbuf.Cell{Rune: ' ', Width: 1, Style: c.Style}
		line := e.buf.Line(e.y)
		line[x-1], line[x] = blank, blank
	}
}

func (e *emulator) csi(seq []byte) {
	cmd := ansi.Cmd(e.parser.Command())
	params := e.parser.Params()
	n, _, _ := params.Param(0, 1)
	n = max(n, 1)
	if cmd.Prefix() == '?' {
		on := cmd.Final() == 'h'
		for i := range params {
			m, _, _ := params.Param(i, 0)
			e.modes[m] = on
		}
		return
	}
	switch cmd.Final() {
	case 'm':
		cellbuf.ReadStyle(params, &e.style)
	case 'H':
		col, _, _ := params.Param(1, 1)
		e.x, e.y = min(max(col, 1), e.w)-1, min(n, e.h)-1
	case 'A':
		e.y = max(e.y-n, 0)
	case 'B':
		e.y = min(e.y+n, e.h-1)
	case 'C':
		e.x = min(e.x+n, e.w-1)
	case 'D':
		e.x = max(e.x-n, 0)
	case 'K':
		e.erase(e.x, e.y, e.w)
	case 'X':
		e.erase(e.x, e.y, min(e.x+n, e.w))
	case 'J':
		if string(seq) != "\x1b[2J" {
			e.t.Errorf("emulator: unexpected %q", seq)
		}
		for y := range e.h {
			e.erase(0, y, e.w)
		}
	case 'r':
		bottom, _, _ := params.Param(1, e.h)
		e.top, e.end = n-1, min(bottom, e.h)
		e.x, e.y = 0, 0
	case 'M':
		e.shift(n)
	case 'L':
		e.shift(-n)
	default:
		e.t.Errorf("emulator: unexpected %q", seq)
	}
}

// erased is what erasing leaves.
func (e *emulator) erased() *cellbuf.Cell {
	blank := &cellbuf.Cell{Rune: ' ', Width: 1}
	if e.bce {
		blank.Style.Bg = e.style.Bg
	}
	return blank
}

func (e *emulator) erase(from, y, to int) {
	save := e.y
	e.y = y
	e.split(from)
	e.split(to)
	e.y = save
	for x := from; x < to; x++ {
		e.buf.Line(y)[x] = e.erased()
	}
}

// shift deletes n lines at the cursor's, or inserts -n, within the region.
func (e *emulator) shift(n int) {
	if e.y < e.top || e.y >= e.end {
		return
	}
	lines := e.buf.Lines[e.y:e.end]
	moved := make([]cellbuf.Line, len(lines))
	for i := range moved {
		if j := i + n; j >= 0 && j < len(lines) {
			moved[i] = lines[j]
			continue
		}
		moved[i] = make(cellbuf.Line, e.w)
		for x := range moved[i] {
			moved[i][x] = e.erased()
		}
	}
	copy(lines, moved)
	e.x = 0
}

// want compares the terminal with what a frame should look like.
func (e *emulator) want(frame string, base cellbuf.Style) error {
	lines := strings.Split(frame, "\n")
	for y := range e.h {
		line := ""
		if y < len(lines) {
			line = lines[y]
		}
		ref := reference(line, e.w)
		for x := range e.w {
			got, want := seen(e.buf.Cell(x, y), cellbuf.Style{}), seen(ref[x], base)
			if got != want {
				return fmt.Errorf("row %d, column %d: terminal shows %+v, frame has %+v\nframe line %q", y, x, got, want, line)
			}
		}
	}
	return nil
}

var sgr = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// reference is the cells of a line, worked out by other means than package
// screen's: a regular expression, uniseg and cellbuf.
func reference(line string, w int) []*cellbuf.Cell {
	cells := make([]*cellbuf.Cell, 0, w+1)
	var style cellbuf.Style
	for line != "" {
		text, seq := line, ""
		if at := sgr.FindStringIndex(line); at != nil {
			text, seq = line[:at[0]], line[at[0]:at[1]]
		}
		line = line[len(text)+len(seq):]
		for g := uniseg.NewGraphemes(text); g.Next(); {
			width := ansi.StringWidth(g.Str())
			if width == 0 {
				continue
			}
			cells = append(cells, &cellbuf.Cell{Rune: g.Runes()[0], Comb: g.Runes()[1:], Width: width, Style: style})
			for range width - 1 {
				cells = append(cells, &cellbuf.Cell{})
			}
		}
		if seq != "" {
			readSGR(seq, &style)
		}
	}
	for len(cells) < w {
		cells = append(cells, &cellbuf.Cell{Rune: ' ', Width: 1})
	}
	return cells[:w]
}

// look is what can be seen of a cell.
type look struct {
	text  string
	style cellbuf.Style
}

// seen is how a cell looks on a base. A blank shows neither its foreground
// nor boldness.
func seen(c *cellbuf.Cell, base cellbuf.Style) look {
	if c == nil {
		c = &cellbuf.BlankCell
	}
	if c.Width == 0 {
		return look{text: "right half"}
	}
	s := c.Style
	if s.Fg == nil {
		s.Fg = base.Fg
	}
	if s.Bg == nil {
		s.Bg = base.Bg
	}
	lined := s.UlStyle != cellbuf.NoUnderline || s.Attrs.Contains(cellbuf.ReverseAttr)
	if c.Rune == ' ' && len(c.Comb) == 0 && !lined {
		s = cellbuf.Style{Bg: s.Bg}
	}
	return look{c.String(), s}
}

// text is what row y shows.
func (e *emulator) text(y int) string {
	var b strings.Builder
	for x := range e.w {
		if c := e.buf.Cell(x, y); c.Width > 0 {
			b.WriteString(c.String())
		}
	}
	return b.String()
}

// readSGR applies one SGR sequence to a style.
func readSGR(seq string, style *cellbuf.Style) {
	p := ansi.GetParser()
	defer ansi.PutParser(p)
	ansi.DecodeSequence(seq, ansi.NormalState, p)
	cellbuf.ReadStyle(p.Params(), style)
}
