package repo

import (
	"context"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"berth/backend/image/place"
)

// Copies of chunks that were found damaged are noted in files of damagedDir.
// A writer takes such a copy for not there: what is read again of the disk is
// stored anew, and whatever lists the chunk is whole again. A reader tries it
// after all others. Nothing is removed for a note: what it says was damaged may
// yet be read by somebody, and Verify takes back what it finds right.

const (
	damagedDir         = "damaged"
	boxDamage  boxKind = 5
	// woundsInFile bounds a box's JSON.
	woundsInFile = 50_000
)

// wound is a damaged stretch of a pack.
type wound struct {
	Pack   fileID    `json:"pack"`
	Offset int64     `json:"offset"`
	Length uint32    `json:"length,omitempty"` // of a frame; 0: all to the end of the pack
	Chunk  ChunkID   `json:"chunk,omitzero"`
	Found  time.Time `json:"found"`
	// gone: the pack was not there.
	gone bool
}

// woundBox is what a file of damagedDir holds.
type woundBox struct {
	Wounds []wound `json:"wounds"`
}

// spot is where a frame begins.
type spot struct {
	pack   fileID
	offset int64
}

// wounds are those of a repository that are known.
type wounds struct {
	mu     sync.RWMutex
	frames map[spot]wound
	tails  map[fileID]wound // from an offset to the end
	fresh  []wound          // in no file yet
	files  map[string]bool  // that were read, or written
}

func newWounds() *wounds {
	return &wounds{frames: map[spot]wound{}, tails: map[fileID]wound{}, files: map[string]bool{}}
}

// has reports whether a copy is known to be damaged.
func (w *wounds) has(l location) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if len(w.frames) == 0 && len(w.tails) == 0 {
		return false
	}
	_, known := w.frames[spot{l.pack, l.offset}]
	if t, cut := w.tails[l.pack]; cut && l.offset+int64(l.length) > t.Offset {
		known = true
	}
	return known
}

// none reports whether no damage is known.
func (w *wounds) none() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return len(w.frames) == 0 && len(w.tails) == 0
}

// packs are those that have any.
func (w *wounds) packs() map[fileID]bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	all := map[fileID]bool{}
	for s := range w.frames {
		all[s.pack] = true
	}
	for id := range w.tails {
		all[id] = true
	}
	return all
}

// note notes one, unless it is known.
func (w *wounds) note(x wound) {
	if w.has(location{pack: x.Pack, offset: x.Offset, length: max(x.Length, 1)}) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(x)
	w.fresh = append(w.fresh, x)
}

func (w *wounds) put(x wound) {
	if x.Length > 0 {
		w.frames[spot{x.Pack, x.Offset}] = x
	} else if t, known := w.tails[x.Pack]; !known || x.Offset < t.Offset {
		w.tails[x.Pack] = x
	}
}

// load reads what others have noted. Files that cannot be read are left out:
// Verify finds again what was in them.
func (w *wounds) load(ctx context.Context, p place.Place, c *crypt) error {
	entries, err := p.List(ctx, damagedDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		w.mu.RLock()
		known := w.files[e.Name]
		w.mu.RUnlock()
		if known {
			continue
		}
		var b woundBox
		if _, err := readBox(ctx, p, c, boxDamage, e.Name, &b); err != nil {
			if isDamage(err) { // or gone meanwhile
				continue
			}
			return err
		}
		w.mu.Lock()
		w.files[e.Name] = true
		for _, x := range b.Wounds {
			w.put(x)
		}
		w.mu.Unlock()
	}
	return nil
}

// save writes down what was noted. Packs that were not there may be back: a
// file system was mounted late.
func (w *wounds) save(ctx context.Context, p place.Place, c *crypt) error {
	w.mu.Lock()
	fresh := w.fresh
	w.fresh = nil
	w.mu.Unlock()
	back := map[fileID]bool{}
	for _, x := range fresh {
		if _, asked := back[x.Pack]; x.gone && !asked {
			_, err := p.Stat(ctx, packName(x.Pack))
			back[x.Pack] = !isMissing(err)
		}
	}
	fresh = slices.DeleteFunc(fresh, func(x wound) bool { return x.gone && back[x.Pack] })
	left, err := w.write(ctx, p, c, fresh)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh = append(w.fresh, left...)
	return err
}

// write makes files of some, and returns those that it could not.
func (w *wounds) write(ctx context.Context, p place.Place, c *crypt, some []wound) (left []wound, err error) {
	for len(some) > 0 {
		n := min(len(some), woundsInFile)
		b, err := c.sealBox(boxDamage, woundBox{Wounds: some[:n]})
		if err != nil {
			return some, err
		}
		name := path.Join(damagedDir, newFileID().String())
		if err := place.Write(ctx, p, name, b); err != nil {
			return some, err
		}
		w.mu.Lock()
		w.files[name] = true
		w.mu.Unlock()
		some = some[n:]
	}
	return nil, nil
}

// drop forgets those that gone says are none any more. What stays is written
// before the files that also held the rest are removed: broken off it leaves
// more notes than needed.
func (w *wounds) drop(ctx context.Context, p place.Place, c *crypt, gone func(wound) bool) error {
	w.mu.Lock()
	before := len(w.frames) + len(w.tails)
	maps.DeleteFunc(w.frames, func(_ spot, x wound) bool { return gone(x) })
	maps.DeleteFunc(w.tails, func(_ fileID, x wound) bool { return gone(x) })
	stay := slices.AppendSeq(slices.Collect(maps.Values(w.frames)), maps.Values(w.tails))
	old := w.files
	same := len(stay) == before
	if !same {
		w.files, w.fresh = map[string]bool{}, nil
	}
	w.mu.Unlock()
	if same {
		return nil
	}
	if left, err := w.write(ctx, p, c, stay); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.fresh = append(w.fresh, left...)
		return err
	}
	for name := range old {
		if err := remove(ctx, p, name); err != nil {
			return err
		}
	}
	return nil
}

// noteDamage notes a copy that could not be read for what fault says, for as
// long as the Repo is open; saveDamage makes it known to others.
func (r *Repo) noteDamage(id ChunkID, l location, fault error) {
	r.index.wounds.note(wound{Pack: l.pack, Offset: l.offset, Length: l.length, Chunk: id, Found: r.now().UTC().Truncate(time.Second), gone: isMissing(fault)})
}

// noteCut notes that a pack lacks what is behind offset; 0: all of it.
func (r *Repo) noteCut(pack fileID, offset int64, fault error) {
	r.index.wounds.note(wound{Pack: pack, Offset: offset, Found: r.now().UTC().Truncate(time.Second), gone: isMissing(fault)})
}

// saveDamage is for after the work: where nothing can be written it was done
// nevertheless.
func (r *Repo) saveDamage(ctx context.Context) error {
	if err := r.index.wounds.save(ctx, r.place, r.crypt); err != nil && !cannotWrite(err) {
		return err
	}
	return nil
}
