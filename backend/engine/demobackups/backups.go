// Package demobackups are backups for the demo: the real runner of transfers in
// this process, with a store in memory and a real repository beside the images
// of a simulated fleet. It finds a past: points of some weeks, VMs that nobody
// backs up, a point that is damaged, a transfer that failed, schedules.
//
// It knows nothing of package demo: of hosts that can tell their past it asks
// that, and backs up all others as they are.
package demobackups

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/engine/backup"
	"berth/backend/engine/clock"
	"berth/backend/image/place"
	"berth/backend/store"
)

// Pace is how many bytes a second a backup or restore reads in the demo unless
// somebody asks for another limit: the demo's images are small, and what is over
// in a blink cannot be watched. It is the transfer's own limit and shown as
// such.
const Pace = 192 << 10

// Host is what a host of the demo can tell beyond backend.Backuper.
type Host interface {
	backend.Host
	// BackupDir is a folder for a repository.
	BackupDir(ctx context.Context) (string, error)
	// PastBackups are what people backed up before, VM by VM and the oldest first.
	PastBackups(ctx context.Context) ([]backend.Point, error)
	// BeginPast opens a VM's disks as they were then.
	BeginPast(ctx context.Context, p backend.Point, r backend.BackupRequest) (backend.BackupSession, error)
}

// Options make Backups. Hosts is needed.
type Options struct {
	// Hosts are the demo fleet's, as the person at the console has them; they
	// stay open.
	Hosts []backend.Host
	// Keeper is a host as the engine has it; nil: as it is.
	Keeper func(backend.Host) backend.Host
	// Who is the person at the console.
	Who   string
	Clock backup.Clock // nil: the machine's
	// Settled has Open wait until the past is made.
	Settled bool
}

// Backups is the demo's backend.Backups.
type Backups struct {
	*backup.Client
	o     Options
	hosts []backend.Host // as the engine has them
	store *store.Store
	end   context.CancelFunc
	work  sync.WaitGroup
	ready chan struct{} // closed when the past is made, or could not be

	mu      sync.Mutex
	trouble error // of the engine or of the past
	once    sync.Once
	done    error
}

var _ backend.Backups = (*Backups)(nil)

// Open makes the demo's backups. The past is made in the background, and what
// there is of it shows as it comes.
func Open(ctx context.Context, o Options) (*Backups, error) {
	if o.Clock == nil {
		o.Clock = clock.Wall{}
	}
	s, err := store.OpenMemory(ctx)
	if err != nil {
		return nil, err
	}
	b := &Backups{o: o, store: s, hosts: slices.Clone(o.Hosts), ready: make(chan struct{})}
	for i, h := range b.hosts {
		if o.Keeper != nil {
			b.hosts[i] = o.Keeper(h)
		}
	}
	b.Client = backup.NewClient(backup.ClientOptions{Options: b.options(), Fleet: func() []backend.Host { return o.Hosts }, Who: o.Who,
		Engine: b.engine})
	life, end := context.WithCancel(context.Background())
	b.end = end
	m, err := backup.New(b.options())
	if err != nil {
		end()
		return nil, errors.Join(err, s.Close())
	}
	b.work.Go(func() {
		b.note(b.past(life))
		close(b.ready)
		b.note(m.Run(life, 0))
	})
	if o.Settled {
		select {
		case <-b.ready:
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), b.Close())
		}
	}
	return b, nil
}

func (b *Backups) options() backup.Options {
	return backup.Options{
		Store: b.store, KeepOpen: true, Trail: &audit.Trail{}, Clock: b.o.Clock, Waits: []time.Duration{10 * time.Second, 30 * time.Second},
		Connect: func(name, _ string) (backend.Host, error) {
			for _, h := range b.hosts {
				if h.Name() == name {
					return h, nil
				}
			}
			return nil, &backend.OpError{Op: "connect", Target: name, Err: backend.ErrUnreachable}
		},
		OpenPlace: func(_ context.Context, url string) (place.Place, error) { return place.OpenLocal(url, false) },
	}
}

// note keeps the first trouble.
func (b *Backups) note(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trouble == nil && !errors.Is(err, context.Canceled) {
		b.trouble = err
	}
}

// engine is the one in this process.
func (b *Backups) engine(context.Context) (backend.EngineState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := backend.EngineState{Running: true}
	if b.trouble != nil {
		e.Trouble = b.trouble.Error()
	}
	return e, nil
}

// Start orders transfers, at the demo's pace.
func (b *Backups) Start(ctx context.Context, specs []backend.TransferSpec) ([]backend.TransferID, error) {
	specs = slices.Clone(specs)
	for i := range specs {
		if s := &specs[i]; s.Limit == 0 && s.Kind != backend.TransferForget {
			s.Limit = Pace
		}
	}
	return b.Client.Start(ctx, specs)
}

// PutSchedule adds or replaces a schedule, at the demo's pace.
func (b *Backups) PutSchedule(ctx context.Context, s backend.Schedule) (int64, error) {
	if s.Limit == 0 {
		s.Limit = Pace
	}
	return b.Client.PutSchedule(ctx, s)
}

// Close ends what is under way and forgets the backups. A second call does
// nothing.
func (b *Backups) Close() error {
	b.once.Do(func() {
		b.end()
		b.work.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.done = errors.Join(b.trouble, b.Client.Close(), b.store.Close())
	})
	return b.done
}
