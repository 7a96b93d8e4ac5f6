package model

import (
	"context"
	"fmt"
	"sync"
	"time"

	"berth/backend"
)

// fakeQueue is a queue that does what it is told at once, without a scheduler:
// its State is what the test says.
type fakeQueue struct {
	mu       sync.Mutex
	state    backend.QueueState
	err      error // State's
	doErr    error // of what changes something
	hypo     []backend.Hypothesis
	think    func(backend.Hypothesis, backend.QueueState) backend.QueueState
	done     []string
	asked    int
	patience time.Duration // of the last Wait
	explain  int
	specs    []backend.JobSpec
}

func newFakeQueue(now time.Time, jobs ...backend.Job) *fakeQueue {
	q := &fakeQueue{state: backend.QueueState{At: now, Revision: 1, Engine: backend.EngineState{Running: true},
		Policy: backend.QueuePolicy{Order: "hrrn", Backfill: "easy", Placement: "best"},
		Hosts:  []backend.QueueHost{{Name: "hv1", Capacity: backend.Resources{VCPU: 8, Memory: 8 << 30}}, {Name: "hv2", Capacity: backend.Resources{VCPU: 8, Memory: 8 << 30}}}}}
	q.state.Jobs = jobs
	return q
}

// job makes one that waits at a place, or runs with place 0.
func job(id int, name string, place int, now time.Time) backend.Job {
	j := backend.Job{ID: backend.JobID(id), Name: name, Home: "hv1", State: backend.JobRunning, RunsOn: "hv1", Priority: 50,
		Submitted: now.Add(-time.Hour), LastStart: now.Add(-10 * time.Minute), Started: now.Add(-10 * time.Minute),
		Expected: time.Hour, Estimate: time.Hour, Size: backend.Resources{VCPU: 2, Memory: 1 << 30}}
	j.VM[0], j.VM[1] = byte(id), 'q'
	if place > 0 {
		j.State, j.RunsOn, j.LastStart, j.Started = backend.JobQueued, "", time.Time{}, time.Time{}
		j.Position, j.ETA, j.ETAHost, j.Why = place, now.Add(time.Duration(place)*10*time.Minute), "hv2", backend.Reason{Code: backend.WhyResources, Dimension: "mem"}
	}
	return j
}

// edit changes the state as another process would.
func (q *fakeQueue) edit(f func(*backend.QueueState)) {
	st := q.state
	st.Jobs = append([]backend.Job(nil), st.Jobs...)
	f(&st)
	st.Revision++
	q.state = st
}

func (q *fakeQueue) State(context.Context) (backend.QueueState, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked++
	return q.state, q.err
}

func (q *fakeQueue) Wait(ctx context.Context, revision int64) error {
	if at, ok := ctx.Deadline(); ok {
		q.patience = time.Until(at)
	}
	if q.state.Revision != revision {
		return nil
	}
	return context.DeadlineExceeded
}

func (q *fakeQueue) Explain(_ context.Context, id backend.JobID) (backend.Explanation, error) {
	q.explain++
	for _, j := range q.state.Jobs {
		if j.ID == id {
			return backend.Explanation{Job: j, Sooner: []backend.Remedy{{Text: "wait"}}}, nil
		}
	}
	return backend.Explanation{}, fmt.Errorf("job %d: %w", id, backend.ErrNoJob)
}

func (q *fakeQueue) WhatIf(_ context.Context, h backend.Hypothesis) (backend.QueueState, error) {
	q.hypo = append(q.hypo, h)
	st := q.state
	st.Jobs = append([]backend.Job(nil), st.Jobs...)
	if q.think != nil {
		st = q.think(h, st)
	}
	for i, s := range h.Submit {
		j := job(100+i, s.Name, 9, st.At)
		j.VM = s.VM.UUID
		st.Jobs = append(st.Jobs, j)
	}
	return st, nil
}

func (q *fakeQueue) Log(context.Context, backend.LogQuery) ([]backend.JobEvent, error) {
	return []backend.JobEvent{{ID: 1, Job: 3, Name: "w1", What: "submitted", Who: "alice"}, {ID: 2, What: "policy", Detail: "hrrn\x1b[31m"}}, nil
}
func (q *fakeQueue) Close() error { return nil }

func (q *fakeQueue) Submit(_ context.Context, specs []backend.JobSpec) ([]backend.JobID, error) {
	q.specs = append(q.specs, specs...)
	q.done = append(q.done, fmt.Sprintf("submit %d", len(specs)))
	return nil, q.doErr
}

func (q *fakeQueue) Change(_ context.Context, ids []backend.JobID, c backend.JobChange) error {
	if q.doErr != nil {
		return q.doErr
	}
	q.done = append(q.done, fmt.Sprintf("%v %s", ids, changeText(c)))
	q.edit(func(st *backend.QueueState) {
		for i := range st.Jobs {
			for _, id := range ids {
				if st.Jobs[i].ID != id {
					continue
				}
				if c.Priority != nil {
					st.Jobs[i].Priority = *c.Priority
				}
				if c.Hold {
					st.Jobs[i].State, st.Jobs[i].Held = backend.JobHeld, true
				}
				if c.Release {
					st.Jobs[i].State, st.Jobs[i].Held = backend.JobQueued, false
				}
			}
		}
	})
	return nil
}

func changeText(c backend.JobChange) string {
	text := ""
	for _, f := range []struct {
		on   bool
		name string
	}{{c.Hold, "hold"}, {c.Release, "release"}, {c.Cancel, "cancel"}, {c.Force, "force"}, {c.Top, "top"}, {c.Retry, "retry"}} {
		if f.on {
			text += f.name + " "
		}
	}
	if c.Priority != nil {
		text += fmt.Sprintf("priority=%d ", *c.Priority)
	}
	if c.Estimate != nil {
		text += fmt.Sprintf("estimate=%s ", *c.Estimate)
	}
	if c.Host != nil {
		text += fmt.Sprintf("host=%q ", *c.Host)
	}
	if c.Tags != nil {
		text += fmt.Sprintf("tags=%v ", *c.Tags)
	}
	return text
}

func (q *fakeQueue) SetPolicy(_ context.Context, p backend.QueuePolicy) error {
	q.done = append(q.done, "policy "+p.Order+" "+p.Backfill)
	return q.doErr
}

func (q *fakeQueue) Drain(_ context.Context, host string, on bool) error {
	q.done = append(q.done, fmt.Sprintf("drain %s %t", host, on))
	return q.doErr
}

func (q *fakeQueue) Fenced(_ context.Context, host string) error {
	q.done = append(q.done, "fenced "+host)
	return nil
}

func (q *fakeQueue) StartEngine(context.Context) error {
	q.done = append(q.done, "engine")
	q.state.Engine = backend.EngineState{Running: q.doErr == nil, Lost: q.doErr != nil}
	return q.doErr
}
