package repo

import (
	"context"
	"errors"
	"path"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/image/place/placetest"
)

func mustPrune(t *testing.T, r *Repo, o PruneOptions) PruneReport {
	t.Helper()
	rep, err := r.Prune(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestPruneRemovesWhatNobodyNeeds(t *testing.T) {
	s := newScene(t, true)
	r := s.open(t, s.mem)
	defer closed(t, r)
	if rep := mustPrune(t, r, PruneOptions{}); rep.Removed+rep.Rewritten+rep.Condemned > 0 || rep.Chunks == 0 {
		t.Errorf("of what is needed: %+v", rep)
	}
	gone := []string{s.points[0].m.ID, s.points[1].m.ID}
	foretold := mustPrune(t, r, PruneOptions{DryRun: true, Without: gone})
	if err := r.Forget(t.Context(), gone...); err != nil {
		t.Fatal(err)
	}
	used := s.mem.Used()
	told := mustPrune(t, r, PruneOptions{DryRun: true})
	if foretold.Took = told.Took; !reflect.DeepEqual(foretold, told) {
		t.Errorf("foretold was %+v, and then told %+v", foretold, told)
	}
	if s.mem.Used() != used || told.Removed == 0 || told.Freed == 0 {
		t.Errorf("a dry run: %+v", told)
	}
	rep := mustPrune(t, r, PruneOptions{})
	if rep.Removed != told.Removed || rep.Freed != told.Freed || rep.Rewritten != told.Rewritten || s.mem.Used() >= used {
		t.Errorf("it was to be %+v and was %+v", told, rep)
	}
	s.whole(t, s.mem, s.points[2:])
	if again := mustPrune(t, r, PruneOptions{}); again.Removed+again.Rewritten > 0 {
		t.Errorf("again: %+v", again)
	}
}

func TestPruneWithGraceRemovesLater(t *testing.T) {
	s := newScene(t, false)
	r := s.open(t, s.mem)
	defer closed(t, r)
	if err := r.Forget(t.Context(), s.points[2].m.ID); err != nil {
		t.Fatal(err)
	}
	first := mustPrune(t, r, PruneOptions{Grace: time.Hour})
	if first.Removed > 0 || first.Condemned == 0 {
		t.Errorf("at first: %+v", first)
	}
	s.ahead.Store(int64(50 * time.Minute))
	if second := mustPrune(t, r, PruneOptions{Grace: time.Hour}); second.Removed > 0 || second.Condemned != first.Condemned {
		t.Errorf("before its end: %+v", second)
	}
	s.ahead.Store(int64(70 * time.Minute))
	if third := mustPrune(t, r, PruneOptions{Grace: time.Hour}); third.Removed != first.Condemned || third.Freed != first.Waiting {
		t.Errorf("after its end: %+v", third)
	}
	s.whole(t, s.mem, s.points[:2])
}

// What it cannot read might need anything.
func TestPruneRefusesWhenAPointIsDamaged(t *testing.T) {
	s := newScene(t, false)
	s.mem.Flip(pointName(s.points[0].m.ID), 1000)
	r := s.open(t, s.mem)
	defer closed(t, r)
	files := len(s.mem.Files())
	if _, err := r.Prune(t.Context(), PruneOptions{}); !errors.Is(err, backend.ErrDamaged) {
		t.Errorf("pruned: %v", err)
	}
	if len(s.mem.Files()) != files {
		t.Error("something was removed")
	}
	if err := r.Forget(t.Context(), s.points[0].m.ID); err != nil {
		t.Fatal(err)
	}
	mustPrune(t, r, PruneOptions{})
	s.whole(t, s.mem, s.points[1:])
}

// An interrupted backup's packs survive a Prune, and are used again.
func TestPruneKeepsWhatUnfinishedJobsWrote(t *testing.T) {
	s := newScene(t, false)
	r := s.open(t, s.mem)
	defer closed(t, r)
	plan := thirdPoint()
	w, err := r.Begin(t.Context(), WriteOptions{Job: "broken off"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddDisk(t.Context(), Disk{Target: "vda"}, plan.disks["vda"], false); err != nil {
		t.Fatal(err)
	}
	if err := w.packer.flush(t.Context()); err != nil { // as if the packs had become full
		t.Fatal(err)
	}
	closed(t, w)
	if rep := mustPrune(t, r, PruneOptions{}); rep.Removed > 0 {
		t.Errorf("removed: %+v", rep)
	}
	w, err = r.Begin(t.Context(), WriteOptions{Job: "broken off"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddDisk(t.Context(), Disk{Target: "vda"}, plan.disks["vda"], false); err != nil {
		t.Fatal(err)
	}
	m, err := w.Commit(t.Context(), Manifest{VM: backend.UUID{3}, Name: "vm3", At: started})
	if err != nil || m.New != 0 {
		t.Errorf("%d bytes are new: %v", m.New, err)
	}
	s.whole(t, s.mem, append(s.points, madePoint{m: m, disks: map[string][]byte{"vda": plan.disks["vda"].data}}))
}

func TestVerifyMarksWhatItReadOnly(t *testing.T) {
	s := newScene(t, true)
	r := s.open(t, s.mem)
	defer closed(t, r)
	rep, err := r.Verify(t.Context(), VerifyOptions{Sample: 30, Seed: 5})
	if err != nil || !rep.OK() || len(rep.Verified) > 0 || rep.Sample != 30 {
		t.Errorf("a sample: %+v, %v", rep, err)
	}
	if marks, err := r.Marks(t.Context()); err != nil || len(marks) > 0 {
		t.Errorf("marks: %v, %v", marks, err)
	}
	rep, err = r.Verify(t.Context(), VerifyOptions{Points: []string{s.points[1].m.ID[:8]}})
	if err != nil || len(rep.Verified) != 1 || rep.Verified[0] != s.points[1].m.ID {
		t.Errorf("one point: %+v, %v", rep, err)
	}
	marks, err := r.Marks(t.Context())
	if err != nil || len(marks) != 1 || marks[s.points[1].m.ID].Verified.IsZero() {
		t.Errorf("marks: %v, %v", marks, err)
	}
	// Damage of what only the other VM has does not touch it; whole verification
	// finds it and says so in that point's mark.
	for _, name := range s.mem.Files() {
		if path.Dir(name) == packsDir && strings.Contains(packOf(t, r, &s.points[2]), path.Base(name)) {
			s.mem.Flip(name, (packHeadLen+frameLen+100)*8)
		}
	}
	if rep, err = r.Verify(t.Context(), VerifyOptions{Points: []string{s.points[1].m.ID}}); err != nil || !rep.OK() {
		t.Errorf("untouched: %+v, %v", rep, err)
	}
	rep, err = r.Verify(t.Context(), VerifyOptions{})
	if err != nil || rep.OK() || len(rep.Verified) != 2 {
		t.Fatalf("damaged: %+v, %v", rep, err)
	}
	marks, err = r.Marks(t.Context())
	if err != nil || marks[s.points[2].m.ID].Damaged == "" || marks[s.points[0].m.ID].Damaged != "" {
		t.Errorf("marks: %v, %v", marks, err)
	}
}

// packOf is the pack that holds the first chunk of a point's vda.
func packOf(t *testing.T, r *Repo, p *madePoint) string {
	t.Helper()
	packs := newPackCache(context.Background(), r.place, r.crypt)
	defer packs.close() // they were read only
	rd := r.newChunkReader(packs)
	defer rd.close()
	id, _, err := r.mapCursor(p.m.Disks[0], rd).at(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	at, err := r.index.find(t.Context(), id)
	if err != nil || len(at) == 0 {
		t.Fatal(at, err)
	}
	return at[0].pack.String()
}

func TestCheckRebuildsTheIndex(t *testing.T) {
	s := newScene(t, true)
	for _, name := range s.mem.Files() {
		if dir := path.Dir(name); dir == indexDir || dir == sumsDir {
			if err := s.mem.Remove(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := s.open(t, s.mem)
	defer closed(t, r)
	rep, err := r.Check(t.Context(), CheckOptions{})
	if err != nil || rep.OK() {
		t.Errorf("without an index: %+v, %v", rep, err)
	}
	rep, err = r.Check(t.Context(), CheckOptions{Rebuild: true})
	if err != nil || !rep.OK() {
		t.Errorf("rebuilt: %v, %v", rep.Damages, err)
	}
	s.whole(t, s.mem, s.points)
	if rep, err := CheckSums(t.Context(), s.mem, nil); err != nil || !rep.OK() || rep.Packs == 0 {
		t.Errorf("without the key: %+v, %v", rep, err)
	}
}

func TestCheckSumsFindsDamageWithoutTheKey(t *testing.T) {
	s := newScene(t, true)
	rng := seeded(t)
	for range many(60, 10) {
		m := s.mem.Clone()
		name := byWeight(m, m.Files(), rng)
		m.Flip(name, rng.Int64N(int64(len(m.Content(name)))*8))
		rep, err := CheckSums(t.Context(), m, nil)
		if err == nil && rep.OK() {
			t.Errorf("%s: not found", name)
		}
	}
}

func TestCopyToAnother(t *testing.T) {
	s := newScene(t, true)
	to := placetest.NewMemory()
	closed(t, initRepo(t, to, InitOptions{}))
	src, dst := s.open(t, s.mem), openRepo(t, to, Secret{})
	defer closed(t, src)
	var last CopyProgress
	rep, err := src.CopyTo(t.Context(), dst, nil, CopyOptions{Progress: func(p CopyProgress) { last = p }})
	if err != nil || len(rep.Copied) != 3 || rep.New == 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if last.Done > last.Total || last.Total == 0 {
		t.Errorf("progress ended at %+v", last)
	}
	var copied []madePoint
	for i, id := range rep.Copied {
		copied = append(copied, madePoint{m: Manifest{ID: id}, disks: s.points[i].disks})
	}
	there := &scene{}
	there.whole(t, to, copied)
	rep, err = src.CopyTo(t.Context(), dst, nil, CopyOptions{})
	if err != nil || len(rep.Copied) > 0 || len(rep.Skipped) != 3 {
		t.Errorf("again: %+v, %v", rep, err)
	}
	if _, err := src.CopyTo(t.Context(), src, nil, CopyOptions{}); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("to itself: %v", err)
	}
}
