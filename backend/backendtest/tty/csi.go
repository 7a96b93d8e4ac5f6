package tty

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// csi carries out a control sequence, named as in xterm's ctlseqs.
func (s *Screen) csi(cmd ansi.Cmd, params ansi.Params) {
	n, _, _ := params.Param(0, 1)
	n = max(n, 1)
	switch {
	case cmd.Prefix() == '?' && (cmd.Final() == 'h' || cmd.Final() == 'l'):
		params.ForEach(0, func(_, mode int, _ bool) { s.setMode(mode, cmd.Final() == 'h') })
	case cmd.Prefix() != 0 || cmd.Intermediate() != 0: // private: kitty keys, DECRQM, XTVERSION
	case s.cursor(cmd.Final(), n, params), s.edit(cmd.Final(), n, params):
	default:
		s.report(cmd.Final(), params)
	}
}

// cursor carries out the sequences that only move the cursor.
func (s *Screen) cursor(final byte, n int, params ansi.Params) bool {
	switch final {
	case 'A': // CUU
		s.move(s.X, s.Y-n)
	case 'B', 'e': // CUD, VPR
		s.move(s.X, s.Y+n)
	case 'C', 'a': // CUF, HPR
		s.move(s.X+n, s.Y)
	case 'D': // CUB
		s.move(s.X-n, s.Y)
	case 'E': // CNL
		s.move(0, s.Y+n)
	case 'F': // CPL
		s.move(0, s.Y-n)
	case 'G', '`': // CHA, HPA
		s.move(n-1, s.Y)
	case 'd': // VPA
		s.move(s.X, n-1)
	case 'H', 'f': // CUP, HVP
		col, _, _ := params.Param(1, 1)
		s.move(max(col, 1)-1, n-1)
	case 'I': // CHT
		s.move((s.X/8+n)*8, s.Y)
	case 'Z': // CBT
		s.move(((s.X+7)/8-n)*8, s.Y)
	case 's':
		s.savedX, s.savedY = s.X, s.Y
	case 'u':
		s.move(s.savedX, s.savedY)
	default:
		return false
	}
	return true
}

// edit carries out the sequences that change what is on the screen.
func (s *Screen) edit(final byte, n int, params ansi.Params) bool {
	how, _, _ := params.Param(0, 0)
	row := s.cells[s.Y]
	if strings.IndexByte("KXP@", final) >= 0 {
		s.split(s.X)
		s.split(s.X + n)
	}
	switch final {
	case 'J': // ED
		s.eraseDisplay(how)
	case 'K': // EL
		from, to := span(how, s.X, s.Width)
		fill(row[from:to])
	case 'X': // ECH
		fill(row[s.X:min(s.X+n, s.Width)])
	case 'P': // DCH
		n = min(n, s.Width-s.X)
		copy(row[s.X:], row[s.X+n:])
		fill(row[s.Width-n:])
	case '@': // ICH
		n = min(n, s.Width-s.X)
		copy(row[s.X+n:], row[s.X:])
		fill(row[s.X : s.X+n])
	case 'L': // IL
		s.scroll(s.Y, -n)
	case 'M': // DL
		s.scroll(s.Y, n)
	case 'S': // SU
		s.scroll(s.top, n)
	case 'T': // SD
		s.scroll(s.top, -n)
	case 'b': // REP
		for range n {
			s.print(s.last)
		}
	case 'r': // DECSTBM
		bottom, _, _ := params.Param(1, s.Height)
		s.top, s.bottom = min(n-1, s.Height-1), min(max(bottom, 1), s.Height)-1
		s.move(0, 0)
	default:
		return false
	}
	s.wrap = s.wrap && final == 'b'
	return true
}

// span is what ED and EL erase: to the end, from the beginning, all.
func span(how, at, size int) (from, to int) {
	switch how {
	case 0:
		return at, size
	case 1:
		return 0, at + 1
	}
	return 0, size
}

func (s *Screen) eraseDisplay(how int) {
	if how < 2 {
		from, to := span(how, s.X, s.Width)
		fill(s.cells[s.Y][from:to])
	}
	for y, row := range s.cells {
		if how >= 2 || how == 0 && y > s.Y || how == 1 && y < s.Y {
			fill(row)
		}
	}
}

// setMode switches a DEC private mode. Those for the alternate screen change
// what is shown; the others are only noted.
func (s *Screen) setMode(mode int, on bool) {
	was := s.Modes[mode]
	s.Modes[mode] = on
	if mode != 47 && mode != 1047 && mode != 1049 || was == on {
		return
	}
	if mode == 1049 && on {
		s.savedX, s.savedY = s.X, s.Y
	}
	s.cells, s.main = s.main, s.cells
	if on {
		s.cells = resize(nil, s.Width, s.Height)
		s.main = resize(s.main, s.Width, s.Height)
	} else if mode == 1049 {
		s.move(s.savedX, s.savedY)
	}
}

// report answers queries as an xterm does.
func (s *Screen) report(final byte, params ansi.Params) {
	what, _, _ := params.Param(0, 0)
	switch {
	case final == 'c': // DA1: a VT220 with colours
		s.reply("\x1b[?62;22c")
	case final == 'n' && what == 5:
		s.reply("\x1b[0n")
	case final == 'n' && what == 6:
		s.reply(fmt.Sprintf("\x1b[%d;%dR", s.Y+1, s.X+1))
	}
}
