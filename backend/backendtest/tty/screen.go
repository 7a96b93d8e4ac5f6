package tty

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Screen is a terminal's screen: what an xterm would show after the output
// written to it. It knows the sequences that full-screen programs use (ECMA-48
// and xterm's ctlseqs); colours are not kept.
type Screen struct {
	Width, Height int
	X, Y          int // the cursor, from 0
	Title         string
	Modes         map[int]bool // DEC private modes that were set or reset

	cells, main [][]string // one grapheme a cell; "" is the right half of a wide one
	top, bottom int        // scrolling region, inclusive
	wrap        bool       // the next character goes to the next line
	savedX      int
	savedY      int
	last        rune
	parser      *ansi.Parser
	reply       func(string)
}

// NewScreen is an empty screen that answers the terminal's queries (cursor
// position, attributes, background colour) through reply.
func NewScreen(w, h int, reply func(string)) *Screen {
	s := &Screen{Modes: map[int]bool{}, reply: reply, parser: ansi.NewParser()}
	s.parser.SetHandler(ansi.Handler{Print: s.print, Execute: s.execute, HandleCsi: s.csi, HandleEsc: s.esc, HandleOsc: s.osc})
	s.Resize(w, h)
	return s
}

// Write shows output. It never fails.
func (s *Screen) Write(p []byte) (int, error) {
	for _, b := range p {
		s.parser.Advance(b)
	}
	return len(p), nil
}

// Resize changes the size; what still fits stays where it is.
func (s *Screen) Resize(w, h int) {
	s.cells, s.main = resize(s.cells, w, h), resize(s.main, w, h)
	s.Width, s.Height, s.top, s.bottom = w, h, 0, h-1
	s.move(s.X, s.Y)
}

func resize(old [][]string, w, h int) [][]string {
	cells := make([][]string, h)
	for y := range cells {
		cells[y] = blank(w)
		if y < len(old) {
			copy(cells[y], old[y])
		}
	}
	return cells
}

func blank(w int) []string {
	row := make([]string, w)
	fill(row)
	return row
}

func fill(cells []string) {
	for i := range cells {
		cells[i] = " "
	}
}

// Lines returns the screen's rows without trailing blanks.
func (s *Screen) Lines() []string {
	lines := make([]string, len(s.cells))
	for y, row := range s.cells {
		lines[y] = strings.TrimRight(strings.Join(row, ""), " ")
	}
	return lines
}

// String is Lines, joined.
func (s *Screen) String() string { return strings.Join(s.Lines(), "\n") }

func (s *Screen) print(r rune) {
	s.last = r
	w := ansi.StringWidthWc(string(r))
	if w == 0 {
		s.combine(r)
		return
	}
	if s.wrap || s.X+w > s.Width {
		s.X, s.wrap = 0, false
		s.lineFeed()
	}
	s.split(s.X)
	s.split(s.X + w)
	row := s.cells[s.Y]
	row[s.X] = string(r)
	for i := 1; i < w && s.X+i < s.Width; i++ {
		row[s.X+i] = ""
	}
	if s.X+w >= s.Width {
		s.X, s.wrap = s.Width-1, true
		return
	}
	s.X += w
}

// split makes x the beginning of a cell: a wide character across it goes.
func (s *Screen) split(x int) {
	row := s.cells[s.Y]
	if x > 0 && x < len(row) && row[x] == "" {
		row[x-1], row[x] = " ", " "
	}
}

// combine adds a character without a width to the one before the cursor.
func (s *Screen) combine(r rune) {
	x := s.X - 1
	if s.wrap {
		x = s.X
	}
	for x > 0 && s.cells[s.Y][x] == "" {
		x--
	}
	if x >= 0 {
		s.cells[s.Y][x] += string(r)
	}
}

func (s *Screen) execute(b byte) {
	switch b {
	case '\b':
		s.move(s.X-1, s.Y)
	case '\t':
		s.move((s.X/8+1)*8, s.Y)
	case '\n', '\v', '\f':
		s.wrap = false
		s.lineFeed()
	case '\r':
		s.move(0, s.Y)
	}
}

func (s *Screen) move(x, y int) {
	s.X, s.Y = min(max(x, 0), s.Width-1), min(max(y, 0), s.Height-1)
	s.wrap = false
}

func (s *Screen) lineFeed() {
	if s.Y == s.bottom {
		s.scroll(s.top, 1)
	} else if s.Y < s.Height-1 {
		s.Y++
	}
}

// scroll moves the rows from top to the end of the region up by n, down by -n.
func (s *Screen) scroll(top, n int) {
	region := s.cells[top : s.bottom+1]
	for range min(max(n, -n), len(region)) {
		if n > 0 {
			copy(region, region[1:])
			region[len(region)-1] = blank(s.Width)
		} else {
			copy(region[1:], region)
			region[0] = blank(s.Width)
		}
	}
}

func (s *Screen) esc(cmd ansi.Cmd) {
	switch cmd.Final() {
	case '7':
		s.savedX, s.savedY = s.X, s.Y
	case '8':
		s.move(s.savedX, s.savedY)
	case 'M':
		if s.Y == s.top {
			s.scroll(s.top, -1)
		} else {
			s.move(s.X, s.Y-1)
		}
	case 'D':
		s.lineFeed()
	case 'E':
		s.X = 0
		s.lineFeed()
	}
}

func (s *Screen) osc(cmd int, data []byte) {
	_, text, _ := strings.Cut(string(data), ";")
	switch {
	case cmd == 0 || cmd == 2:
		s.Title = text
	case cmd == 10 && text == "?":
		s.reply("\x1b]10;rgb:dddd/dddd/dddd\x1b\\")
	case cmd == 11 && text == "?":
		s.reply("\x1b]11;rgb:0000/0000/0000\x1b\\")
	}
}
