package widget

import (
	"math"
	"strings"

	"berth/themes"
)

// Sparkline draws the last w values, the newest at the right, in w cells.
// The highest level stands for limit, or for the highest value when limit is
// 0 or less. NaN leaves a gap; a value that is not zero never looks like
// zero, which is the lowest level.
func Sparkline(values []float64, w int, limit float64, g *themes.Glyphs) string {
	if w <= 0 {
		return ""
	}
	if len(values) > w {
		values = values[len(values)-w:]
	}
	if limit <= 0 {
		limit = highest(values)
	}
	var b strings.Builder
	b.WriteString(blanks(w - len(values)))
	for _, v := range values {
		if math.IsNaN(v) {
			b.WriteByte(' ')
			continue
		}
		b.WriteString(g.Spark[level(v, limit, len(g.Spark))])
	}
	return b.String()
}

func highest(values []float64) float64 {
	m := 0.0
	for _, v := range values {
		if v > m && !math.IsInf(v, 1) { // false for NaN
			m = v
		}
	}
	return m
}

// level is v's place among n levels.
func level(v, limit float64, n int) int {
	if v <= 0 || limit <= 0 || n < 2 {
		return 0
	}
	if v >= limit {
		return n - 1
	}
	l := int(math.Round(v / limit * float64(n-1)))
	return max(min(l, n-1), 1)
}

// GaugeStyle is how a gauge looks.
type GaugeStyle struct {
	Full, Empty, Label themes.Style
	Glyphs             *themes.Glyphs
}

// Gauge draws a bar w cells wide, filled to fraction (0 to 1, more is full),
// with a label at its right when there is room for it and for at least 3
// cells of bar. A fraction that is NaN is not known: the bar is empty and
// says so.
func Gauge(fraction float64, w int, label string, st GaugeStyle) string {
	if w <= 0 {
		return ""
	}
	tail := ""
	if lw := Width(label); lw > 0 && w-lw-1 >= 3 {
		w -= lw + 1
		tail = " " + st.Label.Render(tidy(label))
	}
	if math.IsNaN(fraction) {
		return st.Empty.Render(FitCenter(fitOrNothing("?", w), w)) + tail
	}
	full, part := fill(fraction, w, len(st.Glyphs.BarParts))
	bar := repeat(st.Glyphs.BarFull, full)
	if part > 0 {
		bar += st.Glyphs.BarParts[part-1]
		full++
	}
	return st.Full.Render(bar) + st.Empty.Render(repeat(st.Glyphs.BarEmpty, w-full)) + tail
}

func fitOrNothing(s string, w int) string {
	if Width(s) > w {
		return ""
	}
	return s
}

// fill is how many of w cells are full, and which of the partly full glyphs
// (1 is the first) comes after them. Something that is not nothing shows, and
// what is not quite full does not look full.
func fill(fraction float64, w, parts int) (full, part int) {
	if fraction >= 1 {
		return w, 0
	}
	if fraction <= 0 {
		return 0, 0
	}
	steps := parts + 1
	n := int(math.Round(fraction * float64(w*steps)))
	n = max(min(n, w*steps-1), 1)
	return n / steps, n % steps
}

// Progress is a gauge for work under way: the bar, and done and total in the
// label's place, as "42%". With an unknown fraction the turning wheel's frame
// number step is shown instead of a bar.
func Progress(fraction float64, w, step int, label string, st GaugeStyle) string {
	if math.IsNaN(fraction) {
		wheel := st.Glyphs.Spinner
		return Fit(st.Full.Render(wheel[(step%len(wheel)+len(wheel))%len(wheel)])+" "+st.Label.Render(tidy(label)), w)
	}
	return Fit(Gauge(fraction, w, label, st), w)
}
