// Package themes turns theme files into finished styles.
//
// A theme is a YAML file that gives each role (Role) a look; screens name only
// roles. Colours are degraded to what the terminal shows when the styles are
// made, never while drawing. Glyphs has the characters that go with them.
package themes

// Theme is one theme file, read and checked.
type Theme struct {
	Name        string
	Description string
	Dark        bool // meant for a dark background
	// File is where it was read from; "built-in" for berth's own.
	File string

	base  Style // ground of the whole screen; plain leaves the terminal's
	roles [RoleCount]Style
}

// Default is the name of the theme used when none is chosen.
const Default = "sixteen"

// Role is the look of a role as the file has it, before any degrading.
func (t *Theme) Role(r Role) Style {
	if r >= RoleCount {
		return Style{}
	}
	return t.roles[r]
}

// Base is the ground that the theme paints the screen with; plain when it
// leaves the terminal's own.
func (t *Theme) Base() Style { return t.base }

// Styles makes the finished styles for a terminal with profile p. Without
// colours it uses the looks of the mono theme, because a theme that tells
// things apart by background colour would show nothing.
func (t *Theme) Styles(p Profile) *Styles {
	from := t
	if p == NoColor {
		from = mono()
	}
	s := &Styles{Theme: t.Name, Dark: t.Dark, Base: from.base.For(p)}
	for r, st := range from.roles {
		s.byRole[r] = legible(st.For(p), s.Base)
	}
	return s
}

// legible repairs a style whose two colours became the same in degrading.
func legible(s, base Style) Style {
	shown := s.On(base)
	if shown.Bg == 0 || shown.Bg != shown.Fg || shown.Bg&kindMask == kindDefault {
		return s
	}
	s.Fg = kindBasic | 15
	if v := shown.Bg & 0xff; v == 7 || v >= 9 {
		s.Fg = kindBasic // black on bright
	}
	return s
}

// ParseStyle reads a look from one line, as a host's "frame:" setting has it:
// words in any order, "bold red", "white on blue".
func ParseStyle(spec string, p Profile) (Style, error) {
	s, err := parseLook(spec)
	return s.For(p), err
}
