package cli

import (
	"context"
	"fmt"

	"berth/backend"
)

// lazyQueue is a queue that is opened when it is first needed.
type lazyQueue struct{ *lazy[backend.Queue] }

func newLazyQueue(open func(context.Context) (backend.Queue, error)) *lazyQueue {
	return &lazyQueue{newLazy(open)}
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
