// Package place keeps the files of a backup repository: in a folder of this
// machine, or over SFTP on another. It knows nothing of what is in them. Every
// file appears whole or not at all, and is durable when the call that made it
// returns.
package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"berth/backend"
)

// Place holds files. Names are slash-separated paths relative to it, as in
// fs.ValidPath; folders are made as they are needed. Its methods may be called
// from several goroutines and honour their context. Errors wrap fs.ErrNotExist,
// fs.ErrExist, fs.ErrPermission, backend.ErrNoRoom and backend.ErrUnreachable;
// what may go away by itself has been tried again before it is returned.
type Place interface {
	// URL names the place for people, and is what opens it again.
	URL() string
	// Open opens a file for reading. The context holds for reads, too.
	Open(ctx context.Context, name string) (File, error)
	// Create begins a file beside its name; it gets it at Commit, replacing one
	// that has it. sizeHint bytes are allocated beforehand where the place can
	// (ErrNoRoom when there is no room for them); 0: none. The context holds for
	// writes, too.
	Create(ctx context.Context, name string, sizeHint int64) (Draft, error)
	// CreateExclusive makes a small file whole and durable, or fails with
	// fs.ErrExist when the name is taken: of several callers one succeeds.
	CreateExclusive(ctx context.Context, name string, content []byte) error
	// List returns the files of a folder (not those of folders in it, and no
	// drafts), by name. A folder that is not there is empty; "." is the place.
	List(ctx context.Context, dir string) ([]Entry, error)
	// Folders returns the names of the folders in a folder, sorted.
	Folders(ctx context.Context, dir string) ([]string, error)
	// Stat describes one file.
	Stat(ctx context.Context, name string) (Entry, error)
	// Drafts returns what Create began and neither Commit nor Discard ended, in
	// any folder: being written at the moment, or left by a process that died.
	Drafts(ctx context.Context) ([]Entry, error)
	// RemoveDrafts removes those that nobody has written to for that long by the
	// place's own clock, and returns how many they were.
	RemoveDrafts(ctx context.Context, unchanged time.Duration) (int, error)
	// Remove removes a file.
	Remove(ctx context.Context, name string) error
	// Touch sets a file's ModTime to the place's now.
	Touch(ctx context.Context, name string) error
	// Now is the place's own clock, which ModTime is of: not always that of this
	// machine.
	Now(ctx context.Context) (time.Time, error)
	// Room is the free space in bytes; backend.ErrUnsupported where the place
	// does not tell.
	Room(ctx context.Context) (int64, error)
	Close() error
}

// File is a file open for reading, from several goroutines.
type File interface {
	// ReadAt is io.ReaderAt's: less than len(p) only together with an error.
	io.ReaderAt
	// Size is what it was when the file was opened.
	Size() int64
	Close() error
}

// Draft is a file being written from its start to its end, by one goroutine.
type Draft interface {
	// Write appends. What it wraps after an error is not to be used any more, but
	// for Discard.
	io.Writer
	// Size is how many bytes were written.
	Size() int64
	// Commit makes the file durable under its name, having seen that its length
	// is right; it is read-only from then on. Nothing has the name when it fails
	// (or still what had it).
	Commit(ctx context.Context) error
	// Discard removes the draft. It does nothing after Commit has succeeded.
	Discard() error
}

// Copier is a Place that takes files of other people's, too.
type Copier interface {
	Place
	// BeginCopy begins a file that must not be there yet (fs.ErrExist). What
	// copies of that name left that were killed long ago is removed.
	BeginCopy(ctx context.Context, name string) (Copy, error)
}

// Copy is a Draft that may have holes, is read back before it gets its name, and
// replaces nothing.
type Copy interface {
	Draft
	// Skip appends n zeroes, as a hole.
	Skip(n int64) error
	// Reread makes durable what was written, and opens it for reading.
	Reread(ctx context.Context) (File, error)
	// CommitNew is Commit under a name that must be free (fs.ErrExist), and gives
	// the file those permissions.
	CommitNew(ctx context.Context, mode fs.FileMode) error
}

// Entry is one file.
type Entry struct {
	Name    string // relative to the place, fit for Open
	Size    int64
	ModTime time.Time // by the place's own clock
}

// Write makes a file of content, replacing one of that name.
func Write(ctx context.Context, p Place, name string, content []byte) error {
	d, err := p.Create(ctx, name, 0)
	if err != nil {
		return err
	}
	if _, err := d.Write(content); err != nil {
		return errors.Join(err, d.Discard())
	}
	if err := d.Commit(ctx); err != nil {
		return errors.Join(err, d.Discard())
	}
	return nil
}

// Read returns a file's content. It fails, wrapping backend.ErrInvalid, when
// that is more than limit bytes.
func Read(ctx context.Context, p Place, name string, limit int64) ([]byte, error) {
	f, err := p.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if f.Size() > limit {
		err := fmt.Errorf("%s: %w: %d bytes, of at most %d", name, backend.ErrInvalid, f.Size(), limit)
		return nil, errors.Join(err, f.Close())
	}
	content := make([]byte, f.Size())
	if n, err := f.ReadAt(content, 0); n < len(content) {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return content, f.Close()
}

// Each calls f for the files that List would return, in any order. A folder may
// hold so many that a list of them is large: places that can do without.
func Each(ctx context.Context, p Place, dir string, f func(Entry) error) error {
	if one, can := p.(interface {
		each(ctx context.Context, dir string, f func(Entry) error) error
	}); can {
		return one.each(ctx, dir, f)
	}
	all, err := p.List(ctx, dir)
	for i := range all {
		if err := f(all[i]); err != nil {
			return err
		}
	}
	return err
}

// Walk lists the files of a folder and of all folders in it.
func Walk(ctx context.Context, p Place, dir string) ([]Entry, error) {
	all, err := p.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	folders, err := p.Folders(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, f := range folders {
		below, err := Walk(ctx, p, path.Join(dir, f))
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

// Drafts are told by their names: draftPrefix, the name they will have, a dot
// and a random part.
const draftPrefix = ".draft-"

func isDraft(name string) bool { return strings.HasPrefix(path.Base(name), draftPrefix) }

// checkName refuses names that could lead out of the place or pass for a draft.
func checkName(op, name string) error {
	if !fs.ValidPath(name) || name == "." || isDraft(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return nil
}
