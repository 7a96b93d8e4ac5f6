package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/backend"
)

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
