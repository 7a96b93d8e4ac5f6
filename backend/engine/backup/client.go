package backup

import (
	"cmp"
	"context"
	"fmt"
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
	Options // Store, Connect (may be nil), OpenPlace, OpenSecret, Handover, CacheDir, Zone, Trail, Clock; the others are not looked at
	// Fleet are the hosts at hand, by which the engine will reach them.
	Fleet func() []backend.Host
	// Who orders what is ordered through this client.
	Who string
	// Engine tells whether an engine runs; nil: as the lease says.
	Engine func(ctx context.Context) (backend.EngineState, error)
	// EnsureEngine sees to it that one runs; nil: somebody else does.
	EnsureEngine func(context.Context) error
}

// Client is backend.Backups for everybody but the engine.
type Client struct {
	o ClientOptions

	mu   sync.Mutex
	rev  store.Revisions // that what follows was read at
	kept backend.BackupsState
}

var (
	_ backend.Backups      = (*Client)(nil)
	_ backend.BackupLogger = (*Client)(nil)
)

// NewClient makes a client of a store that stays open until after Close.
func NewClient(o ClientOptions) *Client {
	if o.Fleet == nil {
		o.Fleet = func() []backend.Host { return nil }
	}
	if o.Connect == nil {
		o.Connect = func(name, _ string) (backend.Host, error) {
			return nil, fmt.Errorf("%w: %s is not at hand", backend.ErrUnsupported, name)
		}
	}
	if err := o.Options.complete(); err != nil && o.Options.OpenPlace != nil {
		panic(err) // a store is missing: a fault of the program
	}
	if o.Clock == nil {
		o.Clock = clock.Wall{}
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	return &Client{o: o}
}

// Close ends the client; the store belongs to whoever opened it.
func (c *Client) Close() error { return nil }

const (
	// endedFor is how long State shows transfers that have ended.
	endedFor = 14 * 24 * time.Hour
	// endedMost is how many of them.
	endedMost = 200
)

// State is what the engine wrote last. What has not changed since the last call
// is not read again: progress costs some rows, the catalogue nothing.
func (c *Client) State(ctx context.Context) (backend.BackupsState, error) {
	rev, err := c.o.Store.Revisions(ctx)
	if err != nil {
		return backend.BackupsState{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.kept
	err = c.o.Store.View(ctx, func(tx *store.Tx) (err error) {
		if c.rev.Transfers != rev.Transfers {
			if next.Transfers, err = tx.Transfers(store.TransferFilter{Active: true, EndedSince: c.o.Clock.Now().Add(-endedFor)}); err != nil {
				return err
			}
			arrange(next.Transfers)
			next.Transfers = next.Transfers[:min(len(next.Transfers), unended(next.Transfers)+endedMost)]
		}
		if c.rev.Catalogue != rev.Catalogue {
			if err := readCatalogue(tx, &next); err != nil {
				return err
			}
		}
		l, err := tx.Lease()
		next.Engine = backend.EngineState{Running: l.Held, PID: l.PID, Host: l.Host, Since: l.Since, Beat: l.Beat, Trouble: l.Trouble}
		return err
	})
	if err != nil {
		return backend.BackupsState{}, err
	}
	c.rev, c.kept = rev, next
	next.At, next.Revision = c.o.Clock.Now(), rev.Sum()
	next.Transfers, next.Points = slices.Clone(next.Transfers), slices.Clone(next.Points)
	next.Repos, next.Schedules = slices.Clone(next.Repos), slices.Clone(next.Schedules)
	if c.o.Engine != nil {
		next.Engine, err = c.o.Engine(ctx)
	}
	if !next.Engine.Running && next.Engine.Trouble == "" && unended(next.Transfers) > 0 {
		next.Engine.Trouble = "no engine runs: start one with berth engine"
	}
	return next, err
}

func readCatalogue(tx *store.Tx, s *backend.BackupsState) (err error) {
	if s.Points, err = tx.Points(""); err != nil {
		return err
	}
	if s.Repos, err = tx.Repos(); err != nil {
		return err
	}
	s.Schedules, err = tx.Schedules()
	return err
}

// rank is the part of the list that a transfer belongs to.
func rank(x *backend.Transfer) int {
	switch {
	case x.State.Ended():
		return 2
	case x.State == backend.TransferQueued:
		return 1
	}
	return 0
}

// arrange puts transfers in the order of BackupsState.Transfers.
func arrange(list []backend.Transfer) {
	slices.SortStableFunc(list, func(a, b backend.Transfer) int {
		if r := cmp.Compare(rank(&a), rank(&b)); r != 0 {
			return r
		}
		switch rank(&a) {
		case 0:
			return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
		case 1:
			return cmp.Or(a.Ordered.Compare(b.Ordered), cmp.Compare(a.ID, b.ID))
		}
		return cmp.Or(b.Ended.Compare(a.Ended), cmp.Compare(b.ID, a.ID))
	})
}

// unended is how many of the arranged transfers have not ended.
func unended(list []backend.Transfer) int {
	n := slices.IndexFunc(list, func(x backend.Transfer) bool { return x.State.Ended() })
	if n < 0 {
		return len(list)
	}
	return n
}

// Wait returns when something has changed since the State of that revision.
func (c *Client) Wait(ctx context.Context, revision int64) error {
	return c.o.Store.WaitAny(ctx, revision)
}

// Log returns what happened to transfers and schedules, oldest first.
func (c *Client) Log(ctx context.Context, q backend.LogQuery) (events []backend.JobEvent, err error) {
	q.Backups = true
	err = c.o.Store.View(ctx, func(tx *store.Tx) error { events, err = tx.Events(q); return err })
	return events, err
}

// Refresh reads the catalogue of a repository anew, in this process. What keeps
// it from being read is noted with the repository, too.
func (c *Client) Refresh(ctx context.Context, ref backend.RepoRef) error {
	if c.o.OpenPlace == nil {
		return fmt.Errorf("%w: repositories cannot be opened here", backend.ErrUnsupported)
	}
	return c.o.refresh(ctx, ref)
}

// StartEngine sees to it that an engine runs; one that runs is left alone. It
// wraps backend.ErrEngine.
func (c *Client) StartEngine(ctx context.Context) error { return c.ensure(ctx) }

// ensure sees to it that an engine runs.
func (c *Client) ensure(ctx context.Context) error {
	if c.o.EnsureEngine == nil {
		return nil
	}
	if err := c.o.EnsureEngine(ctx); err != nil {
		return &backend.OpError{Op: "run it", Err: fmt.Errorf("%w: %w", backend.ErrEngine, err), Hint: "what was asked for is kept; start one with berth engine"}
	}
	return nil
}

// record enters in the audit trail what a person wanted; the error is that it
// could not be entered, though it has happened.
func (c *Client) record(verb string, s *backend.TransferSpec, detail string) error {
	e := audit.Entry{At: c.o.Clock.Now(), Host: s.VM.Host, Verb: verb, VM: s.Name, Detail: detail}
	if !s.VM.UUID.IsZero() {
		e.UUID = s.VM.UUID.String()
	}
	return c.o.Trail.Record(e, nil)
}
