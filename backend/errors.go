package backend

import (
	"errors"
	"fmt"
	"strings"
)

// The sentinels that errors of this package and of its implementations wrap.
// Compare with errors.Is.
var (
	// ErrReadOnly: the connection was opened read-only, or berth was.
	ErrReadOnly = errors.New("read-only")
	// ErrNoDomain: no domain has that name or UUID (any more).
	ErrNoDomain = errors.New("no such VM")
	// ErrAmbiguous: several domains of the fleet have that name.
	ErrAmbiguous = errors.New("ambiguous name")
	// ErrState: the domain's state does not allow the verb.
	ErrState = errors.New("not possible in this state")
	// ErrUnsupported: this host, driver or domain cannot do that.
	ErrUnsupported = errors.New("not supported")
	// ErrUnreachable: the host could not be reached, or the connection was lost.
	ErrUnreachable = errors.New("host unreachable")
	// ErrAuth: the host was reached and did not let berth in.
	ErrAuth = errors.New("access denied")
	// ErrHostKey: an ssh host key is unknown or has changed.
	ErrHostKey = errors.New("ssh host key not trusted")
	// ErrURI: the connection URI is not one berth supports.
	ErrURI = errors.New("unsupported connection URI")
	// ErrTimeout: no answer within the deadline.
	ErrTimeout = errors.New("no answer in time")
	// ErrStuck: the domain's QEMU does not answer its monitor.
	ErrStuck = errors.New("QEMU monitor does not answer")
	// ErrNoAgent: no guest agent is configured, or none answers.
	ErrNoAgent = errors.New("guest agent does not answer")
	// ErrBusy: somebody else holds what is needed.
	ErrBusy = errors.New("in use")
	// ErrInvalid: what was given (XML, a name) is not valid.
	ErrInvalid = errors.New("invalid")
	// ErrNoRoom: not enough free space.
	ErrNoRoom = errors.New("not enough free space")
	// ErrBitmap: a checkpoint's dirty bitmap is missing or inconsistent; only a
	// full backup is right.
	ErrBitmap = errors.New("the checkpoint's dirty bitmap cannot be used")
	// ErrNoTransfer: no transfer has that number.
	ErrNoTransfer = errors.New("no such transfer")
	// ErrSecret: a repository is encrypted, and the passphrase or key is missing
	// or wrong.
	ErrSecret = errors.New("the repository's passphrase or key is missing or wrong")
	// ErrDamaged: what is stored is not what was written.
	ErrDamaged = errors.New("damaged")
	// ErrClosed: the Host was closed.
	ErrClosed = errors.New("connection closed")
)

// OpError says what happened, to what, and what to do next.
type OpError struct {
	Op     string // what was tried: "start", "connect"
	Target string // on what: a VM's name or a URI; may be empty
	Err    error  // what happened
	Hint   string // what to do next; may be empty
}

// Error reads "start web1: no free memory; try …".
func (e *OpError) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Target != "" {
		b.WriteString(" " + e.Target)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// Hint returns the first hint in err's chain, or "".
func Hint(err error) string {
	var op *OpError
	for errors.As(err, &op) {
		if op.Hint != "" {
			return op.Hint
		}
		err = op.Err
	}
	return ""
}
