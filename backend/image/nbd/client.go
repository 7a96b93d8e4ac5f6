package nbd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend"
)

// Options say how a Client uses a server; the zero values are the usual ones.
type Options struct {
	Export   string
	Contexts []string // meta contexts that must be there: ErrNoContext
	Wanted   []string // meta contexts that would be of use
	// Connections is how many are used at once where the server allows several.
	// 0: one, which a server with one thread, as QEMU's, answers fastest.
	Connections int
	Window      int           // requests in flight on each; 0: 16
	Timeout     time.Duration // of one request, and of the handshake; 0: 2 minutes
	// Attempts is how often a read on a lost connection is tried again over a new
	// one. 0: three times; negative: never.
	Attempts int
}

// Client reads and writes one export over one connection or several. A lost
// connection is dialled again for reads; a write never is, because what the
// server had taken and not yet flushed might be gone with it. Its methods may
// be called from several goroutines.
type Client struct {
	dial  func(ctx context.Context) (net.Conn, error)
	o     Options
	info  *Info
	next  atomic.Uint64
	wrote atomic.Bool

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	extra  sync.WaitGroup // connections that are being opened

	redial chan struct{} // one element while somebody dials
	mu     sync.Mutex
	conns  []*Conn
}

// Dial connects to an export; each call of dial gives a connection of its own
// to the same server.
func Dial(ctx context.Context, dial func(ctx context.Context) (net.Conn, error), o Options) (*Client, error) {
	o = o.filled()
	c := &Client{dial: dial, o: o, redial: make(chan struct{}, 1)}
	first, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	c.info = first.Info()
	c.conns = []*Conn{first}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if c.info.Has(CanMultiConn) {
		for range o.Connections - 1 {
			c.extra.Go(c.openExtra)
		}
	}
	return c, nil
}

func (o Options) filled() Options {
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Minute
	}
	switch {
	case o.Attempts == 0:
		o.Attempts = 3
	case o.Attempts < 0:
		o.Attempts = 0
	}
	return o
}

// connect dials, shakes hands and sees to it that all that is needed is there.
func (c *Client) connect(ctx context.Context) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	nc, err := c.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: connecting to the NBD server: %w", backend.ErrUnreachable, err)
	}
	conn, err := Connect(ctx, nc, c.o.Export, slices.Concat(c.o.Contexts, c.o.Wanted), c.o.Window)
	if err != nil {
		return nil, err
	}
	if err := c.check(conn.Info()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (c *Client) check(i *Info) error {
	names := slices.Collect(maps.Values(i.Contexts))
	for _, want := range c.o.Contexts {
		if !slices.Contains(names, want) {
			return fmt.Errorf("%w: %s", ErrNoContext, backend.Clean(want))
		}
	}
	if c.info == nil {
		return nil
	}
	if i.Size != c.info.Size || i.MinBlock != c.info.MinBlock || len(i.Contexts) != len(c.info.Contexts) {
		return fmt.Errorf("%w: it had %d bytes and has %d", ErrChanged, c.info.Size, i.Size)
	}
	return nil
}

// openExtra opens a further connection. When that fails those that there are
// must do: a server may take only so many.
func (c *Client) openExtra() {
	conn, err := c.connect(c.ctx)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
}

// Info describes the export.
func (c *Client) Info() *Info { return c.info }

// Size is the export's, in bytes.
func (c *Client) Size() int64 { return c.info.Size }

// Close ends every connection. What was written and not flushed may be lost.
func (c *Client) Close() error {
	c.cancel()
	c.extra.Wait()
	c.mu.Lock()
	conns := c.conns
	c.conns = nil
	c.mu.Unlock()
	var errs []error
	for _, conn := range conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// pick returns a connection that lives, or dials one.
func (c *Client) pick(ctx context.Context) (*Conn, error) {
	conn, dead, err := c.live()
	if conn != nil || err != nil {
		return conn, err
	}
	if c.wrote.Load() {
		return nil, dead
	}
	select {
	case c.redial <- struct{}{}:
		defer func() { <-c.redial }()
	case <-ctx.Done():
		return nil, endedBy(context.Cause(ctx))
	}
	if conn, _, err := c.live(); conn != nil || err != nil {
		return conn, err // another one dialled meanwhile
	}
	if conn, err = c.connect(ctx); err != nil {
		return nil, err
	}
	return conn, c.adopt(conn)
}

func (c *Client) adopt(conn *Conn) error {
	c.mu.Lock()
	open := c.ctx.Err() == nil
	if open {
		c.conns = append(c.conns, conn)
	}
	c.mu.Unlock()
	if !open {
		return errors.Join(backend.ErrClosed, conn.Close())
	}
	return nil
}

// live returns the next connection in turn; dead ones are let go, the last
// one's reason comes with none.
func (c *Client) live() (conn *Conn, dead, err error) {
	if c.ctx.Err() != nil {
		return nil, nil, backend.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	dead = backend.ErrUnreachable
	c.conns = slices.DeleteFunc(c.conns, func(conn *Conn) bool {
		err := conn.Dead()
		if err != nil {
			dead = err
		}
		return err != nil
	})
	if len(c.conns) == 0 {
		return nil, dead, nil
	}
	return c.conns[c.next.Add(1)%uint64(len(c.conns))], nil, nil
}

// once makes one request over one connection, with a deadline that ends the
// connection: what is silent once is not to be asked again.
func (c *Client) once(ctx context.Context, timeout time.Duration, call *call) (*Conn, error) {
	conn, err := c.pick(ctx)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = conn.do(limited, call)
	switch {
	case err == nil:
	case ctx.Err() != nil: // whatever became of the connection, the caller gave up
		err = endedBy(context.Cause(ctx))
	case limited.Err() != nil:
		conn.fail(err)
	}
	return conn, err
}

// again makes a request that changes nothing until it is answered, over new
// connections where the old ones break.
func (c *Client) again(ctx context.Context, fresh func() *call) (*call, *Conn, error) {
	for attempt := 0; ; attempt++ {
		call := fresh()
		conn, err := c.once(ctx, c.o.Timeout, call)
		if err == nil || attempt >= c.o.Attempts || !canTryAgain(err) {
			return call, conn, err
		}
		if pause(ctx, backoff(attempt)) != nil {
			return nil, nil, endedBy(context.Cause(ctx))
		}
	}
}

// canTryAgain tells a lost connection from an answer, a broken server and a
// silent one.
func canTryAgain(err error) bool {
	var answer *Error
	return errors.Is(err, backend.ErrUnreachable) && !errors.As(err, &answer) && !errors.Is(err, ErrChanged)
}

func backoff(attempt int) time.Duration {
	return time.Duration(50*math.Pow(4, float64(attempt))) * time.Millisecond
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
