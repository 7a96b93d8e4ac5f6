package demo

import (
	"context"
	"slices"
	"testing"
	"time"

	"berth/backend"
)

// batchOf is a fleet's batch machines as polls show them.
func batchOf(t testing.TB, f *Fleet) map[string]backend.VM {
	t.Helper()
	found := map[string]backend.VM{}
	for _, p := range polls(t, f) {
		for _, v := range p.VMs {
			if slices.Contains(v.Tags, BatchTag) {
				found[v.Name] = v
			}
		}
	}
	return found
}

// Batch machines come on top of the others, which are the same as without.
func TestBatchIsAnAddition(t *testing.T) {
	plain, _ := newFleet(t, Options{Seed: 7})
	f, _ := newFleet(t, Options{Seed: 7, Batch: 16})
	if n := len(batchOf(t, f)); n != 16 {
		t.Fatalf("%d batch machines", n)
	}
	names := map[string]backend.UUID{}
	for _, p := range polls(t, f) {
		for _, v := range p.VMs {
			names[v.Name] = v.UUID
		}
	}
	for _, p := range polls(t, plain) {
		for _, v := range p.VMs {
			if names[v.Name] != v.UUID {
				t.Errorf("%s is another machine", v.Name)
			}
		}
	}
	running := 0
	for _, v := range batchOf(t, f) {
		switch v.State {
		case backend.Running:
			running++
			if !v.StartedAt.Before(aWednesday) {
				t.Errorf("%s runs since %v", v.Name, v.StartedAt)
			}
		case backend.Shutoff:
		default:
			t.Errorf("%s is %s", v.Name, v.State)
		}
	}
	if running != len(underWay) {
		t.Errorf("%d are at work", running)
	}
}

// A batch machine that is started, paused or not, works and powers off by
// itself; it is not started again by anybody.
func TestBatchMachinesEndByThemselves(t *testing.T) {
	f, clock := newFleet(t, Options{Seed: 7, Batch: 16, Calm: true})
	var idle *vm
	for _, h := range f.hosts {
		for _, v := range h.vms {
			if v.role.key == "suite" && v.row.State == backend.Shutoff {
				idle = v
			}
		}
	}
	act(t, idle, backend.VerbStartPaused)
	clock.Advance(time.Hour)
	if v := shows(t, idle); v.State != backend.Paused {
		t.Fatalf("started paused it is %s after an hour", v.State)
	}
	act(t, idle, backend.VerbResume)
	started := clock.Now()
	for shows(t, idle).State != backend.Shutoff && clock.Now().Sub(started) < time.Hour {
		clock.Advance(time.Second)
	}
	v := shows(t, idle)
	ran := clock.Now().Sub(started)
	if v.State != backend.Shutoff || v.Reason != "shutdown" || ran < 20*time.Second || ran > 10*time.Minute {
		t.Errorf("it is %s (%s) after %v", v.State, v.Reason, ran)
	}
	clock.Advance(24 * time.Hour)
	for name, v := range batchOf(t, f) {
		if v.State != backend.Shutoff || v.Reason != "shutdown" {
			t.Errorf("a day later %s is %s (%s)", name, v.State, v.Reason)
		}
	}
}

// A run that is put aside by a managed save goes on where it was.
func TestBatchRunsSurviveASave(t *testing.T) {
	f, clock := newFleet(t, Options{Seed: 7, Batch: 16, Calm: true})
	var v *vm
	for _, h := range f.hosts {
		for _, o := range h.vms {
			if o.role.key == "etl" && o.row.State == backend.Running {
				v = o
			}
		}
	}
	left := seconds(underWay[3])
	clock.Advance(left / 2)
	act(t, v, backend.VerbSave)
	clock.Advance(2 * left)
	if s := shows(t, v); s.State != backend.Shutoff || !s.ManagedSave {
		t.Fatalf("it is %s", s.State)
	}
	act(t, v, backend.VerbStart)
	clock.Advance(left / 3)
	if s := shows(t, v); s.State != backend.Running {
		t.Errorf("it is %s before its work is done", s.State)
	}
	clock.Advance(left / 3)
	if s := shows(t, v); s.State != backend.Shutoff || s.Reason != "shutdown" {
		t.Errorf("it is %s (%s) after its work", s.State, s.Reason)
	}
}

// A batch machine that is defined on another host does the same work there.
func TestBatchMachinesWorkElsewhere(t *testing.T) {
	f, clock := newFleet(t, Options{Seed: 7, Batch: 16, Calm: true})
	from, to := f.hosts[0], f.hosts[2]
	var v *vm
	for _, o := range from.vms {
		if o.role.key == "suite" && o.row.State == backend.Shutoff {
			v = o
		}
	}
	text, err := from.XML(context.Background(), v.row.UUID, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Reach(context.Background(), text); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Define(context.Background(), text); err != nil {
		t.Fatal(err)
	}
	twin := to.byUUID[v.row.UUID]
	act(t, twin, backend.VerbStart)
	clock.Advance(time.Hour)
	if s := shows(t, twin); s.State != backend.Shutoff || s.Reason != "shutdown" {
		t.Errorf("there it is %s (%s)", s.State, s.Reason)
	}
	if s := shows(t, v); s.State != backend.Shutoff {
		t.Errorf("at home it is %s", s.State)
	}
}
