package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"

	"berth/backend/image/place"
)

// index is all index files of a repository together. Memory for it does not
// grow with what the repository holds: each lookup reads a few pages of a file.
type index struct {
	place place.Place
	crypt *crypt
	cache *indexCache // nil: files are read where they are

	mu      sync.RWMutex
	files   []*indexFile
	faults  map[fileID]error // files that cannot be used
	removed map[fileID]bool  // files replaced by others that were made of them

	wounds *wounds
	stand  standIn
}

func newIndex(p place.Place, c *crypt, cache *indexCache) *index {
	return &index{place: p, crypt: c, cache: cache, faults: map[fileID]error{}, removed: map[fileID]bool{}, wounds: newWounds()}
}

// load opens files that are new and closes those that have gone. A file that
// cannot be used is kept in faults.
func (x *index) load(ctx context.Context) error {
	entries, err := x.place.List(ctx, indexDir)
	if err != nil {
		return err
	}
	there := map[fileID]place.Entry{}
	for _, e := range entries {
		if id, err := parseFileID(path.Base(e.Name)); err == nil {
			there[id] = e
		}
	}
	if err := x.wounds.load(ctx, x.place, x.crypt); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	changed := false
	x.files = slices.DeleteFunc(x.files, func(f *indexFile) bool {
		_, still := there[f.id]
		if delete(there, f.id); !still {
			f.file.Close() // it was read only
			changed = true
		}
		return !still
	})
	clear(x.faults)
	for id, e := range there {
		if x.removed[id] {
			continue
		}
		f, err := x.open(ctx, id, e)
		if errors.Is(err, fs.ErrNotExist) {
			continue // somebody has just merged it into another
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			x.faults[id] = fmt.Errorf("%s: %w", e.Name, err)
			continue
		}
		x.files = append(x.files, f)
		changed = true
	}
	if changed {
		x.stand.drop()
	}
	x.cache.tidy(entries)
	slices.SortFunc(x.files, func(a, b *indexFile) int { return bytes.Compare(a.id[:], b.id[:]) })
	return nil
}

func (x *index) open(ctx context.Context, id fileID, e place.Entry) (*indexFile, error) {
	ctx = context.WithoutCancel(ctx) // the file is read for longer than the call that opens it takes
	file, err := x.cache.open(ctx, x.place, e)
	if err != nil {
		return nil, err
	}
	f, err := openIndexFile(x.crypt, id, file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return f, nil
}

// close closes all files.
func (x *index) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var err error
	for _, f := range x.files {
		err = errors.Join(err, f.file.Close())
	}
	x.files = nil
	x.stand.drop()
	return err
}

// find returns where a chunk is; several places when it was stored several
// times, of which those known to be damaged come last; none when it is not
// known. What goes wrong in one file does not hinder the others, and where that
// is why a chunk is not found, packs are asked what they hold.
func (x *index) find(ctx context.Context, id ChunkID) (at []location, err error) {
	if at, err = x.lookUp(id); len(at) == 0 && err != nil {
		var other error
		if at, other = x.stand.find(ctx, id); other != nil {
			err = errors.Join(err, other)
		}
	}
	if len(at) == 0 {
		return nil, err
	}
	slices.SortStableFunc(at, func(a, b location) int { return cmp.Compare(x.badness(a), x.badness(b)) })
	return at, nil
}

func (x *index) badness(l location) int {
	if x.wounds.has(l) {
		return 1
	}
	return 0
}

// lookUp asks the index files alone.
func (x *index) lookUp(id ChunkID) (at []location, err error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, f := range x.files {
		var fault error
		if at, fault = f.find(id, at); fault != nil {
			err = errors.Join(err, fault)
		}
	}
	for _, fault := range x.faults {
		err = errors.Join(err, fault)
	}
	return at, err
}

// has reports whether a chunk is stored and not known to be damaged, for all
// that can be read of the index: storing one again does no harm.
func (x *index) has(id ChunkID) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var room [4]location
	for _, f := range x.files {
		at, err := f.find(id, room[:0])
		if err != nil {
			continue
		}
		for _, l := range at {
			if !x.wounds.has(l) {
				return true
			}
		}
	}
	return false
}

// broken reports whether a list of packs cannot be read, or a whole file: then
// much would count as not there. Of a damaged page of chunks it does not: that
// is 85 of them.
func (x *index) broken(ctx context.Context) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	broken := len(x.faults) > 0
	for _, f := range x.files {
		if !f.listRead {
			err := f.scanPacks().all(ctx, func(int64, []byte) error { return nil })
			f.listRead = err == nil
		}
		broken = broken || !f.listRead
	}
	return broken
}

// hasPack reports whether a pack is listed.
func (x *index) hasPack(id fileID) (bool, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, f := range x.files {
		if has, err := f.hasPack(id); has || err != nil {
			return has, err
		}
	}
	return false, nil
}

// add makes an index file of packs and uses it.
func (x *index) add(ctx context.Context, packs []packed) error {
	if len(packs) == 0 {
		return nil
	}
	id, err := writeIndex(ctx, x.place, x.crypt, packs)
	if err != nil {
		return err
	}
	return x.use(ctx, id)
}

// use opens a file that was just made.
func (x *index) use(ctx context.Context, id fileID) error {
	name := path.Join(indexDir, id.String())
	e, err := x.place.Stat(ctx, name)
	if err != nil {
		return err
	}
	f, err := x.open(ctx, id, e)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files = append(x.files, f)
	return nil
}

// An index has at most manyFiles files before the mergeFiles smallest are
// made one.
const (
	manyFiles  = 8
	mergeFiles = 6
)

// tidy merges files when there are many, so that a lookup stays cheap. Those of
// which something cannot be read are left as they are: the index can be made
// anew, and until then each has its use.
func (x *index) tidy(ctx context.Context) error {
	x.mu.RLock()
	some := slices.DeleteFunc(slices.Clone(x.files), func(f *indexFile) bool { return f.fault.Load() != nil })
	x.mu.RUnlock()
	if len(some) <= manyFiles {
		return nil
	}
	slices.SortFunc(some, func(a, b *indexFile) int { return cmp.Compare(a.chunks, b.chunks) })
	if err := x.merge(ctx, some[:mergeFiles], nil); err != nil && !isDamage(err) {
		return err
	}
	return ctx.Err()
}

// merge makes one file of some, without the packs that keep refuses, and then
// removes those that it was made of. When it is broken off there is more than
// needed, never less.
func (x *index) merge(ctx context.Context, some []*indexFile, keep func(packInfo) bool) error {
	id, err := mergeIndex(ctx, x.place, x.crypt, some, keep)
	if err != nil {
		return err
	}
	if err := x.use(ctx, id); err != nil {
		return err
	}
	x.mu.Lock()
	x.files = slices.DeleteFunc(x.files, func(f *indexFile) bool { return slices.Contains(some, f) })
	for _, f := range some {
		x.removed[f.id] = true
	}
	x.mu.Unlock()
	for _, f := range some {
		err = errors.Join(err, f.file.Close(), x.remove(ctx, f.id))
	}
	return err
}

// remove removes a file and its sums.
func (x *index) remove(ctx context.Context, id fileID) error {
	for _, dir := range []string{indexDir, sumsDir} {
		if err := x.place.Remove(ctx, path.Join(dir, id.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
