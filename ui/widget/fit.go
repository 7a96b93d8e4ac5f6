package widget

import (
	"strings"
	"unicode/utf8"

	"berth/themes"

	"github.com/charmbracelet/x/ansi"
)

// ellipsis marks cut text where no glyphs are given.
const ellipsis = "…"

// Width is how many cells s takes, sequences not counted.
func Width(s string) int {
	if w, ok := simpleWidth(s); ok {
		return w
	}
	return ansi.StringWidth(s)
}

// simpleWidth counts the cells of text made only of characters that are one
// cell wide whatever stands beside them: ASCII, Latin-1, dashes, arrows, box
// drawing and the shapes that states are shown with. That is nearly all that
// berth draws, and much faster than looking for clusters.
func simpleWidth(s string) (width int, ok bool) {
	for i, r := range s {
		switch {
		case r >= 0x20 && r < 0x7f:
		case r == utf8.RuneError && s[i] != 0xef: // not UTF-8
			return 0, false
		case r >= 0xa1 && r <= 0xff && r != 0xad:
		case r >= 0x2010 && r <= 0x2027:
		case r >= 0x2190 && r <= 0x21ff:
		case r >= 0x2500 && r <= 0x25cf:
		default:
			return 0, false
		}
		width++
	}
	return width, true
}

// isASCII reports whether s is only printable ASCII, so that its width is its
// length.
func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// Fit cuts s, with an ellipsis, or pads it with blanks on the right, to
// exactly w cells. s may be styled.
func Fit(s string, w int) string { return FitTail(s, w, ellipsis) }

// FitTail is Fit with a mark of one's own, as Glyphs.Ellipsis, for cut text.
func FitTail(s string, w int, tail string) string {
	cut, width := Cut(s, w, tail)
	return cut + blanks(w-width)
}

// FitRight is Fit with the blanks on the left, as for numbers.
func FitRight(s string, w int) string { return FitRightTail(s, w, ellipsis) }

// FitRightTail is FitRight with a mark of one's own for cut text.
func FitRightTail(s string, w int, tail string) string {
	cut, width := Cut(s, w, tail)
	return blanks(w-width) + cut
}

// FitCenter is Fit with blanks on both sides.
func FitCenter(s string, w int) string {
	cut, width := Cut(s, w, ellipsis)
	left := (w - width) / 2
	return blanks(left) + cut + blanks(w-width-left)
}

// FitMiddle is Fit, but cuts in the middle and keeps both ends, as for paths
// and names that differ at their ends. s must not be styled.
func FitMiddle(s string, w int) string {
	s = tidy(s)
	width := Width(s)
	if width <= w || w < 3 {
		return Fit(s, w)
	}
	left := w / 2
	right := w - left - 1
	s = ansi.Truncate(s, left, "") + ellipsis + ansi.TruncateLeft(s, width-right, "")
	return Fit(s, w)
}

// Cut shortens s to at most w cells, with tail where something was cut off,
// and returns how wide it is now. s may be styled; it ends plain if it was
// cut. Control characters become blanks.
func Cut(s string, w int, tail string) (string, int) {
	if w <= 0 {
		return "", 0
	}
	if isASCII(s) {
		if len(s) <= w {
			return s, len(s)
		}
		if tw := Width(tail); tw < w {
			return s[:w-tw] + tail, w
		}
		return s[:w], w
	}
	if width, ok := simpleWidth(s); ok && width <= w {
		return s, width
	}
	return cutAny(tidy(s), w, tail)
}

// cutAny is Cut for text of any kind.
func cutAny(s string, w int, tail string) (string, int) {
	width := ansi.StringWidth(s)
	if width <= w {
		return isolate(s, width), width
	}
	if Width(tail) >= w {
		tail = ""
	}
	styled := strings.IndexByte(s, 0x1b) >= 0
	// Joining parts can change their width (a mark before the cut joins what
	// comes after it), so measure the result.
	for n := w; n >= 0; n-- {
		s := ansi.Truncate(s, n, tail)
		if width := ansi.StringWidth(s); width <= w {
			if styled && !strings.HasSuffix(s, "\x1b[m") {
				s += "\x1b[m"
			}
			return isolate(s, width), width
		}
	}
	return "", 0
}

// isolate makes sure that s, width cells wide, stays that wide between other
// texts: some scripts have characters that join the one before or after them.
// SGR 10, the primary font, changes nothing and keeps them apart.
func isolate(s string, width int) string {
	if ansi.StringWidth(" "+s+" ") == width+2 {
		return s
	}
	const apart = "\x1b[10m"
	return apart + s + apart
}

// tidy replaces what would break a line: control characters other than the
// start of an SGR sequence, and bytes that are not UTF-8. Sequences other than
// SGR are dropped.
func tidy(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if !untidy(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == 0x1b:
			n, sgr := sequence(s[i:])
			if sgr {
				b.WriteString(s[i : i+n])
			}
			i += n
		case c < 0x20 || c == 0x7f:
			b.WriteByte(' ')
			i++
		case isC1(s[i:]):
			b.WriteByte(' ')
			i += 2
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}

// untidy reports whether s holds control characters other than those that
// start SGR sequences.
func untidy(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == 0x1b:
			n, sgr := sequence(s[i:])
			if !sgr {
				return true
			}
			i += n - 1
		case c < 0x20 || c == 0x7f || isC1(s[i:]):
			return true
		}
	}
	return false
}

// isC1 reports whether s, which is UTF-8, starts with a C1 control character.
func isC1(s string) bool { return s[0] == 0xc2 && s[1] < 0xa0 }

// sequence measures the escape sequence that s starts with, and says whether
// it is SGR.
func sequence(s string) (n int, sgr bool) {
	if len(s) > 2 && s[1] == '[' {
		for i := 2; i < len(s); i++ {
			switch c := s[i]; {
			case c == 'm':
				return i + 1, true
			case c >= '0' && c <= '9' || c == ';' || c == ':':
				continue
			}
			break
		}
	}
	_, _, n, _ = ansi.DecodeSequence(s, ansi.NormalState, nil)
	return max(n, 1), false
}

const manyBlanks = "                                                                                                                                "

// blanks is n blanks; none when n is negative.
func blanks(n int) string {
	if n <= 0 {
		return ""
	}
	if n <= len(manyBlanks) {
		return manyBlanks[:n]
	}
	return strings.Repeat(" ", n)
}

// repeat is glyph n times; none when n is negative.
func repeat(glyph string, n int) string {
	if n <= 0 {
		return ""
	}
	return strings.Repeat(glyph, n)
}

// FitLines cuts or pads lines to exactly w × h.
func FitLines(lines []string, w, h int) []string {
	if w < 0 || h <= 0 {
		return nil
	}
	fitted := make([]string, h)
	for i := range fitted {
		if i < len(lines) {
			fitted[i] = Fit(lines[i], w)
		} else {
			fitted[i] = blanks(w)
		}
	}
	return fitted
}

// Block is FitLines joined to one string.
func Block(lines []string, w, h int) string { return strings.Join(FitLines(lines, w, h), "\n") }

// Beside puts two blocks of the same height next to each other, gap blanks
// between them. The left one's lines must all be of one width.
func Beside(left, right []string, gap int) []string {
	lines := make([]string, 0, max(len(left), len(right)))
	leftWidth := 0
	for _, l := range left {
		leftWidth = max(leftWidth, Width(l))
	}
	for i := range cap(lines) {
		var l, r string
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		lines = append(lines, Fit(l, leftWidth)+blanks(gap)+r)
	}
	return lines
}

// writeFit writes text to exactly w cells in a style, without building
// strings on the way.
func writeFit(b *strings.Builder, text string, w int, right bool, st themes.Style, tail string) {
	cut, width := Cut(text, w, tail)
	if st == (themes.Style{}) {
		writeAligned(b, cut, w-width, right)
		return
	}
	var buf [64]byte
	b.Write(st.AppendOpen(buf[:0]))
	writeAligned(b, cut, w-width, right)
	b.WriteString("\x1b[m")
}

func writeAligned(b *strings.Builder, text string, pad int, right bool) {
	if right {
		b.WriteString(blanks(pad))
		b.WriteString(text)
		return
	}
	b.WriteString(text)
	b.WriteString(blanks(pad))
}

// CutLeft drops the first n cells of s, which must not be styled. Half a wide
// character that is left becomes a blank.
func CutLeft(s string, n int) string {
	if n <= 0 {
		return s
	}
	return ansi.TruncateLeft(s, n, "")
}
