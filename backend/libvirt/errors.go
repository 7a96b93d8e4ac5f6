package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

var (
	// errLost marks a call whose connection went away under it.
	errLost = fmt.Errorf("%w: the connection was lost", backend.ErrUnreachable)
	// errNotSent marks a call that could not be sent: the daemon has not seen it.
	errNotSent = fmt.Errorf("%w before the call was sent", errLost)
)

// isConnectionError reports whether a go-libvirt call failed because of its
// connection. EINVAL is what go-libvirt returns on a closed one.
func isConnectionError(err error) bool {
	var op *net.OpError
	return errors.Is(err, libvirt.ErrInterrupted) || errors.Is(err, syscall.EINVAL) || errors.Is(err, io.EOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.As(err, &op)
}

// lostBecause says why a connection went away.
func lostBecause(err, why error) error {
	// go-libvirt returns ErrInterrupted while it waits for an answer; the errors
	// of a closed connection come from sending, and half a packet does nothing.
	kind := errNotSent
	if errors.Is(err, libvirt.ErrInterrupted) || errors.Is(err, io.EOF) {
		kind = errLost
	}
	switch {
	case why == nil, errors.Is(why, net.ErrClosed), errors.Is(why, io.ErrClosedPipe):
		return kind
	case errors.Is(why, io.EOF):
		return fmt.Errorf("%w: the daemon closed it", kind)
	}
	return fmt.Errorf("%w: %w", kind, why)
}

// daemonError is an error a libvirt daemon returned: its words, and the
// sentinel that its code amounts to.
type daemonError struct {
	code  libvirt.ErrorNumber
	words string
	kind  error // nil when no sentinel fits
}

// Error is libvirt's own message.
func (e *daemonError) Error() string { return e.words }

// Unwrap is the sentinel.
func (e *daemonError) Unwrap() error { return e.kind }

// kinds maps the codes of virErrorNumber (include/libvirt/virterror.h).
var kinds = map[libvirt.ErrorNumber]error{
	libvirt.ErrNoDomain:                backend.ErrNoDomain,
	libvirt.ErrInvalidDomain:           backend.ErrNoDomain,
	libvirt.ErrOperationInvalid:        backend.ErrState,
	libvirt.ErrSnapshotRevertRisky:     backend.ErrState,
	libvirt.ErrBlockCopyActive:         backend.ErrBusy,
	libvirt.ErrResourceBusy:            backend.ErrBusy,
	libvirt.ErrOperationTimeout:        backend.ErrTimeout,
	libvirt.ErrOperationDenied:         backend.ErrAuth,
	libvirt.ErrAccessDenied:            backend.ErrAuth,
	libvirt.ErrAuthFailed:              backend.ErrAuth,
	libvirt.ErrAuthCancelled:           backend.ErrAuth,
	libvirt.ErrAuthUnavailable:         backend.ErrAuth,
	libvirt.ErrNoSupport:               backend.ErrUnsupported,
	libvirt.ErrOperationUnsupported:    backend.ErrUnsupported,
	libvirt.ErrConfigUnsupported:       backend.ErrUnsupported,
	libvirt.ErrArgumentUnsupported:     backend.ErrUnsupported,
	libvirt.ErrAgentUnresponsive:       backend.ErrNoAgent,
	libvirt.ErrAgentUnsynced:           backend.ErrNoAgent,
	libvirt.ErrAgentCommandTimeout:     backend.ErrNoAgent,
	libvirt.ErrAgentCommandFailed:      backend.ErrUnsupported,
	libvirt.ErrXMLError:                backend.ErrInvalid,
	libvirt.ErrXMLDetail:               backend.ErrInvalid,
	libvirt.ErrXMLInvalidSchema:        backend.ErrInvalid,
	libvirt.ErrInvalidArg:              backend.ErrInvalid,
	libvirt.ErrInvalidMac:              backend.ErrInvalid,
	libvirt.ErrParseFailed:             backend.ErrInvalid,
	libvirt.ErrDomExist:                backend.ErrInvalid,
	libvirt.ErrNoName:                  backend.ErrInvalid,
	libvirt.ErrNoOs:                    backend.ErrInvalid,
	libvirt.ErrOsType:                  backend.ErrInvalid,
	libvirt.ErrNoConnect:               backend.ErrUnreachable,
	libvirt.ErrInvalidConn:             backend.ErrUnreachable,
	libvirt.ErrNoServer:                backend.ErrUnreachable,
	libvirt.ErrDeviceMissing:           backend.ErrInvalid,
	libvirt.ErrNoStoragePool:           backend.ErrNoStorage,
	libvirt.ErrNoStorageVol:            backend.ErrNoStorage,
	libvirt.ErrNoNetwork:               backend.ErrUnsupported,
	libvirt.ErrNoMemory:                backend.ErrNoMemory,
	libvirt.ErrNoDevice:                backend.ErrInvalid,
	libvirt.ErrCPUIncompatible:         backend.ErrUnsupported,
	libvirt.ErrInvalidDomainSnapshot:   backend.ErrInvalid,
	libvirt.ErrInvalidDomainCheckpoint: backend.ErrInvalid,
}

// phrases tell apart what libvirt gives one code. They come first.
var phrases = []struct {
	code   libvirt.ErrorNumber // 0 is any
	phrase string
	kind   error
}{
	{libvirt.ErrOperationDenied, "read only", backend.ErrReadOnly},
	{libvirt.ErrOperationDenied, "read-only", backend.ErrReadOnly},
	{libvirt.ErrOperationTimeout, "state change lock", backend.ErrBusy},
	{libvirt.ErrArgumentUnsupported, "guest agent is not configured", backend.ErrNoAgent},
	{libvirt.ErrOperationInvalid, "guest agent", backend.ErrNoAgent},
	// A host without that cgroup controller; see tune.go.
	{libvirt.ErrOperationInvalid, "cgroup", backend.ErrUnsupported},
	{libvirt.ErrOperationInvalid, "bfq scheduler", backend.ErrUnsupported},
	{0, "Active console session exists", backend.ErrBusy},
	{0, "already exists", backend.ErrInvalid},
	{0, "monitor socket", backend.ErrStuck},
	// The test driver's own words.
	{libvirt.ErrInternalError, "is already running", backend.ErrState},
	{libvirt.ErrInternalError, "not paused", backend.ErrState},
	{libvirt.ErrInternalError, "not running", backend.ErrState},
	{0, "unsupported flags (", backend.ErrUnsupported},
}

// refusals are the words with which libvirt, or the QEMU whose last words it
// passes on, says what a start lacked; each was seen with libvirt 9.0 and QEMU
// 7.2 or stands in their sources. Their codes tell nothing: most are "internal
// error". They come after phrases.
var refusals = []struct {
	phrase string
	kind   error
}{
	// QEMU's own locks of images (block/file-posix.c), then those of virtlockd
	// (VIR_ERR_RESOURCE_BUSY) and sanlock.
	{"Is another process using the image", backend.ErrLocked},
	{`Failed to get "write" lock`, backend.ErrLocked},
	{`Failed to get shared "write" lock`, backend.ErrLocked},
	{`Failed to get "consistent read" lock`, backend.ErrLocked},
	{"Lockspace resource", backend.ErrLocked},
	{"Failed to acquire lock", backend.ErrLocked},
	// The first two are the kernel's refusal, the third that of huge pages.
	{"cannot set up guest memory", backend.ErrNoMemory},
	{"Cannot allocate memory", backend.ErrNoMemory},
	{"Insufficient free host memory", backend.ErrNoMemory},
	{"unable to map backing store for guest RAM", backend.ErrNoMemory},
	{"annot access storage file", backend.ErrNoStorage},
	{"annot access backing file", backend.ErrNoStorage},
	{"Could not open", backend.ErrNoStorage},
	{"storage pool", backend.ErrNoStorage},
}

// absent is what a refusal must also say before it means that an image is not
// there: one that may not be read is.
var absent = []string{"No such file or directory", "not found", "is not active"}

// refusal is the sentinel that a message amounts to, or nil.
func refusal(message string) error {
	for _, r := range refusals {
		if !strings.Contains(message, r.phrase) {
			continue
		}
		if r.kind != backend.ErrNoStorage || slices.ContainsFunc(absent, func(a string) bool { return strings.Contains(message, a) }) {
			return r.kind
		}
	}
	return nil
}

// coded gives a daemon's error its sentinel; other errors pass unchanged.
func coded(err error) error {
	if errors.Is(err, libvirt.ErrUnsupported) {
		return &daemonError{libvirt.ErrNoSupport, "this libvirt does not know that call", backend.ErrUnsupported}
	}
	var e libvirt.Error
	if !errors.As(err, &e) {
		return err
	}
	code := libvirt.ErrorNumber(e.Code)
	d := &daemonError{code: code, words: oneLine(code, e.Message), kind: kinds[code]}
	if d.words == "" {
		d.words = fmt.Sprintf("libvirt error %d", code)
	}
	for _, p := range phrases {
		if (p.code == 0 || p.code == code) && strings.Contains(e.Message, p.phrase) {
			d.kind = p.kind
			return d
		}
	}
	if kind := refusal(e.Message); kind != nil {
		d.kind = kind
	}
	return d
}

// oneLine is a message of the daemon fit for one line. XML parsers quote the
// whole document after their first line.
func oneLine(code libvirt.ErrorNumber, message string) string {
	lines := strings.FieldsFunc(message, func(r rune) bool { return r == '\n' || r == '\r' })
	if (code == libvirt.ErrXMLDetail || code == libvirt.ErrXMLError) && len(lines) > 1 {
		lines = lines[:1]
	}
	for i, l := range lines {
		lines[i] = strings.TrimSpace(backend.Clean(l))
	}
	return strings.Join(lines, "; ")
}

// hints say what to do next, by sentinel.
var hints = []struct {
	kind error
	hint string
}{
	{backend.ErrReadOnly, "reconnect with --write"},
	{backend.ErrBusy, "another session or job holds it: wait for that to end, or end it"},
	{backend.ErrAuth, "check that you may use this libvirt (group libvirt, polkit)"},
	{backend.ErrNoAgent, "install and start qemu-guest-agent in the guest, and give it a channel org.qemu.guest_agent.0"},
	{backend.ErrStuck, "look at the QEMU process; force off ends it"},
	{backend.ErrTimeout, "the QEMU or the daemon may hang: look at the host"},
	{backend.ErrUnreachable, "check that libvirtd runs there and try again"},
	{backend.ErrLocked, "another VM, on this host or another, uses the disk: shut that down"},
	{backend.ErrNoMemory, "free memory on the host, or give the VM less"},
	{backend.ErrNoStorage, "bring the image back to where the definition says, or start its pool"},
}

// failed wraps what happened to one operation in an OpError. nil stays nil.
func failed(op, target string, err error) error {
	if err == nil {
		return nil
	}
	err = coded(err)
	e := &backend.OpError{Op: op, Target: backend.Clean(target), Err: err}
	if backend.Hint(err) != "" || errors.Is(err, context.Canceled) {
		return e
	}
	for _, h := range hints {
		if errors.Is(err, h.kind) {
			e.Hint = h.hint
			break
		}
	}
	return e
}

// broken wraps what happened to a question about the whole host. Errors that
// already say what and where, as those of dialling, are left as they are.
func (h *Host) broken(op string, err error) error {
	var e *backend.OpError
	if err == nil || errors.As(err, &e) {
		return err
	}
	return failed(op, h.name, err)
}

// hasCode reports whether err is the daemon's error of that code.
func hasCode(err error, code libvirt.ErrorNumber) bool {
	var d *daemonError
	return errors.As(coded(err), &d) && d.code == code
}

// unsupported reports whether the daemon or its driver lacks a call.
func unsupported(err error) bool { return errors.Is(coded(err), backend.ErrUnsupported) }

func isInvalid(err error) bool { return errors.Is(err, backend.ErrInvalid) }
