package repo

import (
	"context"
	"encoding/hex"
	"errors"

	"filippo.io/age"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/place"
)

// The signatures of what is being written, so that others can build on them.

var errSoon = errors.New("being written")

type config struct{}
type keyring struct{}
type index struct{}

func unhex(dst []byte, s string) error { _, err := hex.Decode(dst, []byte(s)); return err }

// Init makes a repository in a place that has nothing in it.
func Init(ctx context.Context, p place.Place, o InitOptions) (*Repo, error) { return nil, errSoon }

// Open opens a repository.
func Open(ctx context.Context, p place.Place, s Secret, o Options) (*Repo, error) {
	return nil, errSoon
}

// Close lets go of what is open; not of the place.
func (r *Repo) Close() error { return errSoon }

// Points returns every point, newest first, and what is wrong with those that
// cannot be read.
func (r *Repo) Points(ctx context.Context) ([]Manifest, error) { return nil, errSoon }

// Point finds one by its ID or the beginning of it.
func (r *Repo) Point(ctx context.Context, id string) (Manifest, error) { return Manifest{}, errSoon }

// Writer writes one point.
type Writer struct{}

// Begin begins one.
func (r *Repo) Begin(ctx context.Context, o WriteOptions) (*Writer, error) { return nil, errSoon }

// AddDisk reads a disk. d says what it is; what is set by AddDisk need not be.
func (w *Writer) AddDisk(ctx context.Context, d Disk, src disk.Reader, incremental bool) (Disk, error) {
	return Disk{}, errSoon
}

// AddFile keeps a small file.
func (w *Writer) AddFile(ctx context.Context, kind, path string, content []byte) error {
	return errSoon
}

// Commit makes the point, with all that was added. It is durable when it
// returns.
func (w *Writer) Commit(ctx context.Context, m Manifest) (Manifest, error) {
	return Manifest{}, errSoon
}

// Close ends writing. What was written without Commit stays for a while, for
// a Writer of the same job.
func (w *Writer) Close() error { return errSoon }

// OpenDisk opens a disk of a point for reading at random.
func (r *Repo) OpenDisk(ctx context.Context, m *Manifest, target string) (disk.Reader, error) {
	return nil, errSoon
}

// Restore writes a disk of a point.
func (r *Repo) Restore(ctx context.Context, m *Manifest, target string, dst disk.Writer, o RestoreOptions) error {
	return errSoon
}

// ReadFile returns a small file's content.
func (r *Repo) ReadFile(ctx context.Context, m *Manifest, f File) ([]byte, error) {
	return nil, errSoon
}

// Diff returns where a disk differs between two points.
func (r *Repo) Diff(ctx context.Context, a, b *Manifest, target string) ([]backend.Extent, error) {
	return nil, errSoon
}

// Keys returns the ways to open the repository.
func (r *Repo) Keys(ctx context.Context) ([]Key, error) { return nil, errSoon }

// AddPassphrase adds one.
func (r *Repo) AddPassphrase(ctx context.Context, pass []byte, label string) (Key, error) {
	return Key{}, errSoon
}

// AddRecipients adds a key that any of them opens.
func (r *Repo) AddRecipients(ctx context.Context, to []age.Recipient, label string) (Key, error) {
	return Key{}, errSoon
}

// RemoveKey removes one, never the last.
func (r *Repo) RemoveKey(ctx context.Context, id string) error { return errSoon }
