package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/engine"
	"berth/backend/engine/backup"
	"berth/backend/image/place"
	"berth/backend/image/repo"
	"berth/backend/store"
)

// storedBackups are the backups of the state folder, as one process sees them.
type storedBackups struct {
	*backup.Client
	store *store.Store
}

// Close closes the store too.
func (b *storedBackups) Close() error { return errors.Join(b.Client.Close(), b.store.Close()) }

// OpenBackups opens the backups that are kept in the state folder. It is what
// Program.Backups is in the real program.
func OpenBackups(ctx context.Context, o BackupsOptions) (backend.Backups, error) {
	s, err := openStore(ctx, o.Config.Paths)
	if err != nil {
		return nil, err
	}
	trail := audit.Open(o.Config.Paths.AuditFile, o.Env)
	queue := engine.NewClient(engine.ClientOptions{Store: s, Lock: lockFile(o.Config.Paths)})
	opt := backup.ClientOptions{
		Options: backup.Options{
			Store: s, Connect: o.Connect, OpenPlace: openPlaceOf(o.OpenPlace), OpenSecret: readSecret, Handover: isHandover,
			CacheDir: cacheFolder(o.Env), Trail: trail,
		},
		Fleet: o.Fleet, Who: trail.Who(), Engine: queue.Engine,
	}
	if o.Ensure != nil {
		opt.EnsureEngine = func(ctx context.Context) error {
			return o.Ensure(ctx, func(ctx context.Context) (bool, error) {
				e, err := queue.Engine(ctx)
				return e.Running, err
			})
		}
	}
	return &storedBackups{backup.NewClient(opt), s}, nil
}

// backupManager is what carries out backups beside the queue.
func backupManager(s *store.Store, o EngineOptions, hosts []engine.HostSpec) (engine.Companion, error) {
	if o.OpenPlace == nil { // this program has no backups
		return nil, nil
	}
	known := map[string]string{}
	for _, h := range hosts {
		known[h.Name] = h.URI
	}
	c := &o.Config.Backup
	m, err := backup.New(backup.Options{
		Store: s, Connect: o.Connect, Hosts: known, OpenPlace: openPlaceOf(o.OpenPlace), OpenSecret: readSecret, Handover: isHandover,
		CacheDir: cacheFolder(o.Env), PerHost: c.JobsPerHost, PerRepo: c.JobsPerRepo, Keep: o.Config.Queue.Keep,
		Trail: audit.Open(o.Config.Paths.AuditFile, o.Env),
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func openPlaceOf(open OpenPlaceFunc) func(context.Context, string) (place.Place, error) {
	if open == nil {
		return nil
	}
	return func(ctx context.Context, url string) (place.Place, error) { return open(ctx, url, false) }
}

// readSecret reads the files that hold a repository's secret.
func readSecret(_ context.Context, ref backend.RepoRef) (repo.Secret, error) {
	source := secretSource{passphraseFile: ref.PassphraseFile, identityFile: ref.IdentityFile}
	return source.secret()
}

// isHandover reports whether a file holds a secret for one order only.
func isHandover(file string) bool { return strings.HasPrefix(filepath.Base(file), HandoverPrefix) }

// cacheFolder is app.cacheDir for what is no command.
func cacheFolder(env func(string) string) string {
	if env == nil {
		return ""
	}
	a := app{Program: Program{Env: env, UID: os.Getuid()}}
	return a.cacheDir()
}

// backupsToDo reports whether a transfer is under way, or a schedule is there.
func backupsToDo(ctx context.Context, s *store.Store) (todo bool, err error) {
	err = s.View(ctx, func(tx *store.Tx) error {
		transfers, err := tx.Transfers(store.TransferFilter{Active: true})
		if err != nil {
			return err
		}
		schedules, err := tx.Schedules()
		todo = len(transfers) > 0 || slices.ContainsFunc(schedules, func(s backend.Schedule) bool { return !s.Disabled })
		return err
	})
	return todo, err
}
