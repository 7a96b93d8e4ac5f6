package place

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/backend"
)

// What is asked of a server at once, of at most 32 KiB each (the size that
// every server takes): enough for 40 MB/s over a line of 100 ms.
const inFlight = 128

const (
	// stalled is how long nothing may come or go while an answer is due: longer
	// than a slow disk takes to make a pack durable.
	stalled = 90 * time.Second
	// parting is how long a call that is to be given up may still take before its
	// connection is broken.
	parting = 2 * time.Second
)

// link is one connection to an SFTP server.
type link struct {
	*sftp.Client
	stream io.Closer
	moved  atomic.Int64  // Unix nanoseconds when something came or went
	due    atomic.Int32  // calls under way
	gone   chan struct{} // closed when the connection has ended
	once   sync.Once
}

// counted notes that something moves.
type counted struct {
	io.ReadWriteCloser
	l *link
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(p)
	c.l.moved.Store(time.Now().UnixNano())
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Write(p)
	c.l.moved.Store(time.Now().UnixNano())
	return n, err
}

// newLink speaks SFTP over a stream, which it closes when that fails.
func newLink(ctx context.Context, stream io.ReadWriteCloser) (*link, error) {
	l := &link{stream: stream, gone: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() }) // the greeting has no deadline of its own
	c, err := sftp.NewClientPipe(counted{stream, l}, counted{stream, l},
		sftp.UseConcurrentWrites(true), sftp.UseConcurrentReads(true), sftp.MaxConcurrentRequestsPerFile(inFlight))
	if !stop() || err != nil {
		return nil, errors.Join(ctx.Err(), err, stream.Close())
	}
	l.Client = c
	go func() {
		_ = c.Wait() // why it ended is told to each call under way
		close(l.gone)
	}()
	go l.watch()
	return l, nil
}

// watch breaks a connection on which answers are due and nothing moves.
func (l *link) watch() {
	t := time.NewTicker(stalled / 6)
	defer t.Stop()
	for {
		select {
		case <-l.gone:
			return
		case now := <-t.C:
			if l.due.Load() > 0 && now.UnixNano()-l.moved.Load() > int64(stalled) {
				l.cut()
			}
		}
	}
}

// cut ends the connection: every call under way returns.
func (l *link) cut() {
	l.once.Do(func() { _ = l.stream.Close() }) // whatever it says, it is given up
}

// ended reports whether the connection has ended.
func (l *link) ended() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

// call runs f, which asks the server something, and sees to it that it ends
// soon after ctx: by then the buffers given to it are the caller's again.
func (l *link) call(ctx context.Context, f func() error) error {
	l.moved.Store(time.Now().UnixNano())
	l.due.Add(1)
	defer l.due.Add(-1)
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return l.lost(err)
	case <-ctx.Done():
	}
	t := time.NewTimer(parting)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		l.cut()
		<-done
	}
	return ctx.Err()
}

// lost marks errors of a connection that has ended.
func (l *link) lost(err error) error {
	if err == nil {
		return nil
	}
	var status *sftp.StatusError
	if errors.As(err, &status) && !l.ended() {
		return err // the server's own answer
	}
	if l.ended() || errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, sftp.ErrSSHFxNoConnection) ||
		errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.ErrUnexpectedEOF) {
		l.cut()
		return &lostError{cause: err}
	}
	return err
}

// Subsystem starts SFTP on an ssh connection. Closing the stream closes the
// connection, too: that alone wakes who waits for a host that is gone.
func Subsystem(c *ssh.Client) (io.ReadWriteCloser, error) {
	s, err := c.NewSession()
	if err != nil {
		return nil, &backend.OpError{Op: "open a session on", Target: c.RemoteAddr().String(), Err: err}
	}
	in, err := s.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	out, err := s.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.RequestSubsystem("sftp"); err != nil {
		err = &backend.OpError{Op: "start SFTP on", Target: c.RemoteAddr().String(), Err: err, Hint: "its sshd_config must have a line 'Subsystem sftp internal-sftp'"}
		return nil, errors.Join(err, s.Close())
	}
	return &subsystem{Reader: out, Writer: in, c: c}, nil
}

type subsystem struct {
	io.Reader
	io.Writer
	c *ssh.Client
}

func (s *subsystem) Close() error { return s.c.Close() }
