package repo

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
)

// readAhead is how much of a pack is read at a time, in bytes.
const readAhead = 4 << 20

// stretch is several frames that lie behind one another in a pack.
type stretch struct {
	pack   *packFile
	frames []expected
}

// expected is a frame that is to be found somewhere.
type expected struct {
	key    key
	offset int64
	length uint32
	row    int // in the census; -1: the index does not list it
}

func (s *stretch) bounds() (from, to int64) {
	last := s.frames[len(s.frames)-1]
	return s.frames[0].offset, last.offset + int64(last.length)
}

// readChunks reads packs, of several at once.
func (v *verification) readChunks(ctx context.Context) error {
	if err := v.expect(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	todo := make(chan stretch)
	packs := newPackCache(ctx, v.r.place, v.r.crypt)
	defer packs.close() // they were read only
	g.Go(func() error {
		defer close(todo)
		return v.plan(ctx, packs, todo)
	})
	for range v.r.opts.Workers + 1 {
		g.Go(func() error {
			t := v.newReading(ctx)
			defer t.close()
			for s := range todo {
				err := t.stretch(ctx, s)
				packs.release(s.pack, nil)
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// expect sums up what is to be read.
func (v *verification) expect(ctx context.Context) error {
	total := int64(0)
	if v.o.whole() {
		for i := range v.census.packs {
			total += max(v.census.packs[i].there, 0)
		}
	} else if err := v.census.each(ctx, func(n int, r *row) error {
		if v.reads(n, r) {
			total += int64(r.length)
		}
		return nil
	}); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.total = total
	return nil
}

// plan hands out what to read, pack by pack.
func (v *verification) plan(ctx context.Context, packs *packCache, todo chan<- stretch) error {
	err := v.census.byPack(ctx, v.reads, func(n int, rows []numbered) error {
		want := make([]expected, len(rows))
		for i, r := range rows {
			want[i] = expected{key: r.key, offset: r.offset, length: r.length, row: r.n}
		}
		return v.planPack(ctx, packs, &v.census.packs[n], want, todo)
	})
	if err != nil || !v.o.whole() {
		return err
	}
	for i := range v.census.packs {
		p := &v.census.packs[i]
		switch {
		case !p.listed && p.rows == 0:
			err = v.planOrphan(ctx, packs, p, todo)
		case p.rows == 0: // the index lists it with nothing in it
			err = v.planPack(ctx, packs, p, nil, todo)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) planPack(ctx context.Context, packs *packCache, info *censusPack, want []expected, todo chan<- stretch) error {
	v.mu.Lock()
	v.rep.Packs++
	v.mu.Unlock()
	p, err := packs.acquire(info.id)
	if err != nil {
		return v.packFault(ctx, info.id, want, err)
	}
	defer packs.release(p, nil)
	if info.there >= 0 && info.there != info.size {
		v.damage(Damage{Kind: DamagedPack, File: packName(info.id), What: fmt.Sprintf("it has %d bytes instead of %d", info.there, info.size)})
	}
	if v.o.whole() {
		if err := v.compareFooter(ctx, p, want); err != nil {
			return err
		}
	}
	return hand(ctx, packs, p, want, todo)
}

// orphanFault notes what is wrong with a pack that no index lists: no point
// suffers from it.
func (v *verification) orphanFault(ctx context.Context, id fileID, err error) error {
	if ctx.Err() != nil || !isDamage(err) {
		return err
	}
	if !isMissing(err) {
		v.orphanNote(id, 0, "no index lists it, and it cannot be read: "+words(err))
	}
	return nil
}

func (v *verification) orphanNote(id fileID, size int64, what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rep.Notes = append(v.rep.Notes, Note{Kind: "orphan", File: packName(id), Size: size, What: what})
}

// packFault notes a pack that cannot be read at all.
func (v *verification) packFault(ctx context.Context, id fileID, want []expected, err error) error {
	if ctx.Err() != nil || !isDamage(err) {
		return err
	}
	what := words(err)
	if isMissing(err) {
		what = "it is not there"
	}
	v.damage(Damage{Kind: DamagedPack, File: packName(id), What: what})
	v.r.noteCut(id, 0, err)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range want {
		if e.row >= 0 {
			v.bad.set(e.row)
		}
	}
	return nil
}

// compareFooter reads a pack's footer and compares it with the index.
func (v *verification) compareFooter(ctx context.Context, p *packFile, want []expected) error {
	frames, err := p.frames()
	if err != nil {
		if ctx.Err() != nil || !isDamage(err) {
			return err
		}
		v.damage(Damage{Kind: DamagedPack, File: packName(p.id), What: words(err) + "; the index knows what it says, and prune writes the pack anew"})
		end := int64(packHeadLen)
		if n := len(want); n > 0 {
			end = want[n-1].offset + int64(want[n-1].length)
		}
		v.r.noteCut(p.id, end, err)
		return nil
	}
	if !slices.EqualFunc(frames, want, func(f frame, e expected) bool {
		return keyOf(f.id) == e.key && f.offset == e.offset && f.size() == int64(e.length)
	}) {
		v.damage(Damage{Kind: DamagedIndex, File: packName(p.id), What: "the index lists other chunks than the pack has", Rebuild: true})
	}
	v.tell(packHeadLen + int64(len(frames))*recordLen + tagSize + trailerLen)
	return nil
}

// planOrphan reads a pack that the index does not list: of a backup that is
// being written, or was broken off.
func (v *verification) planOrphan(ctx context.Context, packs *packCache, info *censusPack, todo chan<- stretch) error {
	id := info.id
	p, err := packs.acquire(id)
	if err != nil {
		return v.orphanFault(ctx, id, err)
	}
	defer packs.release(p, nil)
	v.mu.Lock()
	v.rep.Packs++
	v.mu.Unlock()
	frames, err := p.frames()
	if err != nil {
		return v.orphanFault(ctx, id, err)
	}
	v.orphanNote(id, p.file.Size(), orphaned)
	var want []expected
	for _, f := range frames {
		want = append(want, expected{key: keyOf(f.id), offset: f.offset, length: uint32(f.size()), row: -1})
	}
	v.tell(packHeadLen + int64(len(frames))*recordLen + tagSize + trailerLen)
	return hand(ctx, packs, p, want, todo)
}

// orphaned says what a pack is that no index lists.
const orphaned = "no index lists it: it is of a backup that is being written or was broken off, or waits to be removed"

// hand gives out frames in stretches of at most readAhead.
func hand(ctx context.Context, packs *packCache, p *packFile, want []expected, todo chan<- stretch) error {
	for len(want) > 0 {
		n := 1
		for n < len(want) && want[n].offset == want[n-1].offset+int64(want[n-1].length) &&
			want[n].offset+int64(want[n].length)-want[0].offset <= readAhead {
			n++
		}
		if _, err := packs.acquire(p.id); err != nil { // it is open: one user more
			return err
		}
		select {
		case todo <- stretch{pack: p, frames: want[:n]}:
		case <-ctx.Done():
			packs.release(p, nil)
			return ctx.Err()
		}
		want = want[n:]
	}
	return nil
}

// reading reads and checks frames, for one goroutine.
type reading struct {
	v     *verification
	packs *packCache // of otherCopies
	codec *codec
	in    []byte
	out   []byte
}

func (v *verification) newReading(ctx context.Context) *reading {
	return &reading{v: v, packs: newPackCache(ctx, v.r.place, v.r.crypt), codec: newCodec(v.r.crypt), out: v.r.buffers.get()}
}

func (t *reading) close() {
	t.codec.close()
	t.packs.close() // they were read only
	t.v.r.buffers.put(t.out)
}

func (t *reading) stretch(ctx context.Context, s stretch) error {
	v := t.v
	if v.o.Gate != nil {
		if err := v.o.Gate(ctx); err != nil {
			return err
		}
	}
	from, to := s.bounds()
	if err := wait(ctx, v.o.Limit, to-from); err != nil {
		return err
	}
	if int64(len(t.in)) < to-from { // readAhead at most
		t.in = make([]byte, to-from)
	}
	buf := t.in[:to-from]
	if err := readFull(s.pack.file, buf, from); err != nil {
		if ctx.Err() != nil || !isDamage(err) {
			return err
		}
		return t.oneByOne(ctx, s, err)
	}
	for _, e := range s.frames {
		at := e.offset - from
		t.note(s.pack, e, t.check(s.pack, e, buf[at:at+int64(e.length)]))
	}
	v.tell(to - from)
	return nil
}

// oneByOne reads the frames of a stretch that could not be read in one go.
func (t *reading) oneByOne(ctx context.Context, s stretch, fault error) error {
	if len(s.frames) == 1 {
		t.note(s.pack, s.frames[0], fault)
		t.v.tell(int64(s.frames[0].length))
		return nil
	}
	for i := range s.frames {
		if err := t.stretch(ctx, stretch{pack: s.pack, frames: s.frames[i : i+1]}); err != nil {
			return err
		}
	}
	return nil
}

// check checks all of a frame that was read.
func (t *reading) check(p *packFile, e expected, b []byte) error {
	f, number, err := openFrame(p.aead, b)
	if err != nil {
		return err
	}
	if f.size() != int64(e.length) {
		return damaged("a frame of %d bytes instead of %d", f.size(), e.length)
	}
	if !bytes.Equal(f.id[:len(e.key)], e.key[:]) {
		return damaged("it is chunk %s", f.id)
	}
	stored, err := openPayload(p.crypt, p.aead, number, &f, b[frameLen:])
	if err != nil {
		return err
	}
	_, err = t.codec.unpack(t.out, &f, stored)
	return err
}

// note notes what became of a frame.
func (t *reading) note(p *packFile, e expected, fault error) {
	v := t.v
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rep.Chunks++
	if fault == nil {
		if e.row >= 0 {
			v.good.set(e.row)
		}
		return
	}
	d := Damage{Kind: DamagedChunk, File: packName(p.id), Offset: e.offset, Length: int64(e.length), What: words(fault), row: e.row + 1}
	copy(d.Chunk[:], e.key[:])
	v.r.noteDamage(d.Chunk, location{pack: p.id, offset: e.offset, length: e.length}, fault)
	if e.row < 0 {
		v.rep.Notes = append(v.rep.Notes, Note{Kind: "orphan", File: d.File, Size: d.Length, What: fmt.Sprintf("no index lists it, and at %d it is damaged: %v", e.offset, fault)})
		return
	}
	v.bad.set(e.row)
	v.rep.Damages = append(v.rep.Damages, d)
}

// row reads one row of the census.
func (t *reading) row(ctx context.Context, n int) error {
	r, err := t.v.census.row(n)
	if err != nil {
		return err
	}
	id := t.v.census.packs[r.pack].id
	e := []expected{{key: r.key, offset: r.offset, length: r.length, row: n}}
	p, err := t.packs.acquire(id)
	if err != nil {
		return t.v.packFault(ctx, id, e, err)
	}
	defer t.packs.release(p, nil)
	return t.stretch(ctx, stretch{pack: p, frames: e})
}
