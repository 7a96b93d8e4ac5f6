package widget

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Overlay lays over on base, its top left corner at column x and row y, which
// may lie outside. Both may be styled and have several lines. The result has
// base's size; base should be a block, all lines of one width. A wide
// character that is half covered becomes a blank.
func Overlay(base, over string, x, y int) string {
	lines := strings.Split(base, "\n")
	for i, line := range strings.Split(over, "\n") {
		if row := y + i; row >= 0 && row < len(lines) {
			lines[row] = overlayLine(lines[row], line, x)
		}
	}
	return strings.Join(lines, "\n")
}

// Center lays over in the middle of base, which is w × h cells.
func Center(base, over string, w, h int) string {
	ow, oh := Size(over)
	return Overlay(base, over, max((w-ow)/2, 0), max((h-oh)/2, 0))
}

// Size is the width of a block's widest line, and its height.
func Size(block string) (w, h int) {
	for line := range strings.SplitSeq(block, "\n") {
		w = max(w, Width(line))
		h++
	}
	return w, h
}

// overlayLine lays one line on another from column x on.
func overlayLine(base, over string, x int) string {
	over, width := tidy(over), Width(base)
	if x < 0 {
		over = cells(over, -x, Width(over))
		x = 0
	}
	if x >= width {
		return base
	}
	over = cells(over, 0, width-x)
	end := min(x+Width(over), width)
	return cells(base, 0, x) + over + cells(base, end, width)
}

// cells are columns from to to of line, exactly: what is cut in half becomes
// blanks. The piece carries its own styles and ends plain.
func cells(line string, from, to int) string {
	if to <= from {
		return ""
	}
	if isASCII(line) {
		from, to = min(from, len(line)), min(to, len(line))
		return line[from:to]
	}
	var b strings.Builder
	p := piece{b: &b, from: from, to: to}
	for rest := line; len(rest) > 0; {
		seq, w, n, _ := ansi.DecodeSequence(rest, ansi.NormalState, nil)
		if n == 0 {
			break
		}
		p.add(seq, w)
		rest = rest[n:]
	}
	return p.close()
}

// piece collects the cells of a line from one column to another.
type piece struct {
	b        *strings.Builder
	x        int // column of the next character
	from, to int
	pen      []string // SGR sequences since the last reset
	open     bool     // something styled was written and not reset
}

func (p *piece) add(seq string, w int) {
	switch {
	case w == 0 && seq[0] == 0x1b:
		p.style(seq)
	case w == 0:
		if p.x > p.from && p.x <= p.to {
			p.b.WriteString(seq) // belongs to the character before it
		}
	case p.x >= p.from && p.x+w <= p.to:
		p.start()
		p.b.WriteString(seq)
	case p.x < p.to && p.x+w > p.from: // cut in half
		p.start()
		p.b.WriteString(blanks(min(p.x+w, p.to) - max(p.x, p.from)))
	}
	p.x += w
}

// style notes or writes an SGR sequence.
func (p *piece) style(seq string) {
	if !strings.HasSuffix(seq, "m") {
		return
	}
	if p.x < p.to && p.b.Len() > 0 {
		p.b.WriteString(seq)
		p.open = !isReset(seq)
		return
	}
	if isReset(seq) {
		p.pen = p.pen[:0]
		return
	}
	if p.x < p.to {
		p.pen = append(p.pen, seq)
	}
}

// start writes the styles that hold where the piece starts.
func (p *piece) start() {
	if p.b.Len() > 0 || len(p.pen) == 0 {
		return
	}
	for _, seq := range p.pen {
		p.b.WriteString(seq)
	}
	p.open = true
}

func (p *piece) close() string {
	if p.open {
		p.b.WriteString("\x1b[m")
	}
	return p.b.String()
}

func isReset(seq string) bool { return seq == "\x1b[m" || seq == "\x1b[0m" }
