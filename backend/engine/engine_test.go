package engine

import (
	"errors"
	"testing"
	"time"

	"berth/backend"
)

func TestAJobRunsAndEnds(t *testing.T) {
	r := newRig(t, "hv1")
	r.hosts["hv1"].add("web", 2, 1, 10*time.Minute)
	id := r.submit("hv1", "web")
	r.must()
	j := r.is(id, backend.JobRunning)
	if j.RunsOn != "hv1" || j.Launch != backend.LaunchResumed || j.Started.IsZero() {
		t.Errorf("it runs as %+v", j)
	}
	r.pass(11 * time.Minute)
	r.is(id, backend.JobDone)
	r.boots("hv1", "web", 1)
}

func TestJobsWaitForRoomAndAreTold(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	var ids []backend.JobID
	for _, name := range []string{"a", "b", "c"} {
		h.add(name, 2, 5, time.Hour)
		ids = append(ids, r.submit("hv1", name, func(s *backend.JobSpec) { s.Estimate = 2 * time.Hour }))
	}
	r.must()
	r.is(ids[0], backend.JobRunning)
	j := r.is(ids[1], backend.JobReserved)
	if j.Why.Code != backend.WhyResources || j.Why.Dimension != "mem" || j.ETA.Sub(dawn.Add(2*time.Hour)).Abs() > time.Minute {
		t.Errorf("the second waits as %s until %v", j.Why, j.ETA)
	}
	s, err := r.c.State(t.Context())
	if err != nil || len(s.Jobs) != 3 || s.Jobs[0].ID != ids[0] || s.Jobs[1].Position != 1 || s.Jobs[2].Position != 2 {
		t.Errorf("%v: %+v", err, s.Jobs)
	}
	if len(s.Hosts) != 1 || s.Hosts[0].Used.Memory != 5<<30 || s.Hosts[0].Reserved.Memory != 5<<30 {
		t.Errorf("hosts %+v", s.Hosts)
	}
	r.pass(4 * time.Hour)
	for i, id := range ids {
		r.is(id, backend.JobDone)
		r.boots("hv1", []string{"a", "b", "c"}[i], 1)
	}
}

func TestLimitEndsAJobThatDoesNotListen(t *testing.T) {
	r := newRig(t, "hv1")
	r.hosts["hv1"].add("deaf", 1, 1, 0).deaf = true
	id := r.submit("hv1", "deaf", func(s *backend.JobSpec) { s.Limit = time.Hour })
	r.must()
	r.pass(time.Hour - time.Minute)
	r.is(id, backend.JobRunning)
	r.pass(90 * time.Second)
	r.is(id, backend.JobStopping)
	r.pass(3 * time.Minute)
	r.is(id, backend.JobTimeout)
}

func TestEstimatesDoNotKill(t *testing.T) {
	r := newRig(t, "hv1")
	r.hosts["hv1"].add("long", 1, 1, 0)
	id := r.submit("hv1", "long", func(s *backend.JobSpec) { s.Estimate = 10 * time.Minute })
	r.must()
	r.pass(15 * time.Minute)
	j := r.is(id, backend.JobRunning)
	if j.Extended == 0 || !j.Ends().After(r.clock.Now()) {
		t.Errorf("after its estimate it is believed to end at %v, extended %d times", j.Ends(), j.Extended)
	}
}

// TestEstimatesAreExtendedByTheLadder: by 1, 5, 15 and 30 minutes, then 1 hour,
// each after the one before was outlived; and never beyond the limit.
func TestEstimatesAreExtendedByTheLadder(t *testing.T) {
	r := newRig(t, "hv1")
	r.hosts["hv1"].add("long", 1, 1, 0)
	id := r.submit("hv1", "long", func(s *backend.JobSpec) { s.Estimate, s.Limit = 10*time.Minute, 90*time.Minute })
	r.must()
	for i, step := range []time.Duration{1, 5, 15, 30, 29} {
		before := ptr(r.job(id)).Ends()
		r.clock.advance(before.Sub(r.clock.Now()) + time.Second)
		r.must()
		j := r.is(id, backend.JobRunning)
		if got := j.Ends().Sub(before); got != step*time.Minute || j.Extended != i+1 {
			t.Fatalf("extended by %v (%d times), want %v", got, j.Extended, step*time.Minute)
		}
	}
	r.change(id, backend.JobChange{Estimate: ptr(85 * time.Minute)})
	if j := r.job(id); j.Extended != 0 || j.Expected != 85*time.Minute {
		t.Errorf("told anew it is extended %d times and expected to run %v", j.Extended, j.Expected)
	}
}

func TestCancel(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("kind", 1, 1, 0)
	h.add("deaf", 1, 1, 0).deaf = true
	h.add("waits", 8, 8, 0)
	kind, deaf, waits := r.submit("hv1", "kind"), r.submit("hv1", "deaf"), r.submit("hv1", "waits")
	r.must()
	r.change(waits, backend.JobChange{Cancel: true})
	r.is(waits, backend.JobCancelled)
	r.boots("hv1", "waits", 0)
	r.change(kind, backend.JobChange{Cancel: true})
	r.is(kind, backend.JobCancelled)
	r.change(deaf, backend.JobChange{Cancel: true})
	r.pass(5 * time.Minute)
	if j := r.is(deaf, backend.JobStopping); j.Words == "" {
		t.Error("nothing is said of a guest that does not listen")
	}
	r.change(deaf, backend.JobChange{Cancel: true, Force: true})
	r.is(deaf, backend.JobCancelled)
}

// TestOutside is what others do to VMs of the queue.
func TestOutside(t *testing.T) {
	for _, c := range []struct {
		name   string
		before bool // before it runs
		do     func(h *fakeHost, g *guest)
		want   backend.JobState
		words  bool
	}{
		{"forced off", false, func(h *fakeHost, g *guest) { h.off(g, "destroyed") }, backend.JobCancelled, true},
		{"saved", false, func(h *fakeHost, g *guest) { h.off(g, "saved"); g.vm.ManagedSave = true }, backend.JobHeld, true},
		{"crashed", false, func(h *fakeHost, g *guest) { h.off(g, "crashed") }, backend.JobFailed, true},
		{"panicked", false, func(_ *fakeHost, g *guest) { g.vm.State = backend.Crashed }, backend.JobFailed, true},
		{"renamed", false, func(_ *fakeHost, g *guest) { g.vm.Name = "other" }, backend.JobRunning, false},
		{"paused", false, func(_ *fakeHost, g *guest) { g.vm.State, g.vm.Reason = backend.Paused, "I/O error" }, backend.JobRunning, true},
		{"deleted", true, func(h *fakeHost, g *guest) { delete(h.guests, g.vm.UUID) }, backend.JobFailed, true},
		{"started", true, func(h *fakeHost, g *guest) { g.fresh = true; h.letRun(g) }, backend.JobRunning, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "hv1")
			h := r.hosts["hv1"]
			h.add("vm", 1, 1, 0)
			id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.Hold = c.before })
			r.must()
			h.with("vm", func(g *guest) { c.do(h, g) })
			r.must()
			j := r.is(id, c.want)
			if (j.Words != "") != c.words {
				t.Errorf("words %q", j.Words)
			}
			if c.name == "renamed" && j.Name != "other" {
				t.Errorf("it is called %q", j.Name)
			}
			if c.name == "saved" {
				r.change(id, backend.JobChange{Release: true})
				r.is(id, backend.JobRunning)
				h.with("vm", func(g *guest) {
					if g.boots != 1 || g.resumes != 1 {
						t.Errorf("booted %d times, restored %d times", g.boots, g.resumes)
					}
				})
			}
		})
	}
}

func TestRefusedStarts(t *testing.T) {
	locked := &backend.OpError{Op: "start", Target: "vm", Err: backend.ErrLocked}
	for _, c := range []struct {
		name  string
		verb  backend.Verb
		errs  []error
		want  backend.JobState
		first backend.ReasonCode
	}{
		{"lock held twice", backend.VerbStartPaused, []error{locked, locked}, backend.JobRunning, backend.WhyDiskLocked},
		{"no memory", backend.VerbStartPaused, []error{backend.ErrNoMemory}, backend.JobRunning, backend.WhyRetry},
		{"invalid", backend.VerbStartPaused, []error{backend.ErrInvalid}, backend.JobFailed, ""},
		{"cannot be let run", backend.VerbResume, []error{errors.New("internal error: cont failed")}, backend.JobFailed, ""},
		{"let run, lock held", backend.VerbResume, []error{locked}, backend.JobRunning, backend.WhyDiskLocked},
		{"let run, no answer", backend.VerbResume, []error{backend.ErrTimeout}, backend.JobRunning, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "hv1")
			h := r.hosts["hv1"]
			h.add("vm", 1, 1, 0)
			h.refuse[c.verb] = c.errs
			id := r.submit("hv1", "vm")
			r.must()
			if j := r.job(id); c.first != "" && (j.State.Ended() || j.Why.Code != c.first || !j.NextTry.After(r.clock.Now()) || j.Words == "") {
				t.Errorf("after the first refusal it is %s because of %s, next try %v, %q", j.State, j.Why, j.NextTry, j.Words)
			}
			r.pass(2 * time.Minute)
			r.is(id, c.want)
			if c.want == backend.JobRunning {
				r.boots("hv1", "vm", 1)
			}
		})
	}
}

// TestAStartWithoutAnAnswer: libvirt carried it out though it did not say so.
func TestAStartWithoutAnAnswer(t *testing.T) {
	for _, verb := range []backend.Verb{backend.VerbStartPaused, backend.VerbResume} {
		r := newRig(t, "hv1")
		h := r.hosts["hv1"]
		h.add("vm", 1, 1, 0)
		h.refuse[verb], h.late[verb] = []error{backend.ErrTimeout}, true
		id := r.submit("hv1", "vm")
		r.must()
		r.is(id, backend.JobRunning)
		r.boots("hv1", "vm", 1)
	}
}

func TestPriorityReachesTheRunningVM(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("vm", 1, 1, 0)
	id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.Priority = 100; s.Preemptible = true })
	r.must()
	h.with("vm", func(g *guest) {
		if (g.shares != backend.Shares{CPU: 4096, IO: 200}) {
			t.Errorf("shares at priority 100: %+v", g.shares)
		}
	})
	zero := 0
	r.change(id, backend.JobChange{Priority: &zero})
	h.with("vm", func(g *guest) {
		if (g.shares != backend.Shares{CPU: 256, IO: 50}) {
			t.Errorf("shares at priority 0: %+v", g.shares)
		}
	})
	plain := backend.DefaultPriority
	r.change(id, backend.JobChange{Priority: &plain})
	h.with("vm", func(g *guest) {
		if (g.shares != backend.Shares{CPU: 1024, IO: 100}) {
			t.Errorf("shares at the default priority: %+v", g.shares)
		}
	})
}

func TestDependencies(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("first", 1, 1, 10*time.Minute)
	h.add("second", 1, 1, 0)
	h.add("bad", 1, 1, 0)
	h.add("third", 1, 1, 0)
	first := r.submit("hv1", "first")
	second := r.submit("hv1", "second", func(s *backend.JobSpec) { s.After = []backend.JobID{first} })
	bad := r.submit("hv1", "bad")
	third := r.submit("hv1", "third", func(s *backend.JobSpec) { s.After = []backend.JobID{bad} })
	r.must()
	if j := r.is(second, backend.JobQueued); j.Why.Code != backend.WhyDependency || j.Why.Of != first || !j.AgedAt.IsZero() {
		t.Errorf("it waits because of %s, its age counts from %v", j.Why, j.AgedAt)
	}
	r.pass(11 * time.Minute)
	r.is(second, backend.JobRunning)
	h.with("bad", func(g *guest) { h.off(g, "crashed") })
	r.must()
	if j := r.is(third, backend.JobHeld); j.Words == "" {
		t.Error("it is held without a word")
	}
	r.boots("hv1", "third", 0)
}

func TestPreemption(t *testing.T) {
	r := newRig(t, "hv1")
	r.opt.Policy.Preempt = true
	r.engine()
	h := r.hosts["hv1"]
	h.add("low", 8, 4, 0)
	h.add("high", 8, 4, 10*time.Minute)
	low := r.submit("hv1", "low", func(s *backend.JobSpec) { s.Priority = 10; s.Preemptible = true; s.Estimate = 5 * time.Hour })
	r.must()
	submitted := r.is(low, backend.JobRunning).Submitted
	high := r.submit("hv1", "high", func(s *backend.JobSpec) { s.Priority = 90; s.Estimate = time.Hour })
	r.must()
	r.is(high, backend.JobRunning)
	j := r.job(low)
	if !j.State.Waiting() || j.Preempted != 1 || !j.Submitted.Equal(submitted) {
		t.Fatalf("the one put aside is %+v\n%s", j, r.story(low))
	}
	h.with("low", func(g *guest) {
		if !g.vm.ManagedSave || g.shares.CPU != 1024 {
			t.Errorf("it was saved as %+v with shares %+v", g.vm, g.shares)
		}
	})
	r.pass(15 * time.Minute)
	r.is(low, backend.JobRunning)
	h.with("low", func(g *guest) {
		if g.boots != 1 || g.resumes != 1 {
			t.Errorf("booted %d times, restored %d times", g.boots, g.resumes)
		}
	})
}

func TestOutsideVMsAndLimitsCount(t *testing.T) {
	r := newRig(t, "hv1")
	r.opt.Limits = func(string) Limits { return Limits{CPUOvercommit: 2, MemoryReserve: 1 << 30} }
	r.engine()
	h := r.hosts["hv1"]
	h.add("other", 4, 4, 0)
	h.with("other", func(g *guest) { g.vm.State, g.vm.ID = backend.Running, 3 })
	h.add("vm", 4, 4, 0)
	id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.Estimate = time.Hour })
	r.must()
	if j := r.job(id); !j.State.Waiting() || j.Why.Dimension != "mem" {
		t.Fatalf("with 3 GiB free it is %s because of %s", j.State, j.Why)
	}
	s, err := r.c.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Hosts[0]; got.Capacity.VCPU != 16 || got.Capacity.Memory != 7<<30 || got.Outside.Memory != 4<<30 {
		t.Errorf("the host is %+v", got)
	}
	h.with("other", func(g *guest) { h.off(g, "shutdown") })
	r.must()
	r.is(id, backend.JobRunning)
}

func TestBeginDrainHoldTop(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	for _, name := range []string{"a", "b", "c"} {
		h.add(name, 8, 4, 10*time.Minute)
	}
	if err := r.settle(); err != nil {
		t.Fatal(err)
	}
	if err := r.c.Drain(t.Context(), "hv1", true); err != nil {
		t.Fatal(err)
	}
	a := r.submit("hv1", "a")
	b := r.submit("hv1", "b", func(s *backend.JobSpec) { s.Begin = dawn.Add(2 * time.Hour) })
	c := r.submit("hv1", "c", func(s *backend.JobSpec) { s.Hold = true })
	r.must()
	if j := r.job(a); !j.State.Waiting() || j.Why.Code != backend.WhyMaintenance {
		t.Errorf("on a drained host it is %s because of %s", j.State, j.Why)
	}
	if err := r.c.Drain(t.Context(), "hv1", false); err != nil {
		t.Fatal(err)
	}
	r.change(c, backend.JobChange{Release: true, Top: true})
	r.is(c, backend.JobRunning)
	r.pass(30 * time.Minute)
	r.is(a, backend.JobDone)
	if j := r.job(b); !j.State.Waiting() || j.Why.Code != backend.WhyBeginTime {
		t.Errorf("before its time it is %s because of %s", j.State, j.Why)
	}
	r.pass(91 * time.Minute)
	r.is(b, backend.JobRunning)
}

// TestDiskGrowth: what a running VM's disks have grown by is not counted twice.
func TestDiskGrowth(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("vm", 1, 1, 0)
	h.with("vm", func(g *guest) { g.vm.Disks, g.disk = 2, 60<<30 })
	id := r.submit("hv1", "vm")
	r.must()
	if got := r.is(id, backend.JobRunning).Size.Disk; got != 60<<30-1<<20 {
		t.Fatalf("at first its disk may grow by %d", got)
	}
	h.with("vm", func(g *guest) { g.disk = 10 << 30 }) // as if the rest were written
	r.pass(25 * time.Minute)
	if got := r.job(id).Size.Disk; got != 10<<30-1<<20 {
		t.Errorf("later it may grow by %d", got)
	}
	s, err := r.c.State(t.Context())
	if err != nil || s.Hosts[0].Used.Disk != 10<<30-1<<20 {
		t.Errorf("%v: the host has %d of disk used", err, s.Hosts[0].Used.Disk)
	}
}

// TestSharesOfASavedVM: what somebody saved with changed shares does not come
// back with them twice changed.
func TestSharesOfASavedVM(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("vm", 1, 1, 0)
	id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.Priority = 75 })
	r.must()
	h.with("vm", func(g *guest) { h.off(g, "saved"); g.vm.ManagedSave = true })
	r.must()
	r.is(id, backend.JobHeld)
	r.change(id, backend.JobChange{Release: true})
	r.is(id, backend.JobRunning)
	shares := func(want uint64) {
		t.Helper()
		h.with("vm", func(g *guest) {
			if g.shares.CPU != want {
				t.Errorf("CPU shares %d, want %d", g.shares.CPU, want)
			}
		})
	}
	shares(2048)
	plain := backend.DefaultPriority
	r.change(id, backend.JobChange{Priority: &plain})
	shares(1024)
}
