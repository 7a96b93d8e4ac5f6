package nbd

import (
	"slices"
	"syscall"
)

// call is a request on its way and the answer that is being put together.
type call struct {
	cmd    uint16
	flags  uint16
	offset int64
	length int64
	data   []byte // of a write, to be sent; of a read, to be filled

	spans map[uint32][]Span // of a block status
	got   coverage          // of a read
	fault *Error            // what the server answered with
	err   error             // why there is no answer
	done  chan struct{}

	// Under Conn.mu:
	filling   bool // data is being filled right now
	abandoned bool // data is the caller's again
}

// Span is a stretch of an export with the flags of one meta context.
type Span struct {
	Length int64
	Flags  uint32
}

func newCall(cmd, flags uint16, offset, length int64, data []byte) *call {
	return &call{cmd: cmd, flags: flags, offset: offset, length: length, data: data, done: make(chan struct{})}
}

func (c *call) failed(errno uint32, text string) {
	if c.fault != nil {
		return // the first one counts
	}
	c.fault = &Error{Command: commandNames[c.cmd], Offset: c.offset, Length: c.length, Errno: errnoOf(errno), Text: text}
}

// complete checks that an answer without an error answers all that was asked.
func (c *call) complete() error {
	if c.fault != nil {
		return nil
	}
	switch c.cmd {
	case cmdRead:
		if !c.got.all(c.length) {
			return violation("a read of %d bytes at %d was answered in part", c.length, c.offset)
		}
	case cmdBlockStatus:
		if len(c.spans) == 0 {
			return violation("a block status was answered with nothing")
		}
	}
	return nil
}

// outcome is what the caller gets to know.
func (c *call) outcome() error {
	if c.err != nil {
		return c.err
	}
	if c.fault != nil {
		return c.fault
	}
	return nil
}

// errnoOf maps the protocol's numbers, and what it does not know to EINVAL as
// it wants.
func errnoOf(n uint32) syscall.Errno {
	switch e := syscall.Errno(n); e {
	case syscall.EPERM, syscall.EIO, syscall.ENOMEM, syscall.EINVAL, syscall.ENOSPC,
		syscall.EOVERFLOW, syscall.EOPNOTSUPP, syscall.ESHUTDOWN:
		return e
	}
	return syscall.EINVAL
}

// coverage notes which parts of a read have come, in order and without
// overlaps; from and to are relative to its start.
type coverage []stretch

type stretch struct{ from, to int64 }

// add refuses what has come before.
func (c *coverage) add(from, to int64) bool {
	i, _ := slices.BinarySearchFunc(*c, from, func(s stretch, from int64) int { return int(min(max(s.from-from, -1), 1)) })
	if i > 0 && (*c)[i-1].to > from || i < len(*c) && (*c)[i].from < to {
		return false
	}
	before := i > 0 && (*c)[i-1].to == from
	after := i < len(*c) && (*c)[i].from == to
	switch {
	case before && after:
		(*c)[i-1].to = (*c)[i].to
		*c = slices.Delete(*c, i, i+1)
	case before:
		(*c)[i-1].to = to
	case after:
		(*c)[i].from = from
	default:
		*c = slices.Insert(*c, i, stretch{from, to})
	}
	return true
}

func (c coverage) all(length int64) bool {
	return length == 0 || len(c) == 1 && c[0] == stretch{0, length}
}
