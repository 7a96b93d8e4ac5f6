package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
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

// An image that was restored in place has no bitmap; a QEMU that is killed
// leaves its bitmaps in use. Either way only a full backup is right.
func TestBitmapsAreLost(t *testing.T) {
	f, _ := ownFleet(t, Options{Seed: 11, Calm: true})
	for name, lose := range map[string]func(*vm){
		"crash": func(v *vm) {
			f.mu.Lock()
			v.crash()
			f.mu.Unlock()
			act(t, v, backend.VerbStart)
		},
		"killed while stuck": func(v *vm) {
			f.mu.Lock()
			v.hang()
			f.mu.Unlock()
			act(t, v, backend.VerbDestroy)
			act(t, v, backend.VerbStart)
		},
		"restored in place": func(v *vm) {
			act(t, v, backend.VerbDestroy)
			path := v.stored.disks[0].source
			if err := v.host.RenameFile(t.Context(), path, path+".before"); err != nil {
				t.Fatal(err)
			}
			restore(t, v.host, path, opened(t, v.host, path+".before").File, int64(v.stored.disks[0].capacity))
			act(t, v, backend.VerbStart)
		},
	} {
		v := machine(t, f, "app")
		s := begin(t, v, backend.BackupRequest{Checkpoint: "berth-a"})
		if err := s.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		lose(v)
		_, err := v.host.BeginBackup(t.Context(), backend.BackupRequest{VM: v.row.UUID, Since: "berth-a", Checkpoint: "berth-b"})
		if !errors.Is(err, backend.ErrBitmap) {
			t.Errorf("%s: %v", name, err)
		}
		if left := checkpointsLike(v, "berth-b"); len(left) > 0 {
			t.Errorf("%s: %q was left behind", name, left)
		}
		s = begin(t, v, backend.BackupRequest{Checkpoint: "berth-b", Drop: []string{"berth-a"}})
		if err := s.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		s = begin(t, v, backend.BackupRequest{Since: "berth-b", Drop: []string{"berth-b"}})
		if !s.Point().Disks[0].Incremental {
			t.Errorf("%s: the backup after the full one is full again", name)
		}
		if err := s.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A clean stop and a start keep bitmaps usable.
func TestBitmapsOutliveAStop(t *testing.T) {
	f, _ := ownFleet(t, Options{Seed: 11, Calm: true})
	v := machine(t, f, "web")
	if err := begin(t, v, backend.BackupRequest{Checkpoint: "berth-a"}).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	act(t, v, backend.VerbDestroy)
	s := begin(t, v, backend.BackupRequest{Since: "berth-a", Checkpoint: "berth-b"})
	if p := s.Point(); p.Running || !p.Disks[0].Incremental || p.Checkpoint != "" || p.NoCheckpoint == "" {
		t.Errorf("of a VM that is off: %+v", p)
	}
	if err := s.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	act(t, v, backend.VerbStart)
	s = begin(t, v, backend.BackupRequest{Since: "berth-a"})
	if !s.Point().Disks[0].Incremental {
		t.Errorf("%+v", s.Point())
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSessionsEndWithTheirDomains(t *testing.T) {
	f, _ := ownFleet(t, Options{Seed: 11, Calm: true})
	v, ctx := machine(t, f, "web"), t.Context()
	s := begin(t, v, backend.BackupRequest{Checkpoint: "berth-a"})
	if _, err := v.host.BeginBackup(ctx, backend.BackupRequest{VM: v.row.UUID}); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("a second backup: %v", err)
	}
	if err := v.host.ResizeImage(ctx, v.stored.disks[0].source, 500*gib, false); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("resize during a backup: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := v.host.ResumeBackup(ctx, v.row.UUID, s.Token())
	if err != nil || !exists(again.Point().Disks[0].Access.File) {
		t.Fatalf("its process is gone, and so is the session: %v", err)
	}
	act(t, v, backend.VerbDestroy)
	if err := again.Watch(ctx); !errors.Is(err, backend.ErrNoJob) {
		t.Errorf("the domain stopped: %v", err)
	}
	if err := again.Commit(ctx); !errors.Is(err, backend.ErrNoJob) {
		t.Errorf("committed though the domain stopped: %v", err)
	}
	if err := again.Abort(ctx); err != nil {
		t.Error(err)
	}
	if left := checkpointsLike(v, "berth-a"); len(left) > 0 {
		t.Errorf("%q was left behind", left)
	}
	if _, err := v.host.ResumeBackup(ctx, v.row.UUID, s.Token()); !errors.Is(err, backend.ErrNoJob) {
		t.Errorf("an aborted session is taken up: %v", err)
	}
	s = begin(t, v, backend.BackupRequest{})
	act(t, v, backend.VerbStart)
	if err := s.Watch(ctx); !errors.Is(err, backend.ErrState) {
		t.Errorf("the domain was started: %v", err)
	}
	if err := s.Commit(ctx); !errors.Is(err, backend.ErrState) {
		t.Errorf("committed though the domain was started: %v", err)
	}
	if err := s.Abort(ctx); err != nil {
		t.Error(err)
	}
}

func TestSaveWaitsForABackup(t *testing.T) {
	f, _ := ownFleet(t, Options{Seed: 11, Calm: true})
	v := machine(t, f, "web")
	s := begin(t, v, backend.BackupRequest{})
	err := v.host.Do(t.Context(), backend.Action{Verb: backend.VerbSave, UUID: v.row.UUID})
	if !errors.Is(err, backend.ErrTimeout) {
		t.Errorf("saved during a backup: %v", err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	act(t, v, backend.VerbSave)
}

// Where little room is left for scratch files a slow backup fails, and another
// folder helps.
func TestScratchFills(t *testing.T) {
	f, clock := ownFleet(t, Options{Seed: 11})
	v := machine(t, f, "log")
	s := begin(t, v, backend.BackupRequest{Checkpoint: "berth-a"})
	var err error
	for range 40 {
		clock.Advance(time.Second)
		if err = s.Watch(t.Context()); err != nil {
			break
		}
	}
	if !errors.Is(err, backend.ErrNoRoom) || backend.Hint(err) == "" {
		t.Errorf("after 40 s: %v", err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	s = begin(t, v, backend.BackupRequest{ScratchDir: "/fast"})
	clock.Advance(20 * time.Second)
	if err := s.Watch(t.Context()); err != nil {
		t.Errorf("with another folder: %v", err)
	}
	if err := s.Commit(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLeftovers(t *testing.T) {
	f, _ := ownFleet(t, whole)
	ctx := t.Context()
	var left []backend.Leftover
	for _, h := range f.hosts {
		list, err := h.Leftovers(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, list...)
	}
	if len(left) != 1 || left[0].Kind != "checkpoint" || left[0].Since.IsZero() {
		t.Fatalf("%+v", left)
	}
	var h *host
	for _, o := range f.hosts {
		if o.name == left[0].Host {
			h = o
		}
	}
	if err := h.CleanUp(ctx, left[0]); err != nil {
		t.Fatal(err)
	}
	if err := h.CleanUp(ctx, left[0]); !errors.Is(err, backend.ErrNoJob) {
		t.Errorf("cleaned twice: %v", err)
	}
	s := begin(t, machine(t, f, "web"), backend.BackupRequest{Checkpoint: "berth-x"})
	h = s.(*session).h
	if list, err := h.Leftovers(ctx, []string{s.Token()}); err != nil || len(list) != 0 {
		t.Errorf("of a session that lives: %+v, %v", list, err)
	}
	list, err := h.Leftovers(ctx, nil)
	if err != nil || len(list) != 1 || list[0].Kind != "job" {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := h.CleanUp(ctx, list[0]); err != nil {
		t.Error(err)
	}
	if list, err := h.Leftovers(ctx, nil); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestJobsOfOthers(t *testing.T) {
	f, clock := ownFleet(t, whole)
	seen := map[string]backend.DomainJob{}
	for range 24 {
		clock.Advance(10 * time.Second)
		for _, h := range f.hosts {
			list, err := h.DomainJobs(t.Context())
			if err != nil && !errors.Is(err, backend.ErrUnreachable) {
				t.Fatal(err)
			}
			for _, j := range list {
				if j.Mine || j.Total == 0 || j.Done > j.Total || j.Since.After(j.At) || j.Done < seen[j.Kind].Done {
					t.Errorf("%+v", j)
				}
				seen[j.Kind] = j
			}
		}
	}
	if len(seen) != 2 {
		t.Fatalf("%+v", seen)
	}
	j := seen["block-copy"]
	h := f.hosts[slices.IndexFunc(f.hosts, func(h *host) bool { return h.name == j.Host })]
	if _, err := h.BeginBackup(t.Context(), backend.BackupRequest{VM: j.VM}); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("a backup beside a block copy: %v", err)
	}
	if err := h.AbortDomainJob(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if err := h.AbortDomainJob(t.Context(), j); !errors.Is(err, backend.ErrNoJob) {
		t.Errorf("ended twice: %v", err)
	}
}

// The past goes with the present: its backups are of what the images of today
// were, and the last one's checkpoint is good to go on from.
func TestPast(t *testing.T) {
	f, clock := ownFleet(t, whole)
	clock.Advance(20 * time.Second)
	var machines, points, verified, damaged int
	for _, h := range f.hosts {
		list, err := h.PastBackups(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		points += len(list)
		for len(list) > 0 {
			n := slices.IndexFunc(list, func(p backend.Point) bool { return p.VM != list[0].VM })
			if n < 0 {
				n = len(list)
			}
			machines++
			for _, p := range list[:n] {
				verified += count(!p.Verified.IsZero())
				damaged += count(p.Damaged != "")
			}
			live(t, h, list[:n])
			list = list[n:]
		}
	}
	if machines < 8 || points < 25 || verified == 0 || damaged != 1 {
		t.Errorf("%d machines have %d points, %d verified, %d damaged", machines, points, verified, damaged)
	}
}

// live makes a machine's past and one backup of today.
func live(t *testing.T, h *host, list []backend.Point) {
	t.Helper()
	since := ""
	var restored blocks
	for i, p := range list {
		r := backend.BackupRequest{VM: p.VM, Since: since, Checkpoint: fmt.Sprintf("berth-past-%d", p.At.Unix())}
		if since != "" {
			r.Drop = []string{since}
		}
		s, err := h.BeginPast(t.Context(), p, r)
		if err != nil {
			t.Fatal(err)
		}
		point := s.Point()
		if !point.At.Equal(p.At) || point.Disks[0].Incremental != (i > 0) {
			t.Errorf("%s: %+v", p.Name, point.Disks[0])
		}
		got := content(t, point.Disks[0].Access.File)
		if i > 0 {
			if restored = restored.apply(got, point.Disks[0].Access.Dirty); !maps.Equal(restored, got) {
				t.Errorf("%s: the past does not add up", p.Name)
			}
		} else {
			restored = got
		}
		since = r.Checkpoint
		if err := s.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	v := h.byUUID[list[0].VM]
	s, err := h.BeginBackup(t.Context(), backend.BackupRequest{VM: v.row.UUID, Since: since})
	if errors.Is(err, backend.ErrBusy) { // somebody else has it under a job
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	d := s.Point().Disks[0]
	if got := content(t, d.Access.File); !d.Incremental || !maps.Equal(restored.apply(got, d.Access.Dirty), got) {
		t.Errorf("%s: today does not go on from the past", v.row.Name)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Error(err)
	}
}

// Everything at once: guests write, people back up, look, copy and stop.
func TestBackupsAtOnce(t *testing.T) {
	f, _ := ownFleetLive(t, Options{Seed: 5, Speed: 40})
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	var work sync.WaitGroup
	for i, h := range f.hosts {
		for n, id := range ids(f, h) {
			work.Go(func() { churn(ctx, h, id, n+i) })
		}
		work.Go(func() {
			for ctx.Err() == nil {
				_, _ = h.Images(ctx) // hosts are lost now and then
				_, _ = h.Pools(ctx)
				_, _ = h.DomainJobs(ctx)
				_, _ = h.Leftovers(ctx, nil)
				_, _ = h.Room(ctx, shelf+"x")
			}
		})
	}
	work.Wait()
	for _, h := range f.hosts {
		for _, v := range h.vms {
			if v.backup != nil || v.holding {
				t.Errorf("%s is still being backed up", v.row.Name)
			}
		}
	}
}

func ids(f *Fleet, h *host) (list []backend.UUID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range h.vms[:4] {
		list = append(list, v.row.UUID)
	}
	return list
}

// churn does one thing after another to a machine. Much of it is refused.
func churn(ctx context.Context, h *host, id backend.UUID, n int) {
	since := ""
	for round := n; ctx.Err() == nil; round++ {
		name := fmt.Sprintf("berth-%d-%d", n, round)
		s, err := h.BeginBackup(ctx, backend.BackupRequest{VM: id, Since: since, Checkpoint: name, Quiesce: round%3 == 0})
		switch {
		case err != nil:
			since = ""
		case round%4 == 0:
			_ = s.Abort(context.WithoutCancel(ctx))
		default:
			_ = s.Watch(ctx)
			if s.Commit(ctx) == nil {
				since = name
			} else {
				_ = s.Abort(context.WithoutCancel(ctx))
			}
		}
		if facts, err := h.BackupFacts(ctx, id); err == nil && round%2 == 0 {
			_, _ = h.OpenImage(ctx, facts.Disks[0].Path, "")
		}
		if round%5 == 0 {
			_ = h.Do(ctx, backend.Action{Verb: backend.VerbDestroy, UUID: id})
			_ = h.Do(ctx, backend.Action{Verb: backend.VerbStart, UUID: id})
		}
	}
}

// ownFleetLive is ownFleet on the machine's clock.
func ownFleetLive(t testing.TB, o Options) (*Fleet, *ManualClock) {
	t.Helper()
	o.Dir = t.TempDir()
	f := New(o)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f, nil
}
