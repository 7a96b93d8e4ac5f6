package widget

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Wrap breaks plain text at blanks, and words that are too long anywhere, into
// lines of at most w cells. Line breaks in the text stay, so do blanks at the
// start of a line of the text. A wide character still takes two cells when w
// is 1.
//
// It does what ansi.Wrap is for, which of version 0.11 makes lines that are
// too wide from long words with hyphens.
func Wrap(text string, w int) []string {
	if w <= 0 {
		return nil
	}
	var lines []string
	for par := range strings.SplitSeq(ansi.Strip(strings.ReplaceAll(text, "\r\n", "\n")), "\n") {
		lines = append(lines, wrapLine(tidy(par), w)...)
	}
	return lines
}

func wrapLine(s string, w int) []string {
	if Width(s) <= w {
		return []string{s}
	}
	indent := s[:len(s)-len(strings.TrimLeft(s, " "))]
	if len(indent) >= w {
		indent = ""
	}
	var lines []string
	line := indent
	for _, word := range strings.Fields(s) {
		if blankEnd(line) && Width(line)+Width(word) <= w {
			line += word
			continue
		}
		if !blankEnd(line) && Width(line)+1+Width(word) <= w {
			line += " " + word
			continue
		}
		if !blankEnd(line) {
			lines = append(lines, line)
			line = ""
		}
		pieces := chop(word, w-Width(line), w)
		pieces[0] = line + pieces[0]
		lines = append(lines, pieces[:len(pieces)-1]...)
		line = pieces[len(pieces)-1]
	}
	return append(lines, line)
}

// blankEnd reports whether a word may follow s as it is: s is empty or only
// an indent.
func blankEnd(s string) bool { return s == "" || s[len(s)-1] == ' ' }

// chop cuts a word into pieces, the first of at most first cells, the others
// of at most w.
func chop(word string, first, w int) []string {
	var pieces []string
	room := first
	for Width(word) > room {
		head := ansi.Truncate(word, room, "")
		if head == "" { // a wide character in one cell
			seq, _, n, _ := ansi.DecodeSequence(word, ansi.NormalState, nil)
			if head = seq; n == 0 {
				break
			}
		}
		pieces = append(pieces, head)
		word = word[len(head):]
		room = w
	}
	if word != "" || len(pieces) == 0 {
		pieces = append(pieces, word)
	}
	return pieces
}
