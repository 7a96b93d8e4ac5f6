package repo

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"berth/backend/image/place"
)

// takeCensus reads all index files where they are, not in a cache, every byte,
// and lists the packs. It returns what is wrong with index files and, when sums
// are asked for, with those. In the stead of what cannot be read of the index
// packs are asked what they hold.
func (r *Repo) takeCensus(ctx context.Context, sums bool) (*census, []Damage, error) {
	for try := 1; ; try++ {
		t := &taking{r: r, withSums: sums, runs: r.newScratch(), lists: r.newScratch()}
		c, err := t.take(ctx)
		t.runs.close()
		t.lists.close()
		if err == nil {
			return c, t.found, nil
		}
		c.close()
		// A writer makes one file of several now and then, and removes those.
		if !isMissing(err) || try == censusTries || ctx.Err() != nil {
			return nil, nil, err
		}
	}
}

const censusTries = 5

// taking is one takeCensus at work. What index files say goes to scratches, of
// each its rows and its list of packs, and is merged in the end.
type taking struct {
	r        *Repo
	withSums bool
	found    []Damage
	runs     *scratch
	lists    *scratch
	parts    []run
	unsound  bool // an index file is
}

// run is rows in order.
type run struct {
	from, to int64 // in runs
	// list and packs are where in lists the packs are that its rows' numbers stand
	// for, and how many; 0: they stand for themselves.
	list, packs int64
	sound       bool // all of the index file can be read
}

// listedLen is a pack in lists: its id, its job, its size. One that cannot be
// read is zero.
const listedLen = 40

func (t *taking) take(ctx context.Context) (*census, error) {
	entries, err := t.r.place.List(ctx, indexDir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if id, err := parseFileID(path.Base(e.Name)); err == nil { // else it is a foreign file
			if err := t.file(ctx, id, e.Name); err != nil {
				return nil, err
			}
		}
	}
	// After the index: packs that it lists and that are not there are lost.
	c, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	if t.unsound {
		if err := t.recover(ctx, c); err != nil {
			return nil, err
		}
	}
	err = t.merge(ctx, c)
	return c, err
}

// file reads an index file.
func (t *taking) file(ctx context.Context, id fileID, name string) (err error) {
	file, err := t.r.place.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	f, fault := openIndexFile(t.r.crypt, id, file)
	if fault == nil {
		if fault, err = t.rows(ctx, f); err != nil {
			return err
		}
	}
	var sum [32]byte
	if fault == nil {
		sum, fault = sumFile(ctx, file)
	}
	if fault == nil {
		if !t.withSums {
			return nil
		}
		fault = t.sums(ctx, f, fmt.Sprintf("%x  %s\n", sum, name))
		if fault == nil || ctx.Err() != nil || !isDamage(fault) {
			return errors.Join(ctx.Err(), fault)
		}
		t.found = append(t.found, Damage{Kind: DamagedSums, File: path.Join(sumsDir, id.String()), What: words(fault), Rebuild: true})
		return nil
	}
	if ctx.Err() != nil || isMissing(fault) || !isDamage(fault) {
		return errors.Join(ctx.Err(), fault)
	}
	t.unsound = true
	t.found = append(t.found, Damage{Kind: DamagedIndex, File: name, What: words(fault), Rebuild: true})
	return nil
}

// rows makes a run of a file's rows, as far as they can be read: fault is why
// some could not, err what keeps from going on.
func (t *taking) rows(ctx context.Context, f *indexFile) (fault, err error) {
	part := run{from: t.runs.size, list: t.lists.size, packs: f.packs}
	w := bufio.NewWriterSize(t.lists, 64<<10)
	listed := int64(0)
	upTo := func(n int64) error {
		var none [listedLen]byte
		for ; listed < n; listed++ {
			if _, err := w.Write(none[:]); err != nil {
				return err
			}
		}
		return nil
	}
	fault = f.scanPacks().all(ctx, func(n int64, b []byte) error {
		var p packInfo
		p.parse(b)
		line := append(append(make([]byte, 0, listedLen), p.id[:]...), p.job[:]...)
		if err = upTo(n); err == nil {
			_, err = w.Write(binary.BigEndian.AppendUint64(line, uint64(p.size)))
		}
		listed = n + 1
		return err
	})
	if err = errors.Join(err, upTo(f.packs), w.Flush(), ctx.Err()); err != nil {
		return fault, err
	}
	if fault != nil && !isDamage(fault) {
		return fault, nil
	}
	return t.chunks(ctx, f, part, fault)
}

// chunks is the second part of rows.
func (t *taking) chunks(ctx context.Context, f *indexFile, part run, before error) (fault, err error) {
	fault = before
	w := bufio.NewWriterSize(t.runs, 64<<10)
	var line []byte
	wrong := f.scanChunks().all(ctx, func(_ int64, b []byte) error {
		var e entry
		e.parse(b)
		if bad := e.check(f.packs); bad != nil {
			fault = cmp.Or(fault, bad)
			return nil
		}
		line = (&row{key: keyOf(e.id), pack: e.pack, length: e.length, offset: e.offset}).append(line[:0])
		_, err = w.Write(line)
		return err
	})
	fault = cmp.Or(fault, wrong)
	if err = errors.Join(err, w.Flush(), ctx.Err()); err != nil {
		return fault, err
	}
	part.to, part.sound = t.runs.size, fault == nil
	t.parts = append(t.parts, part)
	return fault, nil
}

// eachListed calls f for the packs that a run's numbers stand for.
func (t *taking) eachListed(p *run, f func(id, job fileID, size int64)) error {
	in := bufio.NewReaderSize(io.NewSectionReader(t.lists, p.list, p.packs*listedLen), 64<<10)
	var line [listedLen]byte
	for range p.packs {
		if _, err := io.ReadFull(in, line[:]); err != nil {
			return err
		}
		f(fileID(line[:16]), fileID(line[16:32]), int64(binary.BigEndian.Uint64(line[32:])))
	}
	return nil
}

// sums compares what SHA256SUMS says with the index.
func (t *taking) sums(ctx context.Context, f *indexFile, last string) error {
	name := path.Join(sumsDir, f.id.String())
	file, err := t.r.place.Open(ctx, name)
	if isMissing(err) && t.r.othersAtWork(ctx) && sleep(ctx, time.Second) == nil { // a writer may be about to make it
		file, err = t.r.place.Open(ctx, name)
	}
	if err != nil {
		return err
	}
	defer file.Close() // it was read only
	got := bufio.NewReaderSize(io.NewSectionReader(file, 0, file.Size()), 64<<10)
	differs := damaged("it does not say what the index says")
	same := func(want string) error {
		line, err := got.Peek(len(want))
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if string(line) != want {
			return differs
		}
		_, err = got.Discard(len(want))
		return err
	}
	err = f.scanPacks().all(ctx, func(_ int64, b []byte) error {
		var p packInfo
		p.parse(b)
		return same(fmt.Sprintf("%x  %s\n", p.sum, packName(p.id)))
	})
	if err == nil {
		err = same(last)
	}
	if _, more := got.ReadByte(); err == nil && more == nil {
		err = differs
	}
	return err
}

// list lists all packs: those that are there, and those of the index.
func (t *taking) list(ctx context.Context) (*census, error) {
	listed := int64(0)
	for i := range t.parts {
		listed += t.parts[i].packs
	}
	c := &census{page: -1, packs: make([]censusPack, 0, listed+64)}
	err := place.Each(ctx, t.r.place, packsDir, func(e place.Entry) error {
		if id, err := parseFileID(path.Base(e.Name)); err == nil {
			c.packs = append(c.packs, censusPack{id: id, size: e.Size, there: e.Size})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	order := func() {
		slices.SortFunc(c.packs, func(a, b censusPack) int { return bytes.Compare(a.id[:], b.id[:]) })
	}
	order()
	var gone []censusPack // the index lists them, and they are not there
	for i := range t.parts {
		part := &t.parts[i]
		err := t.eachListed(part, func(id, job fileID, size int64) {
			n, there := c.number(id)
			switch {
			case id == fileID{}: // its page cannot be read
			case !there:
				gone = append(gone, censusPack{id: id, job: job, size: size, there: -1, listed: part.sound})
			case part.sound && !c.packs[n].listed:
				c.packs[n].listed, c.packs[n].size, c.packs[n].job = true, size, job
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if len(gone) > 0 {
		c.packs = append(c.packs, gone...)
		order()
		c.packs = slices.CompactFunc(c.packs, func(a, b censusPack) bool { return a.id == b.id })
	}
	return c, nil
}

// recover asks packs what they hold that no sound index file lists, as if the
// index were made anew.
func (t *taking) recover(ctx context.Context, c *census) error {
	var batch []row
	flush := func() error {
		slices.SortFunc(batch, compareRows)
		part := run{from: t.runs.size}
		w := bufio.NewWriterSize(t.runs, 64<<10)
		var line []byte
		for i := range batch {
			line = batch[i].append(line[:0])
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		part.to = t.runs.size
		t.parts, batch = append(t.parts, part), batch[:0]
		return nil
	}
	for n := range c.packs {
		p := &c.packs[n]
		if p.listed || p.there < 0 {
			continue
		}
		held, err := t.r.heldBy(ctx, p.id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !isDamage(err) {
			return err
		}
		if len(held.frames) > 0 {
			p.listed, p.job, p.size = true, held.job, held.size
		}
		for i := range held.frames {
			f := &held.frames[i]
			batch = append(batch, row{key: keyOf(f.id), pack: uint32(n), length: uint32(f.size()), offset: f.offset})
		}
		if len(batch) >= indexFrames {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// merge makes the census' rows of all runs.
func (t *taking) merge(ctx context.Context, c *census) error {
	c.file = t.r.newScratch()
	runs := make([]*runReader, 0, len(t.parts))
	for i := range t.parts {
		p := &t.parts[i]
		x := &runReader{file: t.runs, at: p.from, end: p.to}
		if p.packs > 0 {
			x.numbers = make([]uint32, 0, p.packs)
		}
		err := t.eachListed(p, func(id, _ fileID, _ int64) {
			n, known := c.number(id)
			if !known {
				n = int(noPack)
			}
			x.numbers = append(x.numbers, uint32(n))
		})
		if err == nil {
			err = x.next()
		}
		if err != nil {
			return err
		}
		runs = append(runs, x)
	}
	w := bufio.NewWriterSize(c.file, 64<<10)
	var same []row // of one key
	for {
		least := -1
		for i, x := range runs {
			if !x.ended && (least < 0 || bytes.Compare(x.row.key[:], runs[least].row.key[:]) < 0) {
				least = i
			}
		}
		if len(same) > 0 && (least < 0 || runs[least].row.key != same[0].key) {
			if err := c.write(w, same); err != nil {
				return err
			}
			if same = same[:0]; c.rows%rowsAtOnce == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if least < 0 {
			return w.Flush()
		}
		same = append(same, runs[least].row)
		if err := runs[least].next(); err != nil {
			return err
		}
	}
}

// write appends the rows of one chunk; what was told twice counts once.
func (c *census) write(w io.Writer, same []row) error {
	slices.SortFunc(same, compareRows)
	var b []byte
	for _, r := range slices.Compact(same) {
		if c.rows%rowsOnPage == 0 {
			c.fence = append(c.fence, binary.BigEndian.Uint64(r.key[:]))
		}
		b = r.append(b)
		c.packs[r.pack].rows++
		c.rows++
	}
	_, err := w.Write(b)
	return err
}

// runReader reads a run.
type runReader struct {
	file    *scratch
	at, end int64
	numbers []uint32
	buf     []byte
	rest    []byte
	row     row
	ended   bool
}

const runBuf = 512 * rowLen

// next reads the next row of a pack that is known.
func (x *runReader) next() error {
	for {
		if len(x.rest) == 0 && x.at == x.end {
			x.ended = true
			return nil
		}
		if len(x.rest) == 0 {
			if x.buf == nil {
				x.buf = make([]byte, min(runBuf, x.end-x.at))
			}
			x.rest = x.buf[:min(int64(len(x.buf)), x.end-x.at)]
			if err := readFull(x.file, x.rest, x.at); err != nil {
				return err
			}
			x.at += int64(len(x.rest))
		}
		x.row.parse(x.rest)
		x.rest = x.rest[rowLen:]
		if x.numbers != nil {
			x.row.pack = x.numbers[x.row.pack]
		}
		if x.row.pack != noPack {
			return nil
		}
	}
}
