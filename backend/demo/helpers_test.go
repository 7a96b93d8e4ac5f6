package demo

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/backend"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// aWednesday at eleven, when offices are busy.
var aWednesday = time.Date(2026, 3, 4, 11, 0, 0, 0, time.UTC)

// newFleet makes a fleet whose time the test moves.
func newFleet(t testing.TB, o Options) (*Fleet, *ManualClock) {
	t.Helper()
	clock := NewManualClock(aWednesday)
	if !o.Start.IsZero() {
		clock = NewManualClock(o.Start)
	}
	o.Clock = clock
	f := New(o)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f, clock
}

// polls asks all hosts, in order.
func polls(t testing.TB, f *Fleet) []backend.Poll {
	t.Helper()
	var list []backend.Poll
	for _, h := range f.Hosts() {
		p, err := h.Poll(context.Background())
		if err != nil {
			t.Fatalf("Poll of %s: %v", h.Name(), err)
		}
		list = append(list, p)
	}
	return list
}

func samples(t testing.TB, f *Fleet) []backend.HostSample {
	t.Helper()
	var list []backend.HostSample
	for _, h := range f.Hosts() {
		s, err := h.Sample(context.Background())
		if err != nil {
			t.Fatalf("Sample of %s: %v", h.Name(), err)
		}
		list = append(list, s)
	}
	return list
}

// machine finds one by its role, wherever it is.
func machine(t testing.TB, f *Fleet, key string) *vm {
	t.Helper()
	for _, h := range f.hosts {
		for _, v := range h.vms {
			if v.role.key == key && v.row.State == backend.Running {
				return v
			}
		}
	}
	t.Fatalf("no %s is running", key)
	return nil
}

// shows is a machine's row in a poll of its host now.
func shows(t testing.TB, v *vm) *backend.VM {
	t.Helper()
	p, err := v.host.Poll(context.Background())
	if err != nil {
		t.Fatalf("Poll: %v", err)
	}
	for i := range p.VMs {
		if p.VMs[i].UUID == v.row.UUID {
			return &p.VMs[i]
		}
	}
	return nil
}

// act carries out a verb; on a manual clock that takes no real time.
func act(t testing.TB, v *vm, verb backend.Verb) {
	t.Helper()
	if err := v.host.Do(context.Background(), backend.Action{Verb: verb, UUID: v.row.UUID, Name: v.row.Name}); err != nil {
		t.Fatalf("%v", err)
	}
}
