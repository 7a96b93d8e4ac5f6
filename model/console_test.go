package model

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/backend"
)

// fakeConsole is a host whose console is a pipe, opened when the test lets it.
type fakeConsole struct {
	open chan struct{}
	err  error
	conn *fakeConn
}

func (f *fakeConsole) Console(ctx context.Context, _ backend.UUID, _ bool) (io.ReadWriteCloser, error) {
	select {
	case <-f.open:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.err != nil {
		return nil, f.err
	}
	return f.conn, nil
}

// fakeConn is the guest's side of a console.
type fakeConn struct {
	mu     sync.Mutex
	got    strings.Builder
	typed  chan struct{} // a token for each write
	output chan string   // what the guest says; closed when it hangs up
	closed chan struct{}
	once   sync.Once
}

func newFakeConn() *fakeConn {
	return &fakeConn{typed: make(chan struct{}, 64), output: make(chan string, 8), closed: make(chan struct{})}
}

func (c *fakeConn) Read(b []byte) (int, error) {
	select {
	case s, ok := <-c.output:
		if !ok {
			return 0, io.EOF
		}
		return copy(b, s), nil
	case <-c.closed:
		// What a guest still has to say after the end, as libvirt delivers it.
		return copy(b, "\x1b(0 too late"), io.EOF
	}
}

func (c *fakeConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got.Write(b)
	c.typed <- struct{}{}
	return len(b), nil
}

func (c *fakeConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *fakeConn) received() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got.String()
}

// terminalEnd is what a session shows, and tells when it shows more.
type terminalEnd struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (e *terminalEnd) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text.Write(b)
	select {
	case e.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (e *terminalEnd) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.String()
}

// await waits until the session has shown a text.
func (e *terminalEnd) await(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !strings.Contains(e.String(), want) {
		select {
		case <-e.more:
		case <-deadline:
			t.Fatalf("%q was not shown: %q", want, e.String())
		}
	}
}

type session struct {
	*consoleSession
	keys     *os.File
	shown    *terminalEnd
	guest    *fakeConn
	host     *fakeConsole
	outcome  error // as recorded
	recorded bool
	done     chan error
}

func startSession(t *testing.T, open bool) *session {
	t.Helper()
	in, keys, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = keys.Close() })
	s := &session{keys: keys, shown: &terminalEnd{more: make(chan struct{}, 1)}, guest: newFakeConn(), done: make(chan error, 1)}
	s.host = &fakeConsole{open: make(chan struct{}), conn: s.guest}
	if open {
		close(s.host.open)
	}
	s.consoleSession = &consoleSession{ctx: context.Background(), host: s.host, name: "web1", on: "hv1",
		record: func(err error) error { s.outcome, s.recorded = err, true; return nil }}
	s.SetStdin(in)
	s.SetStdout(s.shown)
	go func() { s.done <- s.Run() }()
	return s
}

func (s *session) typeKeys(t *testing.T, text string) {
	t.Helper()
	if _, err := s.keys.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func (s *session) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.done:
		if !s.recorded {
			t.Error("the session is not in the audit trail")
		}
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the session did not end")
		return nil
	}
}

func TestConsoleJoinsTheTerminalAndTheGuestUntilTheEscapeKey(t *testing.T) {
	s := startSession(t, true)
	s.guest.output <- "web1 login: "
	s.shown.await(t, "web1 login: ")
	s.typeKeys(t, "root\r")
	<-s.guest.typed
	for s.guest.received() != "root\r" {
		<-s.guest.typed
	}
	s.typeKeys(t, "\x1d")
	if err := s.end(t); err != nil || !s.left {
		t.Fatalf("ended with %v, left %t", err, s.left)
	}
	if strings.Contains(s.shown.String(), "too late") {
		t.Fatalf("the guest reached the terminal after the end: %q", s.shown.String())
	}
	if !strings.HasSuffix(s.shown.String(), afterGuest) {
		t.Fatalf("the terminal is not put right: %q", s.shown.String())
	}
}

func TestConsoleKeepsWhatIsTypedAhead(t *testing.T) {
	s := startSession(t, false)
	s.shown.await(t, "Press ^]")
	s.typeKeys(t, "root\r")
	close(s.host.open)
	for s.guest.received() != "root\r" {
		<-s.guest.typed
	}
	s.typeKeys(t, "\x1d")
	if err := s.end(t); err != nil {
		t.Fatal(err)
	}
}

func TestConsoleThatDoesNotOpenCanBeLeft(t *testing.T) {
	for _, k := range []string{"\x03", "\x1d"} {
		s := startSession(t, false)
		s.shown.await(t, "Press ^]")
		s.typeKeys(t, k)
		if err := s.end(t); err != nil {
			t.Fatalf("%q: %v", k, err)
		}
	}
}

func TestConsoleThatTheGuestEndsSaysSo(t *testing.T) {
	s := startSession(t, true)
	close(s.guest.output)
	if err := s.end(t); err != nil || s.left {
		t.Fatalf("ended with %v, left %t", err, s.left)
	}
}

func TestConsoleThatIsRefusedSaysWhy(t *testing.T) {
	s := startSession(t, false)
	s.host.err = backend.ErrBusy
	close(s.host.open)
	if err := s.end(t); !errors.Is(err, backend.ErrBusy) || !errors.Is(s.outcome, backend.ErrBusy) {
		t.Fatalf("ended with %v, recorded %v", err, s.outcome)
	}
}
