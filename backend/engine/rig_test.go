package engine

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// rig is an engine over fake hosts, without goroutines: what it asks of hosts
// happens at once, and the test says when time passes.
type rig struct {
	testing.TB
	store *store.Store
	clock *manual
	hosts map[string]*fakeHost
	opt   Options
	c     *Client
	e     *Engine
}

var dawn = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func newRig(t testing.TB, hosts ...string) *rig {
	t.Helper()
	s, err := store.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newRigOver(t, s, hosts...)
}

// newRigOver is newRig over a store, which it closes.
func newRigOver(t testing.TB, s *store.Store, hosts ...string) *rig {
	t.Helper()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{TB: t, store: s, clock: &manual{now: dawn}, hosts: map[string]*fakeHost{}}
	for _, name := range hosts {
		r.hosts[name] = newFakeHost(name, r.clock)
	}
	r.c = NewClient(ClientOptions{Store: s, Who: "alice", Clock: r.clock, Fleet: func() (all []backend.Host) {
		for _, h := range r.hosts {
			all = append(all, h)
		}
		return all
	}})
	r.opt = Options{Store: s, Clock: r.clock, Connect: func(name, _ string) (backend.Host, error) { return r.hosts[name], nil }}
	for _, name := range hosts {
		r.opt.Hosts = append(r.opt.Hosts, HostSpec{name, "fake://" + name})
	}
	r.engine()
	return r
}

// newLender is a rig whose hv1 is full with one job, so that another of its
// VMs, which ends after ten minutes, runs on hv2 with a borrowed definition.
func newLender(t testing.TB) (r *rig, hv1, hv2 *fakeHost, borrower backend.JobID) {
	t.Helper()
	r = newRig(t, "hv1", "hv2")
	hv1, hv2 = r.hosts["hv1"], r.hosts["hv2"]
	hv2.reach = nil
	hv1.add("big", 8, 8, 0)
	hv1.add("vm", 1, 1, 10*time.Minute)
	big := r.submit("hv1", "big", func(s *backend.JobSpec) { s.Host = "hv1" })
	r.must()
	r.is(big, backend.JobRunning)
	borrower = r.submit("hv1", "vm")
	r.must()
	r.is(borrower, backend.JobRunning)
	return r, hv1, hv2, borrower
}

// engine starts a new engine in place of the last.
func (r *rig) engine() {
	r.Helper()
	e, err := New(r.opt)
	if err != nil {
		r.Fatal(err)
	}
	e.spawn = func(f func()) { f() }
	e.tend = func(func()) {}
	e.acts = r.Context()
	if _, err := e.takeOver(r.Context()); err != nil {
		r.Fatal(err)
	}
	if err := e.prepare(r.Context()); err != nil {
		r.Fatal(err)
	}
	r.e = e
}

// readHosts does what the agents' goroutines would.
func (r *rig) readHosts(ctx context.Context) {
	for _, a := range r.e.agents {
		if err := a.read(ctx, true); err != nil {
			a.lose(err)
		}
	}
}

// settle takes turns until nothing changes any more.
func (r *rig) settle() error {
	r.Helper()
	for range 60 {
		before, err := r.store.Revision(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		known := len(r.e.agents)
		if _, err := r.e.turn(r.Context()); err != nil {
			return err
		}
		r.readHosts(r.Context())
		after, err := r.store.Revision(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		if before == after && known == len(r.e.agents) && len(r.e.posted) == 0 && len(r.e.busy) == 0 && r.quiet() {
			return nil
		}
	}
	r.Fatal("the engine does not come to rest")
	return nil
}

// quiet reports whether every job was judged by a view that is new enough.
func (r *rig) quiet() bool {
	for name, a := range r.e.agents {
		v := a.now()
		for id := range r.e.news.joined {
			if v.up() && !r.e.news.tells(id, name, v.seq) {
				return false
			}
		}
	}
	before, _ := r.store.Revision(r.Context())
	if _, err := r.e.turn(r.Context()); err != nil {
		return false
	}
	after, _ := r.store.Revision(r.Context())
	return before == after && len(r.e.posted) == 0 && len(r.e.busy) == 0
}

// must is settle that may not fail.
func (r *rig) must() {
	r.Helper()
	if err := r.settle(); err != nil {
		r.Fatal(err)
	}
}

// pass lets time pass in steps.
func (r *rig) pass(d time.Duration) {
	r.Helper()
	for step := d / 10; d > 0; d -= step {
		r.clock.advance(min(step, d))
		r.must()
	}
}

// submit submits a VM of a host.
func (r *rig) submit(host, name string, more ...func(*backend.JobSpec)) backend.JobID {
	r.Helper()
	spec := backend.JobSpec{VM: backend.Key{Host: host, UUID: uuidFor(name)}, Name: name, Priority: backend.DefaultPriority}
	for _, f := range more {
		f(&spec)
	}
	ids, err := r.c.Submit(r.Context(), []backend.JobSpec{spec})
	if err != nil {
		r.Fatal(err)
	}
	return ids[0]
}

func (r *rig) change(id backend.JobID, ch backend.JobChange) {
	r.Helper()
	if err := r.c.Change(r.Context(), []backend.JobID{id}, ch); err != nil {
		r.Fatal(err)
	}
	r.must()
}

// job is a job as it stands in the store.
func (r *rig) job(id backend.JobID) (j backend.Job) {
	r.Helper()
	if err := r.store.View(r.Context(), func(tx *store.Tx) (err error) { j, err = tx.Job(id); return err }); err != nil {
		r.Fatal(err)
	}
	return j
}

// is checks a job's state.
func (r *rig) is(id backend.JobID, state backend.JobState) backend.Job {
	r.Helper()
	j := r.job(id)
	if j.State != state {
		r.Fatalf("job %d (%s) is %s (%s) on %q, want %s\n%s", id, j.Name, j.State, j.Words, j.RunsOn, state, r.story(id))
	}
	return j
}

// story is what happened to a job, for messages.
func (r *rig) story(id backend.JobID) string {
	events, err := r.c.Log(r.Context(), backend.LogQuery{Job: id})
	if err != nil {
		return err.Error()
	}
	var list []string
	for _, e := range events {
		list = append(list, fmt.Sprintf("%s %s %s %s %s", e.At.Format(time.TimeOnly), e.Who, e.What, e.Host, e.Detail))
	}
	return lines(list)
}

// boots checks how often a guest was booted and let run.
func (r *rig) boots(host, name string, want int) {
	r.Helper()
	r.hosts[host].with(name, func(g *guest) {
		if g.boots != want {
			r.Errorf("%s was booted %d times on %s, want %d", name, g.boots, host, want)
		}
	})
}

var errDies = errors.New("the engine dies here")
