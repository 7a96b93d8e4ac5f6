package backup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// books is what one turn works from.
type books struct {
	now       time.Time
	transfers []backend.Transfer // that have not ended
	notes     map[backend.TransferID]note
	schedules []backend.Schedule
	rounds    map[int64]round
	uris      map[string]string
}

// turn does all that can be done now, and says when to look again.
func (m *Manager) turn(ctx context.Context) (wake time.Time, err error) {
	if err := m.enterEnds(ctx); err != nil {
		return wake, err
	}
	b, err := m.read(ctx)
	if err != nil {
		return wake, err
	}
	if err := m.heed(ctx, b); err != nil {
		return wake, err
	}
	changed, wake, err := m.plan(ctx, b)
	if err != nil {
		return wake, err
	}
	if changed {
		m.wakeUp() // what was ordered just now
		return wake, nil
	}
	at, err := m.admit(ctx, b)
	if err != nil {
		return wake, err
	}
	at = earlier(at, m.forgetKeys(b))
	m.busy.Store(len(b.transfers) > 0 || slices.ContainsFunc(b.schedules, func(s backend.Schedule) bool { return !s.Disabled || b.rounds[s.ID].open() }))
	m.hosts.closeIdle(m.inUse(b))
	return earlier(wake, at), m.prune(ctx, b.now)
}

func (m *Manager) read(ctx context.Context) (*books, error) {
	b := &books{now: m.o.Clock.Now(), notes: map[backend.TransferID]note{}, rounds: map[int64]round{}}
	err := m.o.Store.View(ctx, func(tx *store.Tx) (err error) {
		if m.epoch != 0 {
			if err := tx.CheckLease(m.epoch); err != nil {
				return err
			}
		}
		if b.transfers, err = tx.Transfers(store.TransferFilter{Active: true}); err != nil {
			return err
		}
		for _, x := range b.transfers {
			text, err := tx.TransferNote(x.ID)
			if err != nil {
				return err
			}
			if b.notes[x.ID], err = parseNote(text); err != nil {
				return err
			}
		}
		if b.schedules, err = tx.Schedules(); err != nil {
			return err
		}
		for _, s := range b.schedules {
			text, err := tx.ScheduleNote(s.ID)
			if err != nil {
				return err
			}
			if b.rounds[s.ID], err = parseRound(text); err != nil {
				return err
			}
		}
		b.uris, err = tx.BackupHosts()
		return err
	})
	if err != nil {
		return nil, err
	}
	for name, uri := range m.o.Hosts {
		b.uris[name] = uri
	}
	m.hosts.know(b.uris)
	return b, nil
}

// heed does to what runs what people want, and tells what it waits for.
func (m *Manager) heed(ctx context.Context, b *books) error {
	for i := range b.transfers {
		x := &b.transfers[i]
		m.mu.Lock()
		r := m.running[x.ID]
		m.mu.Unlock()
		if r == nil {
			continue
		}
		if x.Cancel && !r.clean {
			r.cancel(errCancelled)
		}
		if x.Spec.Limit != r.limit {
			r.limit = x.Spec.Limit
			setLimit(r.k.limit, r.limit)
		}
		if x.Pause != r.paused {
			r.paused = x.Pause
			r.k.gate.set(r.paused)
			r.k.meter.pause(r.paused)
		}
		if err := m.tell(ctx, x, r); err != nil {
			return err
		}
	}
	return nil
}

// tell brings a running transfer's state and words up to date.
func (m *Manager) tell(ctx context.Context, x *backend.Transfer, r *run) error {
	state := backend.TransferRunning
	said, until := r.said()
	switch {
	case r.paused:
		state = backend.TransferPaused
	case said != "" && !until.IsZero():
		state = backend.TransferWaiting
	}
	if x.State == state && x.Words == said && x.NextTry.Equal(until) {
		return nil
	}
	return m.update(ctx, func(tx *store.Tx) error {
		now, err := tx.Transfer(x.ID)
		if err != nil || now.State.Ended() {
			return err
		}
		if now.State != state {
			now.State, now.Since = state, m.o.Clock.Now()
		}
		now.Words, now.NextTry = said, until
		*x = now
		return tx.PutTransfer(now)
	})
}

// say notes what a transfer waits for.
func (r *run) say(m *Manager, text string, until time.Time) {
	r.mu.Lock()
	r.words, r.until = text, until
	r.mu.Unlock()
	m.wakeUp()
}

func (r *run) said() (string, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.words, r.until
}

// start runs a transfer, or cleans up after it.
func (m *Manager) start(ctx context.Context, x backend.Transfer, n note) error {
	now := m.o.Clock.Now()
	clean := n.End != ""
	err := m.update(ctx, func(tx *store.Tx) error {
		at, err := tx.Transfer(x.ID)
		if err != nil {
			return err
		}
		if at.State.Ended() || at.Pause && !clean {
			return errChanged
		}
		x = at
		x.State, x.Since, x.NextTry = backend.TransferRunning, now, time.Time{}
		if x.Started.IsZero() {
			x.Started = now
		}
		if !clean {
			if at.State != backend.TransferRunning { // else an engine before this one ended
				x.Attempts++
			}
			x.Words = ""
		}
		return tx.PutTransfer(x)
	})
	if errors.Is(err, errChanged) {
		return nil
	}
	if err != nil {
		return err
	}
	r := &run{clean: clean, limit: x.Spec.Limit}
	r.k = &task{
		o: &m.o, x: x, n: n, epoch: m.epoch, meter: &meter{}, gate: &gate{}, limit: newLimit(x.Spec.Limit), every: watchEvery,
		host: m.hosts.get, hosts: m.hosts.names, alive: func(host string) []string { return m.tokens(x.ID) },
		waits: func(text string, until time.Time) { r.say(m, text, until) },
	}
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	r.cancel = cancel
	m.mu.Lock()
	m.running[x.ID] = r
	m.mu.Unlock()
	m.work.Go(func() {
		defer cancel(nil)
		if clean {
			r.err = r.k.clean(own)
		} else {
			r.r, r.err = r.k.run(own)
		}
		if why := stopped(own); why != nil && r.err != nil && !errors.Is(r.err, errDies) {
			r.err = errors.Join(why, r.err)
		}
		m.mu.Lock() // it counts as running until its end is in the store
		m.ended = append(m.ended, r)
		m.retired = m.retired || errors.Is(r.err, errDies)
		m.mu.Unlock()
		m.wakeUp()
	})
	return nil
}

// errChanged: somebody has changed the transfer since it was read.
var errChanged = errors.New("changed meanwhile")

// tokens are those of sessions that live, but for that of one transfer.
func (m *Manager) tokens(but backend.TransferID) (list []string) {
	err := m.o.Store.View(context.Background(), func(tx *store.Tx) error {
		all, err := tx.Transfers(store.TransferFilter{Active: true})
		for _, x := range all {
			text, e := tx.TransferNote(x.ID)
			n, ee := parseNote(text)
			if err = errors.Join(err, e, ee); err == nil && x.ID != but && n.Token != "" {
				list = append(list, n.Token)
			}
		}
		return err
	})
	if err != nil { // then nothing is found to be left over by a host that knows its jobs
		return list
	}
	return list
}

// keepKeys is how long what opens encrypted repositories is remembered when
// nothing is to be done.
const keepKeys = 5 * time.Minute

// forgetKeys forgets it then, and says when to look again.
func (m *Manager) forgetKeys(b *books) (wake time.Time) {
	switch {
	case len(b.transfers) > 0:
		m.opens = b.now
	case m.opens.IsZero():
		return wake
	case b.now.Sub(m.opens) >= keepKeys:
		m.opens = time.Time{}
		m.o.keys.Forget()
		return wake
	}
	return m.opens.Add(keepKeys)
}

// inUse are the hosts that something works on.
func (m *Manager) inUse(b *books) map[string]bool {
	running, used := m.active(), map[string]bool{}
	for _, x := range b.transfers {
		if running[x.ID] != nil {
			used[x.Spec.VM.Host] = true
		}
	}
	return used
}

// prune drops what ended long ago.
func (m *Manager) prune(ctx context.Context, now time.Time) error {
	if m.o.Keep <= 0 || now.Sub(m.pruned) < pruneEvery {
		return nil
	}
	m.pruned = now
	return m.update(ctx, func(tx *store.Tx) error { return tx.PruneTransfers(now.Add(-m.o.Keep)) })
}

// forgetSecret removes a passphrase that was handed over for a transfer, once no
// other one needs it.
func (m *Manager) forgetSecret(ctx context.Context, x *backend.Transfer) error {
	file := x.Spec.Repo.PassphraseFile
	if !m.o.handedOver(x.Spec.Repo) {
		return nil
	}
	needed := false
	err := m.o.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Transfers(store.TransferFilter{Active: true})
		needed = slices.ContainsFunc(all, func(o backend.Transfer) bool { return o.ID != x.ID && o.Spec.Repo.PassphraseFile == file })
		return err
	})
	if err != nil || needed {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the passphrase that was handed over: %w", err)
	}
	return nil
}

// snapshot of what runs, for deciding what else may.
func (m *Manager) active() map[backend.TransferID]*run {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.running)
}
