package model

import (
	"sync"
	"time"

	"berth/backend"
	"berth/backend/audit"
)

// trails are where what berth does is written down: hosts of the demo have no
// trail. It also knows which entries are still to be written, so that berth
// does not end before them.
type trails struct {
	real    *audit.Trail
	demo    func(host string) bool
	pending sync.WaitGroup
}

// of is the trail for a host; nil writes nothing.
func (t *trails) of(host string) *audit.Trail {
	if t.demo(host) {
		return nil
	}
	return t.real
}

// recorder begins something that is to be written down, and returns the
// function that writes it down with its outcome: exactly once, from whichever
// goroutine finds out.
func (a *App) recorder(k backend.Key, name, verb, detail string) func(outcome error) error {
	return a.trails.recorder(k, name, verb, detail)
}

func (t *trails) recorder(k backend.Key, name, verb, detail string) func(outcome error) error {
	t.pending.Add(1)
	trail := t.of(k.Host)
	e := audit.Entry{Host: k.Host, Verb: verb, VM: name, UUID: k.UUID.String(), Detail: detail}
	var once sync.Once
	return func(outcome error) (err error) {
		once.Do(func() {
			defer t.pending.Done()
			err = trail.Record(e, outcome)
		})
		return err
	}
}

// Close waits until everything that was begun is written down, for at most
// the given time, and closes the hosts that joined while berth ran, after the
// demo's backups, which use them. It is for after the program has ended.
func (a *App) Close(wait time.Duration) error {
	a.quit()
	done := make(chan struct{})
	go func() { a.trails.pending.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(wait):
	}
	var first error
	if a.demoBackups != nil {
		first = a.demoBackups.Close()
	}
	for _, h := range a.added {
		if err := h.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
