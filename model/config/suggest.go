package config

import (
	"fmt"
	"strings"
)

// unknownKey reads `there is no setting "refesh"; did you mean "refresh"? …`.
func unknownKey(what, got string, allowed []string) string {
	text := fmt.Sprintf("there is no %s %q", what, got)
	if near := Nearest(got, allowed); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return text + " (allowed: " + strings.Join(allowed, " ") + ")"
}

// Nearest returns the word that got most probably meant, or "" when none is
// near: at most a third of the letters, or one, may be wrong, or it is the
// start of one word alone.
func Nearest(got string, words []string) string {
	got = strings.ToLower(got)
	best, least := "", max(1, len(got)/3)+1
	for _, w := range words {
		if d := editDistance(got, w); d < least {
			best, least = w, d
		}
	}
	if best == "" && got != "" {
		best = onlyCompletion(got, words)
	}
	return best
}

// onlyCompletion is the one word that begins so, or "".
func onlyCompletion(start string, words []string) string {
	found := ""
	for _, w := range words {
		if strings.HasPrefix(w, start) {
			if found != "" {
				return ""
			}
			found = w
		}
	}
	return found
}

// editDistance counts insertions, deletions, replacements and swaps of
// neighbours: the optimal string alignment distance.
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
