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
// near: at most a third of the letters may be wrong.
func Nearest(got string, words []string) string {
	best, least := "", len(got)/3+1
	for _, w := range words {
		if d := editDistance(strings.ToLower(got), w); d <= least && (best == "" || d < least) {
			best, least = w, d
		}
	}
	return best
}

// editDistance is Levenshtein's: insertions, deletions and replacements.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
