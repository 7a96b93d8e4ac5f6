package nbd

import (
	"bytes"
	"encoding/binary"
	"net"
	"syscall"
	"time"
)

var zeroPage [4096]byte

func allZero(p []byte) bool {
	for len(p) > len(zeroPage) {
		if !bytes.Equal(p[:len(zeroPage)], zeroPage[:]) {
			return false
		}
		p = p[len(zeroPage):]
	}
	return bytes.Equal(p, zeroPage[:len(p)])
}

// sendData answers a read; zeroes are not carried where the client can do
// without.
func (s *session) sendData(req *request) {
	switch {
	case !s.structured:
		s.send(simpleReply(req, 0), req.data)
	case req.length == 0:
		s.send(chunkHeader(req, chunkNone, chunkFlagDone, 0))
	case allZero(req.data):
		b := chunkHeader(req, chunkHole, chunkFlagDone, 12)
		b = binary.BigEndian.AppendUint64(b, uint64(req.offset))
		s.send(binary.BigEndian.AppendUint32(b, uint32(req.length)))
	default:
		b := chunkHeader(req, chunkData, chunkFlagDone, 8+len(req.data))
		s.send(binary.BigEndian.AppendUint64(b, uint64(req.offset)), req.data)
	}
}

func (s *session) sendStatus(req *request, chunks [][]byte) {
	var parts [][]byte
	for i, c := range chunks {
		flags := uint16(0)
		if i == len(chunks)-1 {
			flags = chunkFlagDone
		}
		parts = append(parts, chunkHeader(req, chunkStatus, flags, len(c)), c)
	}
	s.send(parts...)
}

func (s *session) succeed(req *request) {
	s.send(simpleReply(req, 0))
}

func (s *session) fail(req *request, errno syscall.Errno, text string) {
	if !s.structured || req.cmd != cmdRead && req.cmd != cmdBlockStatus {
		s.send(simpleReply(req, errno))
		return
	}
	text = text[:min(len(text), maxString)]
	b := chunkHeader(req, chunkError, chunkFlagDone, 6+len(text))
	b = binary.BigEndian.AppendUint32(b, uint32(errno))
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	s.send(append(b, text...))
}

func simpleReply(req *request, errno syscall.Errno) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, simpleSize), magicSimple)
	b = binary.BigEndian.AppendUint32(b, uint32(errno))
	return binary.BigEndian.AppendUint64(b, req.cookie)
}

func chunkHeader(req *request, typ, flags uint16, length int) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, chunkSize+16), magicChunk)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint64(b, req.cookie)
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

// send writes one reply whole. When it cannot the connection ends, and with it
// the loop that reads requests.
func (s *session) send(parts ...[]byte) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.broken != nil {
		return
	}
	if s.broken = s.nc.SetWriteDeadline(time.Now().Add(s.server.Idle)); s.broken == nil {
		bufs := net.Buffers(parts)
		_, s.broken = bufs.WriteTo(s.nc)
	}
	if s.broken != nil {
		// The reason is kept; what closing says adds nothing to it.
		_ = s.nc.Close()
	}
}
