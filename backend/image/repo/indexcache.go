package repo

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"berth/backend/image/place"
)

// indexCache keeps copies of index files on this machine. They are as sealed
// as where they came from, and never change. A nil indexCache keeps none.
type indexCache struct{ dir string }

// open opens a file, copying it first when there is no copy.
func (c *indexCache) open(ctx context.Context, p place.Place, e place.Entry) (place.File, error) {
	if c == nil {
		return p.Open(ctx, e.Name)
	}
	name := filepath.Join(c.dir, path.Base(e.Name))
	open := func() (place.File, error) { return p.Open(ctx, e.Name) }
	if f, err := openCached(name, e.Size, open); err == nil {
		return f, nil
	}
	from, err := open()
	if err != nil {
		return nil, err
	}
	if err := c.copy(from, name); err != nil {
		return from, nil // a cache that cannot be written is done without
	}
	f, err := openCached(name, e.Size, open)
	if err != nil {
		return from, nil
	}
	return f, from.Close()
}

func (c *indexCache) copy(from place.File, name string) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	to, err := renameio.NewPendingFile(name, renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer to.Cleanup() // does nothing after CloseAtomicallyReplace
	if _, err := io.CopyBuffer(to, io.NewSectionReader(from, 0, from.Size()), make([]byte, 256<<10)); err != nil {
		return err
	}
	return to.CloseAtomicallyReplace()
}

// tidy removes copies of what is there no more.
func (c *indexCache) tidy(there []place.Entry) {
	if c == nil {
		return
	}
	keep := map[string]bool{}
	for _, e := range there {
		keep[path.Base(e.Name)] = true
	}
	copies, err := os.ReadDir(c.dir)
	if err != nil {
		return // nothing was copied
	}
	for _, e := range copies {
		if !keep[e.Name()] && (isCopy(e.Name()) || isLeft(e)) {
			os.Remove(filepath.Join(c.dir, e.Name())) // one that stays does no harm
		}
	}
}

func isCopy(name string) bool {
	_, err := parseFileID(name)
	return err == nil
}

// isLeft reports whether a file is a copy that was being made by a process that
// died: renameio's are called .NAME and digits.
func isLeft(e fs.DirEntry) bool {
	if name, draft := strings.CutPrefix(e.Name(), "."); !draft || len(name) < 32 || !isCopy(name[:32]) {
		return false
	}
	info, err := e.Info()
	return err == nil && time.Since(info.ModTime()) > draftKeep
}

// cachedFile is a copy. What is wrong with it is no damage of the repository:
// renew goes on with what it is a copy of.
type cachedFile struct {
	name string
	size int64
	open func() (place.File, error) // what it is a copy of

	mu   sync.RWMutex
	copy *os.File
	from place.File // instead of copy; nil: it will do
}

func (f *cachedFile) Size() int64 { return f.size }

func (f *cachedFile) ReadAt(p []byte, offset int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.from != nil {
		return f.from.ReadAt(p, offset)
	}
	return f.copy.ReadAt(p, offset)
}

// renew drops the copy. It reports whether reading again may help.
func (f *cachedFile) renew() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.from != nil {
		return false
	}
	from, err := f.open()
	if err != nil {
		return false
	}
	os.Remove(f.name) // one that stays is found out again
	f.from = from
	return true
}

func (f *cachedFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.copy.Close()
	if f.from != nil {
		err = errors.Join(err, f.from.Close())
	}
	return err
}

func openCached(name string, size int64, open func() (place.File, error)) (*cachedFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != size {
		err = fs.ErrInvalid
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &cachedFile{name: name, size: size, open: open, copy: f}, nil
}
