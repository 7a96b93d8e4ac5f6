package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/audit"
)

// TestABrokenDependencyIsForgivenByRelease: that is what the job's words say.
func TestABrokenDependencyIsForgivenByRelease(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("bad", 1, 1, 0)
	h.add("vm", 1, 1, 0)
	bad := r.submit("hv1", "bad")
	id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.After = []backend.JobID{bad} })
	r.must()
	h.with("bad", func(g *guest) { h.off(g, "crashed") })
	r.must()
	r.is(id, backend.JobHeld)
	release := backend.JobChange{Release: true}
	s, err := r.c.WhatIf(t.Context(), backend.Hypothesis{Jobs: []backend.JobID{id}, Change: release})
	if err != nil || s.Jobs[0].ID != id || s.Jobs[0].ETA.IsZero() {
		t.Errorf("%v: what if it were released: %+v", err, s.Jobs[0])
	}
	r.change(id, release)
	r.is(id, backend.JobRunning)
}

// TestAPausedTwin: a copy that stands paused on another host, as a migration
// leaves one that failed, must not keep the job from its limit or its cancel.
func TestAPausedTwin(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  time.Duration
		cancel bool
		want   backend.JobState
	}{{"limit", 30 * time.Minute, false, backend.JobTimeout}, {"cancel", 0, true, backend.JobCancelled}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "hv1", "hv2")
			r.hosts["hv1"].add("vm", 1, 1, 0)
			id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.Limit = c.limit })
			r.must()
			h2 := r.hosts["hv2"]
			h2.add("vm", 1, 1, 0)
			h2.with("vm", func(g *guest) { g.vm.State = backend.Paused })
			r.must()
			r.is(id, backend.JobMigrating)
			if c.cancel {
				r.change(id, backend.JobChange{Cancel: true})
			}
			r.pass(time.Hour)
			h2.with("vm", func(g *guest) {
				if g.vm.State.Active() {
					h2.off(g, "destroyed")
				}
			})
			r.must()
			r.is(id, c.want)
		})
	}
}

// TestAVMThatIsChangedWhileItWaits is started as what it is by then.
func TestAVMThatIsChangedWhileItWaits(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("other", 4, 4, 0)
	h.add("vm", 2, 2, 0)
	r.submit("hv1", "other")
	id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.Hold = true })
	r.must()
	h.with("vm", func(g *guest) { g.vm.VCPUs, g.vm.MemoryMax, g.vm.Name = 6, 6<<30, "renamed" })
	r.must()
	if j := r.job(id); j.Size.VCPU != 6 || j.Size.Memory != 6<<30 || j.Name != "renamed" {
		t.Errorf("its row says %s with %+v", j.Name, j.Size)
	}
	r.change(id, backend.JobChange{Release: true})
	if j := r.job(id); !j.State.Waiting() || j.Why.Code != backend.WhyResources {
		t.Errorf("with half the host free it is %s because of %s", j.State, j.Why)
	}
}

// TestTheClockGoesBack: what was noted by a clock that was wrong must not keep
// a job from its next try, its age, or its limit.
func TestTheClockGoesBack(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("refused", 1, 1, 0)
	h.add("runs", 1, 1, 0)
	h.add("waits", 8, 1, 0)
	h.refuse[backend.VerbStartPaused] = []error{backend.ErrLocked}
	refused := r.submit("hv1", "refused")
	r.must()
	runs := r.submit("hv1", "runs", func(s *backend.JobSpec) { s.Limit = time.Hour })
	r.must()
	r.is(runs, backend.JobRunning)
	waits := r.submit("hv1", "waits", func(s *backend.JobSpec) { s.Host = "hv1" })
	r.must()
	r.clock.advance(-365 * 24 * time.Hour)
	r.must()
	r.pass(20 * time.Minute)
	r.is(refused, backend.JobRunning)
	if age := ageOf(ptr(r.job(waits)), r.clock.Now()); age < 19*time.Minute {
		t.Errorf("its age is %v", age)
	}
	h.with("runs", func(g *guest) { g.deaf = true })
	r.pass(time.Hour)
	r.is(runs, backend.JobTimeout)
}

// wound is a clock that was set: steady time knows nothing of it.
type wound struct {
	*manual
	by time.Duration
}

func (c *wound) Steady() (time.Duration, bool) { return c.Now().Sub(dawn) - c.by, true }

// TestTheClockIsSet: a limit is a time that the guest ran.
func TestTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{48 * time.Hour, -48 * time.Hour} {
		r := newRig(t, "hv1")
		clock := &wound{manual: r.clock}
		r.opt.Clock = clock
		r.engine()
		r.hosts["hv1"].add("vm", 8, 1, 0)
		r.hosts["hv1"].add("waits", 8, 1, 0)
		id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.Limit = 4 * time.Hour })
		r.must()
		waits := r.submit("hv1", "waits")
		r.pass(2 * time.Hour)
		before := ageOf(ptr(r.job(waits)), r.clock.Now())
		clock.by = by
		r.clock.advance(by)
		r.must()
		r.is(id, backend.JobRunning)
		if age := ageOf(ptr(r.job(waits)), r.clock.Now()); age != before {
			t.Errorf("its age is %v, and was %v", age, before)
		}
		r.pass(110 * time.Minute)
		r.is(id, backend.JobRunning)
		r.pass(11 * time.Minute)
		r.is(id, backend.JobTimeout)
	}
}

func ptr[T any](v T) *T { return &v }

// TestAGuestThatEndsWhileItIsPutAside has done its work: it does not run again.
func TestAGuestThatEndsWhileItIsPutAside(t *testing.T) {
	j, n := sample(backend.JobPreempted, backend.LaunchResumed)
	n.Aside, n.StopAt = asideSave, noon.Add(-time.Second)
	for _, done := range []*outcome{nil, {act: actSave, err: errors.New("domain is not running")}} {
		m := next(j, n, seen(at(backend.Shutoff, "shutdown"), func(s *sight) { s.done = done }), testRules, noon)
		if m.job.State != backend.JobDone {
			t.Errorf("it becomes %s", m.job.State)
		}
	}
}

// TestAGuestThatIsSlowToMakeRoom was asked to shut down so that another could
// run, and does so after that was given up: its work is not done.
func TestAGuestThatIsSlowToMakeRoom(t *testing.T) {
	j, n := sample(backend.JobPreempted, backend.LaunchResumed)
	n.Aside, n.StopAt = asideShutdown, noon.Add(-3*time.Minute)
	m := next(j, n, seen(at(backend.Running, "booted")), testRules, noon)
	if m.job.State != backend.JobRunning {
		t.Fatalf("it becomes %s", m.job.State)
	}
	off := seen(at(backend.Shutoff, "shutdown"))
	if late := next(m.job, m.note, off, testRules, noon.Add(time.Minute)); late.job.State != backend.JobQueued || late.job.Preempted != 1 {
		t.Errorf("a minute later it becomes %s", late.job.State)
	}
	if later := next(m.job, m.note, off, testRules, noon.Add(time.Hour)); later.job.State != backend.JobDone {
		t.Errorf("an hour later it becomes %s", later.job.State)
	}
}

// TestNothingIsKeptOfJobsThatEnded.
func TestNothingIsKeptOfJobsThatEnded(t *testing.T) {
	r := newRig(t, "hv1")
	r.hosts["hv1"].add("vm", 1, 1, 10*time.Minute)
	id := r.submit("hv1", "vm")
	r.must()
	r.pass(11 * time.Minute)
	r.is(id, backend.JobDone)
	if len(r.e.done)+len(r.e.busy)+len(r.e.cache.notes)+len(r.e.sizes) != 0 {
		t.Errorf("it keeps %v, %v, %v, %v", r.e.done, r.e.busy, r.e.cache.notes, r.e.sizes)
	}
}

// TestAJobBoundToAHostIsSaidToBe.
func TestAJobBoundToAHostIsSaidToBe(t *testing.T) {
	r := newRig(t, "hv1", "hv2", "hv3")
	r.hosts["hv1"].add("vm", 16, 4, 0)
	r.hosts["hv1"].has.VCPU, r.hosts["hv2"].reach = 32, nil
	r.hosts["hv2"].has.VCPU = 32
	id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.Host, s.Hold = "hv1", true })
	r.must()
	detail := func(host int) string {
		t.Helper()
		x, err := r.c.Explain(t.Context(), id)
		if err != nil || len(x.Hosts) != 3 {
			t.Fatalf("%v: hosts %+v", err, x.Hosts)
		}
		return x.Hosts[host].Why.Detail
	}
	if detail(0) != "" || detail(1) != "it is bound to hv1" {
		t.Errorf("hv1: %q, hv2: %q", detail(0), detail(1))
	}
	r.change(id, backend.JobChange{Host: ptr("")})
	if detail(1) != "" || !strings.Contains(detail(2), "not defined here") {
		t.Errorf("unbound: hv2: %q, hv3: %q", detail(1), detail(2))
	}
}

// TestATrailThatCannotBeWrittenIsToldOf: what it should tell of has happened.
func TestATrailThatCannotBeWrittenIsToldOf(t *testing.T) {
	r := newRig(t, "hv1")
	file := filepath.Join(t.TempDir(), "a file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.opt.Trail = audit.Open(filepath.Join(file, "audit.log"), func(string) string { return "" })
	r.engine()
	r.hosts["hv1"].add("vm", 1, 1, 0)
	id := r.submit("hv1", "vm")
	r.must()
	r.is(id, backend.JobRunning)
	if err := r.e.beat(t.Context(), r.clock.Now()); err != nil {
		t.Fatal(err)
	}
	s, err := r.c.State(t.Context())
	if err != nil || s.Engine.Trouble == "" {
		t.Errorf("%v: the engine says %+v", err, s.Engine)
	}
}

// TestASavedVMStartsWhereItWasSaved: cold elsewhere, its disks would be torn
// from its memory.
func TestASavedVMStartsWhereItWasSaved(t *testing.T) {
	r := newRig(t, "hv1", "hv2")
	h1, h2 := r.hosts["hv1"], r.hosts["hv2"]
	h1.add("vm", 1, 1, 0)
	h2.add("vm", 1, 1, 0)
	h2.reach = nil
	id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.Host = "hv1" })
	r.must()
	h1.with("vm", func(g *guest) { h1.off(g, "saved"); g.vm.ManagedSave = true })
	r.must()
	r.is(id, backend.JobHeld)
	r.change(id, backend.JobChange{Release: true, Host: ptr("hv2")})
	r.pass(time.Hour)
	if j := r.job(id); !j.State.Waiting() {
		t.Errorf("it is %s on %s", j.State, j.RunsOn)
	}
	x, err := r.c.Explain(t.Context(), id)
	if err != nil || x.Hosts[1].Why.Detail != "its saved state is on hv1" {
		t.Errorf("%v: hv2: %+v", err, x.Hosts)
	}
	r.change(id, backend.JobChange{Host: ptr("")})
	r.is(id, backend.JobRunning)
	h1.with("vm", func(g *guest) {
		if g.resumes != 1 {
			t.Errorf("it went on %d times", g.resumes)
		}
	})
	r.boots("hv2", "vm", 0)
}

// TestAChangeNamesAJobTwice: that is once.
func TestAChangeNamesAJobTwice(t *testing.T) {
	r := newRig(t, "hv1")
	r.hosts["hv1"].add("a", 8, 1, 0)
	r.hosts["hv1"].add("b", 8, 1, 0)
	a, b := r.submit("hv1", "a", func(s *backend.JobSpec) { s.Hold = true }), r.submit("hv1", "b", func(s *backend.JobSpec) { s.Hold = true })
	if err := r.c.Change(t.Context(), []backend.JobID{a, b, a}, backend.JobChange{Cancel: true}); err != nil {
		t.Fatal(err)
	}
}
