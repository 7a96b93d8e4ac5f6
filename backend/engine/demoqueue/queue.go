// Package demoqueue is a queue for the demo: a real engine in this process,
// over the hosts of a simulated fleet, with a store in memory. It finds a past,
// jobs under way and jobs that wait for all sorts of reasons, and people who
// submit more as time goes on, so that there is something to see at once and
// always.
//
// It knows nothing of package demo: whatever VM of the hosts has the tag
// "batch" is taken for one that works for a while, powers off by itself, and
// may be started again by whoever wants its work.
package demoqueue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/engine"
	"berth/backend/engine/clock"
	"berth/backend/store"
)

// Tag marks the VMs that the demo's people submit.
const Tag = "batch"

const (
	// lostGrace is short, so that a host whose cable is pulled for half a
	// minute shows what becomes of its jobs.
	lostGrace = 15 * time.Second
	// keep is how long ended jobs are remembered.
	keep = 24 * time.Hour
	// firstPlan is how long Open waits for the engine's first word on every job.
	firstPlan = 3 * time.Second
)

// Options make a Queue. Hosts is needed.
type Options struct {
	// Hosts are the demo fleet's, as the person at the console has them; they
	// stay open.
	Hosts []backend.Host
	// Keeper is a host as the engine and the other people have it; nil: as it
	// is. Those who cannot change the hosts that they have do nothing.
	Keeper func(backend.Host) backend.Host
	// Limits say how much of a host the queue may give away; nil: everything.
	Limits func(host string) engine.Limits
	// Policy is in force until a person chooses one.
	Policy backend.QueuePolicy
	// Who is the person at the console.
	Who   string
	Clock engine.Clock // nil: the machine's
}

// Queue is the demo's backend.Queue.
type Queue struct {
	*engine.Client
	o     Options
	hosts []backend.Host // as the engine and the other people have them
	store *store.Store
	end   context.CancelFunc
	work  sync.WaitGroup
	err   error // of the engine, once work is done
	once  sync.Once
	done  error
}

// Open makes the queue and lets its engine run until Close; ctx is for the
// making only. Over hosts that are read-only to it no engine runs: it could
// change nothing.
func Open(ctx context.Context, o Options) (*Queue, error) {
	if o.Clock == nil {
		o.Clock = clock.Wall{}
	}
	s, err := store.OpenMemory(ctx)
	if err != nil {
		return nil, err
	}
	q := &Queue{o: o, store: s, hosts: slices.Clone(o.Hosts)}
	for i, h := range q.hosts {
		if o.Keeper != nil {
			q.hosts[i] = o.Keeper(h)
		}
	}
	q.Client = q.client(o.Who, o.Hosts)
	people, err := q.seed(ctx)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	life, end := context.WithCancel(context.Background())
	q.end = end
	if readOnly(q.hosts) {
		return q, nil
	}
	e, err := engine.New(q.engineOptions())
	if err != nil {
		end()
		return nil, errors.Join(err, s.Close())
	}
	q.work.Go(func() { q.err = e.Run(life) })
	q.work.Go(func() { people.submit(life) })
	q.settle(ctx)
	return q, nil
}

func readOnly(hosts []backend.Host) bool {
	for _, h := range hosts {
		if h.ReadOnly() {
			return true
		}
	}
	return false
}

// client is the queue as one person uses it.
func (q *Queue) client(who string, hosts []backend.Host) *engine.Client {
	return engine.NewClient(engine.ClientOptions{
		Store: q.store, Fleet: func() []backend.Host { return hosts }, Who: who,
		Policy: q.o.Policy, Limits: q.o.Limits, Trail: &audit.Trail{}, Clock: q.o.Clock,
	})
}

func (q *Queue) engineOptions() engine.Options {
	opt := engine.Options{
		Store: q.store, KeepOpen: true, Limits: q.o.Limits, Policy: q.o.Policy, Trail: &audit.Trail{}, Clock: q.o.Clock,
		LostGrace: lostGrace, Keep: keep,
		Connect: func(name, _ string) (backend.Host, error) {
			for _, h := range q.hosts {
				if h.Name() == name {
					return h, nil
				}
			}
			return nil, &backend.OpError{Op: "connect", Target: name, Err: backend.ErrUnreachable}
		},
	}
	for _, h := range q.hosts {
		opt.Hosts = append(opt.Hosts, engine.HostSpec{Name: h.Name(), URI: h.URI()})
	}
	return opt
}

// settle waits until the engine has said something of every job that waits, so
// that whoever looks first sees reasons and times. It is not worth an error.
func (q *Queue) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstPlan)
	defer cancel()
	for {
		st, err := q.State(ctx)
		if err != nil || st.Engine.Running && planned(&st) || q.Wait(ctx, st.Revision) != nil {
			return
		}
	}
}

// planned reports whether the engine knows the hosts and has placed every job.
func planned(st *backend.QueueState) bool {
	for i := range st.Hosts {
		if h := &st.Hosts[i]; h.SeenAt.IsZero() && !h.Down {
			return false
		}
	}
	for i := range st.Jobs {
		j := &st.Jobs[i]
		if j.State.Waiting() && (j.Position == 0 || j.Why.Code == backend.WhyNone || j.Why.Code == backend.WhyNeverFits) {
			return false
		}
	}
	return true
}

// Close ends the engine and forgets the queue; VMs that run go on. A second
// call does nothing.
func (q *Queue) Close() error {
	q.once.Do(func() {
		q.end()
		q.work.Wait()
		q.done = errors.Join(q.err, q.Client.Close(), q.store.Close())
	})
	return q.done
}
