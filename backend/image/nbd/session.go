package nbd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"berth/backend"
)

// session serves the requests of one connection, several at once.
type session struct {
	server     *Server
	export     *Export
	contexts   []uint32
	structured bool
	nc         net.Conn

	writing sync.Mutex // held while a reply is sent
	broken  error      // of the first reply that could not be; under writing
}

// request is one that was read.
type request struct {
	flags, cmd uint16
	cookie     uint64
	offset     int64
	length     int64
	data       []byte
}

func newSession(s *Server, t *terms, nc net.Conn) *session {
	return &session{server: s, export: t.export, contexts: t.contexts, structured: t.structured, nc: nc}
}

// sessionWindow is how many requests of one connection are worked on at once.
const sessionWindow = 8

func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	slots := make(chan struct{}, sessionWindow)
	r := bufio.NewReaderSize(s.nc, 16<<10)
	for {
		req, err := s.next(r)
		switch {
		case errors.Is(err, io.EOF), err == nil && req.cmd == cmdDisconnect:
			working.Wait() // what was asked for before is answered
			return nil
		case err != nil:
			return s.because(err)
		}
		held, err := s.admit(ctx, r, req)
		if err != nil {
			return err
		}
		slots <- struct{}{}
		working.Go(func() {
			defer func() { <-slots }()
			defer s.server.memory.Release(held)
			s.serve(ctx, req)
		})
	}
}

// because puts before err that an answer could not be sent, if that is why
// nothing can be read.
func (s *session) because(err error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.broken != nil {
		return fmt.Errorf("answering the client: %w", s.broken)
	}
	return err
}

func (s *session) next(r io.Reader) (*request, error) {
	var b [requestSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, err
	}
	if m := binary.BigEndian.Uint32(b[:]); m != magicRequest {
		return nil, violation("a request that begins with %#x", m)
	}
	return &request{
		flags: binary.BigEndian.Uint16(b[4:]), cmd: binary.BigEndian.Uint16(b[6:]), cookie: binary.BigEndian.Uint64(b[8:]),
		offset: int64(binary.BigEndian.Uint64(b[16:])), length: int64(binary.BigEndian.Uint32(b[24:])),
	}, nil
}

// admit takes the memory that a request needs, and the data of a write.
func (s *session) admit(ctx context.Context, r io.Reader, req *request) (held int64, err error) {
	if req.cmd != cmdRead && req.cmd != cmdWrite {
		return 0, nil
	}
	if req.length > MaxPayload {
		if req.cmd == cmdWrite { // its data cannot be told from requests
			return 0, violation("a write of %d bytes", req.length)
		}
		return 0, nil // refused when it is served
	}
	if err := s.server.memory.Acquire(ctx, req.length); err != nil {
		return 0, err
	}
	req.data = make([]byte, req.length)
	if req.cmd == cmdWrite {
		if err := s.nc.SetReadDeadline(time.Now().Add(s.server.Idle)); err != nil {
			s.server.memory.Release(req.length)
			return 0, err
		}
		_, err = io.ReadFull(r, req.data)
		err = errors.Join(err, s.nc.SetReadDeadline(time.Time{}))
	}
	if err != nil {
		s.server.memory.Release(req.length)
		return 0, err
	}
	return req.length, nil
}

// serve answers one request.
func (s *session) serve(ctx context.Context, req *request) {
	if err := s.refuse(req); err != 0 {
		s.fail(req, err, "")
		return
	}
	var err error
	switch req.cmd {
	case cmdRead:
		if err = s.export.Source.ReadAt(ctx, req.data, req.offset); err == nil {
			s.sendData(req)
			return
		}
	case cmdBlockStatus:
		var chunks [][]byte
		if chunks, err = s.status(ctx, req); err == nil {
			s.sendStatus(req, chunks)
			return
		}
	default:
		err = s.change(ctx, req)
	}
	if err != nil {
		s.fail(req, errnoFor(err), backend.Clean(err.Error()))
		return
	}
	s.succeed(req)
}

// refuse tells what is wrong with a request as it stands.
func (s *session) refuse(req *request) syscall.Errno {
	known, writes := true, false
	switch req.cmd {
	case cmdRead, cmdFlush:
	case cmdBlockStatus:
		known = s.structured && len(s.contexts) > 0 && req.length > 0
	case cmdWrite, cmdTrim, cmdWriteZeroes:
		writes = true
	default:
		known = false
	}
	size := s.export.Source.Size()
	outside := req.offset < 0 || req.offset > size || req.length > size-req.offset
	switch {
	case !known || req.cmd == cmdRead && req.length > MaxPayload:
		return syscall.EINVAL
	case writes && s.export.Sink == nil:
		return syscall.EPERM
	case req.cmd == cmdFlush:
		return 0
	case outside && writes:
		return syscall.ENOSPC
	case outside:
		return syscall.EINVAL
	case req.flags&cmdFlagFast != 0:
		return syscall.EOPNOTSUPP
	}
	return 0
}

func (s *session) change(ctx context.Context, req *request) error {
	sink := s.export.Sink
	if sink == nil {
		return nil // a flush of what cannot change
	}
	var err error
	switch req.cmd {
	case cmdWrite:
		err = sink.WriteAt(ctx, req.data, req.offset)
	case cmdWriteZeroes, cmdTrim:
		err = sink.WriteZeroes(ctx, req.offset, req.length)
	}
	if err == nil && (req.cmd == cmdFlush || req.flags&cmdFlagFUA != 0) {
		err = sink.Flush(ctx)
	}
	return err
}

func errnoFor(err error) syscall.Errno {
	var n syscall.Errno
	switch {
	case errors.Is(err, backend.ErrNoRoom), errors.Is(err, syscall.ENOSPC):
		return syscall.ENOSPC
	case errors.Is(err, backend.ErrInvalid):
		return syscall.EINVAL
	case errors.Is(err, backend.ErrReadOnly):
		return syscall.EPERM
	case errors.Is(err, context.Canceled):
		return syscall.ESHUTDOWN
	case errors.As(err, &n) && errnoOf(uint32(n)) == n:
		return n
	}
	return syscall.EIO
}

// maxServed bounds the extents in one answer.
const maxServed = 1 << 14

// status makes the payloads of the chunks that describe a stretch, one for
// each context.
func (s *session) status(ctx context.Context, req *request) ([][]byte, error) {
	extents, err := s.export.Source.Extents(ctx, req.offset, req.length)
	if err != nil {
		return nil, err
	}
	if len(extents) == 0 {
		return nil, fmt.Errorf("%w: nothing is known of the content", backend.ErrDamaged)
	}
	var chunks [][]byte
	for _, id := range s.contexts {
		flag := allocationFlags
		if id > 0 {
			flag = dirtyFlags
		}
		b := binary.BigEndian.AppendUint32(nil, id)
		chunks = append(chunks, appendSpans(b, extents, flag, req.flags&cmdFlagReqOne != 0))
	}
	return chunks, nil
}

func allocationFlags(k backend.ExtentKind) uint32 {
	if k == backend.ExtentZero {
		return StateHole | StateZero
	}
	return 0
}

func dirtyFlags(k backend.ExtentKind) uint32 {
	if k == backend.ExtentClean {
		return 0
	}
	return StateDirty
}

// appendSpans joins neighbours whose flags are the same.
func appendSpans(b []byte, extents []backend.Extent, flags func(backend.ExtentKind) uint32, one bool) []byte {
	n, length, now := 0, int64(0), flags(extents[0].Kind)
	emit := func() {
		b = binary.BigEndian.AppendUint32(b, uint32(length))
		b = binary.BigEndian.AppendUint32(b, now)
		n++
	}
	for _, e := range extents {
		if f := flags(e.Kind); f != now {
			emit()
			if length, now = 0, f; one || n == maxServed {
				return b
			}
		}
		length += e.Length
	}
	emit()
	return b
}
