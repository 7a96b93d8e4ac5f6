package widget

import (
	"math"
	"strings"

	"berth/themes"
)

// Graph draws the last w values as a bar chart h lines high, the newest at the
// right, and returns its lines, each w cells wide. The full height stands for
// limit, or for the highest value when limit is 0 or less. NaN leaves a gap; a
// value that is not zero always shows.
func Graph(values []float64, w, h int, limit float64, g *themes.Glyphs) []string {
	if w <= 0 || h <= 0 {
		return nil
	}
	if len(values) > w {
		values = values[len(values)-w:]
	}
	if limit <= 0 {
		limit = highest(values)
	}
	steps := len(g.Spark)
	lines := make([]string, h)
	for row := range lines {
		floor := (h - 1 - row) * steps // levels below this line
		var b strings.Builder
		b.WriteString(blanks(w - len(values)))
		for _, v := range values {
			b.WriteString(bar(graphLevel(v, limit, h*steps)-floor, g, floor == 0 && !math.IsNaN(v)))
		}
		lines[row] = b.String()
	}
	return lines
}

// graphLevel is v's height in levels of n.
func graphLevel(v, limit float64, n int) int {
	if math.IsNaN(v) || v <= 0 || limit <= 0 {
		return 0
	}
	if v >= limit {
		return n
	}
	return max(1, min(n, int(math.Round(v/limit*float64(n)))))
}

// bar is the part of a bar in one line: n levels of it, from none to all. On
// the lowest line a known zero is drawn as the lowest level.
func bar(n int, g *themes.Glyphs, ground bool) string {
	switch {
	case n > 0:
		return g.Spark[min(n, len(g.Spark))-1]
	case ground:
		return g.Spark[0]
	}
	return " "
}
