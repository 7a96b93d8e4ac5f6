package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SignalError is why a context ended that WithSignals made: context.Cause
// returns it.
type SignalError struct{ Signal syscall.Signal }

// Error reads "interrupted by SIGINT".
func (e *SignalError) Error() string { return "interrupted by " + unix.SignalName(e.Signal) }

// ExitCode is the one that shells give a command that the signal ended.
func (e *SignalError) ExitCode() int { return 128 + int(e.Signal) }

// WithSignals is signal.NotifyContext, but its context's cause tells which
// signal it was: a *SignalError.
func WithSignals(parent context.Context, signals ...os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, signals...)
	go func() {
		select {
		case s := <-ch:
			if n, ok := s.(syscall.Signal); ok {
				cancel(&SignalError{Signal: n})
			}
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		cancel(nil)
	}
}

// interruption is the signal that ended ctx, or nil.
func interruption(ctx context.Context) *SignalError {
	if ctx == nil {
		return nil
	}
	var se *SignalError
	errors.As(context.Cause(ctx), &se)
	return se
}

// interrupted is interruption as an error, which is nil when there was none.
func interrupted(ctx context.Context) error {
	if se := interruption(ctx); se != nil {
		return se
	}
	return nil
}

// lasted is how long something took since began, for people.
func lasted(began time.Time) time.Duration {
	d := time.Since(began)
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
