package libvirt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Libvirt's RPC (src/rpc/virnetprotocol.x): each packet starts with its whole
// length, then program, version, procedure, type, serial and status, all
// big-endian 32-bit words. dial checks the lengths that come in.
const (
	headerSize    = 28
	remoteProgram = 0x20008086
	procOpen      = 1 // REMOTE_PROC_CONNECT_OPEN
	flagReadOnly  = 1 // VIR_CONNECT_RO

	// answerWait is how long a reader at its end waits for the rest of ConnectToURI.
	answerWait = time.Second

	typeStreamHole = 6 // VIR_NET_STREAM_HOLE
	statusContinue = 2 // VIR_NET_CONTINUE
)

// wire is the connection under one go-libvirt client. It tells when the
// connection is lost, and asks for read-only access, which go-libvirt's
// ConnectToURI has no way to.
type wire struct {
	net.Conn
	in       io.Reader // what is read: Conn, or Conn put in order
	readOnly bool
	// hole, when it is not 0, is what the next piece of a stream stands for:
	// holeMark, which is sent as a hole of that length.
	hole int64

	asked    atomic.Bool   // the call to open was sent
	answered bool          // something came since; the reader's alone
	opened   chan struct{} // closed when ConnectToURI has returned

	mu   sync.Mutex
	why  error         // why it was lost
	lost chan struct{} // closed when nothing more can be read
}

func newWire(c net.Conn, readOnly, streams bool) *wire {
	w := &wire{Conn: c, in: c, readOnly: readOnly, opened: make(chan struct{}), lost: make(chan struct{})}
	if streams {
		w.in = newSequencer(c)
	}
	return w
}

// Read implements net.Conn. Its last error is told only once ConnectToURI has
// returned, should the daemon have answered it: go-libvirt then writes, without
// a lock, what is read when the reader ends.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	w.answered = w.answered || n > 0 && w.asked.Load()
	if err == nil || temporary(err) {
		return n, err
	}
	w.lose(err)
	if w.answered {
		t := time.NewTimer(answerWait)
		defer t.Stop()
		select {
		case <-w.opened:
		case <-t.C: // the answer is not whole: ConnectToURI waits for the reader's end
		}
	}
	return n, err
}

// Write implements net.Conn. go-libvirt flushes one whole packet a write.
func (w *wire) Write(p []byte) (int, error) {
	whole := len(p)
	if isOpen(p) {
		w.asked.Store(true)
		if w.readOnly {
			p = bytes.Clone(p)
			binary.BigEndian.PutUint32(p[len(p)-4:], flagReadOnly)
		}
	}
	if w.hole > 0 && isPiece(p) {
		p = asHole(p, w.hole)
		w.hole = 0
	}
	if n, err := w.Conn.Write(p); err != nil {
		return min(n, whole), err
	}
	return whole, nil
}

// holeMark is what goes through go-libvirt, which knows no holes, in the place
// of one.
var holeMark [8]byte

// isPiece reports whether p is a piece of a stream as long as holeMark.
func isPiece(p []byte) bool {
	return len(p) == headerSize+len(holeMark) && binary.BigEndian.Uint32(p) == uint32(len(p)) &&
		binary.BigEndian.Uint32(p[16:]) == typeStream && binary.BigEndian.Uint32(p[24:]) == statusContinue
}

// asHole makes of such a piece a hole (virNetStreamHole: its length, and flags).
func asHole(p []byte, length int64) []byte {
	q := append([]byte(nil), p[:headerSize]...)
	q = binary.BigEndian.AppendUint64(q, uint64(length))
	q = binary.BigEndian.AppendUint32(q, 0)
	binary.BigEndian.PutUint32(q, uint32(len(q)))
	binary.BigEndian.PutUint32(q[16:], typeStreamHole)
	return q
}

// isOpen reports whether p is a call to virConnectOpen, whose last word is its flags.
func isOpen(p []byte) bool {
	return len(p) > headerSize+4 &&
		binary.BigEndian.Uint32(p) == uint32(len(p)) &&
		binary.BigEndian.Uint32(p[4:]) == remoteProgram &&
		binary.BigEndian.Uint32(p[12:]) == procOpen
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.lose(net.ErrClosed)
	return w.Conn.Close()
}

func (w *wire) lose(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why == nil {
		w.why = why
		close(w.lost)
	}
}

// alive reports whether the connection may still be used.
func (w *wire) alive() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why == nil
}

// reason is why the connection was lost, or nil.
func (w *wire) reason() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why
}

// temporary mirrors go-libvirt, which goes on reading after such an error.
func temporary(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Temporary()
}
