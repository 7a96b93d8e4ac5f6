package nbd

import (
	"errors"
	"fmt"
	"syscall"

	"berth/backend"
)

var (
	// ErrProtocol: the peer said something that it must not.
	ErrProtocol = errors.New("the other side broke the NBD protocol")
	// ErrNoExport: the server has no export of that name.
	ErrNoExport = errors.New("no such NBD export")
	// ErrNoContext: the server does not offer a meta context that is needed.
	ErrNoContext = errors.New("the NBD server does not tell that")
	// ErrChanged: the export that was found on reconnecting is another one.
	ErrChanged = errors.New("the NBD export has changed")
)

// Error is an error that the server answered a request with.
type Error struct {
	Command string        // "read"
	Offset  int64         // of the request
	Length  int64         // of the request
	Errno   syscall.Errno // of the protocol's small set, which is Linux's
	Text    string        // more, in the server's words; may be empty
}

// Error reads "read of 4096 bytes at 0: input/output error".
func (e *Error) Error() string {
	s := fmt.Sprintf("%s of %d bytes at %d: %v", e.Command, e.Length, e.Offset, e.Errno)
	if e.Text != "" {
		s += " (" + backend.Clean(e.Text) + ")"
	}
	return s
}

// Is matches the number, and what it means in berth's words.
func (e *Error) Is(target error) bool {
	switch target {
	case backend.ErrNoRoom:
		return e.Errno == syscall.ENOSPC
	case backend.ErrReadOnly:
		return e.Errno == syscall.EPERM
	case backend.ErrUnreachable:
		return e.Errno == syscall.ESHUTDOWN
	case backend.ErrUnsupported:
		return e.Errno == syscall.EOPNOTSUPP
	}
	return target == error(e.Errno)
}

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// lost is what calls end with when the connection breaks.
func lost(err error) error {
	if errors.Is(err, ErrProtocol) || errors.Is(err, backend.ErrTimeout) || errors.Is(err, backend.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: the connection to the NBD server was lost: %w", backend.ErrUnreachable, err)
}

var commandNames = map[uint16]string{
	cmdRead: "read", cmdWrite: "write", cmdFlush: "flush", cmdTrim: "trim",
	cmdWriteZeroes: "write of zeroes", cmdBlockStatus: "block status",
}
