package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// Change does the same to every job named, all or none.
func (c *Client) Change(ctx context.Context, ids []backend.JobID, ch backend.JobChange) error {
	if err := checkChange(&ch); err != nil {
		return err
	}
	var changed []backend.Job
	work := false
	err := c.o.Store.Update(ctx, func(tx *store.Tx) error {
		changed = nil
		front, err := c.front(tx, ch)
		if err != nil {
			return err
		}
		for _, id := range once(ids) {
			j, err := tx.Job(id)
			if err != nil {
				return err
			}
			before := j
			if ch.Release {
				if err := forgiveIn(tx, &j); err != nil {
					return err
				}
			}
			front++
			if err := apply(&j, ch, front, c.o.Clock.Now()); err != nil {
				return err
			}
			if err := c.write(tx, &before, &j, ch); err != nil {
				return err
			}
			changed = append(changed, j)
		}
		active, err := tx.Jobs(store.Filter{Active: true})
		work = slices.ContainsFunc(active, func(j backend.Job) bool { return needsEngine(j.State) })
		return err
	})
	if err != nil {
		return err
	}
	for i := range changed {
		j := &changed[i]
		c.record(hostOf(j), "queue-change", j.Name, j.VM.String(), fmt.Sprintf("job %d: %s", j.ID, describe(ch)))
	}
	if work {
		return c.ensure(ctx)
	}
	return nil
}

// once is ids with each number where it comes first.
func once(ids []backend.JobID) (out []backend.JobID) {
	seen := make(map[backend.JobID]bool, len(ids))
	for _, id := range ids {
		if !seen[id] {
			out = append(out, id)
		}
		seen[id] = true
	}
	return out
}

// forgive has a job that is held for a dependency that has not ended well wait
// for it no longer: that is what a release then means.
func forgive(j *backend.Job, broken func(backend.JobID) bool) {
	if j.State == backend.JobHeld && j.Words != "" {
		j.After = slices.DeleteFunc(slices.Clone(j.After), broken)
	}
}

// forgiveIn is forgive by what the store says.
func forgiveIn(tx *store.Tx, j *backend.Job) error {
	if len(j.After) == 0 {
		return nil
	}
	others, err := tx.Jobs(store.Filter{IDs: j.After})
	forgive(j, func(id backend.JobID) bool {
		i := slices.IndexFunc(others, func(o backend.Job) bool { return o.ID == id })
		return i < 0 || others[i].State.Ended() && others[i].State != backend.JobDone
	})
	return err
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
