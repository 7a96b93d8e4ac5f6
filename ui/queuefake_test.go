package ui

import (
	"context"
	"fmt"
	"time"

	"berth/backend"
)

// fakeQueue is a queue that stands still: its State is what the test says, and
// WhatIf is the same with every start moved.
type fakeQueue struct {
	state   backend.QueueState
	explain backend.Explanation
	shift   time.Duration // by which WhatIf moves starts
	err     error
	done    []string
}

func (q *fakeQueue) State(context.Context) (backend.QueueState, error) { return q.state, q.err }
func (q *fakeQueue) Wait(_ context.Context, revision int64) error {
	if q.state.Revision != revision {
		return nil
	}
	return context.DeadlineExceeded
}
func (q *fakeQueue) Close() error { return nil }
func (q *fakeQueue) Log(context.Context, backend.LogQuery) ([]backend.JobEvent, error) {
	return nil, nil
}
func (q *fakeQueue) Explain(_ context.Context, id backend.JobID) (backend.Explanation, error) {
	for _, j := range q.state.Jobs {
		if j.ID == id {
			e := q.explain
			e.Job = j
			return e, nil
		}
	}
	return backend.Explanation{}, backend.ErrNoJob
}

func (q *fakeQueue) WhatIf(_ context.Context, h backend.Hypothesis) (backend.QueueState, error) {
	st := q.state
	st.Jobs = append([]backend.Job(nil), q.state.Jobs...)
	if h.Policy != nil || len(h.Jobs) > 0 || len(h.HostOut) > 0 {
		n := 0
		for i := range st.Jobs {
			if j := &st.Jobs[i]; j.State.Waiting() && !j.ETA.IsZero() {
				n++
				j.ETA = j.ETA.Add(q.shift * time.Duration(n-2))
			}
		}
	}
	for i, s := range h.Submit {
		st.Jobs = append(st.Jobs, backend.Job{ID: backend.JobID(1000 + i), VM: s.VM.UUID, Name: s.Name, State: backend.JobQueued, Position: 5 + i,
			ETA: st.At.Add(95 * time.Minute), ETAHost: st.Hosts[0].Name, Size: backend.Resources{VCPU: 2, Memory: 4 << 30}})
	}
	return st, q.err
}

func (q *fakeQueue) Submit(_ context.Context, specs []backend.JobSpec) ([]backend.JobID, error) {
	q.done = append(q.done, fmt.Sprintf("submit %d", len(specs)))
	return nil, q.err
}
func (q *fakeQueue) Change(_ context.Context, ids []backend.JobID, c backend.JobChange) error {
	q.done = append(q.done, fmt.Sprintf("change %v %+v", ids, c))
	return q.err
}
func (q *fakeQueue) SetPolicy(_ context.Context, p backend.QueuePolicy) error {
	q.done = append(q.done, fmt.Sprintf("policy %+v", p))
	return q.err
}
func (q *fakeQueue) Drain(_ context.Context, host string, on bool) error {
	q.done = append(q.done, fmt.Sprintf("drain %s %t", host, on))
	return q.err
}

const gib = 1 << 30

// livingQueue is a queue with a job in every state that a person may see.
func livingQueue(now time.Time) *fakeQueue {
	id := backend.JobID(0)
	job := func(name string, st backend.JobState, cpu, mem int, est time.Duration) backend.Job {
		id++
		j := backend.Job{ID: id, Name: name, Owner: "alice", Home: "ams-hv1", State: st, Priority: 50, Size: backend.Resources{VCPU: cpu, Memory: uint64(mem) * gib, Disk: 40 * gib},
			Estimate: est, Expected: est, Submitted: now.Add(-time.Duration(40+7*id) * time.Minute), Since: now.Add(-time.Minute)}
		j.VM[0], j.VM[15] = byte(id), 0x77
		return j
	}
	run := func(host string, ran time.Duration, j backend.Job) backend.Job {
		j.RunsOn, j.LastStart, j.Started = host, now.Add(-ran), now.Add(-ran)
		return j
	}
	wait := func(pos int, in time.Duration, host string, why backend.Reason, j backend.Job) backend.Job {
		j.Position, j.Why, j.Score = pos, why, 4.2/float64(pos)
		if in > 0 {
			j.ETA, j.ETAHost = now.Add(in), host
		}
		return j
	}
	ended := func(words string, ago time.Duration, j backend.Job) backend.Job {
		j.Ended, j.Started, j.Words, j.RunsOn = now.Add(-ago), now.Add(-ago-55*time.Minute), words, "sto-hv1"
		return j
	}
	over := run("sto-hv1", 130*time.Minute, job("nightly-report-01", backend.JobRunning, 4, 8, 2*time.Hour))
	over.Extended = 2
	stopping := run("fra-hv1", 12*time.Minute, job("render-03", backend.JobStopping, 2, 4, time.Hour))
	stopping.Cancel = true
	held := wait(7, 0, "", backend.Reason{Code: backend.WhyHeld}, job("audit-2025", backend.JobHeld, 1, 2, 30*time.Minute))
	held.Held = true
	begin := wait(6, 5*time.Hour, "fra-hv1", backend.Reason{Code: backend.WhyBeginTime}, job("backup-verify", backend.JobQueued, 2, 4, time.Hour))
	begin.Begin = now.Add(5 * time.Hour)
	after := wait(5, 14*time.Hour, "sto-hv1", backend.Reason{Code: backend.WhyDependency, Of: 7}, job("publish-仮想-01", backend.JobQueued, 1, 1, 10*time.Minute))
	after.After, after.Tags = []backend.JobID{7}, []string{"release", "web"}
	cancelled := ended("", 2*time.Hour, job("scratch-9", backend.JobCancelled, 2, 4, time.Hour))
	cancelled.Started = time.Time{}
	jobs := []backend.Job{
		run("ams-hv1", 50*time.Minute, job("ci-runner-17", backend.JobRunning, 4, 8, 80*time.Minute)),
		run("ams-hv1", 20*time.Minute, job("ci-runner-18", backend.JobRunning, 4, 8, 2*time.Hour)),
		over, stopping,
		run("sto-hv1", 26*time.Hour, job("monitor-02", backend.JobRunning, 2, 4, 0)),
		run("fra-hv1", 3*time.Second, job("desk-grace", backend.JobStarting, 2, 4, 8*time.Hour)),
		wait(1, 30*time.Minute, "ams-hv1", backend.Reason{Code: backend.WhyResources, Dimension: "mem", Detail: "4.0G short on ams-hv1"}, job("train-resnet", backend.JobReserved, 16, 64, 6*time.Hour)),
		wait(2, 42*time.Minute, "fra-hv1", backend.Reason{Code: backend.WhyReservation, Of: 7}, job("etl-orders", backend.JobQueued, 4, 16, 3*time.Hour)),
		wait(3, 95*time.Minute, "sto-hv1", backend.Reason{Code: backend.WhyPriority}, job("web-load-test-03", backend.JobQueued, 2, 4, 90*time.Minute)),
		wait(4, 0, "", backend.Reason{Code: backend.WhyAffinity}, job("db-replica-b", backend.JobQueued, 4, 16, 0)),
		after, begin, held,
		ended("", 9*time.Minute, job("ci-runner-16", backend.JobDone, 4, 8, time.Hour)),
		ended("internal error: process exited while connecting to monitor: Cannot allocate memory", 31*time.Minute, job("bigmem-1", backend.JobFailed, 8, 96, time.Hour)),
		cancelled,
	}
	host := func(name string, cpu, mem int, used, outside, reserved backend.Resources) backend.QueueHost {
		total := backend.Resources{VCPU: cpu, Memory: uint64(mem) * gib, Disk: 900 * gib}
		return backend.QueueHost{Name: name, URI: "demo:///" + name, Total: total, Capacity: total, Used: used, Outside: outside, Reserved: reserved, SeenAt: now}
	}
	res := func(cpu, mem int) backend.Resources { return backend.Resources{VCPU: cpu, Memory: uint64(mem) * gib} }
	return &fakeQueue{
		shift: 20 * time.Minute,
		state: backend.QueueState{At: now, Revision: 7, Engine: backend.EngineState{Running: true, PID: 4711, Beat: now},
			Policy: backend.QueuePolicy{Order: "hrrn", Backfill: "easy", Placement: "best"},
			Hosts:  []backend.QueueHost{host("ams-hv1", 32, 80, res(8, 16), res(10, 30), res(14, 34)), host("fra-hv1", 24, 80, res(4, 8), res(12, 64), res(0, 0)), host("sto-hv1", 48, 112, res(6, 12), res(20, 70), res(0, 0))},
			Jobs:   jobs},
		explain: backend.Explanation{
			Factors: []backend.Factor{{Name: "ratio", Value: 4.2, Text: "waited 1h29m, estimate 6h: (wait + estimate) / estimate"}},
			Hosts: []backend.HostFit{
				{Host: "ams-hv1", Short: []backend.Shortage{{Dimension: "mem", Need: 64 * gib, Free: 34 * gib}, {Dimension: "cpu", Need: 16, Free: 14}}, At: now.Add(30 * time.Minute)},
				{Host: "fra-hv1", Short: []backend.Shortage{{Dimension: "mem", Need: 64 * gib, Free: 8 * gib}}},
				{Host: "sto-hv1", Fits: false, Why: backend.Reason{Code: backend.WhyMaintenance, Host: "sto-hv1", Detail: "drained by bob"}, At: now.Add(26 * time.Hour)},
			},
			Ahead:  jobs[6:8],
			Blocks: []backend.JobID{after.ID},
			Sooner: []backend.Remedy{{Text: "end ci-runner-18", ETA: now.Add(4 * time.Minute)}, {Text: "move it to the top", ETA: now.Add(20 * time.Minute)}},
			Events: []backend.JobEvent{{ID: 1, At: now.Add(-89 * time.Minute), What: "submitted", Who: "alice"}, {ID: 2, At: now.Add(-30 * time.Minute), What: "promised", Who: "engine", Host: "ams-hv1", Detail: "10:30"}},
		},
	}
}

// edit changes the state as another process would.
func (q *fakeQueue) edit(f func(*backend.QueueState)) {
	st := q.state
	st.Jobs = append([]backend.Job(nil), st.Jobs...)
	st.Hosts = append([]backend.QueueHost(nil), st.Hosts...)
	f(&st)
	st.Revision++
	q.state = st
}
