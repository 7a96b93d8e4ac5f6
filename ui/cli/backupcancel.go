package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"berth/backend"
)

// interrupted is what follows a signal: ^C cancels what was ordered; a lost
// terminal, or a machine that goes down, leaves it to the engine.
func (w *follower) interrupted(ctx context.Context) error {
	signal := interruption(ctx)
	fresh := context.WithoutCancel(ctx)
	if signal != nil && signal.Signal == syscall.SIGINT {
		return w.cancel(fresh, signal)
	}
	w.live.clear()
	if w.app.flags.demo {
		return context.Cause(ctx)
	}
	fresh, done := context.WithTimeout(fresh, detachDeadline)
	defer done()
	w.o.jobs = 0
	if err := w.orderMore(fresh, 0); err != nil {
		return fmt.Errorf("%w; of what was asked for %d were not ordered: %w", context.Cause(ctx), len(w.queue), err)
	}
	return fmt.Errorf("%w; the engine goes on with it: berth backup jobs", context.Cause(ctx))
}

// cancel ends what was ordered and waits until nothing of it is left.
func (w *follower) cancel(ctx context.Context, signal error) error {
	w.queue = nil
	open := slices.DeleteFunc(slices.Clone(w.ids), func(id backend.TransferID) bool { return w.ended[id] })
	if len(open) == 0 {
		return signal
	}
	ctx, done := context.WithTimeout(ctx, cancelDeadline)
	defer done()
	w.live.clear()
	w.app.complain(errors.New("cancelling, until nothing is left behind; ^C again leaves that to the engine"))
	for _, id := range open { // one that has ended meanwhile holds back no other
		if err := w.backups.Change(ctx, []backend.TransferID{id}, backend.TransferChange{Cancel: true}); err != nil && !errors.Is(err, backend.ErrState) {
			return fmt.Errorf("%w; transfer %d cannot be cancelled: %w", signal, id, err)
		}
	}
	if err := w.follow(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w; not all has ended after %s: berth backup jobs", signal, cancelDeadline)
		}
		return fmt.Errorf("%w; %w", signal, err)
	}
	return signal
}
