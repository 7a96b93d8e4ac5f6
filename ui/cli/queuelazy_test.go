package cli

import (
	"context"
	"errors"
	"testing"

	"berth/backend"
)

// asks calls every method of a queue.
func asks(ctx context.Context, q backend.Queue) map[string]error {
	out := map[string]error{}
	_, out["State"] = q.State(ctx)
	out["Wait"] = q.Wait(ctx, 0)
	_, out["Explain"] = q.Explain(ctx, 12)
	_, out["WhatIf"] = q.WhatIf(ctx, backend.Hypothesis{})
	_, out["Log"] = q.Log(ctx, backend.LogQuery{})
	_, out["Submit"] = q.Submit(ctx, nil)
	out["Change"] = q.Change(ctx, nil, backend.JobChange{})
	out["SetPolicy"] = q.SetPolicy(ctx, backend.QueuePolicy{})
	out["Drain"] = q.Drain(ctx, "hv1", true)
	out["StartEngine"] = q.(backend.EngineStarter).StartEngine(ctx)
	out["Fenced"] = q.(hostKeeper).Fenced(ctx, "hv1")
	out["RemoveHost"] = q.(hostKeeper).RemoveHost(ctx, "hv1")
	return out
}

func TestLazyQueue(t *testing.T) {
	bad := errors.New("no place for it")
	fake, opened := newFakeQueue(), 0
	l := newLazyQueue(func(context.Context) (backend.Queue, error) {
		if opened++; opened <= 12 {
			return (*fakeQueue)(nil), bad // not nil to whoever compares it
		}
		return fake, nil
	})
	for name, err := range asks(t.Context(), l) {
		if !errors.Is(err, bad) {
			t.Errorf("%s of a queue that cannot be opened: %v", name, err)
		}
	}
	for name, err := range asks(t.Context(), l) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if opened != 13 || len(fake.calls) != 8 {
		t.Errorf("opened %d times; it heard %v", opened, fake.calls)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	held := <-l.slot // somebody is opening it
	if _, err := l.State(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever gave up waits on: %v", err)
	}
	l.slot <- held
	if err := l.Close(); err != nil || !fake.closed {
		t.Errorf("close: %v", err)
	}
	for name, err := range asks(t.Context(), l) {
		if !errors.Is(err, backend.ErrClosed) {
			t.Errorf("%s of a closed queue: %v", name, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func TestAQueueThatWasNeverAskedIsNeverOpened(t *testing.T) {
	l := newLazyQueue(func(context.Context) (backend.Queue, error) { return nil, errors.New("opened") })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
