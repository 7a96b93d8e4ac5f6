package main

import (
	"fmt"
	"io"
	"strings"
)

// table is what is printed at the end, a line a contest.
type table struct{ lines []string }

func (t *table) add(c *contest) {
	own := c.sides[0]
	var peers, verdicts []string
	for _, s := range c.sides[1:] {
		peers = append(peers, fmt.Sprintf("%s %s", s.name, figures(s)))
	}
	for _, l := range c.limits {
		of := c.side(l.of)
		ratio := own.median().Seconds() / of.median().Seconds()
		word := "yes"
		if ratio > l.ratio {
			word = "**no**"
		}
		verdicts = append(verdicts, fmt.Sprintf("%.2f × %s (≤ %.2f: %s)", ratio, l.of, l.ratio, word))
	}
	t.lines = append(t.lines, fmt.Sprintf("| %s | %s | %s | %s |", c.name, figures(own), strings.Join(peers, "; "), strings.Join(verdicts, "; ")))
}

// figures are a side's median, and what else is known of it.
func figures(s *side) string {
	text := fmt.Sprintf("%.2f s", s.median().Seconds())
	if s.size != nil {
		if n, err := s.size(); err == nil {
			text += fmt.Sprintf(", %d MiB", n>>20)
		}
	}
	if s.memory != nil {
		if n := s.memory(); n > 0 {
			text += fmt.Sprintf(", %d MiB of memory", n>>20)
		}
	}
	return text
}

func (t *table) print(w io.Writer) {
	fmt.Fprintln(w, "| what | berth | others | berth / others |\n|---|---|---|---|")
	for _, l := range t.lines {
		fmt.Fprintln(w, l)
	}
}
