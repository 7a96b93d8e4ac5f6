package engine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/engine/clock"
	"berth/backend/store"
)

// ClientOptions make a Client. Store is needed.
type ClientOptions struct {
	Store *store.Store
	// Fleet are the hosts at hand: VMs can be submitted from those.
	Fleet func() []backend.Host
	// Who does what is done through this client, for the log.
	Who string
	// Lock is the engine's lock file; empty: the lease alone tells whether an
	// engine runs.
	Lock string
	// EnsureEngine sees to it that an engine runs; nil: somebody else does.
	EnsureEngine func(context.Context) error
	// Policy is in force until a person chooses one.
	Policy backend.QueuePolicy
	// Limits say how much of a host the queue may give away, for hosts that no
	// engine has read yet; nil: everything.
	Limits func(host string) Limits
	Trail  *audit.Trail
	Clock  Clock // nil: the machine's
}

// Client is the queue for everybody but the engine: a backend.Queue over the
// store.
type Client struct {
	o ClientOptions

	mu    sync.Mutex
	state backend.QueueState // as of the revision in it; 0: never read
}

var _ backend.Queue = (*Client)(nil)

// NewClient makes a client of a store that stays open until after Close.
func NewClient(o ClientOptions) *Client {
	if o.Clock == nil {
		o.Clock = clock.Wall{}
	}
	if o.Fleet == nil {
		o.Fleet = func() []backend.Host { return nil }
	}
	if o.Limits == nil {
		o.Limits = func(string) Limits { return Limits{} }
	}
	return &Client{o: o}
}

// Close ends the client; the store belongs to whoever opened it.
func (c *Client) Close() error { return nil }

const (
	// endedFor is how long State shows jobs that have ended.
	endedFor = 24 * time.Hour
	// endedMost is how many of them.
	endedMost = 100
)

// State is the queue as the engine wrote it last. While nothing changes it
// costs one look at the store.
func (c *Client) State(ctx context.Context) (backend.QueueState, error) {
	rev, err := c.o.Store.Revision(ctx)
	if err != nil {
		return backend.QueueState{}, err
	}
	c.mu.Lock()
	kept := c.state
	c.mu.Unlock()
	if kept.Revision != rev || rev == 0 {
		if kept, err = c.readState(ctx, rev); err != nil {
			return backend.QueueState{}, err
		}
		c.mu.Lock()
		c.state = kept
		c.mu.Unlock()
	}
	s := kept
	s.At = c.o.Clock.Now()
	s.Hosts, s.Jobs = slices.Clone(kept.Hosts), slices.Clone(kept.Jobs)
	c.judge(&s)
	return s, nil
}

func (c *Client) readState(ctx context.Context, rev int64) (backend.QueueState, error) {
	s := backend.QueueState{Revision: rev}
	now := c.o.Clock.Now()
	err := c.o.Store.View(ctx, func(tx *store.Tx) (err error) {
		if s.Jobs, err = tx.Jobs(store.Filter{Active: true, EndedSince: now.Add(-endedFor)}); err != nil {
			return err
		}
		if s.Hosts, err = tx.Hosts(); err != nil {
			return err
		}
		if s.Policy, err = c.policy(tx); err != nil {
			return err
		}
		l, err := tx.Lease()
		s.Engine = stateOf(l)
		return err
	})
	arrange(s.Jobs)
	s.Jobs = s.Jobs[:min(len(s.Jobs), unended(s.Jobs)+endedMost)]
	return s, err
}

// policy is the one in force.
func (c *Client) policy(tx *store.Tx) (backend.QueuePolicy, error) {
	p, chosen, err := tx.Policy()
	if err != nil || !chosen {
		p = c.o.Policy
	}
	return p, err
}

// unended is how many of the arranged jobs have not ended.
func unended(jobs []backend.Job) int {
	n := slices.IndexFunc(jobs, func(j backend.Job) bool { return j.State.Ended() })
	if n < 0 {
		return len(jobs)
	}
	return n
}

// judge fills in what the store cannot know: whether the engine lives.
func (c *Client) judge(s *backend.QueueState) {
	leased := s.Engine.Running // an engine that ends gives its lease back
	s.Engine = c.engineNow(s.Engine)
	s.Engine.Lost = leased && !s.Engine.Running
	if s.Engine.Running {
		return
	}
	waits := false
	for i := range s.Jobs {
		j := &s.Jobs[i]
		waits = waits || needsEngine(j.State)
		if j.State == backend.JobQueued || j.State == backend.JobReserved {
			j.Why = backend.Reason{Code: backend.WhyEngine}
			j.ETA, j.ETAHost = time.Time{}, ""
		}
	}
	s.Engine.Trouble = ""
	if waits {
		s.Engine.Trouble = "no engine runs: start one with berth engine"
	}
}

// needsEngine reports whether an engine has something to do for a job.
func needsEngine(s backend.JobState) bool {
	return !s.Ended() && s != backend.JobHeld && s != backend.JobError
}

// Engine tells whether an engine runs, without reading the queue.
func (c *Client) Engine(ctx context.Context) (backend.EngineState, error) {
	var l store.Lease
	if err := c.o.Store.View(ctx, func(tx *store.Tx) (err error) { l, err = tx.Lease(); return err }); err != nil {
		return backend.EngineState{}, err
	}
	e := c.engineNow(stateOf(l))
	e.Lost = l.Held && !e.Running
	if !e.Running {
		e.Trouble = ""
	}
	return e, nil
}

func stateOf(l store.Lease) backend.EngineState {
	return backend.EngineState{Running: l.Held, PID: l.PID, Host: l.Host, Since: l.Since, Beat: l.Beat, Trouble: l.Trouble}
}

// engineNow asks the kernel, who knows for sure, for an engine on this
// machine; leased is what the store says of it.
func (c *Client) engineNow(leased backend.EngineState) backend.EngineState {
	if c.o.Lock == "" {
		return leased
	}
	held, pid, err := lockHeld(c.o.Lock)
	switch {
	case err != nil:
		leased.Running = leased.Running && c.o.Clock.Now().Sub(leased.Beat) < 3*beatEvery
	case held && pid != leased.PID: // it has only just begun
		now, machine := c.o.Clock.Now(), leased.Host
		if name, err := os.Hostname(); err == nil {
			machine = name
		}
		return backend.EngineState{Running: true, PID: pid, Host: machine, Since: now, Beat: now}
	default:
		leased.Running = held
	}
	return leased
}

// rank is the part of the list that a job belongs to.
func rank(s backend.JobState) int {
	switch {
	case s.Ended():
		return 2
	case s.Waiting(), s == backend.JobRecovery:
		return 1
	}
	return 0
}

// arrange puts jobs in the order of QueueState.Jobs.
func arrange(jobs []backend.Job) {
	slices.SortStableFunc(jobs, func(a, b backend.Job) int {
		if d := rank(a.State) - rank(b.State); d != 0 {
			return d
		}
		switch rank(a.State) {
		case 0:
			return compareEnds(&a, &b)
		case 1:
			return comparePositions(&a, &b)
		}
		return b.Ended.Compare(a.Ended)
	})
}

// compareEnds orders running jobs: those that end first come first, the
// open-ended last.
func compareEnds(a, b *backend.Job) int {
	x, y := a.Ends(), b.Ends()
	switch {
	case x.IsZero() && y.IsZero():
		return a.LastStart.Compare(b.LastStart)
	case x.IsZero():
		return 1
	case y.IsZero():
		return -1
	}
	return x.Compare(y)
}

// comparePositions orders waiting jobs by their expected start; those without
// one come last, in the order of the queue.
func comparePositions(a, b *backend.Job) int {
	switch x, y := a.ETA, b.ETA; {
	case !x.IsZero() && !y.IsZero() && !x.Equal(y):
		return x.Compare(y)
	case x.IsZero() != y.IsZero():
		if x.IsZero() {
			return 1
		}
		return -1
	}
	last := func(j *backend.Job) int {
		if j.Position == 0 {
			return 1 << 30
		}
		return j.Position
	}
	return last(a) - last(b)
}

// Wait returns when the queue is another than at that revision.
func (c *Client) Wait(ctx context.Context, revision int64) error {
	return c.o.Store.Wait(ctx, revision)
}

// Log returns what happened.
func (c *Client) Log(ctx context.Context, q backend.LogQuery) (events []backend.JobEvent, err error) {
	err = c.o.Store.View(ctx, func(tx *store.Tx) error { events, err = tx.Events(q); return err })
	return events, err
}

var _ backend.EngineStarter = (*Client)(nil)

// StartEngine sees to it that an engine runs.
func (c *Client) StartEngine(ctx context.Context) error { return c.ensure(ctx) }

// ensure sees to it that an engine runs.
func (c *Client) ensure(ctx context.Context) error {
	if c.o.EnsureEngine == nil {
		return nil
	}
	if err := c.o.EnsureEngine(ctx); err != nil {
		return &backend.OpError{Op: "run the queue", Err: fmt.Errorf("%w: %w", backend.ErrEngine, err),
			Hint: "what was asked for is kept; start one with berth engine"}
	}
	return nil
}

// record enters in the audit trail what a person wanted. That it could not be
// written is told where such things are looked for, for it has happened.
func (c *Client) record(host, verb, vm, uuid, detail string) {
	err := c.o.Trail.Record(audit.Entry{At: c.o.Clock.Now(), Host: host, Verb: verb, VM: vm, UUID: uuid, Detail: detail}, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, "berth:", err)
	}
}
