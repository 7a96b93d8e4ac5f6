package dial

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

// fakeConn is a connection whose incoming bytes are set beforehand.
type fakeConn struct {
	net.Conn
	io.Reader
	closed int
}

func (c *fakeConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }
func (c *fakeConn) Close() error               { c.closed++; return nil }

// packet is one of the given length, all told.
func packet(length int) []byte {
	b := make([]byte, length)
	binary.BigEndian.PutUint32(b, uint32(length))
	for i := 4; i < length; i++ {
		b[i] = 0xff // must not be taken for a length
	}
	return b
}

func TestGuardPassesPackets(t *testing.T) {
	stream := bytes.Join([][]byte{packet(packetMin), packet(packetMin + 1), packet(70000), packet(packetMin)}, nil)
	for name, r := range map[string]io.Reader{
		"whole":          bytes.NewReader(stream),
		"byte by byte":   iotest.OneByteReader(bytes.NewReader(stream)),
		"in halves":      iotest.HalfReader(bytes.NewReader(stream)),
		"data with EOF":  iotest.DataErrReader(bytes.NewReader(stream)),
		"byte, with EOF": iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(stream))),
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(&fakeConn{Reader: r}, nil)
			got, err := io.ReadAll(g)
			if err != nil || !bytes.Equal(got, stream) {
				t.Errorf("%d bytes and %v, want %d", len(got), err, len(stream))
			}
			if err := g.Cause(); err != io.EOF {
				t.Errorf("cause %v, want EOF", err)
			}
		})
	}
}

func TestGuardRefusesLengths(t *testing.T) {
	good := packet(40)
	for name, c := range map[string]struct {
		length uint32
		text   string
	}{
		"nothing":          {0, "0 bytes"},
		"less than header": {packetMin - 1, "27 bytes"},
		"too large":        {packetMax + 1, "33554437 bytes"},
		"huge":             {1<<32 - 1, "4294967295 bytes"},
		"http":             {binary.BigEndian.Uint32([]byte("HTTP")), `"HTTP"`},
	} {
		for _, oneByOne := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				var r io.Reader = bytes.NewReader(append(binary.BigEndian.AppendUint32(bytes.Clone(good), c.length), "rest"...))
				if oneByOne {
					r = iotest.OneByteReader(r)
				}
				conn := &fakeConn{Reader: r}
				released := 0
				g := newGuard(conn, func() { released++ })
				got, err := io.ReadAll(g)
				if err == nil || !strings.Contains(err.Error(), c.text) {
					t.Errorf("error %v, want %q in it", err, c.text)
				}
				// Of the bad length at most the first three bytes may get through.
				if !bytes.HasPrefix(got, good) || len(got) > len(good)+3 {
					t.Errorf("%d bytes got through, want %d", len(got), len(good))
				}
				if conn.closed != 1 || released != 1 || g.Close() != nil || conn.closed != 1 {
					t.Errorf("closed %d times, released %d times, want once each", conn.closed, released)
				}
				if _, again := g.Read(make([]byte, 8)); !errors.Is(again, err) {
					t.Errorf("the next read said %v, want %v", again, err)
				}
			})
		}
	}
}

func TestGuardAllowsTheLargestPacket(t *testing.T) {
	g := newGuard(&fakeConn{Reader: bytes.NewReader(binary.BigEndian.AppendUint32(nil, packetMax))}, nil)
	if _, err := io.ReadAll(g); err != nil {
		t.Error(err)
	}
}

func TestGuardErrors(t *testing.T) {
	timeout := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}
	g := newGuard(&fakeConn{Reader: iotest.ErrReader(timeout)}, nil)
	_, err := g.Read(make([]byte, 8))
	if _, direct := err.(*net.OpError); direct || !errors.Is(err, syscall.ETIMEDOUT) { //nolint:errorlint // go-libvirt asserts so
		t.Errorf("%#v would have go-libvirt read on", err)
	}
	if !errors.Is(g.Cause(), syscall.ETIMEDOUT) {
		t.Errorf("cause %v", g.Cause())
	}

	g = newGuard(&fakeConn{Reader: iotest.ErrReader(os.ErrDeadlineExceeded)}, nil)
	if _, err := g.Read(make([]byte, 8)); err != os.ErrDeadlineExceeded || g.Cause() != nil {
		t.Errorf("a passed deadline ended the connection: %v, %v", err, g.Cause())
	}
	if err := g.Close(); err != nil || g.Cause() != net.ErrClosed {
		t.Errorf("close %v, cause %v", err, g.Cause())
	}
}

func TestGuardCloseEndsARead(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	g := newGuard(near, nil)
	ended := make(chan error)
	go func() {
		_, err := g.Read(make([]byte, 8))
		ended <- err
	}()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the read ended without an error")
		}
	case <-time.After(5 * time.Second):
		t.Error("the read goes on")
	}
}

// FuzzGuard feeds a stream in pieces and compares with a plain reading of it.
func FuzzGuard(f *testing.F) {
	f.Add(append(packet(28), packet(64)...), uint8(7))
	f.Add(append(packet(30), 0, 0, 0, 3, 1, 2), uint8(1))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"), uint8(3))
	f.Fuzz(func(t *testing.T, stream []byte, chunk uint8) {
		want, bad := 0, false
		for want+4 <= len(stream) {
			length := binary.BigEndian.Uint32(stream[want:])
			if bad = length < packetMin || length > packetMax; bad {
				break
			}
			want += int(length)
		}
		g := newGuard(&fakeConn{Reader: bytes.NewReader(stream)}, nil)
		var got []byte
		var err error
		for buf := make([]byte, int(chunk)+1); err == nil; {
			var n int
			n, err = g.Read(buf)
			got = append(got, buf[:n]...)
		}
		switch {
		case bad && (err == io.EOF || len(got) < want || len(got) > want+3 || !bytes.Equal(got, stream[:len(got)])):
			t.Errorf("%d bytes through, %v; the bad length is at %d", len(got), err, want)
		case !bad && (err != io.EOF || !bytes.Equal(got, stream)):
			t.Errorf("%d of %d good bytes through, %v", len(got), len(stream), err)
		}
	})
}

func BenchmarkGuard(b *testing.B) {
	stream := bytes.Repeat(packet(200), 1000)
	for name, wrap := range map[string]func(net.Conn) io.Reader{
		"bare":    func(c net.Conn) io.Reader { return c },
		"guarded": func(c net.Conn) io.Reader { return newGuard(c, nil) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			buf := make([]byte, 4096)
			for b.Loop() {
				r := wrap(&fakeConn{Reader: bytes.NewReader(stream)})
				for {
					if _, err := r.Read(buf); err != nil {
						break
					}
				}
			}
		})
	}
}

// slowClose is a connection whose Close waits until what carries it is gone.
type slowClose struct {
	fakeConn
	gone chan struct{}
}

func (c *slowClose) Close() error { <-c.gone; return io.ErrClosedPipe }

func TestGuardClosesTheCarrierFirst(t *testing.T) {
	c := &slowClose{gone: make(chan struct{})}
	g := newGuard(c, func() { close(c.gone) })
	closed := make(chan error)
	go func() { closed <- g.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Errorf("close: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("a peer that is gone holds Close back")
	}
}
