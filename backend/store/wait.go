package store

import (
	"context"
	"time"
)

// Revision rises with every change that anybody commits, in all processes
// alike; the engine's beats and the times of host figures aside.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	if s.isClosed() {
		return 0, s.explain(ctx, "read the queue", errClosed)
	}
	var n int64
	err := s.read.QueryRowContext(ctx, "SELECT revision FROM meta").Scan(&n)
	if err != nil {
		err = s.orClosed(err)
	}
	return n, s.explain(ctx, "read the queue", err)
}

// Wait returns when the revision is another than the one given, or with ctx's
// error when that ends. What this process changes wakes it at once; others are
// noticed when it looks, some times a second.
func (s *Store) Wait(ctx context.Context, revision int64) error {
	tick := time.NewTicker(s.poll)
	defer tick.Stop()
	for {
		changed := s.changes()
		now, err := s.Revision(ctx)
		if err != nil || now != revision {
			return err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// changes is closed at this process's next change, or when the store is.
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
