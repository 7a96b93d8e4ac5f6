package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// consoleFarewell is how long a closing console waits for the daemon to let go
// of it before the connection is cut.
const consoleFarewell = 500 * time.Millisecond

// Console connects to the domain's first serial console over a connection of
// its own. Without force libvirt's "safe" flag makes sure that nobody else
// holds it; with force another session is ended.
func (h *Host) Console(ctx context.Context, u backend.UUID, force bool) (io.ReadWriteCloser, error) {
	name := h.label(u)
	const op = "open the console of"
	if err := h.writable(op, name); err != nil {
		return nil, err
	}
	d, err := h.find(ctx, u)
	if err != nil {
		return nil, failed(op, name, err)
	}
	cl, err := within(ctx, h.openStreams)
	if err != nil {
		return nil, failed(op, name, err)
	}
	flags := libvirt.DomainConsoleSafe
	if force {
		flags = libvirt.DomainConsoleForce
	}
	c := newConsole(cl)
	h.spawn(func() { c.run(d, flags) })
	select {
	case <-c.input.started:
	case <-c.ended:
		err = c.failure()
	case <-ctx.Done():
		err = ended(ctx)
	case <-h.life.Done():
		err = backend.ErrClosed
	}
	if err != nil {
		c.cut()
		e := failed(op, name, err)
		if errors.Is(e, backend.ErrBusy) {
			return nil, &backend.OpError{Op: op, Target: name, Err: coded(err), Hint: "somebody else is on it: open it by force to end their session"}
		}
		return nil, e
	}
	c.unhook = context.AfterFunc(ctx, c.cut)
	h.spawn(func() {
		select {
		case <-h.life.Done():
			c.cut()
		case <-c.ended:
		}
	})
	return c, nil
}

// console is one session. Read and Write may be used at the same time.
type console struct {
	cl     *client
	input  *consoleInput
	typed  *io.PipeWriter
	output *io.PipeReader
	shown  *io.PipeWriter
	ended  chan struct{}
	err    error // why it ended; read after ended is closed
	unhook func() bool
	once   sync.Once
}

func newConsole(cl *client) *console {
	c := &console{cl: cl, ended: make(chan struct{})}
	in, typed := io.Pipe()
	c.input, c.typed = &consoleInput{PipeReader: in, started: make(chan struct{})}, typed
	c.output, c.shown = io.Pipe()
	return c
}

// consoleInput tells when go-libvirt starts to read what is typed, which is
// when the daemon has accepted the session.
type consoleInput struct {
	*io.PipeReader
	once    sync.Once
	started chan struct{}
}

func (i *consoleInput) Read(p []byte) (int, error) {
	i.once.Do(func() { close(i.started) })
	return i.PipeReader.Read(p)
}

// tolerant is a writer that never fails. go-libvirt leaves a stream at once when
// its writer does, and locks up when more of it comes.
type tolerant struct{ io.Writer }

func (t tolerant) Write(p []byte) (int, error) {
	_, _ = t.Writer.Write(p) // nobody reads any more: let it go
	return len(p), nil
}

// run carries the session until either side ends it.
func (c *console) run(d libvirt.Domain, flags libvirt.DomainConsoleFlags) {
	_, err := guarded(c.cl.Libvirt, func(lv *libvirt.Libvirt) (struct{}, error) {
		return struct{}{}, lv.DomainOpenConsoleBidirectional(d, nil, c.input, tolerant{c.shown}, uint32(flags))
	})
	c.err = err
	if err != nil && isConnectionError(err) {
		c.err = lostBecause(err, c.cl.wire.reason())
	}
	close(c.ended)
	why := io.EOF
	if c.err != nil {
		why = fmt.Errorf("the console ended: %w", coded(c.err))
	}
	c.shown.CloseWithError(why)
	c.input.CloseWithError(io.ErrClosedPipe)
	c.cl.wire.Close()
}

// failure is why a session ended that had hardly begun. Without an error its
// stream was closed in order, as it is when the domain goes off.
func (c *console) failure() error {
	if c.err != nil {
		return c.err
	}
	return fmt.Errorf("%w: its console was closed as soon as it was open, so the VM has stopped or is being stopped", backend.ErrState)
}

// Read returns what the guest wrote; io.EOF at the session's end.
func (c *console) Read(p []byte) (int, error) { return c.output.Read(p) }

// Write types into the guest.
func (c *console) Write(p []byte) (int, error) { return c.typed.Write(p) }

// Close ends the session and gives the daemon a moment to free the console for
// the next.
func (c *console) Close() error {
	if c.unhook != nil {
		c.unhook()
	}
	c.typed.Close()
	t := time.NewTimer(consoleFarewell)
	defer t.Stop()
	go io.Copy(io.Discard, c.output) // what still comes must not hold up the end
	select {
	case <-c.ended:
	case <-t.C:
	}
	c.cut()
	return nil
}

// cut ends the session at once.
func (c *console) cut() {
	c.once.Do(func() {
		c.cl.wire.Close()
		c.typed.CloseWithError(io.ErrClosedPipe)
		c.output.CloseWithError(io.ErrClosedPipe)
	})
}
