package libvirt

import (
	"errors"
	"testing"
	"time"

	"berth/backend"
)

func TestFirstPollIsFastAndLaterOnesFillIn(t *testing.T) {
	d := newFake(t, running("b", 2), running("a", 1), fakeDomain{name: "c", uuid: backend.UUID{3}, id: -1, state: 5})
	h := d.host(Options{})
	p, err := h.Poll(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.VMs) != 3 || p.VMs[0].Name != "a" || p.VMs[2].State != backend.Shutoff || p.VMs[0].Reason != "booted" {
		t.Fatalf("%+v", p.VMs)
	}
	if d.count(procXML) != 0 || !p.VMs[0].FactsAt.IsZero() {
		t.Error("the first Poll read definitions")
	}
	if p, err = h.Poll(soon(t)); err != nil {
		t.Fatal(err)
	}
	if v := p.VMs[0]; v.VCPUs != 2 || v.MemoryMax != 1<<30 || v.CPU.Used != 5*time.Second || !v.Mem.At.IsZero() || !v.Persistent { // how much memory is used, only its QEMU can tell
		t.Errorf("%+v", v)
	}
	if _, err = h.Poll(soon(t)); err != nil {
		t.Fatal(err)
	}
	if n := d.count(procXML); n != 3 {
		t.Errorf("%d definitions were read, want each once", n)
	}
}

func TestEventsMakeSweepsRare(t *testing.T) {
	a := running("a", 1)
	d := newFake(t, a, running("b", 2))
	h := d.host(Options{})
	events, err := h.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := h.Poll(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	sweeps := func() int { return d.count(procStats) }
	before, looked := sweeps(), d.count(procLookup)
	d.mu.Lock()
	d.domains[0].state = 3
	d.mu.Unlock()
	d.lifecycle(a, 3, 0)
	select {
	case e := <-events:
		if e.What != "suspended" || e.Detail != "paused" || e.UUID != a.uuid || e.Host != "fake" || e.Kind != backend.EventLifecycle {
			t.Errorf("%+v", e)
		}
	case <-soon(t).Done():
		t.Fatal("no event")
	}
	p, err := h.Poll(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if p.VMs[0].State != backend.Paused || p.VMs[0].Since.IsZero() || p.VMs[1].State != backend.Running {
		t.Errorf("%+v", p.VMs)
	}
	if d.count(procLookup) != looked+1 {
		t.Error("not just the touched domain was read again")
	}
	// Each Poll asks once for the network counters of remote guests; a sweep
	// would be a second bulk call.
	if n := sweeps() - before; n > 1 {
		t.Errorf("%d bulk calls for one event", n)
	}
}

func TestWatchEndsWithItsConnectionAndPollSweepsAgain(t *testing.T) {
	a := running("a", 1)
	d := newFake(t, a)
	h := d.host(Options{})
	events, err := h.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.cut()
	select {
	case _, open := <-events:
		if open {
			t.Error("an event from nowhere")
		}
	case <-soon(t).Done():
		t.Fatal("the channel stays open")
	}
	d.mu.Lock()
	d.domains = nil
	d.mu.Unlock()
	if p, err := h.Poll(soon(t)); err != nil || len(p.VMs) != 0 {
		t.Errorf("%v, %v", p.VMs, err)
	}
}

func TestPollsShareNothing(t *testing.T) {
	d := newFake(t, running("a", 1))
	h := d.host(Options{})
	p1, err := h.Poll(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	p1.VMs[0].Name = "spoiled"
	p2, err := h.Poll(soon(t))
	if err != nil || p2.VMs[0].Name != "a" {
		t.Errorf("%+v, %v", p2.VMs, err)
	}
}

func TestFiguresFindTheStuckOneAndAskItAlone(t *testing.T) {
	stuck := running("b", 2)
	stuck.stuck = true
	d := newFake(t, running("a", 1), stuck, running("c", 3))
	h := d.host(Options{})
	for range 2 {
		if _, err := h.Poll(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	all := []backend.UUID{{1}, {2}, {3}}
	figs, err := h.Figures(soon(t), all)
	if err != nil {
		t.Fatal(err)
	}
	got := map[backend.UUID]backend.Figures{}
	for _, f := range figs {
		got[f.UUID] = f
	}
	if got[all[0]].Disk.ReadBytes != 4096 || got[all[2]].Disk.ReadBytes != 4096 {
		t.Errorf("the others' figures are missing: %+v", figs)
	}
	if got[all[1]].StuckSince.IsZero() {
		t.Error("the stuck one is not marked")
	}
	p, err := h.Poll(soon(t))
	if err != nil || p.VMs[1].StuckSince.IsZero() || !p.VMs[0].StuckSince.IsZero() {
		t.Errorf("Poll: %+v, %v", p.VMs, err)
	}
	// From now on it is asked by itself or not at all.
	d.mu.Lock()
	before := len(d.asked)
	d.mu.Unlock()
	h.plan.spent(h.now(), -time.Hour, 0)
	h.now = func() time.Time { return time.Now().Add(time.Minute) }
	if _, err := h.Figures(soon(t), all); err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, names := range d.asked[before:] {
		for _, n := range names {
			if n == "b" && len(names) > 1 {
				t.Errorf("the stuck one was asked with others: %v", names)
			}
		}
	}
}

func TestFiguresOfAGuestThatAnswersAgain(t *testing.T) {
	stuck := running("a", 1)
	stuck.stuck = true
	d := newFake(t, stuck)
	h := d.host(Options{})
	if _, err := h.Poll(soon(t)); err != nil {
		t.Fatal(err)
	}
	us := []backend.UUID{{1}}
	if figs, err := h.Figures(soon(t), us); err != nil || len(figs) != 1 || figs[0].StuckSince.IsZero() {
		t.Fatalf("%+v, %v", figs, err)
	}
	d.mu.Lock()
	d.domains[0].stuck = false
	d.mu.Unlock()
	h.now = func() time.Time { return time.Now().Add(time.Hour) }
	figs, err := h.Figures(soon(t), us)
	if err != nil || len(figs) != 1 || !figs[0].StuckSince.IsZero() || figs[0].Disk.ReadOps != 2 {
		t.Errorf("%+v, %v", figs, err)
	}
}

func TestVanishedDomainIsNoDomain(t *testing.T) {
	d := newFake(t)
	h := d.host(Options{})
	if _, err := h.Detail(soon(t), backend.UUID{9}); !errors.Is(err, backend.ErrNoDomain) {
		t.Error("detail:", err)
	}
	if _, err := h.XML(soon(t), backend.UUID{9}, false); !errors.Is(err, backend.ErrNoDomain) {
		t.Error("xml:", err)
	}
	if err := h.Do(soon(t), backend.Action{Verb: backend.VerbStart, UUID: backend.UUID{9}}); !errors.Is(err, backend.ErrNoDomain) {
		t.Error("start:", err)
	}
}
