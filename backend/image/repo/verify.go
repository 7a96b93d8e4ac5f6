package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"path"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/time/rate"

	"berth/backend/image/place"
)

// VerifyOptions say what to read back.
type VerifyOptions struct {
	// Points are IDs or beginnings of them; empty: the whole repository, with what
	// no point needs.
	Points []string
	// Sample is the part of the chunks to read, in percent, chosen at random with
	// Seed; 0: all.
	Sample float64
	Seed   uint64
	Limit  *rate.Limiter                   // bytes read a second; nil: none
	Gate   func(ctx context.Context) error // as in WriteOptions
	// Progress is called now and then, from one goroutine at a time.
	Progress func(VerifyProgress)
}

// whole reports whether every byte of the repository is to be read.
func (o *VerifyOptions) whole() bool { return len(o.Points) == 0 && o.all() }

// all reports whether every chunk that was asked about is to be read.
func (o *VerifyOptions) all() bool { return o.Sample <= 0 || o.Sample >= 100 }

// takes reports whether a chunk is in the sample. The same seed chooses the
// same chunks.
func (o *VerifyOptions) takes(k key) bool {
	if o.all() {
		return true
	}
	b := binary.BigEndian.AppendUint64(k[:], o.Seed)
	sum := blake3.Sum256(b)
	return float64(binary.BigEndian.Uint64(sum[:])) < o.Sample/100*(1<<64)
}

// VerifyProgress is how far Verify is.
type VerifyProgress struct {
	Done, Total int64 // bytes of the repository's files
	Damages     int
}

// Verify reads back packs and manifests, decrypts, decompresses and hashes
// every chunk, and names each that is not what was written, with all that it
// touches. Points that were read back whole, or found damaged, are marked so
// (Marks). An error means that it could not be looked at; damage is in the
// report alone.
func (r *Repo) Verify(ctx context.Context, o VerifyOptions) (Report, error) {
	l, err := r.lockReading(ctx, "verify")
	if err != nil {
		return Report{}, err
	}
	ctx, cancel := l.context(ctx)
	defer cancel()
	v := &verification{r: r, o: o, began: time.Now(), lost: map[key]bool{},
		rep: Report{Repo: r.ID(), At: r.now(), Sample: 100, Seed: o.Seed}}
	if !o.all() {
		v.rep.Sample = o.Sample
	}
	err = v.run(ctx)
	v.census.close()
	v.rep.Took = time.Since(v.began)
	return v.rep, errors.Join(err, l.release(context.WithoutCancel(ctx)))
}

// verification is one Verify at work.
type verification struct {
	r      *Repo
	o      VerifyOptions
	began  time.Time
	points []Manifest
	census *census
	need   bitset // rows that a point needs
	must   bitset // rows to be read whatever the sample is: maps that were found damaged
	known  bitset // rows that were noted as damaged before
	good   bitset // rows read and found right
	bad    bitset // rows found wrong
	// lost are chunks of which no copy is right. It grows with the damage.
	lost map[key]bool

	mu    sync.Mutex
	rep   Report
	total int64
	told  time.Time
}

func (v *verification) run(ctx context.Context) error {
	if err := v.r.index.load(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		v.readIndex, v.readPoints, v.readOthers, v.mark, v.readChunks, v.otherCopies, v.touches, v.noteDamage, v.note,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) damage(d Damage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rep.Damages = append(v.rep.Damages, d)
}

// words is what an error says of a file that is named beside it.
func words(err error) string { return err.Error() }

// readIndex reads all of the index and of what SHA256SUMS is made of.
func (v *verification) readIndex(ctx context.Context) error {
	c, found, err := v.r.takeCensus(ctx, v.o.whole())
	if err != nil {
		return err
	}
	v.rep.Damages = append(v.rep.Damages, found...)
	v.census = c
	v.need, v.must, v.known, v.good, v.bad = c.bitset(), c.bitset(), c.bitset(), c.bitset(), c.bitset()
	if v.r.index.wounds.none() {
		return nil
	}
	return c.each(ctx, func(n int, r *row) error {
		if v.r.index.wounds.has(c.location(r)) {
			v.known.set(n)
		}
		return nil
	})
}

// readPoints reads the manifests that were asked about.
func (v *verification) readPoints(ctx context.Context) error {
	if len(v.o.Points) > 0 {
		for _, id := range v.o.Points {
			m, err := v.r.Point(ctx, id)
			if err != nil && !isDamage(err) || isMissing(err) {
				return err
			}
			v.addPoint(id, m, err)
		}
		return nil
	}
	entries, err := v.r.place.List(ctx, pointsDir)
	for _, e := range entries {
		id := path.Base(e.Name)
		m, err := v.r.readPoint(ctx, id)
		if isMissing(err) {
			continue // forgotten meanwhile
		}
		if err != nil && !isDamage(err) {
			return err
		}
		v.addPoint(id, m, err)
	}
	return err
}

func (v *verification) addPoint(id string, m Manifest, err error) {
	v.rep.Points++
	if err == nil {
		v.points = append(v.points, m)
		return
	}
	v.damage(Damage{Kind: DamagedManifest, File: pointName(id), What: words(err), Touches: []Touch{{Point: id}}})
}

// readOthers reads the small files that no point is made of.
func (v *verification) readOthers(ctx context.Context) error {
	if !v.o.whole() {
		return nil
	}
	small, err := v.r.smallFiles(ctx)
	v.rep.Damages = append(v.rep.Damages, small...)
	return err
}

// smallFiles finds damage in the config, keys, and files that say what is going
// on.
func (r *Repo) smallFiles(ctx context.Context) (found []Damage, err error) {
	note := func(kind DamageKind, name string, rebuild bool, err error) error {
		if err == nil || isMissing(err) {
			return nil
		}
		if ctx.Err() != nil || !isDamage(err) {
			return err
		}
		found = append(found, Damage{Kind: kind, File: name, What: words(err), Rebuild: rebuild})
		return nil
	}
	b, err := place.Read(ctx, r.place, configName, maxConfig)
	if err == nil {
		_, err = parseConfig(b)
	}
	if err = note(DamagedConfig, configName, false, err); err != nil {
		return found, err
	}
	keys, err := r.place.List(ctx, keysDir)
	for _, e := range keys {
		_, fault := r.keyFile(ctx, e.Name)
		err = errors.Join(err, note(DamagedKey, e.Name, false, fault))
	}
	for dir, kind := range map[string]boxKind{jobsDir: boxJob, marksDir: boxMark, damagedDir: boxDamage} {
		entries, fault := r.place.List(ctx, dir)
		err = errors.Join(err, fault)
		for _, e := range entries {
			var any struct{}
			_, fault := readBox(ctx, r.place, r.crypt, kind, e.Name, &any)
			err = errors.Join(err, note(DamagedOther, e.Name, true, fault))
		}
	}
	return found, err
}

// mark notes which rows the points need.
func (v *verification) mark(ctx context.Context) error {
	packs := newPackCache(ctx, v.r.place, v.r.crypt)
	defer packs.close() // they were read only
	rd := v.r.newChunkReader(packs)
	defer rd.close()
	w := walker{census: v.census, read: v.census.reader(rd), chunk: func(id ChunkID, from, to int) error {
		if from == to && !v.lost[keyOf(id)] {
			v.lost[keyOf(id)] = true
			v.damage(Damage{Kind: DamagedChunk, File: indexDir, Chunk: id, What: "no index knows where it is"})
		}
		for ; from < to; from++ {
			v.need.set(from)
		}
		return nil
	}, fault: func(n node, err error) error {
		from, to, fault := v.census.find(keyOf(n.id))
		for ; from < to; from++ {
			v.must.set(from)
		}
		v.lost[keyOf(n.id)] = true
		return fault
	}}
	for i := range v.points {
		if err := w.point(ctx, &v.points[i]); err != nil {
			return err
		}
	}
	return nil
}

// reads reports whether a row is to be read.
func (v *verification) reads(n int, r *row) bool {
	if v.must.is(n) {
		return true
	}
	return (len(v.o.Points) == 0 || v.need.is(n)) && v.o.takes(r.key)
}

// otherCopies reads what else there is of chunks that were found wrong, and
// notes which are lost.
func (v *verification) otherCopies(ctx context.Context) error {
	if !v.bad.any() {
		return nil
	}
	t := v.newReading(ctx)
	defer t.close()
	return v.census.eachChunk(ctx, func(from, to int) error {
		right, wrong := false, false
		for n := from; n < to; n++ {
			right, wrong = right || v.good.is(n), wrong || v.bad.is(n)
		}
		if !wrong {
			return nil
		}
		for n := from; n < to; n++ {
			if !v.good.is(n) && !v.bad.is(n) {
				if err := t.row(ctx, n); err != nil {
					return err
				}
			}
			right = right || v.good.is(n)
		}
		r, err := v.census.row(from)
		if right {
			delete(v.lost, r.key)
		} else {
			v.lost[r.key] = true
		}
		return err
	})
}

// tell reports progress, with v.mu not held.
func (v *verification) tell(read int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rep.Bytes += read
	if now := time.Now(); v.o.Progress != nil && (now.Sub(v.told) >= tellEvery || v.rep.Bytes >= v.total) {
		v.told = now
		v.o.Progress(VerifyProgress{Done: v.rep.Bytes, Total: max(v.total, v.rep.Bytes), Damages: len(v.rep.Damages)})
	}
}
