package screen

import (
	"strconv"
	"strings"
	"unicode"

	"berth/themes"
)

// canvas is what berth believes to be on the terminal, and how to change it.
type canvas struct {
	parser
	bce bool // erasing fills with the current background

	w, h  int
	lines []string // the lines shown, as they came
	rows  [][]cell // the same as cells
	next  []cell   // scratch for the line being drawn
	shown bool     // false until the first frame, and when all must be drawn

	out    []byte       // sequences of the frame under way
	pen    themes.Style // the terminal's current style
	cx, cy int          // the terminal's cursor; cx < 0 when not known
}

// forget makes the next frame a full one.
func (c *canvas) forget() { c.shown = false }

// draw returns what must be written to turn the screen into frame. The slice
// is good until the next call. Lines beyond h are dropped, missing ones blank.
func (c *canvas) draw(frame string, w, h int) []byte {
	c.out = c.out[:0]
	if w <= 0 || h <= 0 {
		return nil
	}
	if c.clusters.full() {
		c.clusters.reset()
		c.shown = false
	}
	if !c.shown || w != c.w || h != c.h {
		c.clear(w, h)
	}
	lines := splitLines(frame, h)
	c.scroll(lines)
	for y := range c.h {
		if lines[y] != c.lines[y] {
			c.line(y, lines[y])
			c.lines[y] = lines[y]
		}
	}
	if len(c.out) > 0 {
		c.setPen(themes.Style{})
	}
	return c.out
}

// splitLines cuts a frame into exactly h lines.
func splitLines(frame string, h int) []string {
	lines := make([]string, h)
	for i := range lines {
		line, rest, more := strings.Cut(frame, "\n")
		lines[i] = line
		if !more {
			break
		}
		frame = rest
	}
	return lines
}

// clear empties the screen and starts anew at a size.
func (c *canvas) clear(w, h int) {
	c.w, c.h = w, h
	c.lines = make([]string, h)
	c.rows = make([][]cell, h)
	c.next = make([]cell, w)
	c.pen, c.shown = themes.Style{}, true
	c.out = append(c.out, "\x1b[m"...)
	blank := cell{r: ' ', width: 1}
	if c.bce {
		blank = c.blank()
		c.setPen(blank.style)
	}
	c.out = append(c.out, "\x1b[H\x1b[2J"...)
	c.cx, c.cy = 0, 0
	for y := range c.rows {
		c.rows[y] = filled(w, blank)
		if blank != c.blank() {
			c.lines[y] = "\x00" // equal to no line: the base must be painted
		}
	}
}

func filled(w int, with cell) []cell {
	row := make([]cell, w)
	for x := range row {
		row[x] = with
	}
	return row
}

// line draws row y anew where it differs.
func (c *canvas) line(y int, text string) {
	old, row := c.rows[y], c.next
	c.parser.line(row, text)
	end := c.tail(old, row)
	for x := 0; x < end; {
		if row[x] == old[x] {
			x++
			continue
		}
		x = c.run(y, x, end, old, row)
	}
	if end < c.w {
		c.move(end, y)
		c.setPen(row[end].style)
		c.out = append(c.out, "\x1b[K"...)
	}
	c.rows[y], c.next = row, old
}

// tail is where the row may be erased to its end: there and beyond it is
// blank, and erasing is cheaper than writing. It is the width if not.
func (c *canvas) tail(old, row []cell) int {
	blank := row[c.w-1]
	if !c.erasable(blank) {
		return c.w
	}
	start := c.w
	for start > 0 && row[start-1] == blank {
		start--
	}
	first := start
	for first < c.w && old[first] == blank {
		first++
	}
	const worth = 8 // cells; an erase costs a move, maybe a style, and 3 bytes
	if c.w-first < worth {
		return c.w
	}
	return first
}

// erasable reports whether erasing leaves just such a cell.
func (c *canvas) erasable(x cell) bool {
	return x.r == ' ' && x.style.Attr == 0 && x.style.Fg == 0 && (x.style.Bg == 0 || c.bce)
}

// run writes the changed cells from x on, and unchanged ones between them
// where that is cheaper than moving. It returns where it stopped.
func (c *canvas) run(y, x, end int, old, row []cell) int {
	for x > 0 && row[x].width == 0 {
		x-- // never start inside a wide character
	}
	c.move(x, y)
	for x < end {
		if row[x] == old[x] {
			gap := c.gap(x, end, old, row)
			if gap == 0 {
				return x
			}
			for ; gap > 0; gap-- {
				x = c.put(row, x)
			}
			continue
		}
		if n := c.blanks(row, x, end); n > 0 {
			x += n
			continue
		}
		x = c.put(row, x)
	}
	return x
}

// gap is how many unchanged cells at x to write through, or 0 to move over
// them: only few, plain to write, and followed by a changed one.
func (c *canvas) gap(x, end int, old, row []cell) int {
	const cheaper = 4 // a move over the gap costs 3 to 5 bytes
	for n := 0; n <= cheaper && x+n < end; n++ {
		at := row[x+n]
		if at != old[x+n] {
			return n
		}
		if !suits(c.pen, at) || at.width != 1 || at.r <= 0 || at.r > 0x7e {
			return 0
		}
	}
	return 0
}

// blanks erases a long run of blanks at x (ECH) and returns its length, or 0
// when there is none.
func (c *canvas) blanks(row []cell, x, end int) int {
	if !c.erasable(row[x]) {
		return 0
	}
	n := 1
	for x+n < end && row[x+n] == row[x] {
		n++
	}
	const worth = 12 // cells; ECH and the move after it cost about that in bytes
	if n < worth {
		return 0
	}
	c.move(x, c.cy)
	c.setPen(row[x].style)
	c.csi(n, 'X')
	return n
}

// put writes cell x of row and returns the next one's place.
func (c *canvas) put(row []cell, x int) int {
	at := row[x]
	c.move(x, c.cy)
	if !suits(c.pen, at) {
		c.setPen(at.style)
	}
	if disputed(at) { // a terminal may fill only one of its two cells
		c.out = append(c.out, "  "...)
		if c.cx += 2; c.cx >= c.w {
			c.cx = -1
		}
		c.move(x, c.cy)
	}
	c.out = c.clusters.append(c.out, at)
	x += max(int(at.width), 1)
	c.cx = x
	// Terminals differ in how wide they think such characters are, and all
	// wait at the last column before they wrap: say anew where to go on.
	if at.width > 1 || at.r < 0 || x >= c.w || at.r >= 0x300 && unicode.Is(unicode.M, at.r) {
		c.cx = -1
	}
	return x
}

// disputed reports whether terminals differ in how wide they draw a wide
// character: emoji, which are newer than some, and those of several runes.
func disputed(x cell) bool { return x.width == 2 && (x.r < 0 || x.r >= 0x1f000) }

// suits reports whether a cell looks right written with pen: a blank shows
// only its background, and lines through it.
func suits(pen themes.Style, x cell) bool {
	if x.style == pen {
		return true
	}
	const visible = themes.Underline | themes.Reverse
	return x.r == ' ' && x.style.Bg == pen.Bg && (x.style.Attr|pen.Attr)&visible == 0
}

// setPen switches the terminal to a style.
func (c *canvas) setPen(s themes.Style) {
	c.out = appendTransition(c.out, c.pen, s)
	c.pen = s
}

// move brings the cursor to a place in as few bytes as it can.
func (c *canvas) move(x, y int) {
	if c.cx == x && c.cy == y {
		return
	}
	if c.cx < 0 || !c.moveNear(x, y) {
		c.out = append(c.out, "\x1b["...)
		c.out = strconv.AppendInt(c.out, int64(y+1), 10)
		if x > 0 {
			c.out = append(c.out, ';')
			c.out = strconv.AppendInt(c.out, int64(x+1), 10)
		}
		c.out = append(c.out, 'H')
	}
	c.cx, c.cy = x, y
}

// moveNear moves relative to where the cursor is if that is shorter than
// naming the place.
func (c *canvas) moveNear(x, y int) bool {
	absolute := 4 + digits(y+1) + digits(x+1)
	if x == 0 {
		absolute = 3 + digits(y+1)
	}
	dx, dy := x-c.cx, y-c.cy
	cost := csiCost(dy)
	back := dx < 0
	switch {
	case x == 0 && dx != 0:
		cost++ // carriage return
	case back && -dx <= 4:
		cost -= dx // backspaces
	default:
		cost += csiCost(dx)
	}
	if cost >= absolute {
		return false
	}
	if dy != 0 {
		c.csi(abs(dy), letter(dy, 'A', 'B'))
	}
	switch {
	case dx == 0:
	case x == 0:
		c.out = append(c.out, '\r')
	case back && -dx <= 4:
		c.out = append(c.out, "\b\b\b\b"[:-dx]...)
	default:
		c.csi(abs(dx), letter(dx, 'D', 'C'))
	}
	return true
}

// csi appends a control sequence with one count, which 1 leaves out.
func (c *canvas) csi(n int, final byte) {
	c.out = append(c.out, "\x1b["...)
	if n != 1 {
		c.out = strconv.AppendInt(c.out, int64(n), 10)
	}
	c.out = append(c.out, final)
}

func csiCost(n int) int {
	switch n = abs(n); n {
	case 0:
		return 0
	case 1:
		return 3
	}
	return 3 + digits(n)
}

func letter(n int, negative, positive byte) byte {
	if n < 0 {
		return negative
	}
	return positive
}

func digits(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
