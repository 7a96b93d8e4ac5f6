package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/image/place"
)

// rewritePacks writes the needed chunks of wasteful packs anew, each checked
// before and read back after.
func (p *pruning) rewritePacks(ctx context.Context) error {
	if len(p.rewrite) == 0 {
		return nil
	}
	// If this breaks off, what it has written is found by the next Prune: twice
	// there, and needed once.
	w := p.r.newPacker(ctx, p.r.jobID("prune"))
	t := &moving{p: p, to: w, codec: newCodec(p.r.crypt), in: p.r.buffers.get(), out: p.r.buffers.get()}
	defer t.close()
	wanted := map[uint32]bool{}
	for _, n := range p.rewrite {
		wanted[n] = true
	}
	rows := make([][]int, len(p.census.packs))
	for i := range p.census.rows {
		if n := p.census.rows[i].pack; wanted[n] && p.live.is(i) {
			rows[n] = append(rows[n], i)
		}
	}
	w.expecting(p.rep.RewroteBytes)
	for _, n := range p.rewrite {
		if err := t.pack(ctx, n, rows[n]); err != nil {
			return errors.Join(err, w.abandon(context.WithoutCancel(ctx)))
		}
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	return p.readBack(ctx, t.moved)
}

// moving moves chunks from packs to others.
type moving struct {
	p     *pruning
	to    *packer
	codec *codec
	in    []byte
	out   []byte
	moved []ChunkID
	done  int64
}

func (t *moving) close() {
	t.codec.close()
	t.p.r.buffers.put(t.in)
	t.p.r.buffers.put(t.out)
}

// pack moves the needed chunks of one pack. When one of them is damaged the
// pack stays as it is.
func (t *moving) pack(ctx context.Context, n uint32, rows []int) error {
	info := t.p.census.packs[n]
	slices.SortFunc(rows, func(a, b int) int {
		return int(min(max(t.p.census.rows[a].offset-t.p.census.rows[b].offset, -1), 1))
	})
	f, err := openPack(ctx, t.p.r.place, t.p.r.crypt, info.id)
	if err != nil {
		return t.leave(ctx, info.id, err)
	}
	for _, i := range rows {
		err := t.chunk(ctx, f, &t.p.census.rows[i], info.id)
		if err == nil {
			continue
		}
		if err := t.leave(ctx, info.id, err); err != nil {
			return errors.Join(err, f.close())
		}
		break
	}
	return f.close()
}

// leave lets a damaged pack stay; other errors end the Prune.
func (t *moving) leave(ctx context.Context, id fileID, err error) error {
	if ctx.Err() != nil || !errors.Is(err, backend.ErrDamaged) {
		return err
	}
	delete(t.p.drop, id)
	t.p.rep.Damaged = append(t.p.rep.Damaged, words(err))
	t.p.rep.Rewritten--
	return nil
}

func (t *moving) chunk(ctx context.Context, f *packFile, r *row, id fileID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fr, stored, err := f.read(location{pack: id, offset: r.offset, length: r.length}, t.in)
	if err != nil {
		return err
	}
	if keyOf(fr.id) != r.key {
		return damaged("%s at %d: it is chunk %s", packName(id), r.offset, fr.id)
	}
	if _, err := t.codec.unpack(t.out, &fr, stored); err != nil {
		return fmt.Errorf("%s at %d: %w", packName(id), r.offset, err)
	}
	if err := t.to.add(fr, t.in[:frameLen+len(stored)]); err != nil {
		return err
	}
	t.moved = append(t.moved, fr.id)
	t.done += int64(r.length)
	t.p.tell("rewriting", t.done, t.p.rep.RewroteBytes)
	return nil
}

// readBack reads what was moved where it is now: what it was moved from will
// be removed.
func (p *pruning) readBack(ctx context.Context, moved []ChunkID) error {
	packs := newPackCache(ctx, p.r.place, p.r.crypt)
	defer packs.close() // they were read only
	rd := p.r.newChunkReader(packs)
	defer rd.close()
	for _, id := range moved {
		at, err := p.r.index.find(id)
		if err != nil {
			return err
		}
		right := false
		for _, l := range at {
			if p.drop[l.pack] {
				continue
			}
			if _, err := rd.at(id, l); err != nil {
				return err
			}
			right = true
			break
		}
		if !right {
			return errNoChunk(id)
		}
	}
	return nil
}

// reindex makes an index that does not list the packs that go.
func (p *pruning) reindex(ctx context.Context) error {
	if len(p.drop) == 0 {
		return nil
	}
	p.r.index.mu.RLock()
	files := slices.Clone(p.r.index.files)
	p.r.index.mu.RUnlock()
	return p.r.index.merge(ctx, files, func(info packInfo) bool { return !p.drop[info.id] })
}

func condemnedName(id fileID) string { return path.Join(condemnedDir, id.String()) }

// ready returns the packs whose grace has ended.
func (p *pruning) ready(ctx context.Context) (map[fileID]bool, error) {
	ready := map[fileID]bool{}
	if p.o.Grace <= 0 {
		return p.gone(), nil
	}
	entries, err := p.r.place.List(ctx, condemnedDir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if id, err := parseFileID(path.Base(e.Name)); err == nil && p.now.Sub(e.ModTime) >= p.o.Grace {
			ready[id] = true
		}
	}
	return ready, nil
}

// removePacks removes packs that no index lists any more, or condemns them.
func (p *pruning) removePacks(ctx context.Context) error {
	ready, err := p.ready(ctx)
	if err != nil {
		return err
	}
	held := time.Now()
	for id := range p.gone() {
		if _, there := p.there[id]; !there {
			continue
		}
		if time.Since(held) > lockRefresh {
			if err := p.lock.held(ctx); err != nil {
				return err
			}
			held = time.Now()
		}
		if ready[id] {
			err = errors.Join(remove(ctx, p.r.place, packName(id)), remove(ctx, p.r.place, condemnedName(id)))
		} else {
			err = p.condemn(ctx, id)
		}
		if err != nil {
			return err
		}
		p.count(id, ready[id])
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
	packs, err := p.names(ctx, packsDir)
	if err != nil {
		return err
	}
	for _, t := range []struct {
		dir  string
		keep func(place.Entry) bool
	}{
		{marksDir, func(e place.Entry) bool { return points[path.Base(e.Name)] }},
		{sumsDir, func(e place.Entry) bool { return index[path.Base(e.Name)] }},
		{condemnedDir, func(e place.Entry) bool { return packs[path.Base(e.Name)] && !p.listed(e) }},
		{jobsDir, func(e place.Entry) bool { return p.now.Sub(e.ModTime) < jobKeep }},
	} {
		if err := p.clear(ctx, t.dir, t.keep); err != nil {
			return err
		}
	}
	return nil
}

// listed reports whether a condemned pack is needed again: a writer or a
// rebuild has listed it.
func (p *pruning) listed(e place.Entry) bool {
	id, err := parseFileID(path.Base(e.Name))
	if err != nil {
		return false
	}
	has, err := p.r.index.hasPack(id)
	return has && err == nil
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
