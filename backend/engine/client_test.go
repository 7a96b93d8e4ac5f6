package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

func TestSubmitRefuses(t *testing.T) {
	r := newRig(t, "hv1", "hv2")
	h := r.hosts["hv1"]
	h.add("vm", 1, 1, 0)
	h.add("queued", 1, 1, 0)
	h.add("huge", 1, 100, 0)
	h.add("on", 1, 1, 0)
	h.with("on", func(g *guest) { g.vm.State = backend.Running })
	h.add("bad", 1, 1, 0)
	r.submit("hv1", "queued")
	bad := r.submit("hv1", "bad")
	r.change(bad, backend.JobChange{Cancel: true})
	r.is(bad, backend.JobCancelled)
	for _, c := range []struct {
		name string
		vm   string
		host string
		f    func(*backend.JobSpec)
		want error
	}{
		{"unknown VM", "nobody", "hv1", nil, backend.ErrNoDomain},
		{"unknown host", "vm", "hv9", nil, backend.ErrInvalid},
		{"running", "on", "hv1", nil, backend.ErrState},
		{"queued already", "queued", "hv1", nil, backend.ErrState},
		{"too big", "huge", "hv1", nil, backend.ErrNeverFits},
		{"priority", "vm", "hv1", func(s *backend.JobSpec) { s.Priority = 101 }, backend.ErrInvalid},
		{"limit", "vm", "hv1", func(s *backend.JobSpec) { s.Limit = -time.Second }, backend.ErrInvalid},
		{"on an unknown host", "vm", "hv1", func(s *backend.JobSpec) { s.Host = "hv9" }, backend.ErrInvalid},
		{"after an unknown job", "vm", "hv1", func(s *backend.JobSpec) { s.After = []backend.JobID{99} }, backend.ErrNoJob},
		{"after a job that ended badly", "vm", "hv1", func(s *backend.JobSpec) { s.After = []backend.JobID{bad} }, backend.ErrState},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := backend.JobSpec{VM: backend.Key{Host: c.host, UUID: uuidFor(c.vm)}, Name: c.vm, Priority: 50}
			if c.f != nil {
				c.f(&spec)
			}
			// A good one beside it must not get in either.
			h.add("good", 1, 1, 0)
			good := backend.JobSpec{VM: backend.Key{Host: "hv1", UUID: uuidFor("good")}, Priority: 50}
			if _, err := r.c.Submit(t.Context(), []backend.JobSpec{good, spec}); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			s, err := r.c.State(t.Context())
			if err != nil || len(s.Jobs) != 2 {
				t.Errorf("%v: there are %d jobs", err, len(s.Jobs))
			}
		})
	}
}

func TestSubmitKeepsNamesHarmless(t *testing.T) {
	r := newRig(t, "hv1")
	r.hosts["hv1"].add("vm", 1, 1, 0)
	r.hosts["hv1"].with("vm", func(g *guest) { g.vm.Name = "evil\x1b]0;owned\a" })
	id := r.submit("hv1", "vm", func(s *backend.JobSpec) { s.Tags = []string{" web ", "web", "", "a\x1bb"} })
	j := r.job(id)
	if strings.ContainsRune(j.Name, '\x1b') || strings.Join(j.Tags, ",") != "web,a�b" {
		t.Errorf("name %q, tags %q", j.Name, j.Tags)
	}
}

func TestChangeIsAllOrNothing(t *testing.T) {
	r := newRig(t, "hv1")
	for _, name := range []string{"a", "b", "c"} {
		r.hosts["hv1"].add(name, 8, 4, 0)
	}
	a, b, c := r.submit("hv1", "a"), r.submit("hv1", "b"), r.submit("hv1", "c")
	r.must()
	r.is(a, backend.JobRunning)
	err := r.c.Change(t.Context(), []backend.JobID{b, a}, backend.JobChange{Hold: true})
	if !errors.Is(err, backend.ErrState) {
		t.Errorf("holding a running job: %v", err)
	}
	if r.job(b).Held {
		t.Error("the other was held")
	}
	if err := r.c.Change(t.Context(), []backend.JobID{b, 99}, backend.JobChange{Top: true}); !errors.Is(err, backend.ErrNoJob) {
		t.Errorf("an unknown job: %v", err)
	}
	if err := r.c.Change(t.Context(), []backend.JobID{b}, backend.JobChange{Hold: true, Release: true}); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("hold and release: %v", err)
	}
	r.change(c, backend.JobChange{Top: true})
	if r.job(c).Position != 1 || r.job(b).Position != 2 {
		t.Errorf("after top, positions are %d and %d", r.job(c).Position, r.job(b).Position)
	}
}

func TestRetry(t *testing.T) {
	r := newRig(t, "hv1")
	h := r.hosts["hv1"]
	h.add("vm", 1, 1, 0).broken = backend.ErrInvalid
	id := r.submit("hv1", "vm")
	r.must()
	r.is(id, backend.JobFailed)
	h.with("vm", func(g *guest) { g.broken = backend.ErrNoMemory })
	r.change(id, backend.JobChange{Retry: true})
	if j := r.is(id, backend.JobQueued); j.Attempts != 1 || j.Why.Code != backend.WhyRetry {
		t.Errorf("attempts %d, waits because of %s", j.Attempts, j.Why)
	}
	h.with("vm", func(g *guest) { g.broken = nil })
	r.change(id, backend.JobChange{Retry: true})
	r.is(id, backend.JobRunning)
	r.boots("hv1", "vm", 1)
}

func TestExplainAndWhatIf(t *testing.T) {
	r := newRig(t, "hv1")
	for _, name := range []string{"a", "b", "c"} {
		r.hosts["hv1"].add(name, 8, 4, 0)
	}
	estimate := func(d time.Duration) func(*backend.JobSpec) { return func(s *backend.JobSpec) { s.Estimate = d } }
	a := r.submit("hv1", "a", estimate(time.Hour))
	r.must()
	b := r.submit("hv1", "b", estimate(2*time.Hour))
	c := r.submit("hv1", "c", func(s *backend.JobSpec) { s.Estimate = time.Hour; s.After = []backend.JobID{b} })
	r.must()
	r.clock.advance(50 * time.Second) // since the last pass
	x, err := r.c.Explain(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Hosts) != 1 || x.Hosts[0].Fits || len(x.Hosts[0].Short) != 1 || x.Hosts[0].Short[0] != (backend.Shortage{Dimension: "cpu", Need: 8}) {
		t.Errorf("hosts %+v", x.Hosts)
	}
	if len(x.Factors) == 0 || len(x.Blocks) != 1 || x.Blocks[0] != c || len(x.Events) == 0 {
		t.Errorf("factors %v, blocks %v, %d events", x.Factors, x.Blocks, len(x.Events))
	}
	parts := 0.0
	for _, f := range x.Factors {
		parts += f.Value
	}
	if math.Abs(parts-x.Job.Score) > 1e-9 {
		t.Errorf("factors %v add up to %v, together they are said to be %v", x.Factors, parts, x.Job.Score)
	}
	if want := fmt.Sprintf("end a (job %d)", a); len(x.Sooner) == 0 || x.Sooner[0].Text != want {
		t.Errorf("remedies %+v, want first %q", x.Sooner, want)
	}
	if x, err = r.c.Explain(t.Context(), a); err != nil || x.Job.State != backend.JobRunning {
		t.Errorf("a running job: %v, %+v", err, x.Job)
	}
	if _, err := r.c.Explain(t.Context(), 99); !errors.Is(err, backend.ErrNoJob) {
		t.Errorf("an unknown job: %v", err)
	}

	rev, err := r.store.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.c.WhatIf(t.Context(), backend.Hypothesis{Jobs: []backend.JobID{a}, Change: backend.JobChange{Cancel: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range s.Jobs {
		if j.ID == b && !j.ETA.Equal(r.clock.Now()) {
			t.Errorf("with the first gone, the second would start at %v", j.ETA)
		}
	}
	if s, err = r.c.WhatIf(t.Context(), backend.Hypothesis{HostOut: []string{"hv1"}}); err != nil {
		t.Fatal(err)
	}
	for _, j := range s.Jobs {
		if j.ID == b && j.Why.Code != backend.WhyMaintenance {
			t.Errorf("with its host drained it would wait because of %s", j.Why)
		}
	}
	if now, err := r.store.Revision(t.Context()); err != nil || now != rev {
		t.Errorf("%v: thinking has changed something", err)
	}
}

func TestPolicyAndHosts(t *testing.T) {
	r := newRig(t, "hv1")
	if err := r.c.SetPolicy(t.Context(), backend.QueuePolicy{Order: "nonsense"}); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("a policy of nonsense: %v", err)
	}
	if err := r.c.SetPolicy(t.Context(), backend.QueuePolicy{Order: "fcfs", Backfill: "none"}); err != nil {
		t.Fatal(err)
	}
	s, err := r.c.State(t.Context())
	if err != nil || s.Policy.Order != "fcfs" || s.Policy.Placement == "" {
		t.Errorf("%v: policy %+v", err, s.Policy)
	}
	if err := r.c.Drain(t.Context(), "hv9", true); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("draining an unknown host: %v", err)
	}
	if err := r.c.Fenced(t.Context(), "hv1"); !errors.Is(err, backend.ErrState) {
		t.Errorf("a host that answers is not off: %v", err)
	}
	r.hosts["hv1"].add("vm", 1, 1, 0)
	id := r.submit("hv1", "vm")
	if err := r.c.RemoveHost(t.Context(), "hv1"); !errors.Is(err, backend.ErrState) {
		t.Errorf("removing a host in use: %v", err)
	}
	r.change(id, backend.JobChange{Cancel: true})
	if err := r.c.RemoveHost(t.Context(), "hv1"); err != nil {
		t.Error(err)
	}
	r.must()
}

// TestNoEngineIsToldOf: jobs that wait say that nobody will start them.
func TestNoEngineIsToldOf(t *testing.T) {
	r := newRig(t, "hv1")
	r.hosts["hv1"].add("vm", 1, 1, 0)
	if err := r.e.dropLease(); err != nil {
		t.Fatal(err)
	}
	asked := errors.New("nobody can start one")
	r.c.o.EnsureEngine = func(context.Context) error { return asked }
	ids, err := r.c.Submit(t.Context(), []backend.JobSpec{{VM: backend.Key{Host: "hv1", UUID: uuidFor("vm")}, Priority: 50}})
	if len(ids) != 1 || !errors.Is(err, backend.ErrEngine) || !errors.Is(err, asked) {
		t.Errorf("submit: %v, %v", ids, err)
	}
	s, err := r.c.State(t.Context())
	if err != nil || s.Engine.Running || s.Engine.Trouble == "" || s.Jobs[0].Why.Code != backend.WhyEngine {
		t.Errorf("%v: engine %+v, job waits because of %s", err, s.Engine, s.Jobs[0].Why)
	}
}
