package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// side is one tool's way to do what a contest is about.
type side struct {
	name string
	// ready makes everything as it was before the first round; it is not timed.
	ready func(ctx context.Context) error
	run   func(ctx context.Context) error
	// size is what the result takes, in bytes; nil where that says nothing.
	size func() (int64, error)
	// memory is the most that the tool held, in bytes, as far as is known.
	memory func() int64

	took []time.Duration
}

// limit is a target: berth's median in terms of another side's.
type limit struct {
	of    string
	ratio float64
}

// contest is one line of the table, or several.
type contest struct {
	name   string
	sides  []*side // the first is berth's
	limits []limit
	once   []string // sides that have one turn only, for they take long
}

// hold lets the sides take turns.
func (c *contest) hold(ctx context.Context, rounds int, t *table) error {
	for round := range rounds {
		for _, s := range c.sides {
			if round > 0 && slices.Contains(c.once, s.name) {
				continue
			}
			d, err := s.turn(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			fmt.Fprintf(os.Stderr, "%s, %s: %.2f s\n", c.name, s.name, d.Seconds())
		}
	}
	t.add(c)
	return nil
}

func (s *side) turn(ctx context.Context) (time.Duration, error) {
	if s.ready != nil {
		if err := s.ready(ctx); err != nil {
			return 0, err
		}
	}
	from := time.Now()
	err := s.run(ctx)
	took := time.Since(from)
	s.took = append(s.took, took)
	return took, err
}

func (s *side) median() time.Duration {
	d := slices.Clone(s.took)
	slices.Sort(d)
	return d[len(d)/2]
}

func (c *contest) side(name string) *side {
	for _, s := range c.sides {
		if s.name == name {
			return s
		}
	}
	return nil
}
