package libvirt

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"berth/backend"
)

// brief is a daemon that hangs up as soon as it has opened the driver.
type brief struct{ *fakeDaemon }

func (b brief) Dial(ctx context.Context, readOnly bool) (net.Conn, error) {
	c, err := b.fakeDaemon.Dial(ctx, readOnly)
	return &briefConn{Conn: c}, err
}

type briefConn struct {
	net.Conn
	over bool
}

// Read gets a whole packet at a time, as a pipe gives it.
func (c *briefConn) Read(p []byte) (int, error) {
	if c.over {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	c.over = n >= headerSize && binary.BigEndian.Uint32(p[12:]) == procOpen
	return n, err
}

// TestHangUpWhileOpening is for the race detector: the connection's end is not
// told to go-libvirt while it still sets the connection up.
func TestHangUpWhileOpening(t *testing.T) {
	h := newHost(Options{}, brief{newFake(t)})
	defer h.Close()
	for range 200 {
		c, err := h.open(soon(t))
		if err == nil {
			<-c.wire.lost
		} else if !errors.Is(err, backend.ErrUnreachable) {
			t.Fatal(err)
		}
	}
}
