package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/muesli/cancelreader"

	"berth/backend"
)

// escapeKey leaves a console: ^], as in virsh and telnet.
const escapeKey = 0x1d

// consoleSession joins the terminal to a domain's serial console. It is a
// tea.ExecCommand: the program stands aside while it runs.
type consoleSession struct {
	ctx      context.Context
	host     backend.Consoler
	uuid     backend.UUID
	name, on string
	force    bool

	in  io.Reader
	out io.Writer
}

func (c *consoleSession) SetStdin(r io.Reader)  { c.in = r }
func (c *consoleSession) SetStdout(w io.Writer) { c.out = w }
func (c *consoleSession) SetStderr(io.Writer)   {}

// Run joins the two until the person types ^] or the console ends.
func (c *consoleSession) Run() error {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	conn, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the session is over either way
	fmt.Fprintf(c.out, "Console of %s on %s. Press ^] to leave, enter for a prompt.\r\n", backend.Clean(c.name), backend.Clean(c.on))
	return c.join(conn)
}

// open gives the host 20 s to open the console. When it takes longer, Run
// returns, which ends ctx and with it the attempt.
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
	case <-time.After(20 * time.Second):
		return nil, &backend.OpError{Op: "console", Target: c.name, Err: backend.ErrTimeout, Hint: "is its QEMU stuck?"}
	}
}

func (c *consoleSession) join(conn io.ReadWriteCloser) error {
	if f, ok := c.in.(term.File); ok && term.IsTerminal(f.Fd()) {
		state, err := term.MakeRaw(f.Fd())
		if err != nil {
			return fmt.Errorf("console of %s: raw mode: %w", c.name, err)
		}
		defer term.Restore(f.Fd(), state) //nolint:errcheck // Bubble Tea sets its own mode next
	}
	in, err := cancelreader.NewReader(c.in)
	if err != nil {
		return fmt.Errorf("console of %s: %w", c.name, err)
	}
	defer in.Close() //nolint:errcheck // it does not own the terminal
	typed := make(chan error, 1)
	shown := make(chan error, 1)
	go func() { typed <- copyTyped(conn, in) }()
	go func() { _, err := io.Copy(c.out, conn); shown <- err }()
	select {
	case err = <-typed:
	case err = <-shown:
		in.Cancel()
		<-typed
	}
	// The guest may have left colours, modes or a scroll region behind.
	fmt.Fprint(c.out, "\x1b[!p\x1b[0m\x1b[r\r\n")
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) || errors.Is(err, cancelreader.ErrCanceled) {
		return nil
	}
	return err
}

// copyTyped passes on what is typed, up to ^].
func copyTyped(to io.Writer, from io.Reader) error {
	buf := make([]byte, 1024)
	for {
		n, err := from.Read(buf)
		if i := bytes.IndexByte(buf[:n], escapeKey); i >= 0 {
			_, err := to.Write(buf[:i])
			return err
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}
