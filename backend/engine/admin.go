package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"berth/backend"
	"berth/backend/queue"
	"berth/backend/store"
)

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
