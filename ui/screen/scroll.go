package screen

import (
	"hash/maphash"
	"strconv"

	"berth/themes"
)

var hashSeed = maphash.MakeSeed()

// scroll looks for lines that moved up or down together, as when a list is
// scrolled, and lets the terminal move them: two lines' worth of bytes in
// place of a screenful.
func (c *canvas) scroll(lines []string) {
	first, last := c.changedRange(lines)
	const least = 6 // lines; below that drawing anew is as cheap
	if last-first < least {
		return
	}
	old, now := c.hashes(c.lines, first, last), c.hashes(lines, first, last)
	best, shift := least-1, 0
	for k := 1; k <= (last-first)/2+1; k++ {
		if n := gain(old, now, k); n > best {
			best, shift = n, k
		}
		if n := gain(old, now, -k); n > best {
			best, shift = n, -k
		}
	}
	if shift != 0 {
		top, bottom := block(old, now, shift)
		c.shift(first+top, first+bottom, shift)
	}
}

// changedRange is the first and the last line that differ, or 0, -1.
func (c *canvas) changedRange(lines []string) (first, last int) {
	first, last = 0, c.h-1
	for first <= last && lines[first] == c.lines[first] {
		first++
	}
	for last >= first && lines[last] == c.lines[last] {
		last--
	}
	return first, last
}

func (c *canvas) hashes(lines []string, first, last int) []uint64 {
	h := make([]uint64, last-first+1)
	for i := range h {
		h[i] = maphash.String(hashSeed, lines[first+i])
	}
	return h
}

// gain is how many more lines are right after moving the old ones up by k
// (down when negative) than before.
func gain(old, now []uint64, k int) int {
	n := 0
	for i := range now {
		j := i + k
		if j < 0 || j >= len(old) {
			continue
		}
		if now[i] == old[j] {
			n++
		}
		if now[i] == old[i] {
			n--
		}
	}
	return n
}

// block is the range of lines, old and new places together, that a shift by k
// moves.
func block(old, now []uint64, k int) (top, bottom int) {
	top, bottom = -1, -1
	for i := range now {
		if j := i + k; j >= 0 && j < len(old) && now[i] == old[j] && now[i] != old[i] {
			if top < 0 {
				top = min(i, j)
			}
			bottom = max(i, j)
		}
	}
	return top, bottom
}

// shift moves the lines from top to bottom up by k, or down by -k. A scroll
// region with delete and insert line is what every terminal since the VT102
// knows; SU and SD are not on the Linux console.
func (c *canvas) shift(top, bottom, k int) {
	c.setPen(themes.Style{})
	blank := cell{r: ' ', width: 1}
	if c.bce {
		blank = c.blank()
		c.setPen(blank.style)
	}
	c.out = append(c.out, "\x1b["...)
	c.out = strconv.AppendInt(c.out, int64(top+1), 10)
	c.out = append(c.out, ';')
	c.out = strconv.AppendInt(c.out, int64(bottom+1), 10)
	c.out = append(c.out, 'r')
	c.cx = -1
	c.move(0, top)
	if k > 0 {
		c.csi(k, 'M')
	} else {
		c.csi(-k, 'L')
	}
	c.out = append(c.out, "\x1b[r"...)
	c.cx, c.cy = 0, 0 // setting a region homes the cursor
	c.rotate(top, bottom, k, blank)
}

// rotate does to the canvas what shift did to the terminal.
func (c *canvas) rotate(top, bottom, k int, blank cell) {
	n := bottom - top + 1
	rows, lines := make([][]cell, n), make([]string, n)
	for i := range n {
		if j := i + k; j >= 0 && j < n {
			rows[i], lines[i] = c.rows[top+j], c.lines[top+j]
			c.rows[top+j] = nil
		}
	}
	for i := range n {
		if rows[i] == nil {
			rows[i], lines[i] = filled(c.w, blank), ""
			if blank != c.blank() {
				lines[i] = "\x00"
			}
		}
	}
	copy(c.rows[top:], rows)
	copy(c.lines[top:], lines)
}
