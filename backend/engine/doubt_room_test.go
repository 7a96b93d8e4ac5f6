package engine

import (
	"testing"
	"time"

	"berth/backend"
)

// TestWhatRunsKeepsItsRoomWhenItsJobIsInError: a job that nobody can make sense
// of holds no berth any more, but its VM runs on.
func TestWhatRunsKeepsItsRoomWhenItsJobIsInError(t *testing.T) {
	r := newRig(t, "hv1", "hv2")
	h := r.hosts["hv1"]
	h.add("vm", 6, 1, 0)
	h.add("next", 6, 1, 0)
	id := r.submit("hv1", "vm")
	r.must()
	next := r.submit("hv1", "next")
	r.must()
	r.hosts["hv2"].add("vm", 6, 1, 0)
	r.hosts["hv2"].with("vm", func(g *guest) { g.vm.State = backend.Running })
	r.must()
	r.pass(20 * time.Second)
	r.is(id, backend.JobError)
	if j := r.job(next); !j.State.Waiting() {
		t.Errorf("with 6 of 8 vCPUs in use 6 more were given away: it is %s", j.State)
	}
	r.boots("hv1", "next", 0)
}
