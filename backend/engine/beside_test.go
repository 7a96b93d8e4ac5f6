package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"berth/backend/store"
)

// beside is a Companion.
type beside struct {
	busy  atomic.Bool
	began chan int64
	fails error
}

func (b *beside) Busy() bool { return b.busy.Load() }

func (b *beside) Run(ctx context.Context, epoch int64) error {
	b.began <- epoch
	if b.fails != nil {
		return b.fails
	}
	<-ctx.Done()
	return nil
}

func newBeside(t *testing.T, b *beside) (*Engine, *store.Store) {
	t.Helper()
	s, err := store.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	o := Options{Store: s, Connect: newRig(t).opt.Connect, Beside: b, Idle: time.Millisecond}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e, s
}

// The engine does not end while what lives beside the queue has work, which has
// the engine's own lease.
func TestBesideTheQueue(t *testing.T) {
	b := &beside{began: make(chan int64, 1)}
	b.busy.Store(true)
	e, s := newBeside(t, b)
	over := make(chan error, 1)
	go func() { over <- e.Run(t.Context()) }()
	epoch := <-b.began
	if err := s.View(t.Context(), func(tx *store.Tx) error { return tx.CheckLease(epoch) }); err != nil {
		t.Error(err)
	}
	for range 3 { // it takes turns, and stays
		if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetSetting("x", time.Now().String()) }); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-over:
			t.Fatalf("it ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	b.busy.Store(false)
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetSetting("x", "") }); err != nil {
		t.Fatal(err)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
}

func TestBesideTheQueueFails(t *testing.T) {
	b := &beside{began: make(chan int64, 1), fails: errors.New("broken")}
	b.busy.Store(true)
	e, _ := newBeside(t, b)
	if err := e.Run(t.Context()); !errors.Is(err, b.fails) {
		t.Error(err)
	}
}
