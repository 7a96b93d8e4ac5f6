package engine

import (
	"context"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// steady is a Clock that also knows a time which nobody can set. ok is false
// when it does not after all.
type steady interface {
	Steady() (since time.Duration, ok bool)
}

// leastStep is the least by which a clock that was set is noticed.
const leastStep = time.Minute

// heedClock notices when the machine's clock was set. What had run an hour by
// the old time has run an hour by the new one: no limit is reached by that, and
// no age is gained.
func (e *Engine) heedClock(ctx context.Context) error {
	c, ok := e.o.Clock.(steady)
	if !ok {
		return nil
	}
	since, ok := c.Steady()
	if !ok {
		return nil
	}
	zero := e.o.Clock.Now().Round(0).Add(-since) // when the steady time began, by this clock
	step := zero.Sub(e.zero)
	if e.zero.IsZero() || step.Abs() < leastStep {
		if e.zero.IsZero() || step.Abs() < time.Second { // a clock that is slewed goes on from where it is
			e.zero = zero
		}
		return nil
	}
	if err := e.shift(ctx, step); err != nil {
		return err
	}
	e.zero = zero
	return nil
}

// shift moves by step what jobs have noted by the old time.
func (e *Engine) shift(ctx context.Context, step time.Duration) error {
	return e.o.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.CheckLease(e.epoch); err != nil {
			return err
		}
		jobs, err := tx.Jobs(store.Filter{Active: true})
		if err != nil {
			return err
		}
		for i := range jobs {
			j := &jobs[i]
			for _, at := range []*time.Time{&j.LastStart, &j.AgedAt, &j.NextTry} {
				if !at.IsZero() {
					*at = at.Add(step)
				}
			}
			if err := tx.PutJob(*j); err != nil {
				return err
			}
		}
		return tx.AddEvent(backend.JobEvent{At: e.o.Clock.Now(), What: "clock", Who: "engine",
			Detail: "this machine's clock was set by " + short(step) + ": runs and waits go on as they were"})
	})
}
