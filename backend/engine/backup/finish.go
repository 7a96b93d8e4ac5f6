package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// enterEnds writes what became of transfers that have ended since.
func (m *Manager) enterEnds(ctx context.Context) error {
	for {
		m.mu.Lock()
		if len(m.ended) == 0 {
			m.mu.Unlock()
			return nil
		}
		r := m.ended[0]
		m.mu.Unlock()
		if err := m.enterEnd(ctx, r); err != nil {
			return err
		}
		m.mu.Lock()
		m.ended = m.ended[1:]
		delete(m.running, r.k.x.ID)
		m.mu.Unlock()
	}
}

func (m *Manager) enterEnd(ctx context.Context, r *run) error {
	if errors.Is(r.err, errDies) {
		return r.err
	}
	var x backend.Transfer
	err := m.o.Store.View(ctx, func(tx *store.Tx) (err error) { x, err = tx.Transfer(r.k.x.ID); return err })
	if errors.Is(err, backend.ErrNoTransfer) {
		return nil
	}
	if err != nil {
		return err
	}
	n := r.k.n
	p := r.k.meter.sample(m.o.Clock.Now())
	more := func(tx *store.Tx) error { // how far it came stays to be seen
		err := tx.PutProgress(map[backend.TransferID]backend.Progress{x.ID: p})
		if err == nil && r.r.more != nil {
			err = r.r.more(tx)
		}
		return err
	}
	switch {
	case r.clean && r.err == nil:
		return m.conclude(ctx, x, n, n.End, n.Words, nil)
	case r.clean:
		n.Tries++
		return m.later(ctx, x, n, cleanWait(n.Tries), "cleaning up waits: "+words(r.err))
	case r.err == nil:
		x.Point = r.r.point
		return m.conclude(ctx, x, note{Journal: n.Journal}, backend.TransferDone, r.r.words, more)
	case errors.Is(r.err, errCancelled) || x.Cancel:
		return m.conclude(ctx, x, n, backend.TransferCancelled, "", more)
	case errors.Is(r.err, errEnding):
		return nil // the next engine finds it as it is
	case !lasts(r.err) && x.Attempts <= len(m.o.Waits):
		return m.later(ctx, x, n, m.o.Waits[x.Attempts-1], words(r.err))
	}
	return m.conclude(ctx, x, n, backend.TransferFailed, words(r.err), more)
}

// cleanWait grows to an hour: a host may be off for days.
func cleanWait(tries int) time.Duration {
	return min(time.Minute<<min(tries-1, 6), time.Hour)
}

// later has a transfer tried again after a while.
func (m *Manager) later(ctx context.Context, x backend.Transfer, n note, wait time.Duration, why string) error {
	now := m.o.Clock.Now()
	x.State, x.Since, x.NextTry, x.Words = backend.TransferWaiting, now, now.Add(wait), why
	return m.update(ctx, func(tx *store.Tx) error {
		return errors.Join(tx.PutTransfer(x), putNote(tx, x.ID, n))
	})
}

// conclude ends a transfer, or, when its host has something of it still, has that
// cleaned first.
func (m *Manager) conclude(ctx context.Context, x backend.Transfer, n note, state backend.TransferState, text string, more func(*store.Tx) error) error {
	now := m.o.Clock.Now()
	if state != backend.TransferDone && (n.began() || len(n.Undo) > 0) {
		if n.End == "" {
			n.End, n.Words = state, text
			return m.later(ctx, x, n, 0, "cleaning up: "+text)
		}
	}
	x.State, x.Since, x.Ended, x.NextTry, x.Words = state, now, now, time.Time{}, text
	if state == backend.TransferDone || state == backend.TransferCancelled {
		x.Pause = false
	}
	if state == backend.TransferCancelled && x.Words == "" {
		x.Words = "cancelled"
	}
	secret := m.forgetSecret(ctx, &x)
	if secret != nil {
		x.Words += "; " + words(secret)
	}
	return m.update(ctx, func(tx *store.Tx) error {
		if more != nil {
			if err := more(tx); err != nil {
				return err
			}
		}
		n := note{Journal: n.Journal, VMs: n.VMs, Made: n.Made}
		if err := errors.Join(tx.PutTransfer(x), putNote(tx, x.ID, n)); err != nil {
			return err
		}
		return tx.AddEvent(eventOf(&x))
	})
}

// eventOf tells of a transfer's end in the log.
func eventOf(x *backend.Transfer) backend.JobEvent {
	what := string(x.Spec.Kind) + " " + string(x.State)
	detail := x.Words
	if x.State == backend.TransferDone && x.Spec.Repo.URL != "" {
		detail = fmt.Sprintf("%s in %s", x.Spec.Repo.URL, x.Ended.Sub(x.Started).Round(time.Second))
		if x.Words != "" {
			detail += "; " + x.Words
		}
	}
	return backend.JobEvent{At: x.Ended, Name: backend.Clean(x.Spec.Name), What: what, Host: x.Spec.VM.Host, Who: "engine", Detail: backend.Clean(detail)}
}
