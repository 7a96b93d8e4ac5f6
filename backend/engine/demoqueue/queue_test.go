package demoqueue

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/backend"
	"berth/backend/demo"
	"berth/backend/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var aWednesday = time.Date(2026, 3, 4, 11, 0, 0, 0, time.UTC)

// limits are the config's defaults.
func limits(string) engine.Limits {
	return engine.Limits{CPUOvercommit: 4, MemoryReserve: 512 << 20, MemoryPercent: 5, DiskReserve: 5}
}

// open makes a fleet and its queue, on a clock that the test moves.
func open(t *testing.T, o demo.Options) (*Queue, *demo.ManualClock) {
	t.Helper()
	clock := demo.NewManualClock(aWednesday)
	o.Clock = clock
	f := demo.New(o)
	return openOver(t, Options{Hosts: f.Hosts(), Limits: limits, Clock: clock, Who: "me"}, f), clock
}

func openOver(t *testing.T, o Options, f *demo.Fleet) *Queue {
	t.Helper()
	q, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(q.Close(), q.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
	return q
}

func state(t *testing.T, q *Queue) backend.QueueState {
	t.Helper()
	st, err := q.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// The same fleet finds the same queue; another finds another.
func TestTheSameFleetHasTheSameQueue(t *testing.T) {
	jobs := func(seed uint64) []backend.Job {
		q, _ := open(t, demo.Options{Seed: seed, Batch: 16, ReadOnly: true})
		return state(t, q).Jobs
	}
	one, again, other := jobs(7), jobs(7), jobs(8)
	if !reflect.DeepEqual(one, again) {
		t.Errorf("the same seed gives %+v and %+v", one, again)
	}
	if reflect.DeepEqual(one, other) {
		t.Error("two seeds give one queue")
	}
	if len(one) < 25 {
		t.Errorf("only %d jobs", len(one))
	}
}

// Whoever looks first sees a queue that works: jobs run, and others wait, each
// with its reason, for every reason that there is in a day's work.
func TestTheFirstLook(t *testing.T) {
	for _, seed := range []uint64{0, 1, 2, 3, 7, 42} {
		q, _ := open(t, demo.Options{Seed: seed, Batch: 16})
		st := state(t, q)
		states, reasons := map[backend.JobState]int{}, map[backend.ReasonCode]int{}
		openEnded, eta := 0, 0
		for _, j := range st.Jobs {
			states[j.State]++
			if !j.State.Waiting() {
				continue
			}
			reasons[j.Why.Code]++
			if j.Expected == 0 {
				openEnded++
			}
			if !j.ETA.IsZero() {
				eta++
			}
		}
		if !st.Engine.Running || states[backend.JobRunning] < 5 || states[backend.JobDone] < 10 || states[backend.JobHeld] != 1 {
			t.Errorf("seed %d: engine %+v, states %v", seed, st.Engine, states)
		}
		for _, why := range []backend.ReasonCode{backend.WhyResources, backend.WhyHeld, backend.WhyDependency, backend.WhyBeginTime} {
			if reasons[why] == 0 {
				t.Errorf("seed %d: none waits for %s, but %v", seed, why, reasons)
			}
		}
		if reasons[backend.WhyNeverFits]+reasons[backend.WhyNone]+reasons[backend.WhyEngine] > 0 || eta < 3 {
			t.Errorf("seed %d: reasons %v, %d with an ETA", seed, reasons, eta)
		}
		if openEnded == 0 {
			t.Errorf("seed %d: none is open-ended", seed)
		}
	}
}

// Fleets of all sizes have a queue in which everything can run some day.
func TestSmallAndLargeFleets(t *testing.T) {
	for _, o := range []demo.Options{
		{Hosts: 1, VMs: 1, Batch: 16}, {Hosts: 1, Batch: 16}, {Hosts: 2, VMs: 3, Batch: 5}, {Hosts: 8, VMs: 300, Batch: 16}, {Hosts: 40, VMs: 40, Batch: 16}, {Batch: 200},
	} {
		o.Seed = 5
		q, _ := open(t, o)
		st := state(t, q)
		for _, j := range st.Jobs {
			if j.Why.Code == backend.WhyNeverFits || j.State == backend.JobRejected || j.State.Waiting() && j.Why.Code == backend.WhyNone {
				t.Errorf("%+v: %s is %s (%s)", o, j.Name, j.State, j.Why)
			}
		}
	}
}

// As time goes on jobs end, others start, people submit more, and never is a
// host promised more than it has, nor a VM queued twice.
func TestTheQueueLives(t *testing.T) {
	q, clock := open(t, demo.Options{Seed: 1, Batch: 16, Calm: true})
	first := state(t, q)
	known := map[backend.JobID]backend.JobState{}
	for _, j := range first.Jobs {
		known[j.ID] = j.State
	}
	ended, started, submitted := map[backend.JobID]bool{}, map[backend.JobID]bool{}, map[backend.JobID]bool{}
	began := clock.Now()
	most := 0
	for len(ended) < 8 || len(started) < 8 || len(submitted) < 8 {
		if t.Context().Err() != nil || clock.Now().Sub(began) > 2*time.Hour {
			t.Fatalf("after %v %d jobs ended, %d started, %d came", clock.Now().Sub(began), len(ended), len(started), len(submitted))
		}
		st := state(t, q)
		waiting := check(t, &st)
		most = max(most, waiting)
		for _, j := range st.Jobs {
			was, old := known[j.ID]
			if !old {
				submitted[j.ID] = true
			}
			if j.State.Ended() && !was.Ended() {
				ended[j.ID] = true
			}
			if j.State == backend.JobRunning && j.LastStart.After(began) {
				started[j.ID] = true
			}
		}
		step(t, q, clock, st.Revision)
	}
	if most > enough+3 {
		t.Errorf("%d jobs waited at once", most)
	}
	for _, j := range state(t, q).Jobs {
		if j.State == backend.JobError || j.State == backend.JobUnknown {
			t.Errorf("%s is %s: %s", j.Name, j.State, j.Words)
		}
	}
}

// check looks at one moment of the queue and counts those that wait.
func check(t *testing.T, st *backend.QueueState) (waiting int) {
	t.Helper()
	vms := map[backend.UUID]bool{}
	for _, j := range st.Jobs {
		if j.State.Waiting() {
			waiting++
		}
		if j.State.Ended() {
			continue
		}
		if vms[j.VM] {
			t.Fatalf("%s is in the queue twice", j.Name)
		}
		vms[j.VM] = true
	}
	for _, h := range st.Hosts {
		if used := h.Outside.Plus(h.Used); used.VCPU > h.Capacity.VCPU || used.Memory > h.Capacity.Memory {
			t.Fatalf("%s has %+v and gives %+v to jobs beside %+v", h.Name, h.Capacity, h.Used, h.Outside)
		}
	}
	return waiting
}

// step moves the clock on and lets the engine see to it.
func step(t *testing.T, q *Queue, clock *demo.ManualClock, revision int64) {
	t.Helper()
	clock.Advance(250 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
	defer cancel()
	if err := q.Wait(ctx, revision); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, backend.ErrTimeout) {
		t.Fatal(err)
	}
}

// Who only looks sees the queue go on, and cannot submit.
func TestTheQueueLivesForThoseWhoOnlyLook(t *testing.T) {
	clock := demo.NewManualClock(aWednesday)
	f := demo.New(demo.Options{Seed: 1, Batch: 16, Calm: true, ReadOnly: true, Clock: clock})
	q := openOver(t, Options{Hosts: f.Hosts(), Keeper: demo.Keeper, Limits: limits, Clock: clock, Who: "me"}, f)
	began := clock.Now()
	for started := false; !started; {
		st := state(t, q)
		if !st.Engine.Running || clock.Now().Sub(began) > time.Hour {
			t.Fatalf("nothing happens: engine %+v", st.Engine)
		}
		for _, j := range st.Jobs {
			started = started || j.State == backend.JobRunning && j.LastStart.After(began)
		}
		step(t, q, clock, st.Revision)
	}
	p, err := f.Hosts()[0].Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.VMs, func(v backend.VM) bool { return v.State == backend.Shutoff })
	if _, err := q.Submit(t.Context(), []backend.JobSpec{{VM: p.VMs[i].Key()}}); !errors.Is(err, backend.ErrReadOnly) {
		t.Errorf("submitting from a read-only console: %v", err)
	}
}

// A fleet without batch machines has an empty queue, which can be used.
func TestWithoutBatchMachines(t *testing.T) {
	q, _ := open(t, demo.Options{Seed: 7})
	st := state(t, q)
	if len(st.Jobs) != 0 || len(st.Hosts) != demo.DefaultHosts {
		t.Errorf("%d jobs on %d hosts", len(st.Jobs), len(st.Hosts))
	}
}
