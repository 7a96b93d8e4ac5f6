package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// HeldError is why an engine does not run: another one does.
type HeldError struct{ By store.Lease }

// Error names the other one.
func (e *HeldError) Error() string {
	if e.By.PID == 0 {
		return "another engine runs the queue"
	}
	return fmt.Sprintf("another engine runs the queue: process %d on %s since %s", e.By.PID, e.By.Host, e.By.Since.Format(time.DateTime))
}

// Is makes errors.Is(err, backend.ErrBusy) true.
func (e *HeldError) Is(target error) bool { return target == backend.ErrBusy }

// takeOver takes the lock and the lease.
func (e *Engine) takeOver(ctx context.Context) (release func() error, err error) {
	var lock *os.File
	if e.o.Lock != "" {
		f, held, err := takeLock(e.o.Lock)
		if err != nil {
			return nil, &backend.OpError{Op: "lock", Target: e.o.Lock, Err: err, Hint: "see that you may write there"}
		}
		if held {
			return nil, e.heldBy(ctx)
		}
		lock = f
	}
	unlock := func() error {
		if lock == nil {
			return nil
		}
		return lock.Close()
	}
	if err := e.takeLease(ctx); err != nil {
		return nil, errors.Join(err, unlock())
	}
	return func() error { return errors.Join(e.dropLease(), unlock()) }, nil
}

// heldBy names the engine that has the lock.
func (e *Engine) heldBy(ctx context.Context) error {
	var l store.Lease
	if err := e.o.Store.View(ctx, func(tx *store.Tx) (err error) { l, err = tx.Lease(); return err }); err != nil {
		return err
	}
	return &HeldError{By: l}
}

func (e *Engine) takeLease(ctx context.Context) error {
	machine, err := os.Hostname()
	if err != nil {
		machine = "this machine"
	}
	e.began = e.o.Clock.Now()
	e.beaten = e.began
	return e.o.Store.Update(ctx, func(tx *store.Tx) error {
		old, err := tx.Lease()
		if err != nil {
			return err
		}
		e.stale = e.began.Sub(old.Beat) > gap
		e.epoch, err = tx.TakeLease(store.Lease{PID: os.Getpid(), Host: machine, Since: e.began, Beat: e.began})
		return err
	})
}

// dropLease gives the lease back, also when the engine's context has ended.
func (e *Engine) dropLease() error {
	if e.fault != nil { // a test has it die
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := e.o.Store.Update(ctx, func(tx *store.Tx) error { return tx.DropLease(e.epoch) })
	if errors.Is(err, store.ErrLeaseLost) {
		return nil
	}
	return err
}
