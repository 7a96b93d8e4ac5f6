package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"berth/backend/image/place"
)

// rewritePacks writes the needed chunks of some packs anew, each checked before
// and read back after.
func (p *pruning) rewritePacks(ctx context.Context) error {
	if p.rep.Rewritten == 0 {
		return nil
	}
	// If this breaks off, what it has written is found by the next Prune: twice
	// there, and needed once.
	w := p.r.newPacker(ctx, p.r.jobID("prune"))
	t := &moving{p: p, to: w, codec: newCodec(p.r.crypt), in: p.r.buffers.get(), out: p.r.buffers.get()}
	defer t.close()
	w.expecting(p.rep.RewroteBytes)
	err := p.census.byPack(ctx, func(n int, r *row) bool { return p.fate[r.pack].move && p.live.is(n) }, func(n int, rows []numbered) error {
		return t.pack(ctx, n, rows)
	})
	if err != nil {
		return errors.Join(err, w.abandon(context.WithoutCancel(ctx)))
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	return p.readBack(ctx, w.made)
}

// moving moves chunks from packs to others.
type moving struct {
	p     *pruning
	to    *packer
	codec *codec
	in    []byte
	out   []byte
	done  int64
}

func (t *moving) close() {
	t.codec.close()
	t.p.r.buffers.put(t.in)
	t.p.r.buffers.put(t.out)
}

// pack moves the needed chunks of one pack. When one of them is damaged the
// pack stays as it is.
func (t *moving) pack(ctx context.Context, n int, rows []numbered) error {
	id := t.p.census.packs[n].id
	f, err := openPack(ctx, t.p.r.place, t.p.r.crypt, id)
	if err != nil {
		return t.leave(ctx, n, err)
	}
	for i := range rows {
		if err = t.chunk(ctx, f, &rows[i].row, id); err != nil {
			err = t.leave(ctx, n, err)
			break
		}
	}
	return errors.Join(err, f.close())
}

// leave lets a damaged pack stay; other errors end the Prune.
func (t *moving) leave(ctx context.Context, n int, err error) error {
	if ctx.Err() != nil || !isDamage(err) {
		return err
	}
	f := &t.p.fate[n]
	f.drop, f.move = false, false
	t.p.rep.Damaged = append(t.p.rep.Damaged, words(err))
	t.p.rep.Rewritten--
	return nil
}

func (t *moving) chunk(ctx context.Context, f *packFile, r *row, id fileID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at := location{pack: id, offset: r.offset, length: r.length}
	fr, stored, err := f.read(at, t.in)
	if err == nil && keyOf(fr.id) != r.key {
		err = damaged("%s at %d: it is chunk %s", packName(id), r.offset, fr.id)
	}
	if err == nil {
		if _, err = t.codec.unpack(t.out, &fr, stored); err != nil {
			err = fmt.Errorf("%s at %d: %w", packName(id), r.offset, err)
		}
	}
	if err != nil {
		if ctx.Err() == nil && isDamage(err) {
			var id ChunkID
			copy(id[:], r.key[:])
			t.p.r.noteDamage(id, at, err)
		}
		return err
	}
	if err := t.to.add(fr, t.in[:frameLen+len(stored)]); err != nil {
		return err
	}
	t.done += int64(r.length)
	t.p.tell("rewriting", t.done, t.p.rep.RewroteBytes)
	return nil
}

// readBack reads the packs that were made, whole: what they were made of will be
// removed.
func (p *pruning) readBack(ctx context.Context, made []fileID) error {
	packs := newPackCache(ctx, p.r.place, p.r.crypt)
	defer packs.close() // they were read only
	rd := p.r.newChunkReader(packs)
	defer rd.close()
	for _, id := range made {
		f, err := packs.acquire(id)
		if err != nil {
			return err
		}
		frames, err := f.frames()
		packs.release(f, err)
		if err != nil {
			return err
		}
		for i := range frames {
			fr := &frames[i]
			if _, err := rd.at(fr.id, location{pack: id, offset: fr.offset, length: uint32(fr.size())}); err != nil {
				return err
			}
		}
	}
	return nil
}

// reindex makes an index that does not list the packs that go.
func (p *pruning) reindex(ctx context.Context) error {
	drop := false
	for n := range p.fate {
		drop = drop || p.fate[n].drop
	}
	if !drop {
		return nil
	}
	p.r.index.mu.RLock()
	files := slices.Clone(p.r.index.files)
	p.r.index.mu.RUnlock()
	return p.r.index.merge(ctx, files, func(info packInfo) bool { return !p.drops(info.id) })
}

func (p *pruning) drops(id fileID) bool {
	n, known := p.census.number(id)
	return known && p.fate[n].drop
}

func condemnedName(id fileID) string { return path.Join(condemnedDir, id.String()) }

// ready tells the packs whose grace has ended.
func (p *pruning) ready(ctx context.Context) (func(fileID) bool, error) {
	if p.o.Grace <= 0 {
		return func(fileID) bool { return true }, nil
	}
	entries, err := p.r.place.List(ctx, condemnedDir)
	ready := map[fileID]bool{}
	for _, e := range entries {
		if id, err := parseFileID(path.Base(e.Name)); err == nil && p.now.Sub(e.ModTime) >= p.o.Grace {
			ready[id] = true
		}
	}
	return func(id fileID) bool { return ready[id] }, err
}

// removePacks removes packs that no index lists any more, or condemns them.
func (p *pruning) removePacks(ctx context.Context) error {
	ready, err := p.ready(ctx)
	if err != nil {
		return err
	}
	held := time.Now()
	for n := range p.fate {
		id := p.census.packs[n].id
		if !p.fate[n].gone() || p.census.packs[n].there < 0 {
			continue
		}
		if time.Since(held) > lockRefresh {
			if err := p.lock.held(ctx); err != nil {
				return err
			}
			held = time.Now()
		}
		if ready(id) {
			err = errors.Join(remove(ctx, p.r.place, packName(id)), remove(ctx, p.r.place, condemnedName(id)))
		} else {
			err = p.condemn(ctx, id)
		}
		if err != nil {
			return err
		}
		p.count(n, ready(id))
		p.tell("removing", p.rep.Freed, p.rep.Stored-p.rep.Needed)
	}
	return nil
}

// condemn notes since when a pack is not needed; the file's time is it.
func (p *pruning) condemn(ctx context.Context, id fileID) error {
	err := p.r.place.CreateExclusive(ctx, condemnedName(id), nil)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// remove removes a file that may be gone already.
func remove(ctx context.Context, p place.Place, name string) error {
	if err := p.Remove(ctx, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// drafts removes what dead processes left. It comes first: it makes room for
// what has to be written.
func (p *pruning) drafts(ctx context.Context) error {
	n, err := p.r.place.RemoveDrafts(ctx, draftKeep)
	p.rep.Others += n
	if cannotWrite(err) { // not even for asking the clock
		return nil
	}
	return err
}

// tidy removes what is left of other kinds.
func (p *pruning) tidy(ctx context.Context) error {
	points, err := p.names(ctx, pointsDir)
	if err != nil {
		return err
	}
	index, err := p.names(ctx, indexDir)
	if err != nil {
		return err
	}
	for _, t := range []struct {
		dir  string
		keep func(place.Entry) bool
	}{
		{marksDir, func(e place.Entry) bool { return points[path.Base(e.Name)] }},
		{sumsDir, func(e place.Entry) bool { return index[path.Base(e.Name)] }},
		{condemnedDir, p.waits},
		{jobsDir, func(e place.Entry) bool { return p.now.Sub(e.ModTime) < jobKeep }},
	} {
		if err := p.clear(ctx, t.dir, t.keep); err != nil {
			return err
		}
	}
	if err := p.r.saveDamage(ctx); err != nil {
		return err
	}
	// Of damaged copies nothing is to be known any more once their packs are to go.
	return p.r.index.wounds.drop(ctx, p.r.place, p.r.crypt, func(x wound) bool {
		n, known := p.census.number(x.Pack)
		return !known || p.fate[n].gone()
	})
}

// waits reports whether a condemned pack is there and still not needed: a writer
// or a rebuild may have listed it.
func (p *pruning) waits(e place.Entry) bool {
	id, err := parseFileID(path.Base(e.Name))
	if err != nil {
		return false
	}
	n, known := p.census.number(id)
	if !known || p.census.packs[n].there < 0 || p.fate[n].gone() && p.o.Grace <= 0 {
		return false
	}
	has, err := p.r.index.hasPack(id)
	return !has || err != nil
}

func (p *pruning) names(ctx context.Context, dir string) (map[string]bool, error) {
	entries, err := p.r.place.List(ctx, dir)
	names := map[string]bool{}
	for _, e := range entries {
		names[path.Base(e.Name)] = true
	}
	return names, err
}

func (p *pruning) clear(ctx context.Context, dir string, keep func(place.Entry) bool) error {
	entries, err := p.r.place.List(ctx, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if keep(e) {
			continue
		}
		if err := remove(ctx, p.r.place, e.Name); err != nil {
			return err
		}
		p.rep.Others++
	}
	return nil
}
