package cli

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/engine"
	"berth/backend/store"
	"berth/model/config"
)

// storedQueue is the queue of the state folder, as one process sees it.
type storedQueue struct {
	*engine.Client
	store *store.Store
	fleet func() []backend.Host
}

// OpenQueue opens the queue that is kept in the state folder. It is what
// Program.Queue is in the real program.
func OpenQueue(ctx context.Context, o QueueOptions) (backend.Queue, error) {
	s, err := openStore(ctx, o.Config.Paths)
	if err != nil {
		return nil, err
	}
	trail := audit.Open(o.Config.Paths.AuditFile, o.Env)
	q := &storedQueue{store: s, fleet: o.Fleet}
	opt := engine.ClientOptions{
		Store: s, Fleet: o.Fleet, Who: trail.Who(), Lock: lockFile(o.Config.Paths),
		Policy: o.Config.Queue.Policy, Limits: Limits(o.Config), Trail: trail,
	}
	if o.Ensure != nil {
		opt.EnsureEngine = func(ctx context.Context) error { return o.Ensure(ctx, q.engineRuns) }
	}
	q.Client = engine.NewClient(opt)
	return q, nil
}

func (q *storedQueue) engineRuns(ctx context.Context) (bool, error) {
	st, err := q.State(ctx)
	return st.Engine.Running, err
}

// Submit enters the hosts at hand first: a VM that was submitted from one of
// them may run on any.
func (q *storedQueue) Submit(ctx context.Context, specs []backend.JobSpec) ([]backend.JobID, error) {
	if err := q.enterHosts(ctx); err != nil {
		return nil, err
	}
	return q.Client.Submit(ctx, specs)
}

// enterHosts makes those hosts the queue's that may be changed and that it
// does not know yet, by address or by name.
func (q *storedQueue) enterHosts(ctx context.Context) error {
	st, err := q.State(ctx)
	if err != nil {
		return err
	}
	for _, h := range q.fleet() {
		known := slices.ContainsFunc(st.Hosts, func(k backend.QueueHost) bool { return k.URI == h.URI() || k.Name == h.Name() })
		if known || h.ReadOnly() {
			continue
		}
		if err := q.AddHost(ctx, engine.HostSpec{Name: h.Name(), URI: h.URI()}); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the store too.
func (q *storedQueue) Close() error { return errors.Join(q.Client.Close(), q.store.Close()) }

// openStore opens the state file.
func openStore(ctx context.Context, p config.Paths) (*store.Store, error) {
	if p.StateDir == "" {
		return nil, &backend.OpError{Op: "open the queue", Err: errors.New("neither XDG_STATE_HOME nor HOME is set, so there is no place for it"), Hint: "set one"}
	}
	return store.Open(ctx, filepath.Join(p.StateDir, stateFile))
}

// stateFile is where the queue is kept, in the state folder.
const stateFile = "berth.db"

// lockFile keeps a second engine out.
func lockFile(p config.Paths) string { return filepath.Join(p.StateDir, "engine.lock") }

// Limits are the config's rules for hosts in the engine's words.
func Limits(c *config.Config) func(host string) engine.Limits {
	return func(host string) engine.Limits {
		r := c.Queue.For(host)
		l := engine.Limits{
			CPUOvercommit: r.CPUOvercommit, MemoryOvercommit: r.MemoryOvercommit,
			MemoryReserve: r.MemoryReserve.Bytes, MemoryPercent: r.MemoryReserve.Percent, DiskReserve: r.DiskReserve,
		}
		if r.Fence != "" {
			l.Fence = []string{"/bin/sh", "-c", r.Fence}
		}
		return l
	}
}
