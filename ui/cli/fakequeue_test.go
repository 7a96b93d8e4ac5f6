package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"berth/backend"
)

// fakeNow is the fake queue's moment.
var fakeNow = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// fakeQueue is a queue that notes what it is asked to do. Its jobs end one
// after the other when it is waited for.
type fakeQueue struct {
	mu      sync.Mutex
	state   backend.QueueState
	calls   []string
	specs   []backend.JobSpec
	changes []backend.JobChange
	opened  QueueOptions
	refuse  error // of what changes something
	closed  bool
	events  []backend.JobEvent
}

const gib = 1 << 30

func at(d time.Duration) time.Time { return fakeNow.Add(d) }

// newFakeQueue has a running job, three that wait, and two that ended.
func newFakeQueue() *fakeQueue {
	size := backend.Resources{VCPU: 4, Memory: 8 * gib, Disk: 20 * gib}
	web1 := backend.UUID{'1', 0}
	q := &fakeQueue{}
	q.state = backend.QueueState{
		At: fakeNow, Revision: 7,
		Engine: backend.EngineState{Running: true, PID: 4711, Host: "console1", Since: at(-2 * time.Hour), Beat: at(-time.Second)},
		Policy: backend.QueuePolicy{Order: "hrrn", Backfill: "easy", Placement: "best"},
		Hosts: []backend.QueueHost{
			{Name: "hv1", URI: "fake://hv1", Capacity: backend.Resources{VCPU: 16, Memory: 32 * gib, Disk: 500 * gib},
				Total: backend.Resources{VCPU: 4, Memory: 34 * gib, Disk: 500 * gib},
				Used:  size, Outside: backend.Resources{VCPU: 2, Memory: 4 * gib}, SeenAt: at(-time.Second)},
			{Name: "hv2", URI: "fake://hv2", Capacity: backend.Resources{VCPU: 16, Memory: 32 * gib}, Drained: true, Since: at(-time.Hour)},
		},
		Jobs: []backend.Job{
			{ID: 11, VM: web1, Name: "web1", Home: "hv1", Owner: "alice", Size: size, Priority: 50, State: backend.JobRunning, Since: at(-time.Hour),
				Submitted: at(-90 * time.Minute), Started: at(-time.Hour), LastStart: at(-time.Hour), Expected: 2 * time.Hour, Estimate: 2 * time.Hour, RunsOn: "hv1", Tags: []string{"web"}},
			{ID: 12, VM: backend.UUID{'1', 1}, Name: "web2", Home: "hv1", Owner: "bob", Size: backend.Resources{VCPU: 8, Memory: 24 * gib}, Priority: 70, State: backend.JobReserved,
				Since: at(-time.Minute), Submitted: at(-30 * time.Minute), Expected: time.Hour, Limit: time.Hour, Position: 1, Score: 1.5, ETA: at(time.Hour), ETAHost: "hv1", Promised: at(time.Hour),
				Why: backend.Reason{Code: backend.WhyResources, Dimension: "mem", Detail: "4.0G short on hv1"}, Preemptible: true, Near: []string{"web"}},
			{ID: 13, VM: backend.UUID{'1', 2}, Name: "web10", Home: "hv1", Owner: "bob", Size: size, Priority: 50, State: backend.JobQueued, Since: at(-time.Minute),
				Submitted: at(-10 * time.Minute), Position: 2, Score: 1.1, Why: backend.Reason{Code: backend.WhyDependency, Of: 12}, After: []backend.JobID{12}},
			{ID: 14, VM: backend.UUID{'2', 0}, Name: "web1", Home: "hv2", Owner: "eve\x1b[31m", Size: size, Priority: 0, State: backend.JobHeld, Held: true, Since: at(-time.Minute),
				Submitted: at(-26 * time.Hour), Position: 3, Why: backend.Reason{Code: backend.WhyHeld}},
			{ID: 9, VM: web1, Name: "web1", Home: "hv1", Owner: "alice", Size: size, Priority: 50, State: backend.JobDone, Submitted: at(-5 * time.Hour), Started: at(-4 * time.Hour), Ended: at(-3 * time.Hour), RunsOn: "hv1"},
			{ID: 8, VM: backend.UUID{'1', 3}, Name: "broken1", Home: "hv1", Owner: "alice", Size: size, Priority: 50, State: backend.JobFailed, Submitted: at(-5 * time.Hour), Ended: at(-4 * time.Hour),
				Words: "internal error: \x1b[2Jqemu died"},
		},
	}
	q.events = []backend.JobEvent{
		{ID: 1, At: at(-30 * time.Minute), Job: 12, Name: "web2", What: "submitted", Who: "bob"},
		{ID: 2, At: at(-20 * time.Minute), What: "policy", Who: "alice", Detail: "order hrrn"},
		{ID: 3, At: at(-time.Minute), Job: 12, Name: "web2", What: "reserved", Host: "hv1", Who: "engine", Detail: "\x1b]0;evil\x07"},
	}
	return q
}

func (q *fakeQueue) note(format string, args ...any) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refuse != nil {
		return q.refuse
	}
	q.calls = append(q.calls, fmt.Sprintf(format, args...))
	return nil
}

func (q *fakeQueue) State(ctx context.Context) (backend.QueueState, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	st := q.state
	st.Jobs = slices.Clone(st.Jobs)
	return st, ctx.Err()
}

// Wait lets the first job that has not ended end, and something be noted of it.
func (q *fakeQueue) Wait(ctx context.Context, revision int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if revision != q.state.Revision {
		return nil
	}
	i := slices.IndexFunc(q.state.Jobs, func(j backend.Job) bool { return !j.State.Ended() && !j.Held })
	if i < 0 {
		q.mu.Unlock()
		<-ctx.Done() // nothing will ever happen
		q.mu.Lock()
		return context.Cause(ctx)
	}
	q.state.Revision++
	j := &q.state.Jobs[i]
	j.State, j.Position, j.Ended = backend.JobDone, 0, q.state.At
	if j.Name == "web10" {
		j.State, j.Words = backend.JobTimeout, "stopped at its limit"
	}
	q.events = append(q.events, backend.JobEvent{ID: int64(len(q.events) + 1), At: q.state.At, Job: j.ID, Name: j.Name, What: string(j.State)})
	return nil
}

func (q *fakeQueue) Explain(_ context.Context, id backend.JobID) (backend.Explanation, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j := jobByID(&q.state, id)
	if j == nil {
		return backend.Explanation{}, &backend.OpError{Op: "explain", Target: fmt.Sprint(id), Err: backend.ErrNoJob}
	}
	e := backend.Explanation{Job: *j}
	for _, ev := range q.events {
		if ev.Job == id {
			e.Events = append(e.Events, ev)
		}
	}
	if id != 12 {
		return e, nil
	}
	e.Factors = []backend.Factor{{Name: "ratio", Value: 1.5, Text: "waited 30m for 1h"}}
	e.Hosts = []backend.HostFit{
		{Host: "hv1", Short: []backend.Shortage{{Dimension: "mem", Need: 24 * gib, Free: 20 * gib}, {Dimension: "cpu", Need: 8, Free: 6}}, At: at(time.Hour)},
		{Host: "hv2", Fits: true, Why: backend.Reason{Code: backend.WhyMaintenance, Host: "hv2"}},
	}
	e.Ahead, e.Blocks = []backend.Job{q.state.Jobs[0]}, []backend.JobID{13}
	e.Sooner = []backend.Remedy{{Text: "end job 11", ETA: at(0)}, {Text: "let hv2 take jobs again", ETA: at(time.Minute)}}
	return e, nil
}

// WhatIf turns the order of what waits around, whatever is asked.
func (q *fakeQueue) WhatIf(ctx context.Context, h backend.Hypothesis) (backend.QueueState, error) {
	if err := q.note("what-if"); err != nil {
		return backend.QueueState{}, err
	}
	st, err := q.State(ctx)
	waiting := 0
	for _, j := range st.Jobs {
		if j.State.Waiting() {
			waiting++
		}
	}
	for i := range st.Jobs {
		if j := &st.Jobs[i]; j.State.Waiting() {
			j.Position = waiting + 1 - j.Position
			if !j.ETA.IsZero() {
				j.ETA = j.ETA.Add(45 * time.Minute)
			}
		}
	}
	for _, s := range h.Submit {
		st.Jobs = append(st.Jobs, backend.Job{Name: s.Name, State: backend.JobQueued, Submitted: st.At, Position: waiting + 1, ETA: st.At})
	}
	return st, err
}

func (q *fakeQueue) Log(_ context.Context, query backend.LogQuery) ([]backend.JobEvent, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []backend.JobEvent
	for _, e := range q.events {
		if e.ID > query.After && (query.Job == 0 || e.Job == query.Job) && !e.At.Before(query.Since) {
			out = append(out, e)
		}
	}
	if query.Limit > 0 && len(out) > query.Limit {
		out = out[len(out)-query.Limit:]
	}
	return out, nil
}

func (q *fakeQueue) Submit(_ context.Context, specs []backend.JobSpec) ([]backend.JobID, error) {
	if err := q.note("submit %d", len(specs)); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.specs = specs
	var ids []backend.JobID
	for _, s := range specs {
		id := backend.JobID(20 + len(ids))
		ids = append(ids, id)
		q.state.Jobs = append(q.state.Jobs, backend.Job{ID: id, VM: s.VM.UUID, Name: s.Name, Home: s.VM.Host, State: backend.JobQueued, Submitted: q.state.At})
	}
	return ids, nil
}

func (q *fakeQueue) Change(_ context.Context, ids []backend.JobID, c backend.JobChange) error {
	for _, id := range ids {
		if jobByID(&q.state, id) == nil {
			return &backend.OpError{Op: "change", Target: fmt.Sprint(id), Err: backend.ErrNoJob}
		}
	}
	q.changes = append(q.changes, c)
	return q.note("change %v", ids)
}

func (q *fakeQueue) SetPolicy(_ context.Context, p backend.QueuePolicy) error {
	return q.note("policy %v", p)
}

func (q *fakeQueue) Drain(_ context.Context, host string, on bool) error {
	return q.note("drain %s %v", host, on)
}

func (q *fakeQueue) Close() error {
	if q.closed {
		return errors.New("closed twice")
	}
	q.closed = true
	return nil
}

func (q *fakeQueue) Fenced(_ context.Context, host string) error { return q.note("fenced %s", host) }

func (q *fakeQueue) StartEngine(context.Context) error { return q.note("start the engine") }

func (q *fakeQueue) RemoveHost(_ context.Context, host string) error {
	return q.note("forget %s", host)
}
