package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/store"
)

// TestAHostWithoutAConnection: an engine whose config or ssh is broken cannot
// even make the connection. That says nothing of what runs there.
func TestAHostWithoutAConnection(t *testing.T) {
	r := newRig(t, "hv1")
	r.opt.Limits = func(string) Limits { return Limits{Fence: []string{"true"}} }
	r.engine()
	h := r.hosts["hv1"]
	h.add("runs", 4, 1, 0)
	h.add("waits", 8, 1, 0)
	runs := r.submit("hv1", "runs")
	r.must()
	waits := r.submit("hv1", "waits")
	r.must()
	r.pass(time.Hour)

	connect := r.opt.Connect
	r.opt.Connect = func(string, string) (backend.Host, error) { return nil, backend.ErrURI }
	r.engine()
	r.must()
	r.is(runs, backend.JobRunning)
	r.pass(time.Hour)
	r.is(runs, backend.JobUnknown) // and neither fenced nor lost
	if j := r.job(waits); !j.State.Waiting() || j.Why.Code != backend.WhyHostDown {
		t.Fatalf("the waiting job is %s because of %s (%s)", j.State, j.Why, j.Words)
	}
	s, err := r.c.State(t.Context())
	if err != nil || !s.Hosts[0].Down || s.Hosts[0].Trouble == "" {
		t.Errorf("%v: the host is %+v", err, s.Hosts[0])
	}

	r.opt.Connect = connect
	r.engine()
	r.must()
	r.is(runs, backend.JobRunning)
	if j := r.job(waits); !j.State.Waiting() {
		t.Errorf("the waiting job is %s", j.State)
	}
	r.boots("hv1", "runs", 1)
}

// TestAHostThatRefusesUsIsNotFenced: it was reached, so it is not dead, and
// its guests must not die for an expired key.
func TestAHostThatRefusesUsIsNotFenced(t *testing.T) {
	for _, refusal := range []error{backend.ErrAuth, backend.ErrHostKey} {
		r := newRig(t, "hv1")
		r.opt.Limits = func(string) Limits { return Limits{Fence: []string{"true"}} }
		r.engine()
		h := r.hosts["hv1"]
		h.add("vm", 1, 1, 0)
		id := r.submit("hv1", "vm")
		r.must()
		h.mu.Lock()
		h.door = refusal
		h.mu.Unlock()
		r.must()
		r.pass(time.Hour)
		r.is(id, backend.JobUnknown)
		h.mu.Lock()
		h.door = nil
		h.mu.Unlock()
		r.must()
		r.is(id, backend.JobRunning)
	}
}

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

// TestABorrowedDefinitionThatIsTheLastStays.
func TestABorrowedDefinitionThatIsTheLastStays(t *testing.T) {
	r := newRig(t, "hv1", "hv2")
	h1, h2 := r.hosts["hv1"], r.hosts["hv2"]
	h2.reach = nil
	h1.add("big", 8, 8, 0)
	h1.add("vm", 1, 1, 10*time.Minute)
	r.submit("hv1", "big", func(s *backend.JobSpec) { s.Host = "hv1" })
	r.must()
	id := r.submit("hv1", "vm")
	r.must()
	r.is(id, backend.JobRunning)
	h1.mu.Lock()
	delete(h1.guests, uuidFor("vm")) // somebody makes hv2 its home
	h1.mu.Unlock()
	r.pass(11 * time.Minute)
	r.is(id, backend.JobDone)
	p, err := h2.Poll(t.Context())
	if err != nil || len(p.VMs) != 1 {
		t.Errorf("%v: its last definition is gone: %+v", err, p.VMs)
	}
	if len(r.e.copies) != 0 {
		t.Errorf("the engine waits for ever to give back %+v", r.e.copies)
	}
}

// TestABorrowedDefinitionThatAnotherJobUsesStays.
func TestABorrowedDefinitionThatAnotherJobUsesStays(t *testing.T) {
	r := newRig(t, "hv1", "hv2")
	h1, h2 := r.hosts["hv1"], r.hosts["hv2"]
	h2.reach = nil
	h1.add("big", 8, 8, 0)
	h1.add("vm", 1, 1, 10*time.Minute)
	r.submit("hv1", "big", func(s *backend.JobSpec) { s.Host = "hv1" })
	r.must()
	first := r.submit("hv1", "vm")
	r.must()
	r.is(first, backend.JobRunning)
	r.clock.advance(11 * time.Minute)
	h2.pass()
	r.readHosts(t.Context())
	var pending []func()
	r.e.spawn = func(f func()) { pending = append(pending, f) }
	turn := func() {
		t.Helper()
		for range 4 {
			if _, err := r.e.turn(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.readHosts(t.Context())
		}
	}
	turn() // it ends, and the definition is being given back
	if len(r.e.chores) != 1 {
		t.Fatalf("given back: %+v", r.e.chores)
	}
	second := r.submit("hv2", "vm", func(s *backend.JobSpec) { s.Host = "hv2" })
	turn()
	if j := r.job(second); !j.State.Waiting() {
		t.Fatalf("it is %s on a definition that goes away", j.State)
	}
	r.e.spawn = func(f func()) { f() }
	for _, f := range pending {
		f()
	}
	r.must()
	j := r.job(second)
	if j.State == backend.JobFailed {
		t.Fatalf("it failed: %s\n%s", j.Words, r.story(second))
	}
}

// TestAHostWithAnotherAddress: whether that is the same machine, booted anew,
// or another one, nobody can tell; so what ran there is not started again.
func TestAHostWithAnotherAddress(t *testing.T) {
	r := newRig(t, "hv1")
	r.hosts["hv1"].add("vm", 1, 1, 0)
	id := r.submit("hv1", "vm")
	r.must()
	r.is(id, backend.JobRunning)
	old := r.hosts["hv1"]
	other := newFakeHost("hv1", r.clock)
	other.boot = 99
	other.add("vm", 1, 1, 0)
	r.hosts["hv1"] = other
	r.opt.Hosts[0].URI = "fake://elsewhere"
	r.engine()
	r.must()
	r.pass(time.Minute)
	r.is(id, backend.JobError)
	r.boots("hv1", "vm", 0)
	old.with("vm", func(g *guest) {
		if g.vm.State != backend.Running {
			t.Error("it does not run any more where it did")
		}
	})
}

// TestOneMachineTwice: a host that is in the queue under two addresses has its
// room once, and its VMs run once.
func TestOneMachineTwice(t *testing.T) {
	r := newRig(t, "hv1", "hv2")
	r.hosts["hv2"] = r.hosts["hv1"] // one machine
	r.hosts["hv1"].add("vm", 1, 1, 0)
	r.hosts["hv1"].add("large", 8, 1, 0)
	r.e.o.Connect = func(string, string) (backend.Host, error) { return r.hosts["hv1"], nil }
	id := r.submit("hv1", "vm")
	r.must()
	large := r.submit("hv1", "large")
	r.pass(time.Minute)
	r.is(id, backend.JobRunning)
	if j := r.job(large); !j.State.Waiting() {
		t.Errorf("there is room twice: it is %s on %s", j.State, j.RunsOn)
	}
	s, err := r.c.State(t.Context())
	if err != nil || s.Hosts[0].Down || !s.Hosts[1].Down || s.Hosts[1].Trouble == "" {
		t.Errorf("%v: the hosts are %+v", err, s.Hosts)
	}
	r.boots("hv1", "vm", 1)
}

// TestAReadOnlyHostIsWaitedFor: guarding a host in the config ends no job.
func TestARefusalForReadingOnlyHeals(t *testing.T) {
	if !heals(fmt.Errorf("start: %w", backend.ErrReadOnly)) {
		t.Error("a job fails for good because its host is guarded for a while")
	}
}

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

// TestManyNewJobsAskHostsLittleByLittle: a host has few workers.
func TestManyNewJobsAskHostsLittleByLittle(t *testing.T) {
	r := newRig(t, "hv1", "hv2")
	h := r.hosts["hv1"]
	for i := range 200 {
		h.add(fmt.Sprintf("vm%03d", i), 1, 1, 0)
	}
	r.must()
	for i := range 200 {
		r.submit("hv1", fmt.Sprintf("vm%03d", i))
	}
	var pending []func()
	r.e.spawn = func(f func()) { pending = append(pending, f) }
	for range 3 {
		if _, err := r.e.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.readHosts(t.Context())
	}
	if len(r.e.reaches) == 0 || len(r.e.reaches) > reachAtOnce {
		t.Errorf("hosts are asked %d questions at once", len(r.e.reaches))
	}
}

// TestAnAgentInPlaceOfAnother: readings go on being counted, or news of what
// was asked before would be waited for for hours.
func TestAnAgentInPlaceOfAnother(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("vm", 1, 1, 0)
	id := r.submit("hv1", "vm")
	r.must()
	for range 500 {
		r.readHosts(t.Context())
	}
	r.change(id, backend.JobChange{Priority: ptr(80)})
	if err := r.store.Update(t.Context(), func(tx *store.Tx) error {
		hosts, err := tx.Hosts()
		hosts[0].URI = "fake://by-another-way"
		return errors.Join(err, tx.PutHost(hosts[0]))
	}); err != nil {
		t.Fatal(err)
	}
	r.must()
	h.with("vm", func(g *guest) { h.off(g, "shutdown") })
	r.must()
	r.is(id, backend.JobDone)
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

// TestEndsOfStrangersAreForgotten: domains that come and go are any number.
func TestEndsOfStrangersAreForgotten(t *testing.T) {
	clock := &manual{now: dawn}
	a := newAgent(HostSpec{"hv1", "fake://hv1"}, newFakeHost("hv1", clock), clock, func() {})
	ours := uuidFor("ours")
	a.care(map[backend.UUID]string{ours: "boot 1 of hv1"})
	a.heed(backend.Event{Kind: backend.EventLifecycle, UUID: ours, What: "stopped", Detail: "shutdown"})
	for i := range 2 * mostLast {
		a.heed(backend.Event{Kind: backend.EventLifecycle, UUID: uuidFor(fmt.Sprint("x", i)), What: "stopped", Detail: "destroyed"})
	}
	if err := a.read(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if last := a.now().last; len(last) != 1 || last[ours] != "shutdown" {
		t.Errorf("it remembers %d ends, and ours as %q", len(last), last[ours])
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
