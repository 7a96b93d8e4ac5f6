package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/queue"
	"berth/backend/store"
)

// aheadMost is how many jobs an Explanation names that come before one.
const aheadMost = 20

// Explain says why a job waits or what became of it. It is worked out here,
// from what the engine wrote.
func (c *Client) Explain(ctx context.Context, id backend.JobID) (backend.Explanation, error) {
	var x backend.Explanation
	var b *book
	err := c.o.Store.View(ctx, func(tx *store.Tx) (err error) {
		if x.Job, err = tx.Job(id); err != nil {
			return err
		}
		if x.Events, err = tx.Events(backend.LogQuery{Job: id}); err != nil {
			return err
		}
		b, err = c.book(tx)
		return err
	})
	if err != nil {
		return x, err
	}
	for i := range b.jobs {
		if slices.Contains(b.jobs[i].After, id) {
			x.Blocks = append(x.Blocks, b.jobs[i].ID)
		}
	}
	if !x.Job.State.Waiting() {
		return x, nil
	}
	o, err := b.look()
	if err != nil {
		return x, err
	}
	o.explain(&x)
	return x, nil
}

// book reads what a plan needs, with the engine's own reasons as it wrote them.
func (c *Client) book(tx *store.Tx) (*book, error) {
	b, err := readBook(tx, c.o.Clock.Now(), c.o.Policy, newCache())
	if err != nil {
		return nil, err
	}
	for i := range b.jobs {
		if j := &b.jobs[i]; j.State.Waiting() && j.Why.Code == backend.WhyHostDown && j.Why.Detail != "" {
			b.wait[j.ID] = backend.WhyHostDown
		}
	}
	return b, nil
}

// explain fills in what the scheduler says of x.Job.
func (o *outlook) explain(x *backend.Explanation) {
	at := slices.IndexFunc(o.in.Jobs, func(q queue.Job) bool { return q.ID == int64(x.Job.ID) })
	if at < 0 {
		return
	}
	w := queue.Explain(o.in, at)
	x.Factors, x.Job.Score = w.Factors, w.Verdict.Score // of now, both
	for _, i := range w.Ahead {
		if len(x.Ahead) < aheadMost {
			x.Ahead = append(x.Ahead, o.book.jobs[o.waiting[i]])
		}
	}
	for h, fit := range w.Hosts {
		f := backend.HostFit{Host: o.in.Hosts[h].Name, Fits: fit.Fits, Why: fit.Why, At: moment(fit.At)}
		if detail := o.forbids(&x.Job, f.Host); detail != "" {
			f.Why = backend.Reason{Code: backend.WhyAffinity, Detail: detail}
		}
		for _, s := range fit.Short {
			f.Short = append(f.Short, shortage(s))
		}
		x.Hosts = append(x.Hosts, f)
	}
	for _, r := range w.Sooner {
		x.Sooner = append(x.Sooner, backend.Remedy{Text: o.inWords(r), ETA: moment(r.At)})
	}
}

// inWords is a remedy with the name of the VM that it would end: people know
// VMs better than jobs' numbers.
func (o *outlook) inWords(r queue.Remedy) string {
	if r.Kind == "end" {
		for i := range o.book.jobs {
			if j := &o.book.jobs[i]; int64(j.ID) == r.Job {
				return fmt.Sprintf("end %s (job %d)", j.Name, j.ID)
			}
		}
	}
	return r.Text
}

// forbids says why a job may not use a host at all; "" when it may.
func (o *outlook) forbids(j *backend.Job, host string) string {
	n := o.book.notes[j.ID]
	switch {
	case n.Saved != "" && n.Saved != host:
		return "its saved state is on " + n.Saved
	case j.Host != "" && j.Host != host:
		return "it is bound to " + j.Host
	case j.Host != "":
		return ""
	case n.Barred[host]:
		return "this host has refused to start it for good"
	case len(n.Fits) > 0 && !slices.Contains(n.Fits, host), len(n.Fits) == 0 && j.Home != host:
		return "its VM is not defined here, and could not run here as far as is known"
	}
	return ""
}

// shortage is a lack in the scheduler's units as ours.
func shortage(s queue.Short) backend.Shortage {
	unit := int64(1)
	if s.Dimension != "cpu" {
		unit = mib
	}
	return backend.Shortage{Dimension: s.Dimension, Need: uint64(max(s.Need, 0) * unit), Free: uint64(max(s.Free, 0) * unit)}
}

// WhatIf is the State that would follow if h came true, without doing it.
func (c *Client) WhatIf(ctx context.Context, h backend.Hypothesis) (backend.QueueState, error) {
	var s backend.QueueState
	drafts, err := c.hypotheses(ctx, h)
	if err != nil {
		return s, err
	}
	var b *book
	err = c.o.Store.View(ctx, func(tx *store.Tx) (err error) {
		b, err = c.book(tx)
		return err
	})
	if err != nil {
		return s, err
	}
	if err := b.suppose(h, drafts); err != nil {
		return s, err
	}
	o, err := b.look()
	if err != nil {
		return s, err
	}
	o.tell(queue.Schedule(o.in), queue.Project(o.in, projected))
	s, err = c.State(ctx)
	if err != nil {
		return s, err
	}
	ended := slices.Clone(s.Jobs[unended(s.Jobs):])
	arrange(b.jobs)
	s.Policy, s.Hosts, s.Jobs = b.policy, b.hosts, append(b.jobs, ended...)
	return s, nil
}

// hypotheses makes the jobs that would be submitted.
func (c *Client) hypotheses(ctx context.Context, h backend.Hypothesis) ([]draft, error) {
	if err := checkChange(&h.Change); err != nil {
		return nil, err
	}
	if len(h.Submit) == 0 {
		return nil, nil
	}
	return c.drafts(ctx, h.Submit)
}

// suppose makes the hypothesis come true in the book.
func (b *book) suppose(h backend.Hypothesis, drafts []draft) error {
	if h.Policy != nil {
		b.policy = *h.Policy
	}
	for i := range b.hosts {
		host := &b.hosts[i]
		if slices.Contains(h.HostOut, host.Name) {
			host.Drained = true
		}
		if slices.Contains(h.HostIn, host.Name) {
			host.Drained = false
		}
	}
	front := int64(0)
	for i := range b.jobs {
		front = max(front, b.jobs[i].Front)
	}
	for _, id := range h.Jobs {
		i := slices.IndexFunc(b.jobs, func(j backend.Job) bool { return j.ID == id })
		if i < 0 {
			return &backend.OpError{Op: "think through", Target: "the change", Err: backend.ErrNoJob}
		}
		front++
		if h.Change.Release {
			forgive(&b.jobs[i], func(id backend.JobID) bool { return !b.active[id] && b.ends[id] != backend.JobDone })
		}
		if err := apply(&b.jobs[i], h.Change, front, b.now); err != nil {
			return err
		}
		if b.jobs[i].State.Holds() && h.Change.Cancel { // as if its guest had shut down
			b.jobs[i].State = backend.JobCancelled
		}
		b.jobs[i].Promised = time.Time{}
	}
	b.add(drafts)
	return nil
}

// add adds jobs that were not submitted, with numbers after all others.
func (b *book) add(drafts []draft) {
	id := backend.JobID(1 << 40)
	for i := range drafts {
		j := drafts[i].job
		j.ID = id + backend.JobID(i)
		b.jobs = append(b.jobs, j)
		b.active[j.ID] = true
	}
}
