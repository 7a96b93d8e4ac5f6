package backup

import (
	"context"
	"errors"
	"fmt"

	"berth/backend"
	"berth/backend/store"
)

// follow goes on where the VM is now: it may have been migrated since its backup
// was ordered. gone is why it is not where it was. Nothing may have been begun.
func (w *work) follow(ctx context.Context, gone error) error {
	s := &w.x.Spec
	var unasked []error
	for _, name := range w.hosts() {
		if name == s.VM.Host {
			continue
		}
		b, err := w.has(ctx, name)
		switch {
		case err != nil:
			unasked = append(unasked, fmt.Errorf("%s could not be asked: %w", name, err))
		case b != nil:
			return w.move(ctx, b, name)
		}
	}
	if len(unasked) > 0 { // it may be there: worth another try
		return fmt.Errorf("it is not on %s any more, and %w", s.VM.Host, errors.Join(unasked...))
	}
	return &backend.OpError{Op: "back up", Target: backend.Clean(s.Name), Err: gone,
		Hint: "it is on none of the hosts that the engine knows; if it was moved, order it with -c and its new host"}
}

// has returns a host if the VM is there.
func (w *work) has(ctx context.Context, name string) (backend.Backuper, error) {
	ctx, cancel := context.WithTimeout(ctx, chooseDeadline)
	defer cancel()
	h, err := w.task.host(ctx, name)
	if err != nil {
		return nil, err
	}
	b, ok := h.(backend.Backuper)
	if !ok || h.ReadOnly() {
		return nil, nil
	}
	p, err := h.Poll(ctx)
	if err != nil {
		return nil, err
	}
	for i := range p.VMs {
		if p.VMs[i].UUID == w.x.Spec.VM.UUID {
			return b, nil
		}
	}
	return nil, nil
}

// move makes the transfer one of another host.
func (w *work) move(ctx context.Context, b backend.Backuper, to string) error {
	from := w.x.Spec.VM.Host
	err := w.update(ctx, func(tx *store.Tx) error {
		now, err := tx.Transfer(w.x.ID)
		if err != nil {
			return err
		}
		now.Spec.VM.Host = to
		if err := tx.PutTransfer(now); err != nil { // it is being backed up there already
			return err
		}
		return tx.AddEvent(backend.JobEvent{At: w.o.Clock.Now(), Name: backend.Clean(now.Spec.Name), What: "backup moved", Host: to, Who: "engine",
			Detail: "the VM is not on " + from + " any more"})
	})
	if err == nil {
		w.x.Spec.VM.Host, w.host = to, b
	}
	return err
}
