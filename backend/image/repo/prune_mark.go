package repo

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"berth/backend"
)

// jobs notes which may go on: what they wrote stays.
func (p *pruning) jobs(ctx context.Context) error {
	var err error
	if p.now, err = p.r.lockClock(ctx); err != nil {
		return err
	}
	entries, err := p.r.place.List(ctx, jobsDir)
	if err != nil {
		return err
	}
	p.alive = map[fileID]bool{}
	for _, e := range entries {
		if id, err := parseFileID(path.Base(e.Name)); err == nil && p.now.Sub(e.ModTime) < jobKeep {
			p.alive[id] = true
		}
	}
	return nil
}

// take reads the index and lists the packs that are there.
func (p *pruning) take(ctx context.Context) error {
	if err := p.r.index.load(ctx); err != nil {
		return err
	}
	var faults error
	var err error
	p.census, err = p.r.takeCensus(ctx, func(name string, err error) {
		faults = errors.Join(faults, fmt.Errorf("%s: %w", name, err))
	}, func(fileID, []byte) {})
	if err != nil {
		return err
	}
	if faults != nil {
		return &backend.OpError{Op: "read", Target: "the index", Err: faults, Hint: "berth backup check --rebuild makes it anew"}
	}
	entries, err := p.r.place.List(ctx, packsDir)
	if err != nil {
		return err
	}
	p.there = map[fileID]int64{}
	for _, e := range entries {
		if id, err := parseFileID(path.Base(e.Name)); err == nil {
			p.there[id] = e.Size
			p.rep.Packs++
			p.rep.Stored += e.Size
		}
	}
	return nil
}

// mark notes what points need: of each chunk one copy.
func (p *pruning) mark(ctx context.Context) error {
	points, err := p.r.Points(ctx)
	if err != nil {
		return &backend.OpError{Op: "read", Target: "all points", Err: err, Hint: "nothing is removed as long as it is not known what they need; forget those that are damaged"}
	}
	if p.o.DryRun {
		points = slices.DeleteFunc(points, func(m Manifest) bool { return slices.Contains(p.o.Without, m.ID) })
	}
	p.rep.Points = len(points)
	p.live = p.census.bitset()
	packs := newPackCache(ctx, p.r.place, p.r.crypt)
	defer packs.close() // they were read only
	rd := p.r.newChunkReader(packs)
	defer rd.close()
	w := walker{read: p.census.reader(rd), seen: map[nodeKey]bool{}, chunk: p.keep, fault: func(n node, err error) error {
		return &backend.OpError{Op: "read", Target: "a map", Err: err, Hint: "nothing is removed as long as it is not known what points need; verify names those that are damaged, which can be forgotten"}
	}}
	for i := range points {
		if err := w.point(ctx, &points[i]); err != nil {
			return err
		}
	}
	return nil
}

// keep marks a copy of a chunk: one that is there.
func (p *pruning) keep(id ChunkID) error {
	from, to := p.census.find(keyOf(id))
	best := -1
	for i := from; i < to; i++ {
		if p.live.is(i) {
			return nil
		}
		r := &p.census.rows[i]
		if size, there := p.there[p.census.packs[r.pack].id]; there && r.offset+int64(r.length) <= size && best < 0 {
			best = i
		}
	}
	if best < 0 {
		return &backend.OpError{Op: "find", Target: "chunk " + id.String(), Err: fmt.Errorf("%w: a point needs it", backend.ErrDamaged),
			Hint: "check --rebuild may find it; else forget the point"}
	}
	p.live.set(best)
	p.rep.Chunks++
	p.rep.Needed += int64(p.census.rows[best].length)
	return nil
}

// copies sees to it that of chunks stored twice a copy is kept that can be
// read: the other may be removed.
func (p *pruning) copies(ctx context.Context) error {
	packs := newPackCache(ctx, p.r.place, p.r.crypt)
	defer packs.close() // they were read only
	rd := p.r.newChunkReader(packs)
	defer rd.close()
	rows := p.census.rows
	for from := 0; from < len(rows); {
		to := from + 1
		for to < len(rows) && rows[to].key == rows[from].key {
			to++
		}
		if to-from > 1 {
			if err := p.pick(ctx, rd, from, to); err != nil {
				return err
			}
		}
		from = to
	}
	return nil
}

// pick keeps the first of several copies that can be read; when none can, all.
func (p *pruning) pick(ctx context.Context, rd *chunkReader, from, to int) error {
	needed := false
	for i := from; i < to; i++ {
		needed = needed || p.live.is(i)
	}
	if !needed {
		return nil
	}
	for i := from; i < to; i++ {
		r := &p.census.rows[i]
		err := rd.readable(r.key, location{pack: p.census.packs[r.pack].id, offset: r.offset, length: r.length})
		if err == nil {
			for j := from; j < to; j++ {
				p.live.clear(j)
			}
			p.live.set(i)
			return nil
		}
		if ctx.Err() != nil || !isDamage(err) {
			return err
		}
	}
	for i := from; i < to; i++ {
		p.live.set(i)
	}
	return nil
}

// readable reads a chunk of which only the key is known.
func (c *chunkReader) readable(k key, l location) error {
	p, err := c.packs.acquire(l.pack)
	if err != nil {
		return err
	}
	f, stored, err := p.read(l, c.in)
	c.packs.release(p, err)
	if err == nil && keyOf(f.id) != k {
		err = damaged("%s at %d: there is chunk %s instead of %s", packName(l.pack), l.offset, f.id, k)
	}
	if err == nil {
		_, err = c.codec.unpack(c.out, &f, stored)
	}
	return err
}

// choose decides what becomes of each pack.
func (p *pruning) choose(ctx context.Context) error {
	need := make([]int64, len(p.census.packs))
	for i := range p.census.rows {
		if r := &p.census.rows[i]; p.live.is(i) {
			need[r.pack] += int64(r.length)
		}
	}
	p.drop, p.loose = map[fileID]bool{}, map[fileID]bool{}
	listed := map[fileID]bool{}
	for n, info := range p.census.packs {
		listed[info.id] = true
		size, there := p.there[info.id]
		switch {
		case !there: // nothing needs it: what is needed was found
			p.drop[info.id] = true
		case p.alive[info.job]:
		case need[n] == 0:
			p.drop[info.id] = true
		case p.wasteful(size, need[n]):
			p.drop[info.id] = true
			p.rewrite = append(p.rewrite, uint32(n))
			p.rep.Rewritten++
			p.rep.RewroteBytes += need[n]
		}
	}
	for id := range p.there {
		if listed[id] {
			continue
		}
		if mine, err := p.ofJob(ctx, id); err != nil {
			return err
		} else if !mine {
			p.loose[id] = true
		}
	}
	return nil
}

func (p *pruning) wasteful(size, need int64) bool {
	return p.o.Waste < 100 && float64(size-packHeadLen-need) > float64(size)*p.o.Waste/100
}

// ofJob reports whether a pack that no index lists is of a job that may go on.
func (p *pruning) ofJob(ctx context.Context, id fileID) (bool, error) {
	f, err := openPack(ctx, p.r.place, p.r.crypt, id)
	if err != nil {
		if ctx.Err() == nil && isDamage(err) {
			return false, nil
		}
		return false, err
	}
	job := f.head.job
	return p.alive[job], f.close()
}

// foretell says what a Prune would remove.
func (p *pruning) foretell(ctx context.Context) error {
	ready, err := p.ready(ctx)
	if err != nil {
		return err
	}
	for id := range p.gone() {
		p.count(id, ready[id])
	}
	drafts, err := p.r.place.Drafts(ctx)
	if err != nil {
		return err
	}
	for _, e := range drafts {
		if p.now.Sub(e.ModTime) >= draftKeep {
			p.rep.Others++
			p.rep.Freed += e.Size
		}
	}
	return nil
}

// gone are all packs that nothing needs once the rest is written anew.
func (p *pruning) gone() map[fileID]bool {
	all := map[fileID]bool{}
	for id := range p.drop {
		all[id] = true
	}
	for id := range p.loose {
		all[id] = true
	}
	return all
}

// count counts a pack that is removed, or waits for it.
func (p *pruning) count(id fileID, ready bool) {
	size, there := p.there[id]
	switch {
	case !there:
	case ready:
		p.rep.Removed++
		p.rep.Freed += size
	default:
		p.rep.Condemned++
		p.rep.Waiting += size
	}
}
