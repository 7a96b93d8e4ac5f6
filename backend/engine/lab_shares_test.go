package engine_test

import (
	"errors"
	"testing"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

// TestLabPriorityReachesTheVM: on a host with cgroups a running VM has the
// shares of its job's priority, follows it when that changes, also across a
// killed engine, and what is saved of it has its own shares.
func TestLabPriorityReachesTheVM(t *testing.T) {
	lab.Need(t)
	if err := lab.CgroupsMissing(); err != nil {
		t.Skip(err)
	}
	s := newScene(t, 1)
	if err := s.Host(1).Cgroups(t.Context()); err != nil {
		t.Fatal(err)
	}
	uuid := s.Define(1, lab.Guest{Name: "dear"})
	id := s.submit("dear", uuid)
	shares := func() backend.Shares {
		u, err := backend.ParseUUID(uuid)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.fleet[0].(backend.Tuner).Shares(t.Context(), u)
		if err != nil && !errors.Is(err, backend.ErrState) {
			t.Fatal(err)
		}
		return got
	}
	at := func(want uint64) {
		t.Helper()
		s.Await("the CPU shares", labPatience, func() bool { return shares().CPU == want })
	}
	set := func(priority int) { s.change(id, backend.JobChange{Priority: &priority}) }
	s.start("")
	s.awaits(id, backend.JobRunning)
	plain := shares().CPU
	if plain == 0 {
		t.Fatal("the host tells no shares")
	}
	set(75)
	at(2 * plain)
	s.kill()
	set(25)
	for _, step := range []string{"tune/before", "tune/done"} {
		s.start(step)
		s.dies(step)
	}
	s.start("")
	at(plain / 2)
	set(backend.DefaultPriority)
	at(plain)
}
