package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"berth/backend"
)

// fault is an error whose kind (a sentinel of package backend) and next step
// are known where it happened.
type fault struct {
	kind  error
	cause error
	hint  string
}

func (f *fault) Error() string   { return f.cause.Error() }
func (f *fault) Unwrap() []error { return []error{f.kind, f.cause} }

// faultf makes a fault; hint may be empty.
func faultf(kind error, hint, format string, args ...any) error {
	return &fault{kind, fmt.Errorf(format, args...), hint}
}

// explain turns whatever went wrong into the error that Dial hands out.
func (t *Target) explain(ctx context.Context, err error) error {
	op := &backend.OpError{Op: "connect", Target: t.String()}
	var f *fault
	known := errors.As(err, &f)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		op.Err = context.Canceled
	case known && !(f.kind == backend.ErrUnreachable && isTimeout(err)):
		op.Err, op.Hint = fmt.Errorf("%w: %w", f.kind, err), f.hint
	case isTimeout(err) || ctx.Err() != nil:
		op.Err, op.Hint = fmt.Errorf("%w: %w", backend.ErrTimeout, err), t.timeoutHint()
	default:
		op.Err, op.Hint = fmt.Errorf("%w: %w", backend.ErrUnreachable, err), t.hint(err)
	}
	return op
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || (errors.As(err, &ne) && ne.Timeout())
}

func (t *Target) timeoutHint() string {
	if t.Local() {
		return "the daemon is there but does not answer: look at its log, or restart it"
	}
	return "check that " + t.host + " is up and that no firewall is in between"
}

// hint says what to do about an error of the operating system's.
func (t *Target) hint(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "check the host's name"
	case errors.Is(err, syscall.ECONNREFUSED):
		return t.refusedHint()
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "check the network to " + t.host
	}
	return ""
}

func (t *Target) refusedHint() string {
	switch t.via {
	case viaTCP:
		return "is libvirt listening there? on it: systemctl enable --now libvirtd-tcp.socket (or virtproxyd-tcp.socket)"
	case viaTLS:
		return "is libvirt listening there? on it: systemctl enable --now libvirtd-tls.socket (or virtproxyd-tls.socket)"
	case viaSSH:
		return "is sshd running there, and on that port?"
	}
	return "start libvirt: systemctl restart libvirtd.socket (or virtqemud.socket)"
}
