package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/queue"
	"berth/backend/store"
)

// Change does the same to every job named, all or none.
func (c *Client) Change(ctx context.Context, ids []backend.JobID, ch backend.JobChange) error {
	if err := checkChange(&ch); err != nil {
		return err
	}
	var changed []backend.Job
	err := c.o.Store.Update(ctx, func(tx *store.Tx) error {
		changed = nil
		front, err := c.front(tx, ch)
		if err != nil {
			return err
		}
		for _, id := range slices.Compact(slices.Clone(ids)) {
			j, err := tx.Job(id)
			if err != nil {
				return err
			}
			before := j
			front++
			if err := apply(&j, ch, front, c.o.Clock.Now()); err != nil {
				return err
			}
			if err := c.write(tx, &before, &j, ch); err != nil {
				return err
			}
			changed = append(changed, j)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range changed {
		j := &changed[i]
		c.record(hostOf(j), "queue-change", j.Name, j.VM.String(), fmt.Sprintf("job %d: %s", j.ID, describe(ch)))
	}
	if slices.ContainsFunc(changed, func(j backend.Job) bool { return !j.State.Ended() && j.State != backend.JobHeld }) {
		return c.ensure(ctx)
	}
	return nil
}

// write writes a changed job and tells of it.
func (c *Client) write(tx *store.Tx, before, j *backend.Job, ch backend.JobChange) error {
	if err := tx.PutJob(*j); err != nil {
		return err
	}
	if j.State.Ended() && !before.State.Ended() {
		if err := tx.SetSetting(noteSetting(j.ID), ""); err != nil {
			return err
		}
	}
	return tx.AddEvent(backend.JobEvent{At: c.o.Clock.Now(), Job: j.ID, Name: j.Name, What: eventOf(ch), Host: hostOf(j),
		Who: c.o.Who, Detail: describe(ch)})
}

// front is the greatest Front of all jobs, which Top goes beyond.
func (c *Client) front(tx *store.Tx, ch backend.JobChange) (most int64, err error) {
	if !ch.Top {
		return 0, nil
	}
	jobs, err := tx.Jobs(store.Filter{Active: true})
	for i := range jobs {
		most = max(most, jobs[i].Front)
	}
	return most, err
}

// hostOf is the host that a job is about.
func hostOf(j *backend.Job) string {
	if j.RunsOn != "" {
		return j.RunsOn
	}
	return j.Home
}

// checkChange refuses values that make no sense, and cleans those that do.
func checkChange(ch *backend.JobChange) error {
	switch {
	case ch.Hold && ch.Release:
		return invalid("change", "hold and release exclude each other")
	case ch.Force && !ch.Cancel:
		return invalid("change", "force is for cancel only")
	}
	if ch.Tags != nil {
		tags, err := cleanTags(*ch.Tags)
		if err != nil {
			return err
		}
		ch.Tags = &tags
	}
	return checkValues(ch.Priority, ch.Nice, ch.Estimate, ch.Limit)
}

// mostNice is the range of Nice either way, wide enough for any priority.
const mostNice = 20000

func checkValues(priority, nice *int, estimate, limit *time.Duration) error {
	switch {
	case priority != nil && (*priority < 0 || *priority > 100):
		return invalid("priority", fmt.Sprintf("it is %d, and may be 0 to 100", *priority))
	case nice != nil && (*nice < -mostNice || *nice > mostNice):
		return invalid("nice", fmt.Sprintf("it is %d, and may be -%d to %d", *nice, mostNice, mostNice))
	case estimate != nil && *estimate < 0:
		return invalid("estimate", "it is negative")
	case limit != nil && *limit < 0:
		return invalid("limit", "it is negative")
	}
	return nil
}

func invalid(what, words string) error {
	return &backend.OpError{Op: what, Err: fmt.Errorf("%w: %s", backend.ErrInvalid, words)}
}

// cleanTags makes tags safe to show and drops empty and double ones.
func cleanTags(tags []string) (out []string, err error) {
	for _, t := range tags {
		t = strings.TrimSpace(backend.Clean(t))
		if len(t) > 100 {
			return nil, invalid("tag", "it is longer than 100 bytes")
		}
		if t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out, nil
}

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
		j.Expected = 0
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

// eventOf is the word of the log for a change.
func eventOf(ch backend.JobChange) string {
	switch {
	case ch.Cancel && ch.Force:
		return "cancel by force"
	case ch.Cancel:
		return "cancel"
	case ch.Retry:
		return "retried"
	case ch.Hold:
		return "held"
	case ch.Release:
		return "released"
	case ch.Top:
		return "top"
	}
	return "changed"
}

// describe puts a change in words.
func describe(ch backend.JobChange) string {
	var w []string
	add := func(wanted bool, format string, args ...any) {
		if wanted {
			w = append(w, fmt.Sprintf(format, args...))
		}
	}
	add(ch.Retry, "retry")
	add(ch.Hold, "hold")
	add(ch.Release, "release")
	add(ch.Top, "top")
	add(ch.Cancel && !ch.Force, "cancel")
	add(ch.Cancel && ch.Force, "cancel by force")
	add(ch.Priority != nil, "priority %v", val(ch.Priority))
	add(ch.Nice != nil, "nice %v", val(ch.Nice))
	add(ch.Estimate != nil, "estimate %v", short(val(ch.Estimate)))
	add(ch.Limit != nil, "limit %v", short(val(ch.Limit)))
	add(ch.Host != nil, "host %q", val(ch.Host))
	add(ch.Begin != nil, "begin %v", val(ch.Begin).Format(time.DateTime))
	add(ch.Preemptible != nil, "preemptible %v", val(ch.Preemptible))
	add(ch.Tags != nil, "tags %s", strings.Join(val(ch.Tags), ","))
	return strings.Join(w, ", ")
}

func val[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// SetPolicy changes the policy of the whole queue. Words that no policy has
// wrap backend.ErrInvalid.
func (c *Client) SetPolicy(ctx context.Context, p backend.QueuePolicy) error {
	parsed, err := queue.Parse(p)
	if err != nil {
		return &backend.OpError{Op: "set the policy", Err: err}
	}
	p = parsed.Words()
	words := fmt.Sprintf("%s, backfill %s, placement %s, preemption %v, N+1 %v", p.Order, p.Backfill, p.Placement, p.Preempt, p.NPlus1)
	err = c.o.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.SetPolicy(p); err != nil {
			return err
		}
		return tx.AddEvent(backend.JobEvent{At: c.o.Clock.Now(), What: "policy", Who: c.o.Who, Detail: words})
	})
	if err == nil {
		c.record("", "queue-policy", "", "", words)
	}
	return err
}

// Drain keeps new jobs off a host, or lets them there again. What runs there
// goes on. A host that the queue does not know wraps backend.ErrInvalid.
func (c *Client) Drain(ctx context.Context, host string, on bool) error {
	what := map[bool]string{true: "drained", false: "undrained"}[on]
	err := c.changeHost(ctx, what, host, func(tx *store.Tx, h backend.QueueHost) error {
		if h.Drained == on {
			return nil
		}
		h.Drained, h.Since = on, c.o.Clock.Now()
		if err := tx.PutHost(h); err != nil {
			return err
		}
		return tx.AddEvent(backend.JobEvent{At: h.Since, What: what, Host: host, Who: c.o.Who})
	})
	if err == nil {
		c.record(host, "queue-"+what, "", "", "")
	}
	return err
}

// Fenced is a person's word that a host which does not answer is off: its jobs
// are queued again at the front. It wraps backend.ErrState while the host
// answers.
func (c *Client) Fenced(ctx context.Context, host string) error {
	err := c.changeHost(ctx, "fence", host, func(tx *store.Tx, h backend.QueueHost) error {
		if !h.Down {
			return &backend.OpError{Op: "fence", Target: host, Err: fmt.Errorf("%w: it answers", backend.ErrState), Hint: "drain it to keep new jobs away"}
		}
		return putOff(tx, host, c.o.Clock.Now(), c.o.Who)
	})
	if err != nil {
		return err
	}
	c.record(host, "queue-fenced", "", "", "said to be off")
	return c.ensure(ctx)
}

// AddHost makes a host one of the queue's, so that jobs may run there which
// were submitted elsewhere.
func (c *Client) AddHost(ctx context.Context, spec HostSpec) error {
	return c.o.Store.Update(ctx, func(tx *store.Tx) error {
		hosts, err := tx.Hosts()
		if err != nil {
			return err
		}
		return addHost(tx, hosts, spec)
	})
}

// RemoveHost takes a host out of the queue. It wraps backend.ErrState while a
// job holds a berth there or is bound to it.
func (c *Client) RemoveHost(ctx context.Context, host string) error {
	return c.changeHost(ctx, "remove", host, func(tx *store.Tx, _ backend.QueueHost) error {
		jobs, err := tx.Jobs(store.Filter{Active: true})
		if err != nil {
			return err
		}
		for i := range jobs {
			if j := &jobs[i]; j.RunsOn == host && j.State.Holds() || j.Host == host || j.Home == host {
				return refuse("remove "+host+" while it is used by", j, "cancel the job first, or drain the host")
			}
		}
		return tx.DeleteHost(host)
	})
}

// changeHost finds a host of the queue and changes it.
func (c *Client) changeHost(ctx context.Context, op, host string, f func(*store.Tx, backend.QueueHost) error) error {
	return c.o.Store.Update(ctx, func(tx *store.Tx) error {
		hosts, err := tx.Hosts()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(hosts, func(h backend.QueueHost) bool { return h.Name == host })
		if i < 0 {
			var names []string
			for _, h := range hosts {
				names = append(names, h.Name)
			}
			return &backend.OpError{Op: op, Target: host, Err: fmt.Errorf("%w: the queue has no such host", backend.ErrInvalid),
				Hint: "it has " + strings.Join(names, ", ")}
		}
		return f(tx, hosts[i])
	})
}
