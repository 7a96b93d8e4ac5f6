package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"berth/backend"
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

// TestABorrowedDefinitionThatIsTheLastStays.
func TestABorrowedDefinitionThatIsTheLastStays(t *testing.T) {
	r, h1, h2, id := newLender(t)
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
	r, _, h2, _ := newLender(t)
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

// TestAHostThatGrowsOrShrinksIsNoticed: capacity is what the host has now.
func TestAHostThatGrowsOrShrinksIsNoticed(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("a", 8, 4, 0)
	h.add("b", 8, 4, 0)
	h.add("c", 1, 1, 0)
	r.submit("hv1", "a")
	b := r.submit("hv1", "b")
	r.must()
	if j := r.job(b); !j.State.Waiting() {
		t.Fatalf("it is %s on a host that is full", j.State)
	}
	has := func(r backend.Resources) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.has = r
	}
	has(backend.Resources{VCPU: 16, Memory: 16 << 30, Disk: 100 << 30})
	r.pass(time.Minute)
	r.is(b, backend.JobRunning)
	has(backend.Resources{VCPU: 8, Memory: 8 << 30, Disk: 100 << 30}) // memory was taken out
	c := r.submit("hv1", "c")
	r.pass(time.Minute)
	if j := r.job(c); !j.State.Waiting() {
		t.Errorf("it is %s on a host that is more than full", j.State)
	}
	r.is(b, backend.JobRunning)
}
