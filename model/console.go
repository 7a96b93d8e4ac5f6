package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/muesli/cancelreader"

	"berth/backend"
)

// escapeKey leaves a console: ^], as in virsh and telnet.
const escapeKey = 0x1d

// interruptKey is ^C.
const interruptKey = 0x03

// consoleSession joins the terminal to a domain's serial console. It is a
// tea.ExecCommand: the program stands aside while it runs.
type consoleSession struct {
	ctx      context.Context
	host     backend.Consoler
	uuid     backend.UUID
	name, on string
	force    bool
	record   func(outcome error) error
	left     bool // by ^], rather than that the guest or the host ended it

	in  io.Reader
	out io.Writer
}

func (c *consoleSession) SetStdin(r io.Reader)  { c.in = r }
func (c *consoleSession) SetStdout(w io.Writer) { c.out = w }
func (c *consoleSession) SetStderr(io.Writer)   {}

// Run joins the two until the person types ^] or the console ends.
func (c *consoleSession) Run() (err error) {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	restore, err := rawMode(c.in)
	if err != nil {
		return fmt.Errorf("console of %s: %w", c.name, err)
	}
	defer restore()
	in, err := cancelreader.NewReader(c.in)
	if err != nil {
		return fmt.Errorf("console of %s: %w", c.name, err)
	}
	keys := &typist{leave: cancel}
	typed := make(chan struct{})
	go func() { keys.read(in); close(typed) }()
	defer func() { in.Cancel(); <-typed; _ = in.Close(); c.left = keys.left }()

	fmt.Fprintf(c.out, "Console of %s on %s. Press ^] to leave, enter for a prompt.\r\n", backend.Clean(c.name), backend.Clean(c.on))
	conn, err := c.open(ctx)
	if auditErr := c.record(err); err == nil {
		err = auditErr
	}
	if conn == nil {
		if ctx.Err() != nil && c.ctx.Err() == nil {
			return nil // the person did not wait
		}
		return err
	}
	return errors.Join(err, c.show(ctx, conn, keys))
}

// rawMode puts a terminal into raw mode and returns what puts it back.
func rawMode(in io.Reader) (restore func(), err error) {
	f, ok := in.(term.File)
	if !ok || !term.IsTerminal(f.Fd()) {
		return func() {}, nil
	}
	state, err := term.MakeRaw(f.Fd())
	if err != nil {
		return nil, fmt.Errorf("raw mode: %w", err)
	}
	return func() { _ = term.Restore(f.Fd(), state) }, nil // Bubble Tea sets its own mode next
}

// open gives the host 20 s to open the console. When it takes longer, or the
// person leaves, Run returns, which ends ctx and with it the attempt.
func (c *consoleSession) open(ctx context.Context) (io.ReadWriteCloser, error) {
	type opened struct {
		conn io.ReadWriteCloser
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		conn, err := c.host.Console(ctx, c.uuid, c.force)
		done <- opened{conn, err}
	}()
	select {
	case o := <-done:
		return o.conn, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(20 * time.Second):
		return nil, &backend.OpError{Op: "console", Target: c.name, Err: backend.ErrTimeout, Hint: "is its QEMU stuck?"}
	}
}

// show copies the guest's output to the terminal until either side ends. What
// the guest still sends after that never reaches it.
func (c *consoleSession) show(ctx context.Context, conn io.ReadWriteCloser, keys *typist) error {
	out := &gate{to: c.out}
	shown := make(chan error, 1)
	go func() { _, err := io.Copy(out, conn); shown <- err }()
	err := keys.connect(conn)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-shown:
		}
	}
	out.shut()
	closeErr := conn.Close()
	fmt.Fprint(c.out, afterGuest)
	if err == nil && ctx.Err() == nil {
		err = closeErr
	}
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// afterGuest puts right what a guest may have left behind: character sets, the
// scroll region and origin mode, mouse and paste reports, key modes, the
// alternate screen, colours.
const afterGuest = "\x1b[!p\x1b(B\x0f\x1b[?6l\x1b[r\x1b[?1000;1002;1003;1004;1005;1006;1015;2004l\x1b[>4m\x1b[<u\x1b[?1049l\x1b>\x1b[0m\r\n"

// typist passes on what is typed. What is typed before there is somewhere to
// pass it to is kept, up to typedAhead bytes.
type typist struct {
	mu    sync.Mutex
	to    io.Writer // nil until the console is open
	ahead []byte
	leave func()
	left  bool // ^] was typed; for after read
}

// typedAhead is how much may be typed before the console is open.
const typedAhead = 4096

// connect begins to pass on, first what was typed ahead.
func (t *typist) connect(to io.Writer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.to = to
	if len(t.ahead) == 0 {
		return nil // an empty packet would be the end of a libvirt stream
	}
	_, err := to.Write(t.ahead)
	t.ahead = nil
	return err
}

// read ends, and calls leave, at ^], at the end of the input, or when the
// console takes no more. Before the console is open, ^C leaves too.
func (t *typist) read(from io.Reader) {
	defer t.leave()
	buf := make([]byte, 1024)
	for {
		n, err := from.Read(buf)
		typed, _, left := bytes.Cut(buf[:n], []byte{escapeKey})
		if !t.pass(typed) || left || err != nil {
			t.left = left
			return
		}
	}
}

// pass hands on what was typed, or keeps it; false ends the session.
func (t *typist) pass(typed []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		_, err := t.to.Write(typed)
		return err == nil
	}
	if bytes.IndexByte(typed, interruptKey) >= 0 {
		return false
	}
	t.ahead = append(t.ahead, typed[:min(len(typed), typedAhead-len(t.ahead))]...)
	return true
}

// gate is a writer that can be shut: what comes after is dropped.
type gate struct {
	mu     sync.Mutex
	to     io.Writer
	closed bool
}

func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return len(b), nil
	}
	return g.to.Write(b)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}
