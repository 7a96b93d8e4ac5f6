package backup

import (
	"context"
	"errors"
	"time"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/engine/clock"
	"berth/backend/image/disk"
	"berth/backend/image/place"
	"berth/backend/image/repo"
	"berth/backend/store"
)

// Clock is where time comes from.
type Clock = clock.Clock

// Options make a Manager. Store, Connect and OpenPlace are needed.
type Options struct {
	Store *store.Store
	// Connect makes the backend.Host of a host. It is closed when nothing needs it
	// any more, unless KeepOpen.
	Connect  func(name, uri string) (backend.Host, error)
	KeepOpen bool
	// Hosts are known besides those that the store knows: name to address. What
	// schedules choose from by tag is among both.
	Hosts map[string]string
	// OpenPlace opens where a repository lies, by RepoRef.URL.
	OpenPlace func(ctx context.Context, url string) (place.Place, error)
	// OpenSecret reads a repository's secret; nil: none is encrypted.
	OpenSecret func(ctx context.Context, ref backend.RepoRef) (repo.Secret, error)
	// Handover reports whether a passphrase file was made for one order only. It is
	// removed when no transfer needs it any more, and not noted with the
	// repository. nil: none is.
	Handover   func(path string) bool
	CacheDir   string // of repositories' indexes; empty: none is kept
	ScratchDir string // of hosts' scratch files; empty: beside the images
	PerHost    int    // transfers at once on a host; 0: backend.DefaultJobsPerHost
	PerRepo    int    // writers at once in a repository; 0: backend.DefaultJobsPerRepo
	// Zone is that of schedules and retentions; nil: the machine's.
	Zone *time.Location
	// Waits are between attempts after a failure that may pass; when they are used
	// up the transfer has failed. nil: DefaultWaits.
	Waits []time.Duration
	// Brief are waits within an attempt, for a connection that was lost while the
	// backup job lives. nil: DefaultBrief.
	Brief []time.Duration
	Keep  time.Duration // how long ended transfers are remembered; 0: for ever
	Trail *audit.Trail
	Clock Clock // nil: the machine's

	// Fault is for tests: it is called by name before and after every step that
	// lasts, and an error ends the transfer there as kill -9 would: nothing is
	// undone.
	Fault func(step string) error

	keys       *repo.Keyring                                                                          // what opened repositories before
	open       func(ctx context.Context, p place.Place, s repo.Secret, o repo.Options) (vault, error) // tests
	openDisk   func(ctx context.Context, a backend.DiskAccess) (disk.Reader, error)
	openWriter func(ctx context.Context, a backend.DiskAccess) (disk.Writer, error)
}

// DefaultWaits grow: a host that is being booted is back after minutes, a
// network that somebody has to look after takes longer.
var DefaultWaits = []time.Duration{15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute}

// DefaultBrief are short: while they pass the guest's scratch file grows.
var DefaultBrief = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second}

func (o *Options) complete() error {
	if o.Store == nil || o.Connect == nil || o.OpenPlace == nil {
		return errors.New("backup: Store, Connect and OpenPlace are needed")
	}
	if o.OpenSecret == nil {
		o.OpenSecret = func(context.Context, backend.RepoRef) (repo.Secret, error) { return repo.Secret{}, nil }
	}
	if o.PerHost <= 0 {
		o.PerHost = backend.DefaultJobsPerHost
	}
	if o.PerRepo <= 0 {
		o.PerRepo = backend.DefaultJobsPerRepo
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	if o.Waits == nil {
		o.Waits = DefaultWaits
	}
	if o.Brief == nil {
		o.Brief = DefaultBrief
	}
	if o.Clock == nil {
		o.Clock = clock.Wall{}
	}
	if o.keys == nil {
		o.keys = new(repo.Keyring)
	}
	if o.open == nil {
		o.open = openVault
	}
	if o.openDisk == nil {
		o.openDisk = disk.Open
	}
	if o.openWriter == nil {
		o.openWriter = disk.OpenWriter
	}
	return nil
}

// pause waits for d, or for the end of ctx, whose cause it returns.
func (o *Options) pause(ctx context.Context, d time.Duration) error {
	c, stop := o.Clock.Timer(d)
	defer stop()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
