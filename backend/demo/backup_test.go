package demo

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/backend"
)

func begin(t testing.TB, v *vm, r backend.BackupRequest) backend.BackupSession {
	t.Helper()
	r.VM, r.Name = v.row.UUID, v.row.Name
	s, err := v.host.BeginBackup(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A full backup and the incrementals after it are what the image held at each
// of these moments, whatever the guest wrote meanwhile.
func TestIncrementalsAddUp(t *testing.T) {
	f, clock := ownFleet(t, Options{Seed: 11, Calm: true})
	v := machine(t, f, "db")
	since, drop := "", []string(nil)
	var restored blocks
	var incremental, first, full int64
	for round := range 12 {
		s := begin(t, v, backend.BackupRequest{Since: since, Checkpoint: fmt.Sprintf("berth-test-%d", round), Drop: drop})
		p := s.Point()
		d := p.Disks[0]
		if d.Incremental != (round > 0) || (d.WhyFull == "") != d.Incremental || p.Checkpoint == "" || !p.Running {
			t.Fatalf("round %d: %+v", round, p)
		}
		if raw := p.Disks[1]; raw.Incremental || raw.WhyFull == "" {
			t.Errorf("a raw disk's bitmap: %+v", raw)
		}
		clock.Advance(time.Duration(1+round*round*3) * time.Second) // the guest goes on while its disk is read
		if err := s.Watch(t.Context()); err != nil {
			t.Fatal(err)
		}
		touch(t, v)
		got := content(t, d.Access.File)
		if d.Incremental {
			restored = restored.apply(got, d.Access.Dirty)
			for _, e := range d.Access.Dirty {
				incremental += e.Length
			}
			if round == 1 {
				first = incremental
			}
		} else {
			restored, full = got, int64(len(got))*4096
		}
		if !maps.Equal(restored, got) {
			t.Fatalf("round %d: what was put together is not what the disk held", round)
		}
		if err := s.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if exists(d.Access.File) {
			t.Error("the point's file stays after its commit")
		}
		drop, since = []string{p.Checkpoint}, p.Checkpoint
	}
	if incremental == 0 || incremental/11 > full/2 || first == 0 || first > full/4 {
		t.Errorf("11 incrementals read %d bytes, the first of them %d, a full one %d", incremental, first, full)
	}
	if left := checkpointsLike(v, "berth-test-"); len(left) != 1 {
		t.Errorf("checkpoints %q stay", left)
	}
}

// touch has the image's file follow the guest.
func touch(t testing.TB, v *vm) {
	t.Helper()
	opened(t, v.host, v.def().disks[0].source)
}

func checkpointsLike(v *vm, prefix string) (list []string) {
	for _, c := range v.checkpoints {
		if len(c.Name) >= len(prefix) && c.Name[:len(prefix)] == prefix {
			list = append(list, c.Name)
		}
	}
	return list
}

// Nothing that was written between two checkpoints is missing from the bitmap,
// and the guest does write.
func TestBitmapHoldsWhatChanged(t *testing.T) {
	l := newLayout(20*gib, 5, 32)
	file := func(writes int64) blocks {
		name := filepath.Join(t.TempDir(), "image")
		if err := makeFile(name, l.size, func(f *os.File) error { return l.write(f, 0, writes) }); err != nil {
			t.Fatal(err)
		}
		return content(t, name)
	}
	for _, pair := range [][2]int64{{0, 0}, {0, 1}, {3, 9}, {10, 33}, {7, 40}, {31, 500}} {
		a, b := file(pair[0]), file(pair[1])
		dirty := l.dirty(pair[0], pair[1])
		if !maps.Equal(a.apply(b, dirty), b) {
			t.Errorf("from %d to %d writes: something changed that is not dirty", pair[0], pair[1])
		}
		if (pair[0] == pair[1]) != maps.Equal(a, b) || dirty == nil {
			t.Errorf("from %d to %d writes: dirty %v", pair[0], pair[1], dirty)
		}
	}
}

// Writing on and making anew come to the same.
func TestImagesDependOnWritesAlone(t *testing.T) {
	l := newLayout(20*gib, 5, 32)
	once, often := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	if err := makeFile(once, l.size, func(f *os.File) error { return l.write(f, 0, 777) }); err != nil {
		t.Fatal(err)
	}
	if err := makeFile(often, l.size, func(*os.File) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for from := int64(0); from < 777; from += 37 {
		if err := writeOn(often, l, from, min(from+37, 777)); err != nil {
			t.Fatal(err)
		}
	}
	if !maps.Equal(content(t, once), content(t, often)) {
		t.Error("they differ")
	}
}

// A machine that is destroyed and deleted comes back from its backup, byte by
// byte, with its role, and runs; and so does a copy beside it.
func TestDestroyedAndRestored(t *testing.T) {
	f, clock := ownFleet(t, Options{Seed: 11, Calm: true})
	v := machine(t, f, "web")
	h, ctx, path := v.host, t.Context(), v.stored.disks[0].source
	s := begin(t, v, backend.BackupRequest{Quiesce: true})
	p := s.Point()
	if v.row.HasAgent != p.Quiesced || p.Quiesced != (p.Frozen > 0) || p.Quiesced == (p.NotQuiesced != "") {
		t.Errorf("%+v", p)
	}
	want := content(t, p.Disks[0].Access.File)
	kept := filepath.Join(t.TempDir(), "kept")
	if err := errors.Join(copyFile(kept, p.Disks[0].Access.File, p.Disks[0].Size), s.Commit(ctx)); err != nil {
		t.Fatal(err)
	}
	act(t, v, backend.VerbDestroy)
	all := backend.UndefineOptions{Storage: true, Snapshots: true, NVRAM: true, ManagedSave: true}
	if err := h.Do(ctx, backend.Action{Verb: backend.VerbUndefine, UUID: v.row.UUID, Name: v.row.Name, Delete: all}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.OpenImage(ctx, path, ""); !errors.Is(err, backend.ErrNoStorage) {
		t.Fatalf("its image is still there: %v", err)
	}
	id, err := h.Define(ctx, p.Stored)
	if err != nil || id != v.row.UUID {
		t.Fatalf("%v, %v", id, err)
	}
	if err := h.Do(ctx, backend.Action{Verb: backend.VerbStart, UUID: id}); !errors.Is(err, backend.ErrNoStorage) {
		t.Errorf("it starts without its image: %v", err)
	}
	restore(t, h, path, kept, p.Disks[0].Size)
	back := h.byUUID[id]
	if back.role.key != "web" || back.stored.disks[0].capacity != uint64(p.Disks[0].Size) {
		t.Errorf("it came back as %s with %d bytes", back.role.key, back.stored.disks[0].capacity)
	}
	if !maps.Equal(content(t, opened(t, h, path).File), want) {
		t.Error("its disk is not what it was")
	}
	act(t, back, backend.VerbStart)
	clock.Advance(10 * time.Minute)
	if row := shows(t, back); row.State != backend.Running {
		t.Errorf("it is %s", row.State)
	}
	if maps.Equal(content(t, opened(t, h, path).File), want) {
		t.Error("it runs and writes nothing")
	}
}

// restore writes a disk as the engine does.
func restore(t testing.TB, h *host, path, from string, size int64) {
	t.Helper()
	n, err := h.MakeImage(t.Context(), path, "qcow2", uint64(size))
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if err := changeFile(n.Access().File, func(f *os.File) error { return copySparse(f, src, size) }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Commit(t.Context()), n.Close()); err != nil {
		t.Fatal(err)
	}
}
