package engine

import (
	"testing"
	"time"

	"berth/backend"
)

func TestALostHost(t *testing.T) {
	for _, c := range []struct {
		name  string
		power bool // it was a power cut, not the cable
		fence []string
		word  bool // a person says that it is off
		back  bool
		want  backend.JobState
		boots int // on hv1
	}{
		{"cable, and back", false, nil, false, true, backend.JobRunning, 1},
		{"power, and back", true, nil, false, true, backend.JobRunning, 2},
		{"for good", true, nil, false, false, backend.JobUnknown, 1},
		{"fenced by a command", true, []string{"true"}, false, false, backend.JobQueued, 1},
		{"fencing fails", true, []string{"false"}, false, false, backend.JobUnknown, 1},
		{"a person's word", true, nil, true, false, backend.JobQueued, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "hv1")
			r.opt.Limits = func(string) Limits { return Limits{Fence: c.fence} }
			r.engine()
			h := r.hosts["hv1"]
			h.add("vm", 1, 1, 0)
			id := r.submit("hv1", "vm")
			r.must()
			r.is(id, backend.JobRunning)
			if c.power {
				h.power(false)
			} else {
				h.cable(false)
			}
			r.must()
			r.is(id, backend.JobRunning)
			r.pass(3 * time.Minute)
			if c.fence == nil {
				r.is(id, backend.JobUnknown)
			}
			if c.word {
				if err := r.c.Fenced(t.Context(), "hv1"); err != nil {
					t.Fatal(err)
				}
				r.must()
			}
			if c.back {
				h.power(true)
				r.must()
			}
			j := r.job(id)
			if j.State != c.want && (c.want != backend.JobQueued || !j.State.Waiting()) {
				t.Fatalf("it is %s\n%s", j.State, r.story(id))
			}
			if c.want == backend.JobQueued && j.Front == 0 {
				t.Error("it is not at the front")
			}
			r.boots("hv1", "vm", c.boots)
		})
	}
}

// TestTwoHosts: a VM on shared storage runs where there is room, and its
// definition is only borrowed there.
func TestTwoHosts(t *testing.T) {
	r, _, h2, id := newLender(t)
	if j := r.is(id, backend.JobRunning); j.RunsOn != "hv2" {
		t.Fatalf("it runs on %s", j.RunsOn)
	}
	r.boots("hv2", "vm", 1)
	r.boots("hv1", "vm", 0)
	r.pass(11 * time.Minute)
	r.is(id, backend.JobDone)
	if p, err := h2.Poll(t.Context()); err != nil || len(p.VMs) != 0 {
		t.Errorf("the borrowed definition is left on hv2: %v, %+v", err, p.VMs)
	}
}

// TestNoStartWhileItMayRunElsewhere: its home cannot be asked, so it might run there.
func TestNoStartWhileItMayRunElsewhere(t *testing.T) {
	r := newRig(t, "hv1", "hv2")
	h1, h2 := r.hosts["hv1"], r.hosts["hv2"]
	h2.reach = nil
	h1.add("vm", 1, 1, 0)
	id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.Hold = true })
	r.must()
	h1.cable(false)
	r.must()
	r.change(id, backend.JobChange{Release: true})
	r.pass(10 * time.Minute)
	j := r.job(id)
	if !j.State.Waiting() || j.Why.Code != backend.WhyHostDown {
		t.Fatalf("it is %s because of %s", j.State, j.Why)
	}
	h1.with("vm", func(g *guest) { g.fresh = true; h1.letRun(g) }) // somebody there starts it
	h1.cable(true)
	r.must()
	if j := r.is(id, backend.JobRunning); j.RunsOn != "hv1" {
		t.Errorf("it runs on %s", j.RunsOn)
	}
	r.boots("hv1", "vm", 1)
	if h2.defines != 0 {
		t.Error("it was defined elsewhere")
	}
}

func TestMigrationIsFollowed(t *testing.T) {
	r := newRig(t, "hv1", "hv2")
	h1, h2 := r.hosts["hv1"], r.hosts["hv2"]
	h1.add("vm", 1, 1, 0)
	id := r.submit("hv1", "vm")
	r.must()
	there := h2.add("vm", 1, 1, 0)
	h2.with("vm", func(g *guest) { g.vm.State, g.vm.Reason = backend.Paused, "migrating" })
	r.must()
	r.is(id, backend.JobMigrating)
	h1.with("vm", func(g *guest) { h1.off(g, "migrated") })
	h2.with("vm", func(g *guest) { g.vm.State = backend.Running })
	r.must()
	if j := r.is(id, backend.JobRunning); j.RunsOn != "hv2" {
		t.Errorf("it runs on %s", j.RunsOn)
	}
	if there.boots != 0 {
		t.Error("it was started there")
	}
	h2.with("vm", func(g *guest) { h2.off(g, "shutdown") })
	r.must()
	r.is(id, backend.JobDone)
}

func TestTwiceRunningIsToldAtOnce(t *testing.T) {
	r := newRig(t, "hv1", "hv2")
	r.hosts["hv1"].add("vm", 1, 1, 0)
	id := r.submit("hv1", "vm")
	r.must()
	r.hosts["hv2"].add("vm", 1, 1, 0)
	r.hosts["hv2"].with("vm", func(g *guest) { g.vm.State = backend.Running })
	r.must()
	r.pass(20 * time.Second)
	if j := r.is(id, backend.JobError); j.Words == "" {
		t.Error("without words")
	}
}
