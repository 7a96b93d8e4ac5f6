package dial

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// What one packet of libvirt's RPC may measure, its own four bytes of length
// included (libvirt's src/rpc/virnetprotocol.x): VIR_NET_MESSAGE_LEN_MAX +
// VIR_NET_MESSAGE_MAX, and no less than the length and the six words of header.
const (
	packetMax = 4 + 32<<20
	packetMin = 4 + 6*4
)

// guard watches the framing of what a libvirt daemon sends. A client that
// trusts a packet's length allocates what it announces, or panics when it is
// less than a header; guard ends the connection before the client sees such
// a length. Bytes go straight into the reader's buffer: guard only looks at
// them, four a packet.
//
// It also makes the end of a connection plain: the first error stays, Close
// may be called twice, and Cause tells what happened.
type guard struct {
	net.Conn
	release func()  // ends what carries the connection (an ssh client, a socket under TLS); may be nil
	machine machine // nil where it cannot be looked at

	// Only Read uses these, and it is not called concurrently.
	left int // bytes of the current packet still to come
	size [4]byte
	have int // bytes of size already read

	mu     sync.Mutex
	cause  error
	closed bool
}

// newGuard wraps c; release, which may be nil, runs once when c is closed.
func newGuard(c net.Conn, release func()) *guard { return &guard{Conn: c, release: release} }

// Read is the connection's, with the packets' lengths checked.
func (g *guard) Read(p []byte) (int, error) {
	if err := g.Cause(); err != nil {
		return 0, err
	}
	n, err := g.Conn.Read(p)
	if good, bad := g.scan(p[:n]); bad != nil {
		return good, g.fail(bad)
	}
	switch {
	case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		return n, err
	case errors.Is(err, io.EOF):
		return n, g.fail(io.EOF)
	}
	// Wrapped, because go-libvirt reads on after a *net.OpError that calls
	// itself temporary, as a TCP connection that timed out does.
	return n, g.fail(fmt.Errorf("libvirt connection: %w", err))
}

// scan follows the packets through b. When one announces an impossible length
// it returns how many bytes came before it, and why.
func (g *guard) scan(b []byte) (int, error) {
	for i := 0; i < len(b); {
		if g.left > 0 {
			n := min(g.left, len(b)-i)
			g.left -= n
			i += n
			continue
		}
		start := i
		n := copy(g.size[g.have:], b[i:])
		g.have += n
		i += n
		if g.have < len(g.size) {
			break
		}
		g.have = 0
		length := binary.BigEndian.Uint32(g.size[:])
		if length < packetMin || length > packetMax {
			return start, badLength(length, g.size)
		}
		g.left = int(length) - len(g.size)
	}
	return len(b), nil
}

// badLength says what arrived; text there means that it is no libvirt at all.
func badLength(length uint32, raw [4]byte) error {
	for _, c := range raw {
		if c < ' ' || c > '~' {
			return fmt.Errorf("the peer announced a packet of %d bytes, which libvirt never sends (%d to %d): connection closed", length, packetMin, packetMax)
		}
	}
	return fmt.Errorf("the peer does not speak libvirt's RPC (it sent %q): connection closed", raw[:])
}

// fail remembers why the connection ended and closes it.
func (g *guard) fail(err error) error {
	g.mu.Lock()
	if g.cause == nil {
		g.cause = err
	}
	err = g.cause
	g.mu.Unlock()
	_ = g.Close() // what matters is the cause
	return err
}

// Cause is why the connection ended: net.ErrClosed after Close, io.EOF when
// the daemon hung up, nil while it lasts.
func (g *guard) Cause() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause == nil && g.closed {
		return net.ErrClosed
	}
	return g.cause
}

// Close ends the connection and what carries it. Only the first call does
// anything, and a connection that is closed already is no error.
func (g *guard) Close() error {
	g.mu.Lock()
	done := g.closed
	g.closed = true
	g.mu.Unlock()
	if done {
		return nil
	}
	if g.release != nil {
		// First, because closing a channel or a TLS connection says goodbye,
		// and a dead peer could hold that back.
		g.release()
		_ = g.Conn.Close() // what it says of a carrier that is gone means nothing
		return nil
	}
	if err := g.Conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
