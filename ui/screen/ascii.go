package screen

// asciiFor stands in for a character on terminals that show only ASCII.
// Frames are drawn with ASCII glyphs there; this is for what slips through,
// and for names.
func asciiFor(r rune) rune {
	switch {
	case r == '…':
		return '~'
	case r >= 0x2010 && r <= 0x2015, r == 0x2500, r == 0x2501, r == 0xad, r == 0x2212:
		return '-'
	case r == 0x2502, r == 0x2503:
		return '|'
	case r > 0x2503 && r <= 0x257f:
		return '+'
	case r >= 0x2588 && r <= 0x258b:
		return '#'
	case r >= 0x2018 && r <= 0x201b:
		return '\''
	case r >= 0x201c && r <= 0x201f:
		return '"'
	case r == 0xa0:
		return ' '
	case r == '·', r == '•':
		return '*'
	case r == '→', r == '▸', r == '»':
		return '>'
	case r == '↑', r == '▴':
		return '^'
	case r == '↓', r == '▾':
		return 'v'
	case r == '×':
		return 'x'
	}
	return '?'
}
