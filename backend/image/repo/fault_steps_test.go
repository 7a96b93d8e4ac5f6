package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/image/place"
	"berth/backend/image/place/placetest"
)

// work is something that is done to a repository in a place, and may fail
// anywhere in it.
type work struct {
	name string
	do   func(ctx context.Context, s *scene, p place.Place) error
	// keeps are the points that are whole whatever happens to it.
	keeps func(s *scene) []madePoint
}

func withRepo(ctx context.Context, s *scene, p place.Place, do func(*Repo) error) error {
	r, err := Open(ctx, p, s.secret, Options{})
	if err != nil {
		return err
	}
	return errors.Join(do(r), r.Close())
}

func thirdPoint() plan {
	a := newMem(1<<20 + 700)
	a.random(9, 0, 2000)
	b := newMem(8000)
	b.random(10, 0, 8000)
	return plan{vm: 3, at: started.Add(3 * time.Hour), disks: map[string]*mem{"vda": a, "vdb": b}}
}

func everyWork(t *testing.T) []work {
	all := func(s *scene) []madePoint { return s.points }
	return []work{
		{"backup", func(ctx context.Context, s *scene, p place.Place) error {
			_, err := makePoint(ctx, p, s.secret, thirdPoint())
			return err
		}, all},
		{"forget", func(ctx context.Context, s *scene, p place.Place) error {
			return withRepo(ctx, s, p, func(r *Repo) error {
				err := r.Forget(ctx, s.points[0].m.ID)
				if isMissing(err) { // done before
					return nil
				}
				return err
			})
		}, func(s *scene) []madePoint { return s.points[1:] }},
		{"prune", func(ctx context.Context, s *scene, p place.Place) error {
			return withRepo(ctx, s, p, func(r *Repo) error {
				if err := r.Forget(ctx, s.points[0].m.ID); err != nil && !isMissing(err) {
					return err
				}
				_, err := r.Prune(ctx, PruneOptions{Waste: 1})
				return err
			})
		}, func(s *scene) []madePoint { return s.points[1:] }},
		{"prune with grace", func(ctx context.Context, s *scene, p place.Place) error {
			return withRepo(ctx, s, p, func(r *Repo) error {
				if err := r.Forget(ctx, s.points[2].m.ID); err != nil && !isMissing(err) {
					return err
				}
				_, err := r.Prune(ctx, PruneOptions{Waste: 1, Grace: time.Hour})
				return err
			})
		}, func(s *scene) []madePoint { return s.points[:2] }},
		{"rebuild", func(ctx context.Context, s *scene, p place.Place) error {
			return withRepo(ctx, s, p, func(r *Repo) error {
				entries, err := p.List(ctx, sumsDir)
				if err != nil {
					return err
				}
				for _, e := range entries[:min(1, len(entries))] {
					if err := p.Remove(ctx, e.Name); err != nil {
						return err
					}
				}
				_, err = r.Check(ctx, CheckOptions{Rebuild: true})
				return err
			})
		}, all},
		{"copy to", func(ctx context.Context, s *scene, p place.Place) error {
			from := copySource(t)
			return withRepo(ctx, from, from.mem.Clone(), func(src *Repo) error {
				return withRepo(ctx, s, p, func(dst *Repo) error {
					rep, err := src.CopyTo(ctx, dst, nil, CopyOptions{})
					if n := len(rep.Copied) + len(rep.Skipped); err == nil && n != len(from.points) {
						return fmt.Errorf("%d points of %d are there", n, len(from.points))
					}
					return err
				})
			})
		}, all},
	}
}

// copySource is a repository whose points no scene has: one, and one that
// differs from it in a part.
func copySource(t *testing.T) *scene {
	t.Helper()
	s := newScene(t, true)
	for _, p := range s.points {
		if err := s.mem.Remove(t.Context(), pointName(p.m.ID)); err != nil {
			t.Fatal(err)
		}
	}
	s.points = nil
	s.must(t, s.add(t.Context(), s.mem, thirdPoint()))
	next := secondPoint(s.points[0])
	next.vm, next.at = 3, started.Add(9*time.Hour)
	s.must(t, s.add(t.Context(), s.mem, next))
	return s
}

// Steps of each work fail in each way, spread evenly over all of them (every
// single one with BERTH_EVERY_STEP=1): with an error, with the answer lost, with half of a write done, with no room, and with the death of
// the process. Then all points that were there are whole, and the work can be
// done again.
func TestAnyStepMayFail(t *testing.T) {
	odd := errors.New("injected")
	kinds := map[string]placetest.Fault{
		"error":    {Err: odd},
		"unheard":  {Err: odd, After: true},
		"torn":     {Err: odd, Torn: true},
		"no room":  {Err: fmt.Errorf("injected: %w", backend.ErrNoRoom)},
		"crash":    {Crash: true},
		"too late": {Crash: true, After: true},
	}
	base := newScene(t, false)
	for _, w := range everyWork(t) {
		t.Run(w.name, func(t *testing.T) {
			count := placetest.NewFaulty(base.mem.Clone(), nil)
			if err := w.do(t.Context(), base, count); err != nil {
				t.Fatal(err)
			}
			n := 0
			every := max(1, count.Steps()*len(kinds)/many(120, 25))
			if os.Getenv("BERTH_EVERY_STEP") != "" {
				every = 1
			}
			t.Logf("%d steps, each in %d ways, every %d. is tried", count.Steps(), len(kinds), every)
			for _, kind := range slices.Sorted(keys(kinds)) {
				for step := 1; step <= count.Steps(); step++ {
					if n++; n%every == 0 {
						failAt(t, base, w, kind, step, kinds[kind])
					}
				}
			}
		})
	}
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func failAt(t *testing.T, base *scene, w work, kind string, step int, f placetest.Fault) {
	t.Helper()
	mem := base.mem.Clone()
	faulty := placetest.NewFaulty(mem, placetest.At(step, f))
	err := w.do(t.Context(), base, faulty)
	if err == nil && f.Crash && !f.After && faulty.Crashed() { // the work takes a step fewer now and then
		t.Fatalf("%s at step %d: nothing was said", kind, step)
	}
	after := mem.Clone()
	after.Clock = func() time.Time { return time.Now().Add(2 * time.Hour) } // locks of the dead expire
	defer func() {
		if t.Failed() {
			t.Logf("%s at step %d, which ended in %v", kind, step, err)
		}
	}()
	base.whole(t, after, w.keeps(base))
	if err := w.do(t.Context(), base, after); err != nil {
		t.Fatalf("%s at step %d: done again: %v", kind, step, err)
	}
	base.whole(t, after, w.keeps(base))
}
