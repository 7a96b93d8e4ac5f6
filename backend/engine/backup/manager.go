package backup

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend"
	"berth/backend/store"
)

const (
	// tickEvery is how often progress is written.
	tickEvery = time.Second
	// pruneEvery is how often transfers that ended long ago are dropped.
	pruneEvery = 12 * time.Hour
	// storeTries is for how long a store that cannot be written is tried again.
	storeRetry = 2 * time.Second
)

// Manager runs the transfers and schedules of one store. Make it with New.
type Manager struct {
	o     Options
	epoch int64
	busy  atomic.Bool
	poke  chan struct{}
	work  sync.WaitGroup
	hosts *hosts

	mu      sync.Mutex
	running map[backend.TransferID]*run
	ended   []*run // whose end is not in the store yet
	pruned  time.Time
	opens   time.Time      // when a transfer was there last that opens repositories; zero: their keys are forgotten
	telling map[int64]bool // schedules whose command is being told
	retired bool           // by a fault of a test's: nothing is written any more
}

// run is one transfer under way.
type run struct {
	k      *task
	cancel context.CancelCauseFunc
	paused bool
	limit  int64
	clean  bool // it only cleans up after one that has ended

	mu    sync.Mutex
	words string    // why it waits
	until time.Time // to when

	r   result
	err error
}

// New makes a manager; it does nothing yet.
func New(o Options) (*Manager, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	m := &Manager{o: o, poke: make(chan struct{}, 1), running: map[backend.TransferID]*run{}, telling: map[int64]bool{}}
	m.hosts = &hosts{o: &m.o, open: map[string]*openHost{}}
	m.busy.Store(true) // until it has looked
	return m, nil
}

// Busy reports whether there is a transfer that has not ended, or a schedule:
// then the engine must not end for want of work.
func (m *Manager) Busy() bool { return m.busy.Load() }

// Run works until ctx ends, under the lease of that epoch (0: nobody else opens
// the store). Backups that are under way then stay so on their hosts, for the
// next engine. An error is one of the store that lasts.
func (m *Manager) Run(ctx context.Context, epoch int64) error {
	m.epoch = epoch
	ctx, cancel := context.WithCancel(ctx)
	defer m.stop()
	defer cancel()
	m.work.Go(func() { m.watchStore(ctx) })
	for {
		wake, err := m.turn(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (storeLasts(err) || errors.Is(err, errDies)):
			return err
		case err != nil: // another program has the file, or the disk is full: it will pass
			wake = m.o.Clock.Now().Add(storeRetry)
		}
		m.rest(ctx, wake)
	}
}

// storeLasts reports whether an error of the store will not go away.
func storeLasts(err error) bool {
	for _, e := range []error{store.ErrLeaseLost, store.ErrNewer, store.ErrCorrupt, store.ErrForeign, store.ErrMoved, backend.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// rest waits until something happens or wake comes, and keeps the progress of
// what runs up to date.
func (m *Manager) rest(ctx context.Context, wake time.Time) {
	for {
		now := m.o.Clock.Now()
		var timer <-chan time.Time
		stop := func() bool { return true }
		switch next := m.nextTick(wake, now); {
		case next.IsZero():
		case !next.After(now):
			return
		default:
			timer, stop = m.o.Clock.Timer(next.Sub(now))
		}
		select {
		case <-m.poke:
			stop()
			return
		case <-ctx.Done():
			stop()
			return
		case <-timer:
		}
		m.tick(ctx)
		if now = m.o.Clock.Now(); !wake.IsZero() && !now.Before(wake) {
			return
		}
	}
}

// nextTick is when to wake up at the latest; zero: not by itself.
func (m *Manager) nextTick(wake, now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.running) > 0 {
		return earlier(wake, now.Add(tickEvery))
	}
	return wake
}

// earlier is the earlier of two times, of which the zero one means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// wakeUp has the manager take a turn.
func (m *Manager) wakeUp() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// watchStore tells when somebody has changed what is planned. Its own progress
// wakes it too, once a second: a turn reads a few rows.
func (m *Manager) watchStore(ctx context.Context) {
	for ctx.Err() == nil {
		r, err := m.o.Store.Revisions(ctx)
		if err == nil {
			m.wakeUp()
			err = m.o.Store.WaitTransfers(ctx, r.Transfers+r.Catalogue)
		}
		if err == nil {
			continue
		}
		if storeLasts(err) {
			m.wakeUp() // the next turn meets the error
			return
		}
		if m.o.pause(ctx, storeRetry) != nil {
			return
		}
	}
}

// stop lets go of what runs, so that the next engine goes on, and closes hosts.
func (m *Manager) stop() {
	m.mu.Lock()
	for _, r := range m.running {
		r.cancel(errEnding)
	}
	m.mu.Unlock()
	m.work.Wait()
	m.hosts.close()
	// What came to its end in this moment is told; what did not is found by the
	// next engine.
	ctx, cancel := context.WithTimeout(context.Background(), saveDeadline)
	defer cancel()
	_ = m.enterEnds(ctx)
}

// update changes the store as the engine that holds the lease.
func (m *Manager) update(ctx context.Context, f func(*store.Tx) error) error {
	return m.o.Store.Update(ctx, func(tx *store.Tx) error {
		if m.epoch != 0 {
			if err := tx.CheckLease(m.epoch); err != nil {
				return err
			}
		}
		return f(tx)
	})
}

// tick writes how far everything is that runs, in one go.
func (m *Manager) tick(ctx context.Context) {
	now := m.o.Clock.Now()
	all := map[backend.TransferID]backend.Progress{}
	m.mu.Lock()
	for id, r := range m.running {
		all[id] = r.k.meter.sample(now)
	}
	dead := m.retired
	m.mu.Unlock()
	if len(all) == 0 || dead {
		return
	}
	// What could not be written now will be a second later.
	_ = m.update(ctx, func(tx *store.Tx) error { return tx.PutProgress(all) })
}
