package themes

import (
	"strconv"
	"strings"
)

// Attr is a set of text attributes.
type Attr uint8

// The attributes, in the order of their SGR numbers.
const (
	Bold      Attr = 1 << iota // SGR 1
	Faint                      // SGR 2
	Italic                     // SGR 3
	Underline                  // SGR 4
	Reverse                    // SGR 7
)

var attrNames = [...]string{"bold", "faint", "italic", "underline", "reverse"}

var attrSGR = [...]int64{1, 2, 3, 4, 7}

// reset ends every style. It ends an enclosing one too: lay styles over one
// another with On instead of nesting rendered strings.
const reset = "\x1b[m"

// Style is a finished look: colours and attributes in 12 bytes, comparable.
// The zero Style is plain.
type Style struct {
	Fg, Bg Color
	Attr   Attr
}

// On is s drawn over base: what s leaves open (a background, usually) shows
// base's. Attributes add up. It is how a coloured cell keeps its colour in a
// highlighted row. Over a reversed base s keeps only its attributes, because a
// reversed colour would become a background.
func (s Style) On(base Style) Style {
	if base.Attr&Reverse != 0 {
		return Style{Fg: base.Fg, Bg: base.Bg, Attr: s.Attr&^(Faint|Reverse) | base.Attr}
	}
	if s.Fg&kindMask <= kindDefault && base.Fg != 0 {
		s.Fg = base.Fg
	}
	if s.Bg&kindMask <= kindDefault && base.Bg != 0 {
		s.Bg = base.Bg
	}
	s.Attr |= base.Attr
	return s
}

// IsPlain reports whether s changes nothing.
func (s Style) IsPlain() bool { return s == Style{} }

// Render returns text in the style, ended by a reset; empty text stays empty.
// It knows nothing of widths, and text must hold no reset of its own.
func (s Style) Render(text string) string {
	if text == "" || s == (Style{}) {
		return text
	}
	var buf [64]byte
	open := s.AppendOpen(buf[:0])
	return string(open) + text + reset
}

// WriteTo appends text in the style to b, as Render does, without making a
// string of its own.
func (s Style) WriteTo(b *strings.Builder, text string) {
	if text == "" {
		return
	}
	if s == (Style{}) {
		b.WriteString(text)
		return
	}
	var buf [64]byte
	b.Write(s.AppendOpen(buf[:0]))
	b.WriteString(text)
	b.WriteString(reset)
}

// Open is the sequence that starts the style; empty for the zero Style.
func (s Style) Open() string {
	var buf [64]byte
	return string(s.AppendOpen(buf[:0]))
}

// Close is the sequence that ends the style; empty for the zero Style.
func (s Style) Close() string {
	if s == (Style{}) {
		return ""
	}
	return reset
}

// AppendOpen appends the sequence that starts the style.
func (s Style) AppendOpen(b []byte) []byte {
	if s == (Style{}) {
		return b
	}
	b = append(b, "\x1b["...)
	start := len(b)
	for i, n := range attrSGR {
		if s.Attr&(1<<i) != 0 {
			b = append(strconv.AppendInt(b, n, 10), ';')
		}
	}
	if s.Fg != 0 {
		b = append(s.Fg.appendSGR(b, 30), ';')
	}
	if s.Bg != 0 {
		b = append(s.Bg.appendSGR(b, 40), ';')
	}
	if len(b) == start { // unreachable while a Style has no other fields
		return b[:start-2]
	}
	b[len(b)-1] = 'm'
	return b
}

// For is s as a terminal with profile p can show it.
func (s Style) For(p Profile) Style {
	s.Fg, s.Bg = s.Fg.degrade(p), s.Bg.degrade(p)
	return s
}

// Styles holds a finished style for every role.
type Styles struct {
	byRole [RoleCount]Style
	// Base is the ground the whole screen is painted on: plain unless the
	// theme brings its own background.
	Base Style
	// Theme is the name of the theme it was made from.
	Theme string
	// Dark is whether the theme is meant for a dark background.
	Dark bool
}

// Get returns the style of a role; plain for an unknown one.
func (s *Styles) Get(r Role) Style {
	if s == nil || r >= RoleCount {
		return Style{}
	}
	return s.byRole[r]
}

// With returns a copy of s in which role r looks like st, as for a host with
// a frame of its own.
func (s *Styles) With(r Role, st Style) *Styles {
	c := *s
	if r < RoleCount {
		c.byRole[r] = st
	}
	return &c
}
