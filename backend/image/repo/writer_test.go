package repo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path"
	"testing"

	"golang.org/x/time/rate"

	"berth/backend"
	"berth/backend/image/place/placetest"
)

// endsAt is a disk whose reading breaks off.
type endsAt struct {
	*mem
	offset int64
	err    error
}

func (e *endsAt) ReadAt(ctx context.Context, p []byte, offset int64) error {
	if offset >= e.offset {
		return e.err
	}
	return e.mem.ReadAt(ctx, p, offset)
}

// What a broken-off backup has sealed is not stored again by its job, whether
// it could still make an index or not.
func TestABrokenOffBackupIsTakenUpAgain(t *testing.T) {
	for _, killed := range []bool{false, true} {
		p := placetest.NewMemory()
		r := initRepo(t, p, InitOptions{PackSize: MinPackSize})
		src := newMem(64 * ChunkSize)
		src.random(1, 0, src.Size())
		lost := errors.New("the cable")
		w, err := r.Begin(t.Context(), WriteOptions{Job: "transfer 7"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.AddDisk(t.Context(), Disk{Target: "vda"}, &endsAt{src, 60 * ChunkSize, lost}, false); !errors.Is(err, lost) {
			t.Fatal(err)
		}
		if _, err := w.Commit(t.Context(), Manifest{}); !errors.Is(err, lost) {
			t.Errorf("committed what was not read: %v", err)
		}
		closed(t, w)
		if killed {
			files, err := p.List(t.Context(), indexDir)
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				if err := p.Remove(t.Context(), f.Name); err != nil {
					t.Fatal(err)
				}
			}
		}
		if points, err := r.Points(t.Context()); err != nil || len(points) > 0 {
			t.Fatal(points, err)
		}
		again := openRepo(t, p, Secret{})
		m := backUp(t, again, src, WriteOptions{Job: "transfer 7"})
		if m.New > 40*ChunkSize { // what was being read, compressed and sealed is not kept
			t.Errorf("killed: %v: %d MiB stored again", killed, m.New>>20)
		}
		if !bytes.Equal(restored(t, again, &m), src.data) {
			t.Error("the disk that came back is another")
		}
		if jobs, err := p.List(t.Context(), jobsDir); err != nil || len(jobs) > 0 {
			t.Errorf("jobs that have not ended: %v, %v", jobs, err)
		}
	}
}

// A clean chunk that the repository has lost is read, not taken on trust.
func TestIncrementalReadsWhatWasLost(t *testing.T) {
	p := placetest.NewMemory()
	r := initRepo(t, p, InitOptions{PackSize: MinPackSize})
	src := newMem(12 * ChunkSize)
	src.random(1, 0, src.Size())
	base := backUp(t, r, src, WriteOptions{})
	var gone packInfo
	f := r.index.files[0]
	gone, err := f.pack(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Remove(t.Context(), packName(gone.id)); err != nil {
		t.Fatal(err)
	}
	if err := r.index.merge(t.Context(), append([]*indexFile(nil), r.index.files...), func(p packInfo) bool { return p.id != gone.id }); err != nil {
		t.Fatal(err)
	}
	src.dirty = map[int64]bool{}
	m := backUp(t, r, src, WriteOptions{Base: &base})
	if m.Read == 0 || !bytes.Equal(restored(t, r, &m), src.data) {
		t.Errorf("read %d bytes", m.Read)
	}
}

// A disk that has grown is no trouble for an incremental backup.
func TestADiskThatGrew(t *testing.T) {
	r := initRepo(t, placetest.NewMemory(), InitOptions{})
	src := newMem(3*ChunkSize + 4096)
	src.random(1, 0, src.Size())
	base := backUp(t, r, src, WriteOptions{})
	src.data = append(src.data, make([]byte, 5*ChunkSize)...)
	src.dirty = map[int64]bool{}
	m := backUp(t, r, src, WriteOptions{Base: &base})
	if got := restored(t, r, &m); !bytes.Equal(got, src.data) {
		t.Error("the disk that came back is another")
	}
	if want := src.Size() - 3*ChunkSize; m.Read != want {
		t.Errorf("read %d bytes, want %d: the last chunk, which was shorter, and what is new", m.Read, want)
	}
}

func TestCancelEndsABackup(t *testing.T) {
	r := initRepo(t, placetest.NewMemory(), InitOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	w, err := r.Begin(ctx, WriteOptions{Gate: func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddDisk(ctx, Disk{Target: "vda"}, sample(), false); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	closed(t, w)
	if locks, err := r.Locks(t.Context()); err != nil || len(locks) > 0 {
		t.Errorf("locks left: %v, %v", locks, err)
	}
}

func TestProgressAndLimit(t *testing.T) {
	r := initRepo(t, placetest.NewMemory(), InitOptions{})
	src := newMem(4 * ChunkSize)
	src.random(1, 0, src.Size())
	var last WriteProgress
	backUp(t, r, src, WriteOptions{Limit: rate.NewLimiter(1<<40, 1000), Progress: func(p WriteProgress) {
		if p.Done < last.Done || p.Done > p.Total {
			t.Errorf("%+v after %+v", p, last)
		}
		last = p
	}})
	if last.Done != src.Size() || last.Total != src.Size() || last.New < src.Size() {
		t.Errorf("%+v at the end", last)
	}
}

func TestAManifestKeepsWhatItSays(t *testing.T) {
	m := Manifest{VM: backend.UUID{1, 2}, Name: "web\x1b[31m1", Tags: []string{"a"}, Disks: []Disk{{Target: "vda", Size: 1, Map: Map{Depth: 1}}}}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var got Manifest
	if err := json.Unmarshal(b, &got); err != nil || got.VM != m.VM || got.Disks[0] != m.Disks[0] {
		t.Errorf("%+v, %v", got, err)
	}
	if got.clean(); got.Name != backend.Clean(m.Name) {
		t.Errorf("%q", got.Name)
	}
	for _, bad := range []Manifest{
		{Disks: []Disk{{Target: "vda", Size: -1, Map: Map{Depth: 1}}}},
		{Disks: []Disk{{Target: "vda", Size: 5 << 40, Map: Map{Depth: 1}}}},
		{Disks: []Disk{{Target: "vda", Map: Map{Depth: 1}}, {Target: "vda", Map: Map{Depth: 1}}}},
		{Files: []File{{Size: 1 << 50}}},
	} {
		if err := bad.check(); !errors.Is(err, backend.ErrDamaged) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// Keys that an Init left which was broken off are in nobody's way.
func TestAnInitThatWasBrokenOff(t *testing.T) {
	p := placetest.NewMemory()
	pass := Secret{Passphrase: []byte("same")}
	initRepo(t, p, InitOptions{Secret: pass})
	if err := p.Remove(t.Context(), configName); err != nil {
		t.Fatal(err)
	}
	r := initRepo(t, p, InitOptions{Secret: pass})
	if again := openRepo(t, p, pass); again.ID() != r.ID() {
		t.Error("another repository")
	}
}

func TestPacksKeepTheirSizeAndPlace(t *testing.T) {
	p := placetest.NewMemory()
	r := initRepo(t, p, InitOptions{PackSize: MinPackSize})
	src := newMem(8 * ChunkSize)
	src.random(1, 0, src.Size())
	m := backUp(t, r, src, WriteOptions{})
	packs, err := p.List(t.Context(), packsDir)
	if err != nil || len(packs) < 2 {
		t.Fatal(packs, err)
	}
	for _, e := range packs {
		if e.Size > MinPackSize {
			t.Errorf("%s has %d bytes", e.Name, e.Size)
		}
	}
	// One pack in the place of another is found out.
	one := readAll(t, p, packs[0].Name)
	if err := p.Remove(t.Context(), packs[1].Name); err != nil {
		t.Fatal(err)
	}
	if err := p.CreateExclusive(t.Context(), packs[1].Name, one); err != nil {
		t.Fatal(err)
	}
	dst := newMem(src.Size())
	if err := r.Restore(t.Context(), &m, "vda", dst, RestoreOptions{}); !errors.Is(err, backend.ErrDamaged) {
		t.Errorf("restored from pack %s that is %s: %v", path.Base(packs[1].Name), path.Base(packs[0].Name), err)
	}
}
