package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"path"
	"slices"
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
	byPack []int32 // rows in the order of packs and offsets
	need   bitset  // rows that a point needs
	must   bitset  // rows to be read whatever the sample is: maps that were found damaged
	good   bitset  // rows read and found right
	bad    bitset  // rows found wrong
	lost   map[key]bool

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
		v.readIndex, v.readPoints, v.readOthers, v.mark, v.readChunks, v.otherCopies, v.touches, v.note,
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
	var err error
	v.census, err = v.r.takeCensus(ctx, func(name string, err error) {
		v.damage(Damage{Kind: DamagedIndex, File: name, What: words(err), Rebuild: true})
	}, func(id fileID, want []byte) {
		if v.o.whole() {
			v.compareSums(ctx, id, want)
		}
	})
	if err == nil && slices.ContainsFunc(v.rep.Damages, func(d Damage) bool { return d.Kind == DamagedIndex }) {
		err = v.census.recover(ctx, v.r)
	}
	if err != nil {
		return err
	}
	c := v.census
	v.need, v.must, v.good, v.bad = c.bitset(), c.bitset(), c.bitset(), c.bitset()
	v.byPack = make([]int32, len(c.rows))
	for i := range v.byPack {
		v.byPack[i] = int32(i)
	}
	slices.SortFunc(v.byPack, func(a, b int32) int {
		x, y := &c.rows[a], &c.rows[b]
		if x.pack != y.pack {
			return int(x.pack) - int(y.pack)
		}
		return int(min(max(x.offset-y.offset, -1), 1))
	})
	return ctx.Err()
}

// compareSums compares a file of sums with what it should say.
func (v *verification) compareSums(ctx context.Context, id fileID, want []byte) {
	name := path.Join(sumsDir, id.String())
	got, err := place.Read(ctx, v.r.place, name, int64(len(want)))
	if isMissing(err) && v.r.othersAtWork(ctx) && sleep(ctx, time.Second) == nil { // a writer may be about to make it
		got, err = place.Read(ctx, v.r.place, name, int64(len(want)))
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		v.damage(Damage{Kind: DamagedSums, File: name, What: words(err), Rebuild: true})
	case !bytes.Equal(got, want):
		v.damage(Damage{Kind: DamagedSums, File: name, What: "it does not say what the index says", Rebuild: true})
	}
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
	for dir, kind := range map[string]boxKind{jobsDir: boxJob, marksDir: boxMark} {
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
	w := walker{read: v.census.reader(rd), seen: map[nodeKey]bool{}, chunk: func(id ChunkID) error {
		from, to := v.census.find(keyOf(id))
		if from == to && !v.lost[keyOf(id)] {
			v.lost[keyOf(id)] = true
			v.damage(Damage{Kind: DamagedChunk, File: indexDir, Chunk: id, What: "no index knows where it is"})
		}
		for ; from < to; from++ {
			v.need.set(from)
		}
		return nil
	}, fault: func(n node, err error) error {
		from, to := v.census.find(keyOf(n.id))
		for ; from < to; from++ {
			v.must.set(from)
		}
		v.lost[keyOf(n.id)] = true
		return nil
	}}
	for i := range v.points {
		if err := w.point(ctx, &v.points[i]); err != nil {
			return err
		}
	}
	return nil
}

// reads reports whether a row is to be read.
func (v *verification) reads(i int) bool {
	if v.must.is(i) {
		return true
	}
	return (len(v.o.Points) == 0 || v.need.is(i)) && v.o.takes(v.census.rows[i].key)
}

// otherCopies reads what else there is of chunks that were found wrong, and
// notes which are lost.
func (v *verification) otherCopies(ctx context.Context) error {
	t := v.newReading(ctx)
	defer t.close()
	for i := range v.census.rows {
		if !v.bad.is(i) {
			continue
		}
		k := v.census.rows[i].key
		from, to := v.census.find(k)
		right := false
		for j := from; j < to; j++ {
			if !v.good.is(j) && !v.bad.is(j) {
				if err := t.row(ctx, j); err != nil {
					return err
				}
			}
			right = right || v.good.is(j)
		}
		if !right {
			v.lost[k] = true
		} else {
			delete(v.lost, k)
		}
	}
	return nil
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
