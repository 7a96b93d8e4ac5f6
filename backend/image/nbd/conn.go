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
	"time"

	"berth/backend"
)

// Conn is one connection to one export. Its methods may be called from several
// goroutines; requests are pipelined.
type Conn struct {
	nc     net.Conn
	info   *Info
	window chan struct{} // one element for each request in flight
	turn   chan struct{} // one element while somebody sends

	mu     sync.Mutex
	calls  map[uint64]*call
	cookie uint64
	dead   error         // why nothing can be asked any more
	gone   chan struct{} // closed when nothing is read any more
}

// Connect does the handshake over nc and takes it over: it is closed with the
// Conn, and when Connect fails. The contexts are asked for; Info tells which
// of them there are. window is how many requests may be in flight; 0: 16.
func Connect(ctx context.Context, nc net.Conn, export string, contexts []string, window int) (*Conn, error) {
	stop := closeWith(ctx, nc)
	info, err := handshake(nc, export, contexts)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = endedBy(cause)
		}
		return nil, fmt.Errorf("NBD handshake: %w", errors.Join(err, dropped(nc)))
	}
	if window <= 0 {
		window = defaultWindow
	}
	c := &Conn{
		nc: nc, info: info, window: make(chan struct{}, window), turn: make(chan struct{}, 1),
		calls: map[uint64]*call{}, gone: make(chan struct{}),
	}
	go c.read()
	return c, nil
}

// dropped closes what may be closed already.
func dropped(nc io.Closer) error {
	if err := nc.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// endedBy is a context's end in berth's words.
func endedBy(cause error) error {
	if errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("%w: the NBD server is silent: %w", backend.ErrTimeout, cause)
	}
	return cause
}

// Info describes the export.
func (c *Conn) Info() *Info { return c.info }

// Close ends the connection, and the calls under way with it.
func (c *Conn) Close() error {
	c.mu.Lock()
	alive := c.dead == nil && len(c.calls) == 0
	c.mu.Unlock()
	if alive {
		c.farewell()
	}
	c.fail(backend.ErrClosed)
	<-c.gone
	return nil
}

// farewell tells the server that the connection ends by intent. Nothing
// follows from its failing.
func (c *Conn) farewell() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if c.enter(ctx, c.turn) == nil {
		_ = c.write(ctx, newCall(cmdDisconnect, 0, 0, 0, nil), 0)
		<-c.turn
	}
}

// Dead tells why the connection cannot be used any more, or is nil.
func (c *Conn) Dead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// fail ends the connection and every call, for the first reason given.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.dead == nil {
		c.dead = lost(err)
	}
	c.mu.Unlock()
	// An error of closing has nothing to add to the one that it is closed for.
	_ = c.nc.Close()
}

// read takes replies until the connection breaks.
func (c *Conn) read() {
	p := &replies{
		r: bufio.NewReaderSize(c.nc, 16<<10), info: c.info,
		find: c.waiting, fill: c.hold, filled: c.release, finished: c.answered,
	}
	err := p.next()
	for err == nil {
		err = p.next()
	}
	c.fail(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.gone)
	for cookie, call := range c.calls {
		call.err = c.dead
		c.forget(cookie, call)
	}
}

func (c *Conn) waiting(cookie uint64) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[cookie]
}

func (c *Conn) hold(call *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	call.filling = !call.abandoned
	return call.filling
}

func (c *Conn) release(call *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call.filling = false
}

func (c *Conn) answered(cookie uint64, call *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(cookie, call)
}

// forget ends a call; mu is held.
func (c *Conn) forget(cookie uint64, call *call) {
	delete(c.calls, cookie)
	close(call.done)
	<-c.window
}

// do sends a request and waits for the answer, or for ctx to end.
func (c *Conn) do(ctx context.Context, call *call) error {
	if err := c.enter(ctx, c.window); err != nil {
		return err
	}
	if err := c.submit(ctx, call); err != nil {
		return err
	}
	select {
	case <-call.done:
	case <-ctx.Done():
		c.abandon(call)
		return endedBy(context.Cause(ctx))
	}
	return call.outcome()
}

// enter waits for room in a queue.
func (c *Conn) enter(ctx context.Context, queue chan struct{}) error {
	select {
	case queue <- struct{}{}:
		return nil
	case <-c.gone:
		return c.Dead()
	case <-ctx.Done():
		return endedBy(context.Cause(ctx))
	}
}

// submit sends a request that is in the window; the window is left when it
// fails, else when the call is done.
func (c *Conn) submit(ctx context.Context, call *call) error {
	if err := c.enter(ctx, c.turn); err != nil {
		<-c.window
		return err
	}
	defer func() { <-c.turn }()
	cookie, err := c.register(call)
	if err != nil {
		<-c.window
		return err
	}
	if err := c.write(ctx, call, cookie); err != nil {
		c.fail(err) // ends the call, too
	}
	return nil
}

func (c *Conn) register(call *call) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.gone: // nobody would ever end the call
		return 0, c.dead
	default:
	}
	c.cookie++
	c.calls[c.cookie] = call
	return c.cookie, nil
}

// write sends a request. When ctx ends in the midst of it the stream is broken,
// and the connection ends.
func (c *Conn) write(ctx context.Context, call *call, cookie uint64) error {
	b := make([]byte, 0, requestSize)
	b = binary.BigEndian.AppendUint32(b, magicRequest)
	b = binary.BigEndian.AppendUint16(b, call.flags)
	b = binary.BigEndian.AppendUint16(b, call.cmd)
	b = binary.BigEndian.AppendUint64(b, cookie)
	b = binary.BigEndian.AppendUint64(b, uint64(call.offset))
	b = binary.BigEndian.AppendUint32(b, uint32(call.length))
	stop := closeWith(ctx, c.nc)
	defer stop()
	bufs := net.Buffers{b}
	if call.cmd == cmdWrite {
		bufs = append(bufs, call.data)
	}
	_, err := bufs.WriteTo(c.nc)
	return err
}

// abandon gives the caller's buffer back to it at once. What the server still
// answers is thrown away; if it is answering just now the connection ends.
func (c *Conn) abandon(call *call) {
	c.mu.Lock()
	call.abandoned = true
	filling := call.filling
	c.mu.Unlock()
	if filling {
		c.fail(fmt.Errorf("%w: a read was given up in the midst of its answer", backend.ErrTimeout))
		<-c.gone
	}
}
