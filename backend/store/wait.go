package store

import (
	"context"
	"time"
)

// Revision rises with every change of the queue that anybody commits, in all
// processes alike; the engine's beats and the times of host figures aside.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	r, err := s.Revisions(ctx)
	return r.Queue, err
}

// Revisions are counters of what was changed. Each rises alone, so that
// progress, which is told every second, wakes nobody who does not look at it.
type Revisions struct {
	Queue     int64
	Transfers int64
	Catalogue int64 // points, repositories, schedules
}

// Sum rises when any of them does.
func (r Revisions) Sum() int64 { return r.Queue + r.Transfers + r.Catalogue }

// Revisions returns all of them, of one moment.
func (s *Store) Revisions(ctx context.Context) (r Revisions, err error) {
	if s.isClosed() {
		return r, s.explain(ctx, "read the queue", errClosed)
	}
	err = s.read.QueryRowContext(ctx, "SELECT revision, transfers, catalogue FROM meta").Scan(&r.Queue, &r.Transfers, &r.Catalogue)
	if err != nil {
		err = s.orClosed(err)
	}
	return r, s.explain(ctx, "read the queue", err)
}

// Wait returns when the queue's revision is another than the one given, or with
// ctx's error when that ends. Changes wake it at once, those of other processes
// too (see bell).
func (s *Store) Wait(ctx context.Context, revision int64) error {
	return s.waitFor(ctx, func(r Revisions) bool { return r.Queue != revision })
}

// WaitAny is Wait for the sum of all revisions.
func (s *Store) WaitAny(ctx context.Context, sum int64) error {
	return s.waitFor(ctx, func(r Revisions) bool { return r.Sum() != sum })
}

// WaitTransfers is Wait for transfers and the catalogue; sum is of both.
func (s *Store) WaitTransfers(ctx context.Context, sum int64) error {
	return s.waitFor(ctx, func(r Revisions) bool { return r.Transfers+r.Catalogue != sum })
}

func (s *Store) waitFor(ctx context.Context, changed func(Revisions) bool) error {
	tick := time.NewTicker(s.listen())
	defer tick.Stop()
	for {
		woken := s.changes()
		now, err := s.Revisions(ctx)
		if err != nil || changed(now) {
			return err
		}
		select {
		case <-woken:
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// changes is closed at the next change, or when the store is.
func (s *Store) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Store) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	close(s.changed)
	s.changed = make(chan struct{})
}
