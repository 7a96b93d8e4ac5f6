package repo

import (
	"bytes"
	"errors"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/image/place/placetest"
)

// placeOf is where the first copy of a point's nth chunk is; of its map with -1.
func placeOf(t *testing.T, r *Repo, m *Manifest, n int64) location {
	t.Helper()
	packs := newPackCache(t.Context(), r.place, r.crypt)
	defer packs.close() // they were read only
	rd := r.newChunkReader(packs)
	defer rd.close()
	id := m.Disks[0].Map.Root
	if n >= 0 {
		var err error
		if id, _, err = r.mapCursor(m.Disks[0], rd).at(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	at, err := r.index.find(t.Context(), id)
	if err != nil || len(at) == 0 {
		t.Fatal(at, err)
	}
	return at[0]
}

// spoil turns a bit around within a frame's payload.
func spoil(mem *placetest.Memory, l location) {
	mem.Flip(packName(l.pack), (l.offset+frameLen+7)*8)
}

func mustVerify(t *testing.T, r *Repo) Report {
	t.Helper()
	rep, err := r.Verify(t.Context(), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func filesIn(t *testing.T, p *placetest.Memory, dir string) []string {
	t.Helper()
	return slices.DeleteFunc(p.Files(), func(name string) bool { return path.Dir(name) != dir })
}

func hasNote(rep *Report, kind string) bool {
	return slices.ContainsFunc(rep.Notes, func(n Note) bool { return n.Kind == kind })
}

// A chunk that verify found damaged is read from the disk by the next backup,
// incremental or full, though it has not changed; the points before it are whole
// again, and prune clears the damage away.
func TestABackupHealsWhatVerifyFoundDamaged(t *testing.T) {
	for name, k := range kinds(t) {
		for _, incremental := range []bool{true, false} {
			p := placetest.NewMemory()
			r := initRepo(t, p, k.init)
			src := newMem(5 * ChunkSize)
			src.random(1, 0, src.Size())
			base := backUp(t, r, src, WriteOptions{})
			spoil(p, placeOf(t, r, &base, 2))
			if rep := mustVerify(t, r); len(rep.Damages) != 1 || len(rep.Damages[0].Touches) != 1 {
				t.Fatalf("%s: found: %v", name, rep.Damages)
			}
			if rep, err := r.Check(t.Context(), CheckOptions{}); err != nil || rep.OK() {
				t.Errorf("%s: check has forgotten what verify found: %v", name, err)
			}

			again := openRepo(t, p, k.secret) // another process
			o := WriteOptions{}
			if src.dirty = nil; incremental {
				src.dirty, o.Base = map[int64]bool{}, &base
			}
			m := backUp(t, again, src, o)
			if m.New != ChunkSize || incremental && m.Read != ChunkSize {
				t.Errorf("%s: read %d, stored %d bytes anew", name, m.Read, m.New)
			}
			fresh := openRepo(t, p, k.secret)
			for _, m := range []*Manifest{&base, &m} {
				if !bytes.Equal(restored(t, fresh, m), src.data) {
					t.Errorf("%s: the disk that came back is another", name)
				}
			}
			if rep := mustVerify(t, fresh); !rep.OK() || !hasNote(&rep, "healed") || len(rep.Verified) != 2 {
				t.Errorf("%s: after the backup: %v %v", name, rep.Damages, rep.Notes)
			}
			mustPrune(t, fresh, PruneOptions{Waste: 99})
			if rep := mustVerify(t, fresh); !rep.OK() || len(rep.Notes) > 0 || len(rep.Verified) != 2 {
				t.Errorf("%s: after prune: %v %v", name, rep.Damages, rep.Notes)
			}
			if left := filesIn(t, p, damagedDir); len(left) > 0 {
				t.Errorf("%s: still noted: %v", name, left)
			}
			if !bytes.Equal(restored(t, fresh, &base), src.data) {
				t.Errorf("%s: after prune the disk that came back is another", name)
			}
		}
	}
}

// A map that turns out to be damaged only when the backup reads it is not taken
// over, though nobody has verified anything.
func TestABackupHealsADamagedMap(t *testing.T) {
	p := placetest.NewMemory()
	r := initRepo(t, p, InitOptions{})
	src := newMem(3 * ChunkSize)
	src.random(1, 0, src.Size())
	base := backUp(t, r, src, WriteOptions{})
	spoil(p, placeOf(t, r, &base, -1))
	again := openRepo(t, p, Secret{})
	src.dirty = map[int64]bool{}
	m := backUp(t, again, src, WriteOptions{Base: &base})
	for _, m := range []*Manifest{&base, &m} {
		if !bytes.Equal(restored(t, openRepo(t, p, Secret{}), m), src.data) {
			t.Error("the disk that came back is another")
		}
	}
	if m.Read != src.Size() {
		t.Errorf("read %d bytes", m.Read)
	}
}

// What was damaged for a while, as with a bad cable, is not damaged for ever.
func TestVerifyTakesBackWhatIsRight(t *testing.T) {
	p := placetest.NewMemory()
	r := initRepo(t, p, InitOptions{PackSize: MinPackSize})
	src := newMem(9 * ChunkSize)
	src.random(1, 0, src.Size())
	m := backUp(t, r, src, WriteOptions{})
	l, gone := placeOf(t, r, &m, 0), location{}
	for n := int64(1); n < 9; n++ { // workers fill packs in any order
		if gone = placeOf(t, r, &m, n); gone.pack != l.pack {
			break
		}
	}
	if gone.pack == l.pack {
		t.Fatal("all chunks are in one pack")
	}
	spoil(p, l)
	content := p.Content(packName(gone.pack))
	if err := p.Remove(t.Context(), packName(gone.pack)); err != nil {
		t.Fatal(err)
	}
	if rep := mustVerify(t, r); rep.OK() || len(filesIn(t, p, damagedDir)) == 0 {
		t.Fatalf("not found: %v", rep.Damages)
	}
	spoil(p, l)
	p.Put(packName(gone.pack), content)
	again := openRepo(t, p, Secret{})
	if rep := mustVerify(t, again); !rep.OK() {
		t.Errorf("%v", rep.Damages)
	}
	if left := filesIn(t, p, damagedDir); len(left) > 0 {
		t.Errorf("still noted: %v", left)
	}
	if m := backUp(t, again, src, WriteOptions{}); m.New != 0 {
		t.Errorf("%d bytes stored anew", m.New)
	}
}

// A pack that was not there for a moment is not noted as lost.
func TestAPackThatCameBackIsNotDamaged(t *testing.T) {
	p := placetest.NewMemory()
	r := initRepo(t, p, InitOptions{})
	src := newMem(ChunkSize)
	src.random(1, 0, src.Size())
	m := backUp(t, r, src, WriteOptions{})
	r.noteDamage(ChunkID{1}, placeOf(t, r, &m, 0), backend.ErrDamaged)
	r.noteCut(placeOf(t, r, &m, 0).pack, 0, missingError{})
	if err := r.saveDamage(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := newWounds()
	if err := w.load(t.Context(), p, r.crypt); err != nil || len(w.frames) != 1 || len(w.tails) != 0 {
		t.Errorf("%+v, %v", w, err)
	}
}

type missingError struct{}

func (missingError) Error() string        { return "not there" }
func (missingError) Is(target error) bool { return target.Error() == "file does not exist" }

// Repair mends what can be and removes nothing that a point needs.
func TestRepair(t *testing.T) {
	s := newScene(t, true)
	r := s.open(t, s.mem)
	defer closed(t, r)
	lost := placeOf(t, r, &s.points[2].m, 0) // vda of vm2, which nothing else has
	spoil(s.mem, lost)
	footer := placeOf(t, r, &s.points[1].m, 2).pack // of the second point alone
	s.mem.Flip(packName(footer), int64(len(s.mem.Content(packName(footer)))-trailerLen-30)*8)
	for _, name := range filesIn(t, s.mem, indexDir) {
		s.mem.Flip(name, (indexHeadLen+pageLen+99)*8)
		break
	}
	before := mustVerify(t, r)
	rep, err := r.Check(t.Context(), CheckOptions{Repair: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(before.Damages) < 3 || len(rep.Damages) != 1 || rep.Damages[0].File != packName(lost.pack) || len(rep.Damages[0].Touches) != 1 {
		t.Errorf("before: %v\nafter: %v", before.Damages, rep.Damages)
	}
	if len(s.mem.Content(packName(lost.pack))) == 0 {
		t.Error("a pack that a point needs was removed")
	}
	if len(s.mem.Content(packName(footer))) > 0 {
		t.Error("the pack without a footer is still there")
	}
	for i := range s.points[:2] {
		for target := range s.points[i].disks {
			if err := s.points[i].restore(t.Context(), r, target); err != nil {
				t.Errorf("point %d %s: %v", i, target, err)
			}
		}
	}
	if err := s.points[2].restore(t.Context(), r, "vdb"); err != nil {
		t.Error(err)
	}
	if err := s.points[2].restore(t.Context(), r, "vda"); !errors.Is(err, backend.ErrDamaged) {
		t.Errorf("what is lost: %v", err)
	}
	s.must(t, s.add(t.Context(), s.mem, otherPoint())) // the disk still has it
	s.whole(t, s.mem, s.points)
}

// Whatever of the index is damaged, everything restores, it is said what to do,
// a backup stores nothing twice for it, and prune makes the index anew.
func TestADamagedIndexKeepsNobodyFromRestoring(t *testing.T) {
	for what, bit := range map[string]int64{
		"header": 5 * 8, "page of packs": (indexHeadLen + 50) * 8, "page of chunks": (indexHeadLen + pageLen + 50) * 8, "last page": (indexHeadLen + 2*pageLen + 3) * 8,
	} {
		p := placetest.NewMemory()
		r := initRepo(t, p, InitOptions{})
		src := newMem(3 * ChunkSize)
		src.random(1, 0, src.Size())
		m := backUp(t, r, src, WriteOptions{})
		p.Flip(filesIn(t, p, indexDir)[0], bit)
		again := openRepo(t, p, Secret{})
		if !bytes.Equal(restored(t, again, &m), src.data) {
			t.Errorf("%s: the disk that came back is another", what)
		}
		if err := again.Trouble(); err == nil || !strings.Contains(backend.Hint(err), "check --rebuild") {
			t.Errorf("%s: nothing is said: %v", what, err)
		}
		writer := openRepo(t, p, Secret{})
		if next := backUp(t, writer, src, WriteOptions{}); next.New > 0 && what != "page of chunks" {
			t.Errorf("%s: %d bytes stored again", what, next.New)
		}
		mustPrune(t, writer, PruneOptions{})
		if rep := mustVerify(t, openRepo(t, p, Secret{})); !rep.OK() || len(rep.Verified) != 2 {
			t.Errorf("%s: after prune: %v", what, rep.Damages)
		}
		if last := openRepo(t, p, Secret{}); last.Trouble() != nil || !bytes.Equal(restored(t, last, &m), src.data) {
			t.Errorf("%s: after prune: %v", what, last.Trouble())
		}
	}
}

// A rebuild does not forget what only the old index knew: of a pack whose footer
// and first frame are damaged the rest still restores. Nor does it make damage
// look right.
func TestRebuildForgetsNothing(t *testing.T) {
	p := placetest.NewMemory()
	r := initRepo(t, p, InitOptions{})
	src := newMem(6 * ChunkSize)
	src.random(1, 0, src.Size())
	m := backUp(t, r, src, WriteOptions{})
	name := filesIn(t, p, packsDir)[0]
	p.Flip(name, (packHeadLen+20)*8)
	p.Flip(name, int64(len(p.Content(name))-trailerLen-30)*8)
	p.Flip(filesIn(t, p, sumsDir)[0], 3) // so that there is something to rebuild
	lost := placeOf(t, r, &m, 0)
	for n := int64(1); n < 6; n++ {
		if l := placeOf(t, r, &m, n); l.offset < lost.offset {
			lost = l
		}
	}
	if _, err := r.Check(t.Context(), CheckOptions{Rebuild: true}); err != nil {
		t.Fatal(err)
	}
	again := openRepo(t, p, Secret{})
	d, err := again.OpenDisk(t.Context(), &m, "vda")
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, d)
	right := 0
	for n := int64(0); n < 6; n++ {
		got := make([]byte, ChunkSize)
		if err := d.ReadAt(t.Context(), got, n*ChunkSize); err == nil && bytes.Equal(got, src.data[n*ChunkSize:][:ChunkSize]) {
			right++
		} else if !errors.Is(err, backend.ErrDamaged) {
			t.Errorf("chunk %d: %v", n, err)
		}
	}
	if right != 5 {
		t.Errorf("%d chunks of 6 can be read", right)
	}
	if rep, err := CheckSums(t.Context(), p, nil); err != nil || rep.OK() {
		t.Errorf("the sums say that all is right: %v", err)
	}
}

// Many small packs become one, once.
func TestPruneCombinesSmallPacks(t *testing.T) {
	s := &scene{mem: placetest.NewMemory()}
	closed(t, initRepo(t, s.mem, InitOptions{}))
	for n := range manySmall {
		if n == manySmall-1 {
			r := s.open(t, s.mem)
			if rep := mustPrune(t, r, PruneOptions{}); rep.Combined > 0 {
				t.Errorf("%d packs are not many: %+v", n, rep)
			}
			closed(t, r)
		}
		s.must(t, s.add(t.Context(), s.mem, killPlan("small", n)))
	}
	r := s.open(t, s.mem)
	defer closed(t, r)
	if told := mustPrune(t, r, PruneOptions{DryRun: true}); told.Combined != manySmall || told.Removed != manySmall {
		t.Errorf("a dry run: %+v", told)
	}
	if rep := mustPrune(t, r, PruneOptions{Grace: time.Hour}); rep.Combined != manySmall || rep.Condemned != manySmall {
		t.Errorf("combined: %+v", rep)
	}
	s.whole(t, s.mem, s.points)
	if rep := mustPrune(t, r, PruneOptions{}); rep.Rewritten > 0 || rep.Removed != manySmall {
		t.Errorf("again: %+v", rep)
	}
	s.whole(t, s.mem, s.points)
	if packs := filesIn(t, s.mem, packsDir); len(packs) != 1 {
		t.Errorf("%d packs are left", len(packs))
	}
}
