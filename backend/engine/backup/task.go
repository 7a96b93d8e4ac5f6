package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/store"
)

// task is one transfer under way.
type task struct {
	o     *Options
	x     backend.Transfer
	n     note
	epoch int64 // of the lease; 0: nobody else works on the store
	meter *meter
	gate  *gate
	limit *rate.Limiter
	// host gives the connection to a host by its name.
	host func(ctx context.Context, name string) (backend.Host, error)
	// hosts names all of them.
	hosts func() []string
	// alive are the tokens of the other sessions on a host.
	alive func(host string) []string
	// waits tells that it waits, and for what.
	waits func(words string, until time.Time)
	// rate at which the session is watched.
	every time.Duration
}

// result is what came of a transfer.
type result struct {
	words string // what there is to say of it
	point string // a backup's
	// more goes into the store with the transfer's end.
	more func(tx *store.Tx) error
}

// update changes the store as the engine that holds the lease.
func (k *task) update(ctx context.Context, f func(*store.Tx) error) error {
	return k.o.Store.Update(ctx, func(tx *store.Tx) error {
		if k.epoch != 0 {
			if err := tx.CheckLease(k.epoch); err != nil {
				return err
			}
		}
		return f(tx)
	})
}

// run does the transfer once.
func (k *task) run(ctx context.Context) (r result, err error) {
	defer func() { // a transfer must not take the others down with it
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: a fault of berth's own: %v", backend.ErrUnsupported, p)
		}
	}()
	k.meter.begin()
	switch s := &k.x.Spec; s.Kind {
	case backend.TransferBackup:
		return k.backup(ctx)
	case backend.TransferRestore:
		return k.restore(ctx)
	case backend.TransferVerify:
		return k.verify(ctx)
	case backend.TransferForget:
		return k.forget(ctx)
	case backend.TransferCopy, backend.TransferConvert:
		return k.image(ctx)
	default:
		return r, fmt.Errorf("%w: %q is no kind of transfer", backend.ErrInvalid, s.Kind)
	}
}

// clean undoes what an ended transfer left on its host. It is done when the
// error is nil.
func (k *task) clean(ctx context.Context) error {
	switch {
	case k.x.Spec.Kind == backend.TransferBackup && k.n.began():
		return k.cleanBackup(ctx)
	case len(k.n.Undo) > 0:
		return k.undoRestore(ctx)
	}
	return nil
}

// record enters in the audit trail what was done to a host.
func (k *task) record(verb, detail string, outcome error) {
	s := &k.x.Spec
	err := k.o.Trail.Record(audit.Entry{
		At: k.o.Clock.Now(), Host: s.VM.Host, Verb: verb, VM: s.Name, UUID: s.VM.UUID.String(),
		Detail: fmt.Sprintf("transfer %d of %s: %s", k.x.ID, k.x.Owner, detail),
	}, outcome)
	if err != nil {
		k.waits(words(err), time.Time{}) // it is told where this transfer is looked at
	}
}

// briefly runs f, and again after short waits when a connection was lost, as
// long as good says that it is worth while. Progress between two failures makes
// it patient again.
func (k *task) briefly(ctx context.Context, f func() error, good func(err error) error) error {
	tries, from := 0, k.meter.done()
	for {
		err := f()
		if err == nil || ctx.Err() != nil || lasts(err) || errors.Is(err, errGone) {
			return err
		}
		if done := k.meter.done(); done > from {
			tries, from = 0, done
		}
		if tries >= len(k.o.Brief) {
			return err
		}
		wait := k.o.Brief[tries]
		tries++
		k.waits(words(err), k.o.Clock.Now().Add(wait))
		if e := k.o.pause(ctx, wait); e != nil {
			return e
		}
		if e := good(err); e != nil {
			return e
		}
		k.waits("", time.Time{})
	}
}
