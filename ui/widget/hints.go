package widget

import (
	"strings"

	"berth/themes"
)

// Hint is one entry of a footer: a key and what it does.
type Hint struct {
	Key, Text string
	Disabled  bool
}

// HintStyle is how footers look.
type HintStyle struct {
	Key, Text, Disabled themes.Style
}

// HintStyleFrom takes the looks from a theme.
func HintStyleFrom(s *themes.Styles) HintStyle {
	return HintStyle{Key: s.Get(themes.RoleKey), Text: s.Get(themes.RoleText), Disabled: s.Get(themes.RoleMuted)}
}

// KeyHints draws a footer in exactly w cells. Hints come most important
// first; those that do not fit whole are left out, shorter ones behind them
// still get their chance.
func KeyHints(hints []Hint, w int, st HintStyle) string {
	const gap = 2
	var b strings.Builder
	used := 0
	for _, h := range hints {
		key, text := tidy(h.Key), tidy(h.Text)
		need := Width(key) + 1 + Width(text)
		if used > 0 {
			need += gap
		}
		if used+need > w {
			continue
		}
		if used > 0 {
			b.WriteString(blanks(gap))
		}
		used += need
		keyLook, textLook := st.Key, st.Text
		if h.Disabled {
			keyLook, textLook = st.Disabled, st.Disabled
		}
		keyLook.WriteTo(&b, key)
		b.WriteByte(' ')
		textLook.WriteTo(&b, text)
	}
	b.WriteString(blanks(w - used))
	return b.String()
}
