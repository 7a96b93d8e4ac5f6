package screen

import (
	"unicode/utf8"

	"berth/themes"

	"github.com/charmbracelet/x/ansi"
)

// cell is one cell of the screen. Cells compare with ==.
type cell struct {
	r     rune         // the character; an index into clusters when negative
	style themes.Style // Base already applied
	width uint8        // 1 or 2; 0 for the right half of a wide character
}

// clusters holds the characters that are made of several runes. cell.r is
// the negated index plus one.
type clusters struct {
	text  []string
	index map[string]rune
}

// id finds or makes the number of a cluster.
func (c *clusters) id(s string) rune {
	if id, ok := c.index[s]; ok {
		return id
	}
	if c.index == nil {
		c.index = map[string]rune{}
	}
	s = string(append([]byte(nil), s...)) // do not hold on to the whole frame
	c.text = append(c.text, s)
	id := -rune(len(c.text))
	c.index[s] = id
	return id
}

// full reports whether it is time to forget clusters; every cell on screen
// must be forgotten with them.
func (c *clusters) full() bool { return len(c.text) > 4096 }

func (c *clusters) reset() { c.text, c.index = nil, nil }

// append adds the text of cell x to b.
func (c *clusters) append(b []byte, x cell) []byte {
	if x.r < 0 {
		return append(b, c.text[-x.r-1]...)
	}
	return utf8.AppendRune(b, x.r)
}

// parser turns lines of a frame into cells.
type parser struct {
	base     themes.Style
	profile  themes.Profile
	ascii    bool // show nothing but ASCII
	clusters clusters
	pen      themes.Style // as the frame's sequences have it, without base
	full     themes.Style // pen over base
}

// blank is an empty cell on the base.
func (p *parser) blank() cell {
	return cell{r: ' ', width: 1, style: themes.Style{Bg: p.base.Bg}}
}

// line fills row with the cells of s: cut at the row's end, padded with
// blanks. Every sequence but SGR, and every control character, is dropped, so
// that nothing in a frame can do more than be seen. Each line starts plain.
func (p *parser) line(row []cell, s string) {
	p.setPen(themes.Style{})
	x := 0
	for i := 0; i < len(s) && x < len(row); {
		c := s[i]
		switch {
		case c >= 0x20 && c < 0x7f && (i+1 == len(s) || s[i+1] < utf8.RuneSelf):
			row[x] = p.cell(rune(c), 1)
			x++
			i++
		case c == 0x1b:
			i += p.escape(s[i:])
		case c < 0x20 || c == 0x7f:
			i++
		default:
			n, w, r := p.cluster(s[i:])
			i += n
			if w == 0 {
				continue
			}
			if x+w > len(row) {
				i = len(s)
				break
			}
			if p.ascii && (r < 0 || r > 0x7e) {
				for range w {
					row[x] = p.cell(asciiFor(r), 1)
					x++
				}
				continue
			}
			row[x] = p.cell(r, uint8(w))
			if w == 2 {
				row[x+1] = cell{style: row[x].style}
			}
			x += w
		}
	}
	for blank := p.blank(); x < len(row); x++ {
		row[x] = blank
	}
}

// setPen changes what the following cells look like.
func (p *parser) setPen(s themes.Style) {
	p.pen = s
	s = s.For(p.profile)
	p.full = s
	if p.base != (themes.Style{}) {
		if s.Fg == 0 {
			p.full.Fg = p.base.Fg
		}
		if s.Bg == 0 {
			p.full.Bg = p.base.Bg
		}
	}
}

// cell is a character in the pen's style. Blanks keep only what shows on
// them, so that they compare equal and can be erased.
func (p *parser) cell(r rune, width uint8) cell {
	if r == ' ' && p.full.Attr&(themes.Underline|themes.Reverse) == 0 {
		return cell{r: r, width: width, style: themes.Style{Bg: p.full.Bg}}
	}
	return cell{r: r, width: width, style: p.full}
}

// cluster reads one user-perceived character: its bytes, its width in cells
// (at most 2) and its rune or number.
func (p *parser) cluster(s string) (n, width int, r rune) {
	r, n = utf8.DecodeRuneInString(s)
	if isSimple(r) && (n == len(s) || standsAlone(s[n:])) {
		return n, 1, r
	}
	text, width := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
	if len(text) == 0 { // cannot be; never loop for ever
		return 1, 0, 0
	}
	width = min(width, 2)
	switch {
	case r == utf8.RuneError && n == 1: // not UTF-8
		return len(text), min(width, 1), r
	case r < 0x20 || r >= 0x7f && r < 0xa0: // C0, DEL, C1
		return n, 0, r
	case len(text) == n:
		return n, width, r
	}
	return len(text), width, p.clusters.id(text)
}

// isSimple reports whether r is one of the characters that frames are full
// of, and that are one cell wide: box drawing, blocks, ASCII.
func isSimple(r rune) bool { return r >= 0x2500 && r <= 0x259f || r >= 0x20 && r < 0x7f }

// standsAlone reports whether s cannot continue a character before it.
func standsAlone(s string) bool {
	if s[0] < utf8.RuneSelf {
		return true
	}
	r, _ := utf8.DecodeRuneInString(s)
	return isSimple(r)
}

// escape applies one escape sequence to the pen and returns its length.
func (p *parser) escape(s string) int {
	if len(s) > 1 && s[1] == '[' {
		for i := 2; i < len(s); i++ {
			switch c := s[i]; {
			case c == 'm':
				p.setPen(applySGR(p.pen, s[2:i]))
				return i + 1
			case c >= '0' && c <= '9' || c == ';' || c == ':':
				continue
			}
			break
		}
	}
	_, _, n, _ := ansi.DecodeSequence(s, ansi.NormalState, nil)
	return max(n, 1)
}
