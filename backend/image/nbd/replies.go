package nbd

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"berth/backend"
)

// replies parses what a server sends. It trusts nothing: each reply must
// belong to a call that waits for it and lie within what that asked for.
type replies struct {
	r        *bufio.Reader
	info     *Info
	find     func(cookie uint64) *call // nil: nobody waits for that
	fill     func(c *call) (may bool)  // takes hold of c.data, unless that was given back
	filled   func(c *call)             // lets go of it
	finished func(cookie uint64, c *call)
}

// next takes one simple reply or one chunk of a structured one. An error means
// that the stream cannot be followed any further.
func (p *replies) next() error {
	var b [chunkSize]byte
	if _, err := io.ReadFull(p.r, b[:4]); err != nil {
		return err
	}
	switch m := binary.BigEndian.Uint32(b[:]); m {
	case magicSimple:
		if _, err := io.ReadFull(p.r, b[4:simpleSize]); err != nil {
			return err
		}
		return p.simple(binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:]))
	case magicChunk:
		if !p.info.Structured {
			return violation("a structured reply that was not agreed on")
		}
		if _, err := io.ReadFull(p.r, b[4:]); err != nil {
			return err
		}
		return p.chunk(chunk{
			flags: binary.BigEndian.Uint16(b[4:]), typ: binary.BigEndian.Uint16(b[6:]),
			cookie: binary.BigEndian.Uint64(b[8:]), length: int64(binary.BigEndian.Uint32(b[16:])),
		})
	default:
		return violation("a reply that begins with %#x", m)
	}
}

func (p *replies) simple(errno uint32, cookie uint64) error {
	c := p.find(cookie)
	if c == nil {
		return violation("a reply to a request that was not made")
	}
	if p.info.Structured && (c.cmd == cmdRead || c.cmd == cmdBlockStatus) && errno == 0 {
		return violation("a simple reply to a %s", commandNames[c.cmd])
	}
	if errno != 0 {
		c.failed(errno, "")
	} else if c.cmd == cmdRead {
		if err := p.data(c, 0, c.length); err != nil {
			return err
		}
	}
	return p.finish(cookie, c)
}

func (p *replies) finish(cookie uint64, c *call) error {
	if err := c.complete(); err != nil {
		return err
	}
	p.finished(cookie, c)
	return nil
}

type chunk struct {
	flags, typ uint16
	cookie     uint64
	length     int64
}

func (p *replies) chunk(h chunk) error {
	c := p.find(h.cookie)
	if c == nil {
		return violation("a reply to a request that was not made")
	}
	var err error
	switch h.typ {
	case chunkNone:
		if h.length != 0 || h.flags&chunkFlagDone == 0 {
			err = violation("an empty chunk that is none")
		}
	case chunkData:
		err = p.dataChunk(c, h.length)
	case chunkHole:
		err = p.holeChunk(c, h.length)
	case chunkStatus:
		err = p.statusChunk(c, h.length)
	default:
		if h.typ&chunkErr == 0 {
			return violation("a chunk of type %d", h.typ)
		}
		err = p.errorChunk(c, h)
	}
	if err != nil || h.flags&chunkFlagDone == 0 {
		return err
	}
	return p.finish(h.cookie, c)
}

func (p *replies) dataChunk(c *call, length int64) error {
	if c.cmd != cmdRead || length <= 8 || length-8 > c.length {
		return violation("%d bytes of data for a %s of %d", length, commandNames[c.cmd], c.length)
	}
	var b [8]byte
	if _, err := io.ReadFull(p.r, b[:]); err != nil {
		return err
	}
	return p.data(c, int64(binary.BigEndian.Uint64(b[:]))-c.offset, length-8)
}

// data reads n bytes of content to from, relative to the call's offset.
func (p *replies) data(c *call, from, n int64) error {
	if err := c.cover(from, n); err != nil {
		return err
	}
	if !p.fill(c) {
		_, err := io.CopyN(io.Discard, p.r, n)
		return err
	}
	defer p.filled(c)
	_, err := io.ReadFull(p.r, c.data[from:from+n])
	return err
}

func (p *replies) holeChunk(c *call, length int64) error {
	if c.cmd != cmdRead || length != 12 {
		return violation("a hole of %d bytes for a %s", length, commandNames[c.cmd])
	}
	var b [12]byte
	if _, err := io.ReadFull(p.r, b[:]); err != nil {
		return err
	}
	from, n := int64(binary.BigEndian.Uint64(b[:]))-c.offset, int64(binary.BigEndian.Uint32(b[8:]))
	if err := c.cover(from, n); err != nil {
		return err
	}
	if p.fill(c) {
		clear(c.data[from : from+n])
		p.filled(c)
	}
	return nil
}

func (c *call) cover(from, n int64) error {
	if from < 0 || n <= 0 || from > c.length || n > c.length-from || !c.got.add(from, from+n) {
		return violation("%d bytes at %d for a read of %d at %d", n, c.offset+from, c.length, c.offset)
	}
	return nil
}

func (p *replies) statusChunk(c *call, length int64) error {
	if c.cmd != cmdBlockStatus || length < 12 || (length-4)%8 != 0 || length > 4+8*maxSpans {
		return violation("a block status of %d bytes for a %s", length, commandNames[c.cmd])
	}
	var b [8]byte
	if _, err := io.ReadFull(p.r, b[:4]); err != nil {
		return err
	}
	id := binary.BigEndian.Uint32(b[:])
	if _, known := p.info.Contexts[id]; !known || c.spans[id] != nil {
		return violation("a block status of context %d, which is not expected", id)
	}
	spans, rest := []Span(nil), c.length
	for range (length - 4) / 8 {
		if _, err := io.ReadFull(p.r, b[:]); err != nil {
			return err
		}
		s := Span{Length: int64(binary.BigEndian.Uint32(b[:])), Flags: binary.BigEndian.Uint32(b[4:])}
		if s.Length == 0 || rest <= 0 {
			return violation("a block status with %d bytes left of %d", rest, c.length)
		}
		rest -= s.Length
		spans = append(spans, s)
	}
	if rest < 0 { // the last one may go on beyond what was asked for
		spans[len(spans)-1].Length += rest
	}
	if c.spans == nil {
		c.spans = map[uint32][]Span{}
	}
	c.spans[id] = spans
	return nil
}

func (p *replies) errorChunk(c *call, h chunk) error {
	if h.length < 6 || h.length > 6+8+maxString {
		return violation("an error of %d bytes", h.length)
	}
	b := make([]byte, h.length)
	if _, err := io.ReadFull(p.r, b); err != nil {
		return err
	}
	errno, n := binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint16(b[4:]))
	if n > len(b)-6 || errno == 0 {
		return violation("error %d with a text of %d bytes in %d", errno, n, h.length)
	}
	text := string(b[6 : 6+n])
	if rest := b[6+n:]; h.typ == chunkErrOff && len(rest) == 8 {
		at := fmt.Sprintf("at %d", binary.BigEndian.Uint64(rest))
		if text != "" {
			at = text + " " + at
		}
		text = at
	}
	c.failed(errno, backend.Clean(text))
	return nil
}
