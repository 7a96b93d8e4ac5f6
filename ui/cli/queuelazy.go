package cli

import (
	"context"
	"fmt"

	"berth/backend"
)

// lazyQueue opens a queue when it is first needed. A console whose state
// folder cannot be written so works all the same, and whoever asks the queue
// something hears why there is none; the next who asks tries again.
type lazyQueue struct {
	open func(context.Context) (backend.Queue, error)
	slot chan backend.Queue // holds the queue, nil until it is open
}

func newLazyQueue(open func(context.Context) (backend.Queue, error)) *lazyQueue {
	l := &lazyQueue{open: open, slot: make(chan backend.Queue, 1)}
	l.slot <- nil
	return l
}

// get opens the queue unless it is open. Others who ask meanwhile wait, but
// not longer than their context.
func (l *lazyQueue) get(ctx context.Context) (backend.Queue, error) {
	select {
	case q, open := <-l.slot:
		if !open {
			return nil, backend.ErrClosed
		}
		if q != nil {
			l.slot <- q
			return q, nil
		}
		q, err := l.open(ctx)
		if err != nil {
			q = nil // whatever stands beside an error
		}
		l.slot <- q
		return q, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (l *lazyQueue) State(ctx context.Context) (backend.QueueState, error) {
	q, err := l.get(ctx)
	if err != nil {
		return backend.QueueState{}, err
	}
	return q.State(ctx)
}

func (l *lazyQueue) Wait(ctx context.Context, revision int64) error {
	q, err := l.get(ctx)
	if err != nil {
		return err
	}
	return q.Wait(ctx, revision)
}

func (l *lazyQueue) Explain(ctx context.Context, id backend.JobID) (backend.Explanation, error) {
	q, err := l.get(ctx)
	if err != nil {
		return backend.Explanation{}, err
	}
	return q.Explain(ctx, id)
}

func (l *lazyQueue) WhatIf(ctx context.Context, h backend.Hypothesis) (backend.QueueState, error) {
	q, err := l.get(ctx)
	if err != nil {
		return backend.QueueState{}, err
	}
	return q.WhatIf(ctx, h)
}

func (l *lazyQueue) Log(ctx context.Context, query backend.LogQuery) ([]backend.JobEvent, error) {
	q, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return q.Log(ctx, query)
}

func (l *lazyQueue) Submit(ctx context.Context, specs []backend.JobSpec) ([]backend.JobID, error) {
	q, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return q.Submit(ctx, specs)
}

func (l *lazyQueue) Change(ctx context.Context, ids []backend.JobID, c backend.JobChange) error {
	q, err := l.get(ctx)
	if err != nil {
		return err
	}
	return q.Change(ctx, ids, c)
}

func (l *lazyQueue) SetPolicy(ctx context.Context, p backend.QueuePolicy) error {
	q, err := l.get(ctx)
	if err != nil {
		return err
	}
	return q.SetPolicy(ctx, p)
}

func (l *lazyQueue) Drain(ctx context.Context, host string, on bool) error {
	q, err := l.get(ctx)
	if err != nil {
		return err
	}
	return q.Drain(ctx, host, on)
}

// StartEngine sees to it that an engine runs, where the queue has one to start.
func (l *lazyQueue) StartEngine(ctx context.Context) error {
	q, err := l.get(ctx)
	if err != nil {
		return err
	}
	if s, ok := q.(backend.EngineStarter); ok {
		return s.StartEngine(ctx)
	}
	return fmt.Errorf("start the engine: %w", backend.ErrUnsupported)
}

// Fenced is a person's word that a lost host is off.
func (l *lazyQueue) Fenced(ctx context.Context, host string) error {
	q, err := l.get(ctx)
	if err != nil {
		return err
	}
	if k, ok := q.(hostKeeper); ok {
		return k.Fenced(ctx, host)
	}
	return fmt.Errorf("host %s: %w", host, backend.ErrUnsupported)
}

// RemoveHost takes a host out of the queue.
func (l *lazyQueue) RemoveHost(ctx context.Context, host string) error {
	q, err := l.get(ctx)
	if err != nil {
		return err
	}
	if k, ok := q.(hostKeeper); ok {
		return k.RemoveHost(ctx, host)
	}
	return fmt.Errorf("host %s: %w", host, backend.ErrUnsupported)
}

// Close closes the queue if it was opened; calls after it fail with
// backend.ErrClosed.
func (l *lazyQueue) Close() error {
	q, open := <-l.slot
	if !open {
		return nil
	}
	close(l.slot)
	if q == nil {
		return nil
	}
	return q.Close()
}
