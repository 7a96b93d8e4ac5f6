package repo

import (
	"encoding/binary"
	"slices"
	"testing"

	"berth/backend/image/place"
	"berth/backend/image/place/placetest"
)

func readAll(t testing.TB, p place.Place, name string) []byte {
	t.Helper()
	b, err := place.Read(t.Context(), p, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newTestIndex(t *testing.T, c *crypt, packs ...[]packed) (*index, *placetest.Memory) {
	t.Helper()
	p := placetest.NewMemory()
	x := newIndex(p, c, nil)
	t.Cleanup(func() { closed(t, x2{x}) })
	for _, some := range packs {
		if err := x.add(t.Context(), some); err != nil {
			t.Fatal(err)
		}
	}
	return x, p
}

type x2 struct{ *index }

func (x x2) Close() error { return x.close() }

func found(t *testing.T, x *index, packs []packed) {
	t.Helper()
	for _, p := range packs {
		for _, f := range p.frames {
			at, err := x.find(t.Context(), f.id)
			if err != nil || !slices.Contains(at, location{pack: p.id, offset: f.offset, length: uint32(f.size())}) {
				t.Fatalf("chunk %s: %+v, %v", f.id, at, err)
			}
		}
		if has, err := x.hasPack(p.id); !has || err != nil {
			t.Fatalf("pack %s: %v, %v", p.id, has, err)
		}
	}
}

func TestTheIndexFindsEveryChunk(t *testing.T) {
	for _, c := range []*crypt{{}, {master: make([]byte, 32)}} {
		packs := somePacks(60, 150, 1)
		x, _ := newTestIndex(t, c, packs)
		found(t, x, packs)
		for _, p := range somePacks(5, 100, 2) {
			for _, f := range p.frames {
				if at, err := x.find(t.Context(), f.id); err != nil || len(at) > 0 {
					t.Fatalf("a chunk that is not there: %+v, %v", at, err)
				}
			}
		}
	}
}

// Somebody may have chosen what he stores so that ids begin alike.
func TestTheIndexFindsChunksWithIDsAlike(t *testing.T) {
	packs := somePacks(40, 100, 1)
	for i := range packs {
		for n := range packs[i].frames {
			id := &packs[i].frames[n].id
			copy(id[:8], "same....")
			if n%3 == 0 { // the same chunk again and again, over several pages
				*id = ChunkID{'s', 'a', 'm', 'e', '.', '.', '.', '.', 1}
			}
		}
	}
	x, _ := newTestIndex(t, &crypt{}, packs)
	found(t, x, packs)
	if at, err := x.find(t.Context(), ChunkID{'s', 'a', 'm', 'e', '.', '.', '.', '.', 1}); err != nil || len(at) != 40*34 {
		t.Errorf("%d copies, %v", len(at), err)
	}
}

func TestALookupReadsFewPages(t *testing.T) {
	packs := somePacks(100, 2000, 1)
	x, _ := newTestIndex(t, &crypt{}, packs)
	counted := &countingFile{File: x.files[0].file}
	x.files[0].file = counted
	for i := range 100 {
		if at, err := x.find(t.Context(), packs[i].frames[i*7].id); err != nil || len(at) != 1 {
			t.Fatal(at, err)
		}
	}
	if mean := counted.reads / 100; mean > 8 {
		t.Errorf("%d reads a lookup in %d pages", mean, x.files[0].chunkPages())
	}
}

type countingFile struct {
	place.File
	reads int
}

func (c *countingFile) ReadAt(p []byte, offset int64) (int, error) {
	c.reads++
	return c.File.ReadAt(p, offset)
}

func TestManyIndexFilesBecomeFew(t *testing.T) {
	var all []packed
	x, p := newTestIndex(t, &crypt{master: make([]byte, 32)})
	for i := range 30 {
		some := somePacks(3, 40, uint64(i))
		if i%4 == 0 && i > 0 { // what is told twice counts once
			some = append(some, all[len(all)-1])
		}
		all = append(all, some...)
		if err := x.add(t.Context(), some); err != nil {
			t.Fatal(err)
		}
		if err := x.tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	found(t, x, all)
	for _, dir := range []string{indexDir, sumsDir} {
		if files, err := p.List(t.Context(), dir); err != nil || len(files) > manyFiles+1 {
			t.Errorf("%s: %d files, %v", dir, len(files), err)
		}
	}
	if at, err := x.find(t.Context(), all[len(all)-1].frames[0].id); err != nil || len(at) != 1 {
		t.Errorf("%+v, %v", at, err)
	}
	gone := all[0].id
	if err := x.merge(t.Context(), slices.Clone(x.files), func(p packInfo) bool { return p.id != gone }); err != nil {
		t.Fatal(err)
	}
	found(t, x, all[1:])
	if has, err := x.hasPack(gone); has || err != nil {
		t.Errorf("the pack that was left out is there: %v", err)
	}
	// Another process sees the same.
	y := newIndex(p, x.crypt, nil)
	defer closed(t, x2{y})
	if err := y.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	found(t, y, all[1:])
}

// One page that is damaged hides what is on it, and nothing else; and not without a word.
func TestADamagedPageOfTheIndexIsTold(t *testing.T) {
	packs := somePacks(10, 100, 3)
	x, _ := newTestIndex(t, &crypt{}, packs)
	f := x.files[0]
	f.file = &flippedFile{File: f.file, at: indexHeadLen + (f.packPages()+3)*pageLen + 100}
	lost := 0
	for _, p := range packs {
		for _, fr := range p.frames {
			at, err := x.find(t.Context(), fr.id)
			if len(at) == 0 && err == nil {
				t.Fatal("a chunk is not found, and nothing is said")
			}
			if err != nil {
				lost++
			}
			if x.has(fr.id) && err != nil {
				t.Fatal("a chunk that cannot be found counts as stored")
			}
		}
	}
	if lost < chunksOnPage {
		t.Errorf("%d chunks lost with a page of %d", lost, chunksOnPage)
	}
}

type flippedFile struct {
	place.File
	at int64
}

func (f *flippedFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.File.ReadAt(p, offset)
	if f.at >= offset && f.at < offset+int64(n) {
		p[f.at-offset] ^= 1
	}
	return n, err
}

func TestMapsOfEverySize(t *testing.T) {
	for _, chunks := range []int64{0, 1, 2, MapFanout - 1, MapFanout, MapFanout + 1, 3*MapFanout + 5, MapFanout * MapFanout, MapFanout*MapFanout + 1} {
		nodes := map[ChunkID][]byte{}
		b := newMapBuilder(chunks*ChunkSize, func(node []byte) (ChunkID, error) {
			id := sumID((&crypt{}).hasher(), node)
			nodes[id] = slices.Clone(node)
			return id, nil
		})
		want := func(n int64) (id ChunkID) {
			if n%5000 < 2500 && n != chunks-1 {
				return id
			}
			binary.BigEndian.PutUint64(id[:], uint64(n+1))
			return id
		}
		for n := range chunks {
			if err := b.add(want(n)); err != nil {
				t.Fatal(err)
			}
		}
		m, err := b.finish()
		if err != nil {
			t.Fatal(err)
		}
		c := newMapCursor(Disk{Size: chunks * ChunkSize, Map: m}, mapNodes(nodes).load)
		for n := int64(0); n < chunks; {
			id, run, err := c.at(t.Context(), n)
			if err != nil || id != want(n) || run < 1 || n+run > chunks {
				t.Fatalf("chunk %d of %d: %s for %d, %v", n, chunks, id, run, err)
			}
			for range run {
				if want(n) != id {
					t.Fatalf("chunk %d of %d is not %s", n, chunks, id)
				}
				n++
			}
		}
	}
}
