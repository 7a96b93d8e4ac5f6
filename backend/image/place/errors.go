package place

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"berth/backend"
)

// patience is how often something is tried again, with waits that double from
// the first one and vary by half, so that several callers do not come at once.
type patience struct {
	attempts    int
	first, last time.Duration
}

// patient waits for some 25 s in all.
var patient = patience{attempts: 9, first: 100 * time.Millisecond, last: 10 * time.Second}

// again calls do until it succeeds, fails for good, or ctx ends.
func again[T any](ctx context.Context, do func() (T, error)) (T, error) {
	var v T
	err := patient.retry(ctx, func() (err error) {
		v, err = do()
		return err
	})
	return v, err
}

// retry is again without a value.
func retry(ctx context.Context, do func() error) error { return patient.retry(ctx, do) }

// retry calls do until it succeeds, fails for good, or ctx ends. The error is
// the last one.
func (p patience) retry(ctx context.Context, do func() error) error {
	wait := p.first
	for i := 1; ; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := do()
		if err == nil || i >= p.attempts || !transient(err) {
			return err
		}
		if sleep(ctx, wait/2+rand.N(wait)) != nil {
			return errors.Join(ctx.Err(), err)
		}
		wait = min(2*wait, p.last)
	}
}

// sleep waits, but not beyond ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// transient reports whether the same call may succeed a moment later: a server
// that restarts, a network that falters. A full disk, a missing file or a
// refusal never do.
func transient(err error) bool {
	var lost *lostError
	if errors.As(err, &lost) {
		return true
	}
	for _, e := range []error{
		syscall.EAGAIN, syscall.EINTR, syscall.ESTALE, syscall.ETIMEDOUT, syscall.ENETDOWN, syscall.ENETUNREACH,
		syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ECONNRESET, syscall.EREMOTEIO,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// inWords says what happened, to what, and what to do next; nil and io.EOF stay
// what they are.
func inWords(op, name string, err error) error {
	if err == nil || err == io.EOF || errors.Is(err, backend.ErrNoRoom) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	bare := err
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		bare = p.Err
	case errors.As(err, &l):
		bare = l.Err
	}
	e := &backend.OpError{Op: op, Target: name, Err: bare}
	switch {
	case errors.Is(err, backend.ErrUnreachable):
		e.Hint = "see that the other host runs and answers (ssh to it), then run it again: what is stored already is used"
	case errors.Is(err, syscall.ENOSPC):
		e.Err, e.Hint = noRoom(bare), "make room there, then run it again: what is stored already is used"
	case errors.Is(err, syscall.EDQUOT):
		e.Err, e.Hint = noRoom(bare), "the quota of this user is used up there"
	case errors.Is(err, syscall.EFBIG):
		e.Err, e.Hint = noRoom(bare), "the file system takes no files of that size: set a smaller pack size when making the repository"
	case errors.Is(err, syscall.EROFS):
		e.Hint = "the file system is mounted read-only; after errors on the disk Linux does so by itself (see dmesg)"
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "the repository's folder and all in it must belong to the user who runs berth (look with ls -ld)"
	case errors.Is(err, syscall.EIO):
		e.Hint = "the disk reports errors (see dmesg); check the repository, and copy it to another disk"
	case errors.Is(err, syscall.ESTALE):
		e.Hint = "the network file system lost it: mount it anew"
	}
	return e
}

// noRoom joins the sentinel and the cause.
func noRoom(cause error) error { return &roomError{cause} }

type roomError struct{ cause error }

func (e *roomError) Error() string   { return backend.ErrNoRoom.Error() + " (" + e.cause.Error() + ")" }
func (e *roomError) Unwrap() []error { return []error{backend.ErrNoRoom, e.cause} }

// lostError is a connection that broke, or could not be made.
type lostError struct{ cause error }

func (e *lostError) Error() string   { return "the connection was lost (" + e.cause.Error() + ")" }
func (e *lostError) Unwrap() []error { return []error{backend.ErrUnreachable, e.cause} }
