package backend

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes a string from a guest, a definition or a daemon safe to show on
// one line of a terminal. Control characters (C0, C1, DEL), which start
// escape sequences, become '�'; so do bytes that are not UTF-8. Line breaks
// and tabs become blanks. Characters that reorder or hide what follows (bidi controls, zero-width
// and other format characters, line separators) are dropped, but for the
// joiner that emoji are made with.
//
// Backends call it on every string they hand out; CleanLines is the same for
// text of several lines.
func Clean(s string) string { return clean(s, false) }

// CleanLines is Clean for text that may keep its line breaks and tabs.
func CleanLines(s string) string { return clean(s, true) }

func clean(s string, lines bool) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		switch {
		case r == '\n' || r == '\t':
			if lines {
				b.WriteRune(r)
			} else {
				b.WriteByte(' ')
			}
		case r == '\r':
			if !lines {
				b.WriteByte(' ')
			}
		case r == utf8.RuneError && n <= 1, unicode.IsControl(r):
			b.WriteRune('�')
		case r == '\u200d': // joins emoji; harmless elsewhere
			b.WriteRune(r)
		case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r), unicode.Is(unicode.Co, r):
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isPlain is the fast path: printable ASCII needs no work.
func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
