package engine

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/backend"
	"berth/backend/store"
)

// live runs a real engine, with its goroutines, over the rig's store and hosts.
func (r *rig) live(o Options) (ended <-chan error, stop func()) {
	r.Helper()
	if err := r.e.dropLease(); err != nil {
		r.Fatal(err)
	}
	e, err := New(o)
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return done, cancel
}

// awaits waits for a job's state, woken by the store.
func (r *rig) awaits(id backend.JobID, want backend.JobState) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	for {
		rev, err := r.store.Revision(ctx)
		if err != nil {
			r.Fatal(err)
		}
		if r.job(id).State == want {
			return
		}
		if r.store.Wait(ctx, rev) != nil {
			r.is(id, want)
		}
	}
}

// TestRunEndsWhenIdle: an engine does its work, ends by itself, and leaves no
// goroutine and no lease behind.
func TestRunEndsWhenIdle(t *testing.T) {
	leak := goleak.IgnoreCurrent()
	r := newRig(t, "hv1")
	r.hosts["hv1"].add("vm", 1, 1, 0)
	id := r.submit("hv1", "vm")
	o := r.opt
	o.Clock, o.Idle = nil, 50*time.Millisecond
	ended, _ := r.live(o)
	r.awaits(id, backend.JobRunning)
	if err := r.c.Change(t.Context(), []backend.JobID{id}, backend.JobChange{Cancel: true}); err != nil {
		t.Fatal(err)
	}
	r.awaits(id, backend.JobCancelled)
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("an engine without work does not end")
	}
	s, err := r.c.State(t.Context())
	if err != nil || s.Engine.Running {
		t.Errorf("%v: engine %+v", err, s.Engine)
	}
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, leak)
}

// deadHost never answers.
type deadHost struct{ *fakeHost }

func (deadHost) Watch(ctx context.Context) (<-chan backend.Event, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (deadHost) Poll(ctx context.Context) (backend.Poll, error) {
	<-ctx.Done()
	return backend.Poll{}, ctx.Err()
}

func TestADeadHostHoldsUpNobody(t *testing.T) {
	r := newRig(t, "hv1", "dead")
	r.hosts["hv1"].add("vm", 1, 1, 0)
	id := r.submit("hv1", "vm")
	o := r.opt
	o.Clock = nil
	o.Connect = func(name, _ string) (backend.Host, error) {
		if name == "dead" {
			return deadHost{r.hosts[name]}, nil
		}
		return r.hosts[name], nil
	}
	ended, stop := r.live(o)
	r.awaits(id, backend.JobRunning)
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the engine does not end")
	}
}

func TestOneEngineOnly(t *testing.T) {
	r := newRig(t, "hv1")
	o := r.opt
	o.Clock, o.Lock = nil, filepath.Join(t.TempDir(), "engine.lock")
	c := NewClient(ClientOptions{Store: r.store, Lock: o.Lock})
	running := func() bool {
		s, err := c.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Engine.Running
	}
	if running() {
		t.Error("an engine is said to run before any does")
	}
	ended, stop := r.live(o)
	for !running() {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	second, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if err := second.Run(t.Context()); !errors.As(err, &held) || !errors.Is(err, backend.ErrBusy) {
		t.Errorf("a second engine: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if running() {
		t.Error("it is said to run after its end")
	}
}

// TestTakenOver: an engine whose lease is gone ends and writes no more.
func TestTakenOver(t *testing.T) {
	r := newRig(t, "hv1")
	r.hosts["hv1"].add("vm", 1, 1, 0)
	old := r.e
	r.engine()
	id := r.submit("hv1", "vm")
	if _, err := old.turn(t.Context()); !errors.Is(err, store.ErrLeaseLost) {
		t.Errorf("the old engine's turn: %v", err)
	}
	if j := r.job(id); j.State != backend.JobQueued {
		t.Errorf("it made the job %s", j.State)
	}
	r.must()
	r.is(id, backend.JobRunning)
	r.boots("hv1", "vm", 1)
}
