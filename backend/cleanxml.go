package backend

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// CleanXML makes an XML document safe to show, and loses nothing: characters
// that Clean would drop or replace, and that XML 1.0 allows, become numeric
// references ("&#x9b;"), which an XML parser reads as the characters they
// stand for. Line breaks and tabs stay; what XML does not allow is replaced as
// Clean does.
func CleanXML(s string) string {
	if CleanLines(s) == s {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		one := s[i : i+n]
		i += n
		switch clean := CleanLines(one); {
		case clean == one:
			b.WriteString(one)
		case r == '\r' || r >= 0x7f && r != utf8.RuneError:
			fmt.Fprintf(&b, "&#x%x;", r)
		default:
			b.WriteString(clean)
		}
	}
	return b.String()
}
