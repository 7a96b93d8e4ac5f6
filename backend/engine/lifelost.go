package engine

import (
	"time"

	"berth/backend"
)

// lost is a job with a berth on a host that cannot be asked.
func (t *turn) lost() {
	j := &t.m.job
	late := t.s.down.Add(t.r.lost)
	unknown := j.State == backend.JobUnknown || j.State == backend.JobFencing
	switch {
	case unknown && t.s.off:
		t.become(backend.JobRecovery, "recovery", "its host is off for sure")
	case !unknown && late.After(t.now):
		t.wake(late)
	case !unknown:
		t.become(backend.JobUnknown, "lost", "its host does not answer since "+t.s.down.Format(time.TimeOnly))
	case j.State == backend.JobFencing:
		t.fencing()
	case t.s.fence && t.mayFence():
		t.become(backend.JobFencing, "fencing", "")
		t.m.act = actFence
	}
}

// fencing is a job whose host is being made sure to be off.
func (t *turn) fencing() {
	tried, err := t.failed(actFence)
	switch {
	case !tried: // by an engine before this one
		t.m.act = actFence
	case err != nil:
		t.note().Tail = t.now
		t.job().Words = err.Error()
		t.become(backend.JobUnknown, "fencing failed", err.Error())
		t.mayFence()
	}
}

// mayFence spaces out fencing that failed.
func (t *turn) mayFence() bool {
	if t.m.note.Tail.IsZero() {
		return true
	}
	at := t.m.note.Tail.Add(time.Minute)
	if at.After(t.now) {
		t.wake(at)
		return false
	}
	return true
}

// returned is a job whose host answers again.
func (t *turn) returned() {
	n := &t.m.note
	if !t.active() {
		if t.m.job.Launch != backend.LaunchResumed {
			t.become(backend.JobStarting, "", "")
			return
		}
		t.ended()
		return
	}
	state, event := backend.JobRunning, "found"
	switch {
	case t.m.job.Launch != backend.LaunchResumed:
		state = backend.JobStarting
	case n.Stop != "":
		state = backend.JobStopping
	case n.Aside != "":
		state = backend.JobPreempted
	}
	t.note().Tail = time.Time{}
	words := ""
	if t.rebooted() {
		t.note().Boot = t.s.boot
		j := t.job()
		j.Launch, j.LastStart = backend.LaunchResumed, t.now
		state, words = backend.JobRunning, "its host was booted, and somebody started it again"
	}
	t.job().Words = ""
	t.become(state, event, words)
}

// recovered queues a job again whose host was lost, before all others.
func (t *turn) recovered() {
	if t.m.job.Cancel {
		t.become(backend.JobCancelled, "cancelled", "after its host was lost")
		return
	}
	t.job().Front = t.s.front
	t.requeue("queued", "at the front, for its host was lost")
}
