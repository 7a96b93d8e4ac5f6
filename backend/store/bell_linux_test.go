package store

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"berth/backend"
)

// What another opener of the file changes is heard; nobody has to look.
func TestWaitHearsOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	s, other := opened(t, path), opened(t, path)
	s.poll = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 20 {
		now := revision(t, s)
		waited := make(chan error, 1)
		go func() { waited <- s.Wait(ctx, now) }()
		update(t, other, func(tx *Tx) error { return tx.AddEvent(backend.JobEvent{At: time.Now(), What: "rang"}) })
		if err := <-waited; err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever cannot listen looks, as often as without.
func TestADeafStoreLooks(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "berth.db"))
	s.deaf, s.poll = true, time.Millisecond
	if got := s.listen(); got != s.poll || s.bell != nil {
		t.Errorf("it looks every %v", got)
	}
}

// A closed store listens no longer, and its waits end.
func TestAClosedStoreHearsNothing(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "berth.db"))
	s.poll = time.Hour
	now := revision(t, s)
	waited := make(chan error, 1)
	s.listen()
	go func() { waited <- s.Wait(t.Context(), now) }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err == nil {
		t.Error("a wait of a closed store ended well")
	}
	if e, ok := s.bell.(*ear); !ok || e.f.Fd() != ^uintptr(0) {
		t.Error("it listens still")
	}
}
