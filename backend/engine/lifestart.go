package engine

import (
	"errors"
	"time"

	"berth/backend"
)

// starting is a job whose domain is being started: paused, then let run.
func (t *turn) starting() {
	switch {
	case !t.active():
		t.notStarted()
	case t.s.vm.State != backend.Paused:
		t.started()
	case t.m.note.Abort != "":
		t.undo()
	case t.m.job.Launch == backend.LaunchResumed:
		t.letRun()
	default:
		t.standsPaused()
	}
}

// notStarted is a start whose domain is off.
func (t *turn) notStarted() {
	j := &t.m.job
	tried, err := t.failed(actStart)
	switch {
	case j.Launch == backend.LaunchResumed:
		t.ended()
	case j.Cancel:
		t.become(backend.JobCancelled, "cancelled", "before it ran")
	case t.m.note.Abort != "":
		t.refused(t.m.note.Abort, t.m.note.Why.Code, t.m.note.Heals)
	case t.s.away != nil:
		t.foundRunning()
	case t.rebooted():
		t.become(backend.JobRecovery, "recovery", "its host was booted before it ran")
	case j.Launch == backend.LaunchPaused:
		t.refused("somebody ended it before it ran", backend.WhyRetry, true)
	case t.s.gone:
		t.fail("it is defined on no host any more")
	case !tried && !t.s.others:
		t.requeue("queued", "a host on which it may run cannot be asked")
	case !tried:
		if j.Launch != backend.LaunchAsked { // no engine leaves a row like that
			t.job().Launch = backend.LaunchAsked
		}
		t.m.act = actStart
	case err == nil:
		t.refused("it was off again at once", backend.WhyRetry, true)
	default:
		t.refused(err.Error(), refusalCode(err), heals(err))
	}
}

// standsPaused is a domain that was started and has not run yet.
func (t *turn) standsPaused() {
	j := &t.m.job
	switch {
	case j.Launch == backend.LaunchAsked:
		t.job().Launch = backend.LaunchPaused
	case j.Cancel:
		t.stop(stopCancel, "cancelled before it ran")
	case t.tune():
	default:
		j := t.job()
		j.Launch, j.LastStart = backend.LaunchResumed, t.now
		if j.Started.IsZero() {
			j.Started = t.now
		}
		t.m.act = actResume
	}
}

// letRun is a domain that should run and stands paused.
func (t *turn) letRun() {
	tried, err := t.failed(actResume)
	switch {
	case !tried && t.m.job.NextTry.After(t.now):
		t.wake(t.m.job.NextTry)
	case !tried:
		t.m.act = actResume
	case err == nil: // it ran: somebody has paused it since
		t.started()
	case errors.Is(err, backend.ErrTimeout), errors.Is(err, backend.ErrUnreachable), errors.Is(err, backend.ErrBusy):
		j := t.job()
		j.Attempts++
		j.Words, j.NextTry = err.Error(), t.now.Add(retryAfter(j.Attempts))
		t.wake(j.NextTry)
	default: // it is paused still, so it has not run
		n := t.note()
		n.Abort, n.Heals, n.Why.Code = err.Error(), heals(err), refusalCode(err)
		t.job().Launch = backend.LaunchPaused
		t.m.act = actDestroy
	}
}

// undo cuts the power of a domain that could not be let run.
func (t *turn) undo() {
	tried, err := t.failed(actDestroy)
	if !tried && !t.m.job.NextTry.After(t.now) {
		t.m.act = actDestroy
		return
	}
	if err != nil {
		j := t.job()
		j.Words, j.NextTry = err.Error(), t.now.Add(retryAfter(1))
	}
	t.wake(t.m.job.NextTry)
}

// started is a domain that runs.
func (t *turn) started() {
	j, n := t.job(), t.note()
	if j.Launch != backend.LaunchResumed { // somebody else let it run
		j.Launch, j.LastStart = backend.LaunchResumed, t.now
		if j.Started.IsZero() {
			j.Started = t.now
		}
	}
	j.Attempts, j.NextTry, j.Words = 0, time.Time{}, ""
	n.Refused, n.Barred, n.Abort, n.Why = nil, nil, "", backend.Reason{}
	t.become(backend.JobRunning, "started", "")
}

// refused is a start that libvirt did not carry out: the job waits for the
// next try, elsewhere if this host would refuse it again, or has failed.
func (t *turn) refused(words string, code backend.ReasonCode, heals bool) {
	host := t.m.job.RunsOn
	if !heals && !t.s.roams {
		t.fail(words)
		return
	}
	n := t.note()
	count := map[string]int{}
	for h, times := range n.Refused {
		count[h] = times
	}
	count[host]++
	n.Refused = count
	if !heals {
		barred := map[string]bool{host: true}
		for h := range n.Barred {
			barred[h] = true
		}
		n.Barred = barred
	}
	n.Why = backend.Reason{Code: code, Host: host, Detail: words}
	j := t.job()
	j.Attempts++
	j.NextTry = t.now.Add(retryAfter(j.Attempts))
	why := n.Why
	t.requeue("refused", words)
	t.m.job.Why = why
	t.wake(j.NextTry)
}

// healing are the errors that can go away by themselves.
var healing = []error{
	backend.ErrNoMemory, backend.ErrLocked, backend.ErrTimeout, backend.ErrUnreachable, backend.ErrBusy,
	backend.ErrStuck, backend.ErrClosed, backend.ErrState, backend.ErrReadOnly,
}

// heals reports whether trying a refused start again can help.
func heals(err error) bool {
	for _, e := range healing {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// refusalCode is the reason that the queue shows for a refused start.
func refusalCode(err error) backend.ReasonCode {
	switch {
	case errors.Is(err, backend.ErrLocked):
		return backend.WhyDiskLocked
	case errors.Is(err, backend.ErrUnreachable):
		return backend.WhyHostDown
	}
	return backend.WhyRetry
}

// retries are the waits after refused starts, growing; the last repeats.
var retries = [...]time.Duration{
	5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
	10 * time.Minute, 15 * time.Minute,
}

// retryAfter is the wait after that many refusals in a row.
func retryAfter(times int) time.Duration { return retries[min(max(times, 1), len(retries))-1] }
