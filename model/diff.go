package model

import (
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// DiffLine is one line of a comparison.
type DiffLine struct {
	Op   byte // ' ', '+', '-', or '@' for a place in the file
	Text string
}

// Diff compares two texts line by line, with three lines around each change.
// It is empty when they are the same.
func Diff(before, after string) []DiffLine {
	u := udiff.Unified("before", "after", before, after)
	var out []DiffLine
	for i, l := range strings.Split(strings.TrimRight(u, "\n"), "\n") {
		if i < 2 || l == "" || strings.HasPrefix(l, `\`) { // the file names; "no newline at end"
			continue
		}
		out = append(out, DiffLine{Op: l[0], Text: l[1:]})
	}
	return out
}
