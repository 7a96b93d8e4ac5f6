package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/audit"
	"berth/model"
)

// one carries the verb out on one VM and waits if that was asked for.
func (j *verbJob) one(ctx context.Context, r *model.Row) error {
	if err := interrupted(ctx); err != nil {
		return fmt.Errorf("%w; it was not asked to %s", err, j.verb)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, j.flags.timeout)
	defer cancel()
	host := j.inv.hosts[r.Host]
	err := j.do(ctx, host, r, began)
	entry := audit.Entry{Host: r.Host, Verb: string(j.verb), VM: r.Name, UUID: r.UUID.String()}
	if terr := j.trail.Record(entry, err); terr != nil {
		j.complain(terr)
	}
	if err != nil || !j.flags.wait {
		return err
	}
	return j.await(ctx, host, r, began)
}

func (j *verbJob) do(ctx context.Context, host backend.Host, r *model.Row, began time.Time) error {
	err := host.Do(ctx, backend.Action{Verb: j.verb, UUID: r.UUID, Name: r.Name})
	if se := interruption(ctx); se != nil && err != nil {
		return fmt.Errorf("%w after %s, before %s had answered: it may have been done or not; berth vm list tells", se, lasted(began), host.Name())
	}
	return err
}

// waitStep is how often the state is looked at while waiting for it.
const waitStep = 200 * time.Millisecond

// await polls until the VM has the state that the verb leads to.
func (j *verbJob) await(ctx context.Context, host backend.Host, r *model.Row, began time.Time) error {
	state := r.State.String()
	for {
		p, err := host.Poll(ctx)
		if err == nil {
			i := slices.IndexFunc(p.VMs, func(vm backend.VM) bool { return vm.UUID == r.UUID })
			// A transient domain vanishes when it stops.
			if i < 0 && j.spec.wait(backend.Shutoff) || i >= 0 && j.spec.wait(p.VMs[i].State) {
				return nil
			}
			state = "gone"
			if i >= 0 {
				state = p.VMs[i].State.String()
			}
		}
		if pause(ctx, waitStep) == nil {
			continue
		}
		if se := interruption(ctx); se != nil {
			return fmt.Errorf("%w after %s, while it was %s: the request stands, and may still be followed", se, lasted(began), state)
		}
		return j.tooLate(state, err)
	}
}

// tooLate is the error of a VM that did not follow in time. When the host
// could not even be asked any more, err says why.
func (j *verbJob) tooLate(state string, err error) error {
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, backend.ErrTimeout) {
		return err
	}
	text := fmt.Sprintf("still %s after %s", state, j.flags.timeout)
	if j.spec.ignored != "" {
		text += ": " + j.spec.ignored
	}
	return fmt.Errorf("%w: %s", backend.ErrTimeout, text)
}
