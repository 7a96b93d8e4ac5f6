package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/place"
	"berth/backend/image/repo"
)

// vault is a repository as transfers use it: a *repo.Repo, or a test's.
type vault interface {
	ID() string
	Encrypted() bool
	Points(ctx context.Context) ([]repo.Manifest, error)
	Point(ctx context.Context, id string) (repo.Manifest, error)
	begin(ctx context.Context, o repo.WriteOptions) (pen, error)
	ReadFile(ctx context.Context, m *repo.Manifest, f repo.File) ([]byte, error)
	Restore(ctx context.Context, m *repo.Manifest, target string, dst disk.Writer, o repo.RestoreOptions) error
	Verify(ctx context.Context, o repo.VerifyOptions) (repo.Report, error)
	Marks(ctx context.Context) (map[string]repo.Mark, error)
	Forget(ctx context.Context, ids ...string) error
	Prune(ctx context.Context, o repo.PruneOptions) (repo.PruneReport, error)
	Close() error
}

// pen writes one point: a *repo.Writer.
type pen interface {
	AddDisk(ctx context.Context, d repo.Disk, src disk.Reader, incremental bool) (repo.Disk, error)
	AddFile(ctx context.Context, kind, path string, content []byte) error
	Commit(ctx context.Context, m repo.Manifest) (repo.Manifest, error)
	Close() error
}

// real is a repository of this program.
type real struct{ *repo.Repo }

func openVault(ctx context.Context, p place.Place, s repo.Secret, o repo.Options) (vault, error) {
	r, err := repo.Open(ctx, p, s, o)
	if err != nil {
		return nil, err
	}
	return real{r}, nil
}

func (r real) begin(ctx context.Context, o repo.WriteOptions) (pen, error) {
	w, err := r.Begin(ctx, o)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// opened is a repository with the place that it lies in.
type opened struct {
	vault
	place place.Place
}

// openRepo opens a repository by its address and the files that hold its
// secret.
func (o *Options) openRepo(ctx context.Context, ref backend.RepoRef) (*opened, error) {
	s, err := o.OpenSecret(ctx, ref)
	if errors.Is(err, fs.ErrNotExist) && o.handedOver(ref) {
		// It lay in memory: the machine was booted since, or this is tried again after
		// it had come to its end.
		return nil, &backend.OpError{Op: "open", Target: backend.Clean(ref.URL),
			Err:  fmt.Errorf("%w: the passphrase that was handed over for this transfer is gone; order it anew", backend.ErrSecret),
			Hint: "with --passphrase-file it would go on by itself"}
	}
	if err != nil {
		return nil, err
	}
	s.Keyring = o.keys
	p, err := o.OpenPlace(ctx, ref.URL)
	if err != nil {
		return nil, err
	}
	v, err := o.open(ctx, p, s, repo.Options{CacheDir: o.CacheDir, Now: o.Clock.Now})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return &opened{v, p}, nil
}

// Close closes both.
func (r *opened) Close() error {
	if r == nil {
		return nil
	}
	return errors.Join(r.vault.Close(), r.place.Close())
}

// room is the free space where it lies; 0 where nobody tells.
func (r *opened) room(ctx context.Context) int64 {
	n, err := r.place.Room(ctx)
	if err != nil {
		return 0
	}
	return n
}
