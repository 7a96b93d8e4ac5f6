package repo

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

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
	if f, err := openCached(name, e.Size); err == nil {
		return f, nil
	}
	from, err := p.Open(ctx, e.Name)
	if err != nil {
		return nil, err
	}
	if err := c.copy(from, name); err != nil {
		return from, nil // a cache that cannot be written is done without
	}
	f, err := openCached(name, e.Size)
	return f, errors.Join(err, from.Close())
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
		if _, err := parseFileID(e.Name()); err == nil && !keep[e.Name()] {
			os.Remove(filepath.Join(c.dir, e.Name())) // one that stays does no harm
		}
	}
}

// cachedFile is a copy.
type cachedFile struct {
	*os.File
	size int64
}

func (f *cachedFile) Size() int64 { return f.size }

func openCached(name string, size int64) (place.File, error) {
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
	return &cachedFile{File: f, size: size}, nil
}
