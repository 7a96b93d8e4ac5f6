package engine

import (
	"fmt"
	"time"

	"berth/backend"
	"berth/backend/queue"
)

// refuse says why a job cannot be changed like that.
func refuse(op string, j *backend.Job, hint string) error {
	return &backend.OpError{Op: op, Target: fmt.Sprintf("job %d (%s)", j.ID, j.Name),
		Err: fmt.Errorf("%w: it is %s", backend.ErrState, j.State), Hint: hint}
}

// apply makes a change to a job. It is the same for a change that is made and
// for one that is only thought through.
func apply(j *backend.Job, ch backend.JobChange, front int64, now time.Time) error {
	for _, step := range []struct {
		wanted bool
		do     func(*backend.Job, backend.JobChange, int64, time.Time) error
	}{
		{ch.Retry, applyRetry}, {ch.Hold, applyHold}, {ch.Release, applyRelease}, {ch.Top, applyTop},
		{true, applyValues}, {ch.Cancel, applyCancel},
	} {
		if !step.wanted {
			continue
		}
		if err := step.do(j, ch, front, now); err != nil {
			return err
		}
	}
	return nil
}

// enter changes the state.
func enter(j *backend.Job, s backend.JobState, now time.Time) { j.State, j.Since = s, now }

// standStill stops the job's age.
func standStill(j *backend.Job, now time.Time) { j.Aged, j.AgedAt = ageOf(j, now), time.Time{} }

func applyRetry(j *backend.Job, _ backend.JobChange, _ int64, now time.Time) error {
	again := j.State == backend.JobError || j.State == backend.JobFailed
	if !again && (!j.State.Waiting() || j.Attempts == 0) {
		return refuse("retry", j, "only a job in error, failed, or waiting after a refused start can be retried")
	}
	if again {
		enter(j, backend.JobQueued, now)
		j.Launch, j.Ended, j.Cancel, j.Force, j.AgedAt = backend.LaunchNone, time.Time{}, false, false, time.Time{}
	}
	j.Attempts, j.NextTry, j.Words = 0, time.Time{}, ""
	return nil
}

func applyHold(j *backend.Job, _ backend.JobChange, _ int64, now time.Time) error {
	if !j.State.Waiting() {
		return refuse("hold", j, "only a job that waits can be held")
	}
	if j.State != backend.JobHeld {
		enter(j, backend.JobHeld, now)
	}
	j.Held, j.Words = true, ""
	standStill(j, now)
	return nil
}

func applyRelease(j *backend.Job, _ backend.JobChange, _ int64, now time.Time) error {
	if j.State != backend.JobHeld && !j.Held {
		return refuse("release", j, "it is not held")
	}
	j.Held, j.Words = false, ""
	if j.State == backend.JobHeld {
		enter(j, backend.JobQueued, now)
	}
	return nil
}

func applyTop(j *backend.Job, _ backend.JobChange, front int64, _ time.Time) error {
	if !j.State.Waiting() {
		return refuse("move to the top", j, "it does not wait")
	}
	j.Front = front
	return nil
}

func applyValues(j *backend.Job, ch backend.JobChange, _ int64, _ time.Time) error {
	values := ch.Priority != nil || ch.Nice != nil || ch.Estimate != nil || ch.Limit != nil || ch.Preemptible != nil || ch.Tags != nil
	place := ch.Host != nil || ch.Begin != nil
	if values && j.State.Ended() {
		return refuse("change", j, "it is over")
	}
	if place && !j.State.Waiting() {
		return refuse("change", j, "host and begin can be changed while it waits")
	}
	set(&j.Priority, ch.Priority)
	set(&j.Nice, ch.Nice)
	set(&j.Estimate, ch.Estimate)
	set(&j.Limit, ch.Limit)
	set(&j.Preemptible, ch.Preemptible)
	set(&j.Tags, ch.Tags)
	set(&j.Host, ch.Host)
	set(&j.Begin, ch.Begin)
	if !j.State.Waiting() && (ch.Estimate != nil || ch.Limit != nil) {
		j.Expected, j.Extended = 0, 0
		if e := queue.Estimate(span(j.Estimate), span(j.Limit), nil); e < queue.Never {
			j.Expected = time.Duration(e) * time.Second
		}
	}
	return nil
}

func set[T any](to, by *T) {
	if by != nil {
		*to = *by
	}
}

func applyCancel(j *backend.Job, ch backend.JobChange, _ int64, now time.Time) error {
	if j.State.Ended() {
		return refuse("cancel", j, "it is over")
	}
	j.Cancel, j.Force = true, j.Force || ch.Force
	if !j.State.Waiting() && j.State != backend.JobRecovery && j.State != backend.JobError {
		return nil // the engine ends its guest
	}
	enter(j, backend.JobCancelled, now)
	standStill(j, now)
	j.Ended, j.NextTry = now, time.Time{}
	j.Why, j.ETA, j.ETAHost, j.Position = backend.Reason{}, time.Time{}, "", 0
	return nil
}
