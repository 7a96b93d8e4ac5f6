package libvirt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
)

// The framing of libvirt's RPC (src/rpc/virnetprotocol.x): each packet starts
// with its whole length, then program, version, procedure, type, serial and
// status, all big-endian 32-bit words.
const (
	headerSize    = 28
	maxPacket     = 32<<20 + 4 // VIR_NET_MESSAGE_MAX
	remoteProgram = 0x20008086
	procOpen      = 1 // REMOTE_PROC_CONNECT_OPEN
	flagReadOnly  = 1 // VIR_CONNECT_RO
)

var errFraming = errors.New("what answers there does not speak libvirt's protocol")

// framer follows packet lengths through a stream of reads. go-libvirt trusts
// them, and would panic on a short one or allocate whatever a long one claims.
type framer struct {
	word [4]byte
	have int    // bytes of word read so far
	left uint32 // bytes of the packet still to come
}

// feed follows b and returns an error at the first impossible length.
func (f *framer) feed(b []byte) error {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(uint32(len(b)), f.left)
			f.left -= n
			b = b[n:]
			continue
		}
		n := copy(f.word[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have < len(f.word) {
			return nil
		}
		f.have = 0
		size := binary.BigEndian.Uint32(f.word[:])
		if size < headerSize || size > maxPacket {
			return fmt.Errorf("%w (a packet of %d bytes)", errFraming, size)
		}
		f.left = size - uint32(len(f.word))
	}
	return nil
}

// wire is the connection under one go-libvirt client. It checks the framing,
// tells when the connection is lost, and asks for read-only access, which
// go-libvirt's ConnectToURI has no way to.
type wire struct {
	net.Conn
	readOnly bool
	frame    framer // used by the one reader only

	mu   sync.Mutex
	why  error         // why it was lost
	lost chan struct{} // closed when nothing more can be read
}

func newWire(c net.Conn, readOnly bool) *wire {
	return &wire{Conn: c, readOnly: readOnly, lost: make(chan struct{})}
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if ferr := w.frame.feed(p[:n]); ferr != nil {
		n, err = 0, ferr
	}
	if err != nil && !temporary(err) {
		w.lose(err)
	}
	return n, err
}

// Write implements net.Conn. go-libvirt flushes one whole packet a write.
func (w *wire) Write(p []byte) (int, error) {
	if w.readOnly && isOpen(p) {
		q := append([]byte(nil), p...)
		binary.BigEndian.PutUint32(q[len(q)-4:], flagReadOnly)
		p = q
	}
	return w.Conn.Write(p)
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

// alive reports whether the connection may still be used. Called after
// ConnectToURI it also orders go-libvirt's unguarded write of its state before
// the reader's end, which reads it.
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
