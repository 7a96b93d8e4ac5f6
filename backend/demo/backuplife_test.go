package demo

import (
	"errors"
	"slices"
	"testing"
	"time"

	"berth/backend"
)

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
