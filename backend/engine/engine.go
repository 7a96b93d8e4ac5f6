package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"berth/backend"
	"berth/backend/store"
)

const (
	// beatEvery is how often the engine gives a sign of life.
	beatEvery = 15 * time.Second
	// replanEvery is how often the order is worked out anew while jobs wait and
	// nothing happens: they grow older.
	replanEvery = time.Minute
	// pruneEvery is how often what ended long ago is dropped.
	pruneEvery = 12 * time.Hour
	// gap is how long after an engine's last sign of life its word that a host
	// is off still counts: the host may have been switched on since.
	gap = 2 * time.Minute
)

// Engine runs the queue of one store. Make it with New.
type Engine struct {
	o     Options
	rules rules
	epoch int64
	began time.Time
	spawn func(func()) // runs what may take long; tests run it at once
	tend  func(func()) // runs an agent; tests read hosts themselves

	acts   context.Context // ends when the engine does
	work   sync.WaitGroup
	poke   chan struct{}
	mu     sync.Mutex
	posted []func() // what came back from hosts, for the loop

	// What follows belongs to the loop.
	agents   map[string]*agent
	cache    *cache
	busy     map[backend.JobID]act
	done     map[backend.JobID]*outcome
	news     *news
	reaches  map[reachKey]*reached
	asking   int // hosts about VMs that they do not have
	sizes    map[backend.JobID]measured
	copies   []copied
	chores   map[copied]int64 // definitions that are being given back; then the reading that shows it
	fences   singleflight.Group
	readings map[string]int64 // by host: how many readings agents before its present one began
	missing  map[string]*view // hosts to which no connection could be made, as they are seen
	stale    bool             // words that hosts are off are too old
	wrote    time.Time
	pruned   time.Time
	zero     time.Time // when the clock's steady time began, by the clock
	beaten   time.Time
	lazy     time.Time // since when there is nothing to do
	trouble  string
	untold   atomic.Pointer[string] // why the trail could not be written the last time; empty: it could
	fault    error
}

// New makes an engine; it does nothing yet.
func New(o Options) (*Engine, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	e := &Engine{
		o: o, rules: rules{stop: o.StopGrace, save: o.SaveGrace, lost: o.LostGrace, settle: 10 * time.Second},
		poke: make(chan struct{}, 1), agents: map[string]*agent{}, cache: newCache(),
		busy: map[backend.JobID]act{}, done: map[backend.JobID]*outcome{}, news: newNews(),
		reaches: map[reachKey]*reached{}, chores: map[copied]int64{}, sizes: map[backend.JobID]measured{},
		readings: map[string]int64{}, missing: map[string]*view{},
	}
	e.spawn = func(f func()) { e.work.Go(f) }
	e.tend = e.spawn
	return e, nil
}

// Run is the engine's life: it returns nil when ctx ends or there was nothing
// to do for Options.Idle. When another engine runs, the error is a *HeldError,
// which wraps backend.ErrBusy; when another has taken over, it wraps
// store.ErrLeaseLost. Jobs go on running after it has returned; the next
// engine finds them.
func (e *Engine) Run(ctx context.Context) error {
	err := e.run(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (e *Engine) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	release, err := e.takeOver(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	e.acts = ctx
	defer e.close()
	defer cancel()
	if err := e.prepare(ctx); err != nil {
		return err
	}
	e.work.Go(func() { e.watchStore(ctx) })
	beside := e.runBeside(ctx, cancel)
	err = e.loop(ctx)
	cancel()
	return errors.Join(err, <-beside)
}

// runBeside runs what lives beside the queue; when that fails the engine ends.
func (e *Engine) runBeside(ctx context.Context, end func()) <-chan error {
	over := make(chan error, 1)
	if e.o.Beside == nil {
		over <- nil
		return over
	}
	go func() {
		err := e.o.Beside.Run(ctx, e.epoch)
		end()
		over <- err
	}()
	return over
}

// prepare enters the hosts it was given and reads what the last engine left.
func (e *Engine) prepare(ctx context.Context) error {
	err := e.o.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.CheckLease(e.epoch); err != nil {
			return err
		}
		hosts, err := tx.Hosts()
		if err != nil {
			return err
		}
		for _, spec := range e.o.Hosts {
			if err := addHost(tx, hosts, spec); err != nil {
				return err
			}
			if err := e.markMoved(tx, hosts, spec); err != nil {
				return err
			}
		}
		for _, h := range hosts {
			if err := e.dropOldWord(tx, h.Name); err != nil {
				return err
			}
		}
		e.copies, err = readCopies(tx)
		return err
	})
	return err
}

// dropOldWord drops the word that a host is off if it is too old to count.
func (e *Engine) dropOldWord(tx *store.Tx, host string) error {
	at, err := offSince(tx, host)
	if err != nil || at.IsZero() || !e.stale || e.began.Sub(at) < gap {
		return err
	}
	return tx.SetSetting(offKey+host, "")
}

// markMoved notes of jobs with a berth on a host whose address is another now
// that it may be another machine.
func (e *Engine) markMoved(tx *store.Tx, known []backend.QueueHost, spec HostSpec) error {
	if !slices.ContainsFunc(known, func(h backend.QueueHost) bool { return h.Name == spec.Name && h.URI != spec.URI }) {
		return nil
	}
	jobs, err := tx.Jobs(store.Filter{Active: true, Host: spec.Name})
	if err != nil {
		return err
	}
	for i := range jobs {
		if !jobs[i].State.Holds() {
			continue
		}
		n, err := e.cache.note(tx, jobs[i].ID)
		if err != nil {
			return err
		}
		n.Moved = true
		e.cache.notes[jobs[i].ID] = n
		if err := putNote(tx, jobs[i].ID, n); err != nil {
			return err
		}
	}
	return nil
}

// addHost enters a host, or its new address.
func addHost(tx *store.Tx, known []backend.QueueHost, spec HostSpec) error {
	for _, h := range known {
		if h.Name != spec.Name {
			continue
		}
		if h.URI == spec.URI {
			return nil
		}
		h.URI = spec.URI
		return tx.PutHost(h)
	}
	return tx.PutHost(backend.QueueHost{Name: spec.Name, URI: spec.URI})
}

// loop takes turns until there is nothing left to do.
func (e *Engine) loop(ctx context.Context) error {
	failures := 0
	for {
		from := e.o.Clock.Now()
		wake, err := e.turn(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failures = 0
		case e.fault != nil, lasting(err):
			return err
		default: // another program has the file, or the disk is full: it will pass
			e.trouble = backend.Clean(err.Error())
			failures++
			wake = from.Add(retryAfter(failures))
		}
		if e.idle(from) {
			return nil
		}
		if err := e.rest(ctx, wake); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// lasting reports whether an error of the store will not go away.
func lasting(err error) bool {
	for _, e := range []error{store.ErrLeaseLost, store.ErrNewer, store.ErrCorrupt, store.ErrForeign, store.ErrMoved, backend.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// idle reports whether there has been nothing to do for long enough.
func (e *Engine) idle(now time.Time) bool {
	return e.o.Idle > 0 && !e.lazy.IsZero() && now.Sub(e.lazy) >= e.o.Idle
}

// rest waits until something happens or wake comes, and gives signs of life.
func (e *Engine) rest(ctx context.Context, wake time.Time) error {
	if e.o.Idle > 0 && !e.lazy.IsZero() {
		wake = earlier(wake, e.lazy.Add(e.o.Idle))
	}
	for {
		now := e.o.Clock.Now()
		beat := e.beaten.Add(beatEvery)
		next := earlier(wake, beat)
		timer, stop := e.o.Clock.Timer(max(next.Sub(now), 0))
		select {
		case <-e.poke:
			stop()
			return nil
		case <-timer:
		case <-ctx.Done():
			stop()
			return ctx.Err()
		}
		now = e.o.Clock.Now()
		if !now.Before(beat) {
			if err := e.beat(ctx, now); err != nil {
				return err
			}
		}
		if !wake.IsZero() && !now.Before(wake) {
			return nil
		}
	}
}

// beat gives a sign of life. Only what lasts ends the engine: the loss of the
// lease, or of the file, in which nobody would see what it does.
func (e *Engine) beat(ctx context.Context, now time.Time) error {
	e.beaten = now
	if err := e.o.Store.Placed(); err != nil {
		return err
	}
	trouble := e.trouble
	if untold := e.untold.Load(); trouble == "" && untold != nil {
		trouble = *untold
	}
	err := e.o.Store.Update(ctx, func(tx *store.Tx) error { return tx.Beat(e.epoch, now, trouble) })
	if err != nil && !lasting(err) && ctx.Err() == nil {
		return nil // the next turn tells the trouble
	}
	return err
}

// earlier is the earlier of two times, of which the zero one means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// watchStore tells the loop when somebody has changed the store.
func (e *Engine) watchStore(ctx context.Context) {
	for ctx.Err() == nil {
		rev, err := e.o.Store.Revision(ctx)
		if err == nil {
			e.wakeUp()
			err = e.o.Store.Wait(ctx, rev)
		}
		if err == nil {
			continue
		}
		if lasting(err) {
			e.wakeUp() // the next turn meets the error and ends
			return
		}
		wait, stop := e.o.Clock.Timer(time.Second)
		select {
		case <-wait:
		case <-ctx.Done():
		}
		stop()
	}
}

// wakeUp has the loop take a turn.
func (e *Engine) wakeUp() {
	select {
	case e.poke <- struct{}{}:
	default:
	}
}

// post hands something that came back to the loop.
func (e *Engine) post(f func()) {
	e.mu.Lock()
	e.posted = append(e.posted, f)
	e.mu.Unlock()
	e.wakeUp()
}

// takeIn does what was posted.
func (e *Engine) takeIn() {
	e.mu.Lock()
	fs := e.posted
	e.posted = nil
	e.mu.Unlock()
	for _, f := range fs {
		f()
	}
}

// close waits for what is under way and closes the hosts.
func (e *Engine) close() {
	e.work.Wait()
	if e.o.KeepOpen {
		return
	}
	for _, a := range e.agents {
		a.host.Close() //nolint:errcheck // nothing follows
	}
}
