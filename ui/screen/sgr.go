package screen

import "berth/themes"

// applySGR applies the parameters of one SGR sequence (ECMA-48 8.3.117, with
// xterm's colours) to a style. What themes.Style cannot hold is ignored.
func applySGR(s themes.Style, params string) themes.Style {
	var nums [32]int
	list := splitParams(nums[:0], params)
	for i := 0; i < len(list); i++ {
		switch n := list[i]; {
		case n == 0:
			s = themes.Style{}
		case n == 38 || n == 48:
			c, used := themes.ColorFromSGR(list[i+1:])
			i += used
			if n == 38 {
				s.Fg = c
			} else {
				s.Bg = c
			}
		case n >= 30 && n <= 37:
			s.Fg = themes.Basic(n - 30)
		case n >= 90 && n <= 97:
			s.Fg = themes.Basic(n - 90 + 8)
		case n >= 40 && n <= 47:
			s.Bg = themes.Basic(n - 40)
		case n >= 100 && n <= 107:
			s.Bg = themes.Basic(n - 100 + 8)
		case n == 39:
			s.Fg = 0
		case n == 49:
			s.Bg = 0
		default:
			s.Attr = applyAttr(s.Attr, n)
		}
	}
	return s
}

func applyAttr(a themes.Attr, n int) themes.Attr {
	switch n {
	case 1:
		return a | themes.Bold
	case 2:
		return a | themes.Faint
	case 3:
		return a | themes.Italic
	case 4:
		return a | themes.Underline
	case 7:
		return a | themes.Reverse
	case 22:
		return a &^ (themes.Bold | themes.Faint)
	case 23:
		return a &^ themes.Italic
	case 24:
		return a &^ themes.Underline
	case 27:
		return a &^ themes.Reverse
	}
	return a
}

// splitParams reads numbers separated by ; or :. A missing one is 0.
func splitParams(list []int, s string) []int {
	n := 0
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= '0' && c <= '9' {
			n = min(n*10+int(c-'0'), 1<<16)
			continue
		}
		if len(list) == cap(list) {
			return list
		}
		list = append(list, n)
		n = 0
	}
	if len(list) < cap(list) {
		list = append(list, n)
	}
	return list
}

// appendTransition appends the shortest sequence that leads from one style to
// another.
func appendTransition(b []byte, from, to themes.Style) []byte {
	if from == to {
		return b
	}
	if to == (themes.Style{}) {
		return append(b, "\x1b[m"...)
	}
	if from == (themes.Style{}) {
		return to.AppendOpen(b)
	}
	gone := from.Attr&^to.Attr != 0 || from.Fg != 0 && to.Fg == 0 || from.Bg != 0 && to.Bg == 0
	if !gone {
		return changed(from, to).AppendOpen(b)
	}
	if to.Attr == from.Attr { // only a colour goes: name it rather than all the rest
		step := changed(from, to)
		if to.Fg == 0 && from.Fg != 0 {
			step.Fg = themes.DefaultColor
		}
		if to.Bg == 0 && from.Bg != 0 {
			step.Bg = themes.DefaultColor
		}
		return step.AppendOpen(b)
	}
	start := len(b)
	b = to.AppendOpen(b)
	b = append(b, 0) // "\x1b[" becomes "\x1b[;", where the empty parameter resets
	copy(b[start+3:], b[start+2:])
	b[start+2] = ';'
	return b
}

// changed is what of to differs from from.
func changed(from, to themes.Style) themes.Style {
	d := themes.Style{Attr: to.Attr &^ from.Attr}
	if to.Fg != from.Fg {
		d.Fg = to.Fg
	}
	if to.Bg != from.Bg {
		d.Bg = to.Bg
	}
	return d
}
