package demoqueue

import (
	"context"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// draft is a job that was not entered yet.
type draft struct {
	backend.Job
	after *draft // must have been submitted before
}

// seed enters the hosts, what was before, and what is under way and waits.
func (q *Queue) seed(ctx context.Context) (*people, error) {
	cast, err := readCast(ctx, q.hosts)
	if err != nil {
		return nil, err
	}
	now := q.o.Clock.Now()
	s := &scene{now: now, dice: newDice(cast, 1), cast: cast}
	s.past()
	s.underWay()
	s.waiting()
	slices.SortStableFunc(s.drafts, func(a, b *draft) int { return a.Submitted.Compare(b.Submitted) })
	err = q.store.Update(ctx, func(tx *store.Tx) error {
		for _, h := range q.hosts {
			if err := tx.PutHost(backend.QueueHost{Name: h.Name(), URI: h.URI()}); err != nil {
				return err
			}
		}
		return s.enter(tx)
	})
	return &people{q: q, cast: cast, dice: newDice(cast, 2)}, err
}

// enter adds the drafts in the order in which they were submitted, and then
// what is told of them in the order in which it happened.
func (s *scene) enter(tx *store.Tx) error {
	var events []backend.JobEvent
	for _, d := range s.drafts {
		if d.after != nil {
			d.After = []backend.JobID{d.after.ID}
		}
		id, err := tx.AddJob(d.Job)
		if err != nil {
			return err
		}
		d.ID = id
		events = append(events, d.told()...)
	}
	slices.SortStableFunc(events, func(a, b backend.JobEvent) int { return a.At.Compare(b.At) })
	for _, e := range events {
		if err := tx.AddEvent(e); err != nil {
			return err
		}
	}
	return nil
}

// told is what the log says of the job so far.
func (d *draft) told() []backend.JobEvent {
	tell := func(at time.Time, what, host, who, detail string) backend.JobEvent {
		return backend.JobEvent{At: at, Job: d.ID, Name: d.Name, What: what, Host: host, Who: who, Detail: detail}
	}
	list := []backend.JobEvent{tell(d.Submitted, "submitted", d.Home, d.Owner, "")}
	if d.State == backend.JobHeld {
		list = append(list, tell(d.Since, "held", "", d.Owner, ""))
	}
	if !d.Started.IsZero() {
		list = append(list, tell(d.Started, "started", d.RunsOn, "engine", ""))
	}
	if !d.Ended.IsZero() {
		who := "engine"
		if d.State == backend.JobCancelled {
			who = d.Owner
		}
		list = append(list, tell(d.Ended, string(d.State), d.RunsOn, who, d.Words))
	}
	return list
}
