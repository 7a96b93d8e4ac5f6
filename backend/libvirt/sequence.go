package libvirt

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The types of RPC packets that matter here (virNetMessageType).
const (
	typeReply  = 1
	typeStream = 3
)

// heldMost bounds the stream data that is held back for one connection.
const heldMost = 64 << 20

var errTooEager = errors.New("libvirt sent too much of a stream before its reply")

// sequencer puts the reply to a call before the data of the stream that the
// call opens. A daemon's threads send them in either order, while go-libvirt
// takes the first packet for the reply, which loses data, ends the stream at
// the reply, and locks up.
type sequencer struct {
	src     *bufio.Reader
	ready   []byte
	replied map[int32]bool
	held    map[int32][]byte
}

func newSequencer(r io.Reader) *sequencer {
	return &sequencer{src: bufio.NewReader(r), replied: map[int32]bool{}, held: map[int32][]byte{}}
}

// Read implements io.Reader.
func (s *sequencer) Read(p []byte) (int, error) {
	for len(s.ready) == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// next takes in one packet. Its length was checked by dial, but it costs
// nothing not to trust that.
func (s *sequencer) next() error {
	head, err := s.src.Peek(headerSize)
	if err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head)
	if size < headerSize || size > heldMost {
		return fmt.Errorf("a packet of %d bytes is none of libvirt's", size)
	}
	kind, serial := binary.BigEndian.Uint32(head[16:]), int32(binary.BigEndian.Uint32(head[20:]))
	packet := make([]byte, size)
	if _, err := io.ReadFull(s.src, packet); err != nil {
		return err
	}
	switch {
	case kind == typeStream && !s.replied[serial]:
		if len(s.held[serial])+len(packet) > heldMost {
			return errTooEager
		}
		s.held[serial] = append(s.held[serial], packet...)
	case kind == typeReply:
		s.replied[serial] = true
		s.ready = append(packet, s.held[serial]...)
		delete(s.held, serial)
	default:
		s.ready = packet
	}
	return nil
}
