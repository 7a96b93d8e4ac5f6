package backup

import (
	"context"
	"errors"

	"berth/backend"
	"berth/backend/store"
)

// Run does one transfer in this process and returns it as it ended. It needs
// neither an engine nor a lasting store: without Options.Store it has one of its
// own in memory. progress is called about once a second; nil: nobody looks. The
// error is why the transfer could not be done, or failed.
func Run(ctx context.Context, o Options, x backend.Transfer, progress func(backend.Transfer)) (ended backend.Transfer, err error) {
	if o.Store == nil {
		s, err := store.OpenMemory(ctx)
		if err != nil {
			return x, err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		o.Store = s
	}
	m, err := New(o)
	if err != nil {
		return x, err
	}
	now := m.o.Clock.Now()
	x.State, x.Since, x.Ordered = backend.TransferQueued, now, now
	err = o.Store.Update(ctx, func(tx *store.Tx) (err error) { x.ID, err = tx.AddTransfer(x); return err })
	if err != nil {
		return x, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	over := make(chan error, 1)
	go func() { over <- m.Run(life, 0) }()
	x, err = follow(ctx, o.Store, x.ID, progress)
	end()
	return x, errors.Join(err, <-over)
}

// follow waits for a transfer's end; when ctx ends it is cancelled first.
func follow(ctx context.Context, s *store.Store, id backend.TransferID, progress func(backend.Transfer)) (x backend.Transfer, err error) {
	cancelled := false
	for {
		still := context.WithoutCancel(ctx)
		rev, err := s.Revisions(still)
		if err != nil {
			return x, err
		}
		if err := s.View(still, func(tx *store.Tx) (err error) { x, err = tx.Transfer(id); return err }); err != nil {
			return x, err
		}
		if progress != nil {
			progress(x)
		}
		switch {
		case x.State == backend.TransferDone:
			return x, nil
		case x.State.Ended() && ctx.Err() != nil:
			return x, context.Cause(ctx)
		case x.State.Ended():
			return x, errors.New(x.Words)
		}
		wait := ctx
		if ctx.Err() != nil {
			wait = still
			if !cancelled {
				cancelled = true
				x.Cancel = true
				if err := s.Update(still, func(tx *store.Tx) error { return tx.PutTransfer(x) }); err != nil {
					return x, err
				}
				continue
			}
		}
		if err := s.WaitTransfers(wait, rev.Transfers+rev.Catalogue); err != nil && ctx.Err() == nil {
			return x, err
		}
	}
}
