package repo

import (
	"cmp"
	"context"
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

// take reads the index and lists the packs. An index that is damaged is made
// anew first.
func (p *pruning) take(ctx context.Context) error {
	if err := p.r.index.load(ctx); err != nil {
		return err
	}
	c, wrong, err := p.r.takeCensus(ctx, false)
	if len(wrong) > 0 && !p.o.DryRun {
		c.close()
		if _, err := p.r.rebuildIndex(ctx, p.lock); err != nil {
			return err
		}
		c, wrong, err = p.r.takeCensus(ctx, false)
	}
	if err != nil {
		return err
	}
	p.census = c
	if len(wrong) > 0 && !p.o.DryRun {
		return &backend.OpError{Op: "read", Target: "the index", Err: fmt.Errorf("%w: %s", backend.ErrDamaged, wrong[0]), Hint: "it was made anew, and is damaged again: look at the disk"}
	}
	for i := range c.packs {
		if there := c.packs[i].there; there >= 0 {
			p.rep.Packs++
			p.rep.Stored += there
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
	w := walker{census: p.census, read: p.census.reader(rd), chunk: p.keep, fault: func(n node, err error) error {
		return &backend.OpError{Op: "read", Target: "a map", Err: err, Hint: "nothing is removed as long as it is not known what points need; verify names those that are damaged, which can be forgotten"}
	}}
	for i := range points {
		if err := w.point(ctx, &points[i]); err != nil {
			return err
		}
	}
	return nil
}

// keep marks a copy of a chunk: one that is there, and not known to be damaged
// if there is such a one.
func (p *pruning) keep(id ChunkID, from, to int) error {
	best, length := -1, uint32(0)
	for n := from; n < to; n++ {
		if p.live.is(n) {
			return nil
		}
		r, err := p.census.row(n)
		if err != nil {
			return err
		}
		if r.offset+int64(r.length) > p.census.packs[r.pack].there {
			continue
		}
		damaged := p.r.index.wounds.has(p.census.location(&r))
		if best < 0 || !damaged {
			best, length = n, r.length
		}
		if !damaged {
			break
		}
	}
	if best < 0 {
		return &backend.OpError{Op: "find", Target: "chunk " + id.String(), Err: fmt.Errorf("%w: a point needs it", backend.ErrDamaged),
			Hint: "check --rebuild may find it; a new backup of the VM stores it anew if its disk still has it; else forget the point"}
	}
	p.live.set(best)
	p.rep.Chunks++
	p.rep.Needed += int64(length)
	return nil
}

// copies sees to it that of chunks stored twice a copy is kept that can be
// read: the other may be removed.
func (p *pruning) copies(ctx context.Context) error {
	packs := newPackCache(ctx, p.r.place, p.r.crypt)
	defer packs.close() // they were read only
	rd := p.r.newChunkReader(packs)
	defer rd.close()
	return p.census.eachChunk(ctx, func(from, to int) error {
		if to-from == 1 {
			return nil
		}
		return p.pick(ctx, rd, from, to)
	})
}

// pick keeps the first of several copies that can be read, those that are not
// known to be damaged first; when none can, all.
func (p *pruning) pick(ctx context.Context, rd *chunkReader, from, to int) error {
	needed := false
	var order []int
	for n := from; n < to; n++ {
		needed = needed || p.live.is(n)
		order = append(order, n)
	}
	if !needed {
		return nil
	}
	bad := map[int]int{}
	for n := from; n < to; n++ {
		at, err := p.census.at(n)
		if err != nil {
			return err
		}
		bad[n] = p.r.index.badness(at)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(bad[a], bad[b]) })
	for _, n := range order {
		r, err := p.census.row(n)
		if err != nil {
			return err
		}
		err = rd.readable(r.key, p.census.location(&r))
		if err == nil {
			for other := from; other < to; other++ {
				p.live.clear(other)
			}
			p.live.set(n)
			return nil
		}
		if ctx.Err() != nil || !isDamage(err) {
			return err
		}
	}
	for n := from; n < to; n++ {
		p.live.set(n)
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
	p.fate = make([]fate, len(p.census.packs))
	err := p.census.each(ctx, func(n int, r *row) error {
		if p.live.is(n) {
			f := &p.fate[r.pack]
			f.need += int64(r.length)
			f.stuck = f.stuck || p.r.index.wounds.has(p.census.location(r))
		}
		return nil
	})
	if err != nil {
		return err
	}
	wounded := p.r.index.wounds.packs()
	var small []int
	for n := range p.census.packs {
		info, f := &p.census.packs[n], &p.fate[n]
		switch {
		case p.woundedOnly && info.there >= 0 && !wounded[info.id]:
		case !info.listed && info.rows == 0:
			mine, err := p.ofJob(ctx, info.id)
			if err != nil {
				return err
			}
			f.loose = !mine
		case info.there < 0: // nothing needs it: what is needed was found
			f.drop = true
		case p.alive[info.job]:
		case f.need == 0:
			f.drop = true
		case f.stuck:
		case p.wasteful(info.there, f.need) || wounded[info.id]:
			p.move(n)
		case p.isSmall(info.there):
			small = append(small, n)
		}
	}
	if len(small) >= manySmall {
		for _, n := range small {
			p.move(n)
			p.rep.Combined++
		}
	}
	return nil
}

// move has what is needed of a pack written anew.
func (p *pruning) move(n int) {
	f := &p.fate[n]
	f.drop, f.move = true, true
	p.rep.Rewritten++
	p.rep.RewroteBytes += f.need
}

func (p *pruning) wasteful(size, need int64) bool {
	return p.o.Waste < 100 && float64(size-packHeadLen-need) > float64(size)*p.o.Waste/100
}

func (p *pruning) isSmall(size int64) bool {
	return p.o.Waste < 100 && size < p.r.conf.PackSize/smallPart
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
	for n := range p.fate {
		if p.fate[n].gone() {
			p.count(n, ready(p.census.packs[n].id))
		}
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

// count counts a pack that is removed, or waits for it.
func (p *pruning) count(n int, ready bool) {
	size := p.census.packs[n].there
	switch {
	case size < 0:
	case ready:
		p.rep.Removed++
		p.rep.Freed += size
	default:
		p.rep.Condemned++
		p.rep.Waiting += size
	}
}
