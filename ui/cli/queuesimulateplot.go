package cli

import (
	"math"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"berth/themes"
)

// plotRows is how high a plot is, without its axis.
const plotRows = 16

// plot draws policies as letters: mean wait to the right, mean slowdown up,
// so that the best are at the bottom left.
type plot struct {
	width            int
	glyphs           themes.Glyphs
	axis, front, own themes.Style
}

// cell is one character of a plot and its look.
type cell struct {
	text string
	look themes.Style
}

// draw returns lines of at most p.width cells.
func (p *plot) draw(list []contender) string {
	wait := newScale(list, func(c *contender) float64 { return c.MeanWait }, spanSteps, spanLabel)
	bsld := newScale(list, func(c *contender) float64 { return c.MeanBSLD }, bsldSteps, bsldLabel)
	labels, margin := bsld.labels(plotRows)
	columns := max(p.width-margin-2, 10)
	area := newArea(plotRows, columns)
	for i := len(list) - 1; i >= 0; i-- { // the best last: it keeps its place
		c := &list[i]
		area.put(plotRows-1-bsld.at(c.MeanBSLD, plotRows), wait.at(c.MeanWait, columns), cell{c.mark, p.look(c)})
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", margin+2) + p.axis.Render(cutTo("mean bsld", columns)) + "\n")
	for y, row := range area {
		label, tee := labels[plotRows-1-y], p.glyphs.VLine
		if label != "" {
			tee = p.glyphs.TeeRight
		}
		b.WriteString(p.axis.Render(padLeft(label, margin)+" "+tee) + renderCells(row) + "\n")
	}
	p.ground(&b, wait, margin, columns)
	return b.String()
}

// ground is the axis to the right, with its labels below.
func (p *plot) ground(b *strings.Builder, wait scale, margin, columns int) {
	line := slices.Repeat([]string{p.glyphs.HLine}, columns)
	below := slices.Repeat([]string{" "}, columns)
	end := -1 // of the last label
	for _, step := range wait.steps {
		x, text := wait.at(step, columns), wait.label(step)
		from := min(max(x-len(text)/2, 0), columns-len(text))
		if from <= end {
			continue
		}
		line[x] = p.glyphs.TeeTop
		for i, r := range text {
			below[from+i] = string(r)
		}
		end = from + len(text)
	}
	indent := strings.Repeat(" ", margin+1)
	b.WriteString(indent + p.axis.Render(p.glyphs.BottomLeft+strings.Join(line, "")) + "\n")
	b.WriteString(indent + " " + p.axis.Render(strings.TrimRight(strings.Join(below, ""), " ")) + "\n")
	b.WriteString(indent + p.axis.Render(padLeft("mean wait", columns+1)) + "\n")
}

func (p *plot) look(c *contender) themes.Style {
	switch {
	case c.own:
		return p.own
	case c.front:
		return p.front
	}
	return themes.Style{}
}

// area is a field of cells; an empty text is a blank.
type area [][]cell

func newArea(rows, columns int) area {
	a := make(area, rows)
	for y := range a {
		a[y] = make([]cell, columns)
	}
	return a
}

// put sets a cell. What stood there moves to the nearest free cell of the row,
// so that policies that do alike stand beside one another.
func (a area) put(y, x int, c cell) {
	row := a[y]
	if row[x].text != "" {
		if free := nearestFree(row, x); free >= 0 {
			row[free] = row[x]
		}
	}
	row[x] = c
}

func nearestFree(row []cell, x int) int {
	for d := 1; d < len(row); d++ {
		for _, at := range []int{x + d, x - d} {
			if at >= 0 && at < len(row) && row[at].text == "" {
				return at
			}
		}
	}
	return -1
}

func renderCells(row []cell) string {
	var b strings.Builder
	for _, c := range row {
		if c.text == "" {
			b.WriteByte(' ')
			continue
		}
		c.look.WriteTo(&b, c.text)
	}
	return strings.TrimRight(b.String(), " ")
}

func padLeft(s string, width int) string {
	return strings.Repeat(" ", max(width-ansi.StringWidth(s), 0)) + s
}

func cutTo(s string, width int) string { return ansi.Truncate(s, width, "") }

// scale maps values to cells by their logarithm: policies differ by factors.
type scale struct {
	low, high float64 // logarithms
	steps     []float64
	label     func(float64) string
}

// The values that axes are marked at.
var (
	spanSteps = []float64{
		1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 5 * 3600, 10 * 3600, 86400, 2 * 86400, 5 * 86400,
		10 * 86400, 20 * 86400, 50 * 86400, 100 * 86400, 200 * 86400, 500 * 86400,
	}
	bsldSteps = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 1_000_000}
)

// spanLabel is one of spanSteps in its own unit: "2h".
func spanLabel(s float64) string {
	for _, unit := range []struct {
		length float64
		name   string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}} {
		if s >= unit.length {
			return decimals(s/unit.length, 0) + unit.name
		}
	}
	return decimals(s, 0) + "s"
}

func bsldLabel(x float64) string { return decimals(x, 0) }

// logOf is the logarithm of a wait or a slowdown; below a second all is alike.
func logOf(x float64) float64 { return math.Log(max(x, 1)) }

func newScale(list []contender, value func(*contender) float64, steps []float64, label func(float64) string) scale {
	s := scale{low: math.Inf(1), high: math.Inf(-1), label: label}
	for i := range list {
		s.low, s.high = min(s.low, logOf(value(&list[i]))), max(s.high, logOf(value(&list[i])))
	}
	if s.high-s.low < 0.1 { // all alike: in the middle
		s.low, s.high = s.low-0.5, s.high+0.5
	}
	for _, step := range steps {
		if l := math.Log(step); l >= s.low && l <= s.high {
			s.steps = append(s.steps, step)
		}
	}
	return s
}

// at is the cell of n in which x lies.
func (s scale) at(x float64, n int) int {
	part := (logOf(x) - s.low) / (s.high - s.low)
	return min(max(int(math.Round(part*float64(n-1))), 0), n-1)
}

// labels are those of n cells, and the width they need.
func (s scale) labels(n int) (labels []string, width int) {
	labels = make([]string, n)
	for _, step := range s.steps {
		text := s.label(step)
		labels[s.at(step, n)] = text
		width = max(width, len(text))
	}
	return labels, width
}
