package backendtest

import (
	"context"
	"testing"
	"time"

	"berth/backend"
)

// eventsTellOfTransitions soon after Do has returned, and of which domain.
func eventsTellOfTransitions(t *testing.T, f *Fixture) {
	if f.NoEvents != "" {
		t.Skip(f.NoEvents)
	}
	b := newBench(t, f)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	events, err := b.h.Watch(ctx)
	if err != nil {
		t.Fatalf("Watch: %v", err)
	}
	name := freshName()
	id := b.define(f.XML(name, "", ""))
	b.heard(events, id, name, "defined", time.Now())
	for _, step := range []struct {
		verb backend.Verb
		what string
	}{
		{backend.VerbStart, "started"},
		{backend.VerbSuspend, "suspended"},
		{backend.VerbResume, "resumed"},
		{backend.VerbDestroy, "stopped"},
		{backend.VerbStart, "started"},
		{backend.VerbSave, "stopped"},
		{backend.VerbRestore, "started"},
		{backend.VerbDestroy, "stopped"},
		{backend.VerbUndefine, "undefined"},
	} {
		if why := f.Lacks[step.verb]; why != "" {
			t.Logf("no %s here: %s", step.verb, why)
			continue
		}
		b.do(step.verb, id)
		b.heard(events, id, name, step.what, time.Now())
	}
}

// heard reads events until the wanted one has come.
func (b *bench) heard(events <-chan backend.Event, id backend.UUID, name, what string, from time.Time) {
	b.Helper()
	limit := time.NewTimer(time.Until(from.Add(b.f.within())))
	defer limit.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				b.Fatalf("waiting for %q: the channel was closed", what)
			}
			if e.UUID != id || e.Kind != backend.EventLifecycle || e.What != what {
				continue
			}
			if late := time.Since(from); late > b.f.eventWithin() {
				b.Errorf("%q came after %v, want %v", what, late, b.f.eventWithin())
			}
			if e.Name != name || e.Host != b.h.Name() || e.At.IsZero() {
				b.Errorf("%q says name %q, host %q, at %v; want %q on %q", what, e.Name, e.Host, e.At, name, b.h.Name())
			}
			return
		case <-limit.C:
			b.Fatalf("no event %q within %v", what, b.f.within())
		}
	}
}

// watchEndsWithItsContext: the channel is closed.
func watchEndsWithItsContext(t *testing.T, f *Fixture) {
	if f.NoEvents != "" {
		t.Skip(f.NoEvents)
	}
	b := newBench(t, f)
	ctx, cancel := context.WithCancel(b.ctx)
	events, err := b.h.Watch(ctx)
	if err != nil {
		t.Fatalf("Watch: %v", err)
	}
	cancel()
	limit, stop := context.WithTimeout(b.ctx, 5*time.Second)
	defer stop()
	if err := drain(limit, events); err != nil {
		t.Errorf("the channel is open 5 s after its context ended: %v", err)
	}
	b.poll() // and the host goes on
}
