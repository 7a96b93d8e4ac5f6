package dial

import (
	"context"
	"net"
	"time"
)

// patience bounds a whole Dial when its context sets no earlier end.
const patience = 30 * time.Second

// Dial connects to the daemon that t names and returns a connection ready for
// libvirt's RPC. With readOnly a unix socket that only allows reading is used
// where there is one; the caller still has to open the driver read-only.
//
// The connection outlives ctx, which only bounds the dialling. Closing it
// also ends the ssh connection underneath. Its dynamic type has a method
// Cause() error that tells why it ended, nil while it lasts, and the methods
// Boot(ctx) (string, error) and Exists(ctx, path) (bool, error), which look at
// the machine it leads to; see there.
//
// Errors are *backend.OpError; see the package's description.
func (t *Target) Dial(ctx context.Context, readOnly bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := t.dial(ctx, readOnly)
	if err != nil {
		return nil, t.explain(ctx, err)
	}
	return conn, nil
}

func (t *Target) dial(ctx context.Context, readOnly bool) (*guard, error) {
	switch t.via {
	case viaTCP:
		c, err := dialTCP(ctx, t.address())
		if err != nil {
			return nil, err
		}
		return newGuard(c, nil), nil
	case viaTLS:
		c, err := t.dialTLS(ctx)
		if err != nil {
			return nil, err
		}
		return newGuard(c, func() { _ = c.NetConn().Close() }), nil
	case viaSSH:
		return t.dialSSH(ctx, readOnly)
	default:
		c, err := t.dialUnix(ctx, readOnly)
		if err != nil {
			return nil, err
		}
		g := newGuard(c, nil)
		g.machine = hereOf(c)
		return g, nil
	}
}

// dialTCP connects and has the kernel notice within a minute when the other
// end has vanished.
func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 10 * time.Second, Count: 4}}
	return d.DialContext(ctx, "tcp", address)
}

// closeOnDone closes c when ctx ends, which is what frees a call that takes no
// context. The function it returns stops that, and returns ctx's error if it
// has happened.
func closeOnDone(ctx context.Context, c interface{ Close() error }) func() error {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return func() error {
		if stop() {
			return nil
		}
		return ctx.Err()
	}
}
