package libvirt

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

const (
	// dialTimeout bounds one attempt to connect. It goes on after its caller
	// has given up, so that a slow ssh login is there for the next call.
	dialTimeout = 20 * time.Second
	// cancelGrace is how long a call that its caller no longer wants may go on
	// before its connection is closed under it.
	cancelGrace = 2 * time.Second
)

// client is one connection to a daemon.
type client struct {
	*libvirt.Libvirt
	wire *wire
	boot bootID
}

// lane is a purpose with connections of its own, dialled when needed. Each
// connection carries at most share calls at a time (a daemon serves five of
// one client), and there are at most width connections.
type lane struct {
	name  string
	share int
	open  func(context.Context) (*client, error)
	life  context.Context // ends with the Host
	slots chan struct{}

	mu    sync.Mutex
	links []*link
}

// link is a connection of a lane, being dialled until ready is closed.
type link struct {
	ready chan struct{}
	cl    *client
	err   error
	calls int // under lane.mu
}

func newLane(life context.Context, name string, width, share int, open func(context.Context) (*client, error)) *lane {
	return &lane{name: name, share: share, open: open, life: life, slots: make(chan struct{}, width*share)}
}

// ask runs fn on a connection of the lane and returns when it has an answer
// or ctx ends. When ctx's deadline passes the connection is closed, which
// ends fn and whatever else it carried; when ctx is cancelled fn may finish
// first. A read that lost its connection for another's sake is tried once more.
func ask[T any](ctx context.Context, l *lane, fn func(*libvirt.Libvirt) (T, error)) (T, error) {
	v, err := askOnce(ctx, l, fn)
	if errors.Is(err, errLost) && ctx.Err() == nil {
		v, err = askOnce(ctx, l, fn)
	}
	return v, err
}

// tell is ask for what must not be sent twice: it is tried again only when
// nothing was sent the first time.
func tell[T any](ctx context.Context, l *lane, fn func(*libvirt.Libvirt) (T, error)) (T, error) {
	v, err := askOnce(ctx, l, fn)
	if errors.Is(err, errNotSent) && ctx.Err() == nil {
		v, err = askOnce(ctx, l, fn)
	}
	return v, err
}

func askOnce[T any](ctx context.Context, l *lane, fn func(*libvirt.Libvirt) (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	var none T
	k, err := l.acquire(ctx)
	if err != nil {
		return none, err
	}
	done := make(chan answer, 1)
	go func() {
		defer l.release(k)
		v, err := guarded(k.cl.Libvirt, fn)
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		if a.err != nil && isConnectionError(a.err) {
			l.abandon(k)
			return none, lostBecause(a.err, k.cl.wire.reason())
		}
		return a.v, a.err
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		l.abandon(k)
	} else {
		go func() {
			t := time.NewTimer(cancelGrace)
			defer t.Stop()
			select {
			case <-done:
			case <-t.C:
				l.abandon(k)
			case <-l.life.Done():
			}
		}()
	}
	return none, ended(ctx)
}

// guarded turns a panic in go-libvirt's decoder, as on a reply it does not
// know, into an error.
func guarded[T any](lv *libvirt.Libvirt, fn func(*libvirt.Libvirt) (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("libvirt's answer cannot be read: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(lv)
}

// ended is the error of a call whose context ended.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", backend.ErrTimeout, ctx.Err())
	}
	return ctx.Err()
}

// acquire returns a connection with room for one more call.
func (l *lane) acquire(ctx context.Context) (*link, error) {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ended(ctx)
	case <-l.life.Done():
		return nil, backend.ErrClosed
	}
	k := l.pick()
	select {
	case <-k.ready:
	case <-ctx.Done():
		l.release(k)
		return nil, ended(ctx)
	}
	if k.err != nil {
		l.release(k)
		return nil, k.err
	}
	return k, nil
}

// pick finds a live connection with room, or starts to dial one.
func (l *lane) pick() *link {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.links = slices.DeleteFunc(l.links, (*link).dead)
	for _, k := range l.links {
		if k.calls < l.share {
			k.calls++
			return k
		}
	}
	k := &link{ready: make(chan struct{}), calls: 1}
	l.links = append(l.links, k)
	go l.dial(k)
	return k
}

func (l *lane) dial(k *link) {
	ctx, cancel := context.WithTimeout(l.life, dialTimeout)
	defer cancel()
	k.cl, k.err = l.open(ctx)
	if k.err != nil && l.life.Err() != nil {
		k.err = backend.ErrClosed
	}
	if k.cl != nil && l.life.Err() != nil {
		k.cl.wire.Close()
	}
	close(k.ready)
}

// dead reports whether a link is of no more use.
func (k *link) dead() bool {
	select {
	case <-k.ready:
		return k.err != nil || !k.cl.wire.alive()
	default:
		return false
	}
}

func (l *lane) release(k *link) {
	l.mu.Lock()
	k.calls--
	l.mu.Unlock()
	<-l.slots
}

// abandon closes a connection: its calls return, the next call dials afresh.
// The daemon is told nothing, for the telling could block as well.
func (l *lane) abandon(k *link) {
	l.mu.Lock()
	l.links = slices.DeleteFunc(l.links, func(x *link) bool { return x == k })
	l.mu.Unlock()
	k.cl.wire.Close()
}

// close ends all connections of the lane. The lane's life must have ended.
func (l *lane) close() {
	l.mu.Lock()
	links := l.links
	l.links = nil
	l.mu.Unlock()
	for _, k := range links {
		<-k.ready
		if k.cl != nil {
			k.cl.wire.Close()
		}
	}
}
