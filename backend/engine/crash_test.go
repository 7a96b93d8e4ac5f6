package engine

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"berth/backend"
)

// saga is a scripted stretch of the queue's life: everything that can happen
// to jobs, on two hosts, over some hours.
type saga struct {
	*rig
	ids     map[string]backend.JobID
	crashes int
	steps   []string
}

func newSaga(t *testing.T, fault func(step string) error) *saga {
	s := &saga{rig: newRig(t, "hv1", "hv2"), ids: map[string]backend.JobID{}}
	s.opt.Fault = func(step string) error {
		s.steps = append(s.steps, step)
		return fault(step)
	}
	s.opt.Policy.Preempt = true
	s.opt.Limits = func(host string) Limits {
		if host == "hv2" {
			return Limits{Fence: []string{"true"}}
		}
		return Limits{}
	}
	s.engine()
	h1, h2 := s.hosts["hv1"], s.hosts["hv2"]
	h1.add("first", 4, 2, 20*time.Minute)
	h1.add("follows", 4, 2, 20*time.Minute)
	h1.add("deaf", 1, 1, 0).deaf = true
	h1.add("low", 8, 5, 90*time.Minute)
	h1.add("high", 8, 5, 15*time.Minute)
	h1.add("locked", 1, 1, 10*time.Minute)
	h1.add("broken", 1, 1, 0).broken = backend.ErrInvalid
	h1.add("cancelled", 1, 1, 0)
	h2.add("lost", 1, 1, 30*time.Minute)
	h2.add("moves", 1, 1, 30*time.Minute)
	return s
}

// go1 goes on until nothing changes, with a new engine whenever one dies.
func (s *saga) go1() {
	s.Helper()
	for {
		err := s.settle()
		if err == nil {
			return
		}
		if !errors.Is(err, errDies) && s.e.fault == nil {
			s.Fatal(err)
		}
		s.crashes++
		if s.crashes > 3 {
			s.Fatal("it dies again and again")
		}
		s.engine()
	}
}

func (s *saga) wait(d time.Duration) {
	s.Helper()
	for range 4 {
		s.clock.advance(d / 4)
		s.go1()
	}
}

func (s *saga) queue(host, name string, f func(*backend.JobSpec)) {
	s.Helper()
	if f == nil {
		f = func(*backend.JobSpec) {}
	}
	s.ids[name] = s.submit(host, name, f)
	s.go1()
}

// tell plays the script.
func (s *saga) tell() {
	s.Helper()
	h1, h2 := s.hosts["hv1"], s.hosts["hv2"]
	s.queue("hv1", "first", func(j *backend.JobSpec) { j.Priority = 80 })
	s.queue("hv1", "follows", func(j *backend.JobSpec) { j.After = []backend.JobID{s.ids["first"]} })
	s.queue("hv1", "deaf", func(j *backend.JobSpec) { j.Limit = 5 * time.Minute })
	s.wait(4 * time.Minute)
	h1.mu.Lock()
	h1.refuse[backend.VerbStartPaused] = []error{backend.ErrLocked, backend.ErrLocked}
	h1.mu.Unlock()
	s.queue("hv1", "locked", nil)
	s.wait(2 * time.Minute)
	s.wait(20 * time.Minute)
	s.queue("hv1", "broken", nil)
	s.queue("hv1", "cancelled", nil)
	if err := s.c.Change(s.Context(), []backend.JobID{s.ids["cancelled"]}, backend.JobChange{Cancel: true}); err != nil {
		s.Fatal(err)
	}
	s.go1()
	s.wait(30 * time.Minute)
	s.queue("hv1", "low", func(j *backend.JobSpec) { j.Priority, j.Preemptible, j.Estimate = 10, true, 3*time.Hour })
	s.wait(10 * time.Minute)
	s.queue("hv1", "high", func(j *backend.JobSpec) { j.Priority, j.Estimate = 90, 20*time.Minute })
	s.queue("hv2", "lost", nil)
	s.queue("hv2", "moves", nil)
	s.wait(4 * time.Minute)
	h1.add("moves", 1, 1, 30*time.Minute)
	h1.with("moves", func(g *guest) { g.vm.State, g.vm.Reason = backend.Running, "migrated" })
	h1.with("moves", func(g *guest) { g.since = s.clock.Now() })
	h2.with("moves", func(g *guest) { h2.off(g, "migrated") })
	s.go1()
	h2.power(false)
	s.go1()
	s.wait(8 * time.Minute) // it is lost, fenced, and its job recovered
	h2.power(true)
	s.wait(3 * time.Hour)
}

// ends says what must have become of every job, and how often each guest was
// booted: nothing else, whatever happened to the engine.
func (s *saga) ends(at string) {
	s.Helper()
	for _, want := range []struct {
		name, host string
		state      backend.JobState
		boots      int
		resumes    int
	}{
		{"first", "hv1", backend.JobDone, 1, 0},
		{"follows", "hv1", backend.JobDone, 1, 0},
		{"deaf", "hv1", backend.JobTimeout, 1, 0},
		{"locked", "hv1", backend.JobDone, 1, 0},
		{"broken", "hv1", backend.JobFailed, 0, 0},
		{"cancelled", "hv1", backend.JobCancelled, 1, 0},
		{"low", "hv1", backend.JobDone, 1, 1},
		{"high", "hv1", backend.JobDone, 1, 0},
		{"lost", "hv2", backend.JobDone, 2, 0},
		{"moves", "hv2", backend.JobDone, 1, 0},
	} {
		j := s.job(s.ids[want.name])
		g := s.hosts[want.host].guests[uuidFor(want.name)]
		if j.State != want.state || g.boots != want.boots || g.resumes != want.resumes {
			s.Errorf("%s: %s is %s (%s), booted %d times and restored %d times; want %s, %d and %d\n%s", at, want.name, j.State, j.Words,
				g.boots, g.resumes, want.state, want.boots, want.resumes, s.story(j.ID))
		}
	}
	for name, h := range s.hosts {
		for _, g := range h.guests {
			if g.vm.State.Active() {
				s.Errorf("%s: %s is left %s on %s", at, g.vm.Name, g.vm.State, name)
			}
		}
	}
}

// TestCrashAtEveryStep kills the engine before and after everything that lasts,
// one step after the other, and has another go on.
func TestCrashAtEveryStep(t *testing.T) {
	calm := newSaga(t, func(string) error { return nil })
	calm.tell()
	calm.ends("without a crash")
	if t.Failed() {
		return
	}
	if len(calm.steps) < 60 {
		t.Fatalf("there are only %d steps: %v", len(calm.steps), calm.steps)
	}
	for _, at := range chosen(calm.steps) {
		t.Run(fmt.Sprintf("%03d", at), func(t *testing.T) {
			t.Parallel()
			dieAt(t, at, len(calm.steps))
		})
	}
}

// chosen are the steps at which the engine dies: all with BERTH_EVERY_STEP, else
// the first, the second and the last of each kind and some of the rest. With
// -short, for the race detector, which is ten times as slow, it is one of each kind.
func chosen(steps []string) (at []int) {
	last, seen := map[string]int{}, map[string]int{}
	for i, name := range steps {
		last[name] = i
	}
	for i, name := range steps {
		seen[name]++
		if testing.Short() {
			if last[name] == i {
				at = append(at, i)
			}
			continue
		}
		if seen[name] <= 2 || last[name] == i || i%8 == 0 || os.Getenv("BERTH_EVERY_STEP") != "" {
			at = append(at, i)
		}
	}
	return at
}

// dieAt kills the engine at one step and sees that all ends well.
func dieAt(t *testing.T, at, total int) {
	n := 0
	step := ""
	s := newSaga(t, func(name string) error {
		if n++; n == at+1 {
			step = name
			return errDies
		}
		return nil
	})
	s.tell()
	if s.crashes == 0 && at < total-3 { // their number differs by the order in which hosts are read
		t.Errorf("it did not die at step %d", at)
	}
	s.ends("killed at " + step)
}
