package nbd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

// answer makes the bytes of replies; cookie 1 is a read of 64 bytes at 1000,
// cookie 2 a block status of 4096 bytes at 0.
type answer struct{ bytes.Buffer }

func (a *answer) chunk(typ, flags uint16, cookie uint64, payload ...any) *answer {
	var p []byte
	for _, v := range payload {
		var err error
		if p, err = binary.Append(p, binary.BigEndian, v); err != nil {
			panic(err)
		}
	}
	return a.header(typ, flags, cookie, uint32(len(p)), p)
}

func (a *answer) header(typ, flags uint16, cookie uint64, length uint32, p []byte) *answer {
	b := binary.BigEndian.AppendUint32(nil, magicChunk)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint64(b, cookie)
	b = binary.BigEndian.AppendUint32(b, length)
	a.Write(append(b, p...))
	return a
}

// parse hands bytes to the parser until it ends.
func parse(in []byte, structured bool) (read, status *call, ended map[uint64]bool, err error) {
	read, status = newCall(cmdRead, 0, 1000, 64, make([]byte, 64)), newCall(cmdBlockStatus, 0, 0, 4096, nil)
	calls := map[uint64]*call{1: read, 2: status, 3: newCall(cmdFlush, 0, 0, 0, nil)}
	ended = map[uint64]bool{}
	p := &replies{
		r:        bufio.NewReader(bytes.NewReader(in)),
		info:     &Info{Structured: structured, Contexts: map[uint32]string{7: ContextAllocation, 8: "qemu:dirty-bitmap:x"}},
		find:     func(c uint64) *call { return calls[c] },
		fill:     func(*call) bool { return true },
		filled:   func(*call) {},
		finished: func(c uint64, _ *call) { ended[c] = true; delete(calls, c) },
	}
	for err == nil {
		err = p.next()
	}
	return read, status, ended, err
}

func TestRepliesInPieces(t *testing.T) {
	var a answer
	half := bytes.Repeat([]byte{9}, 32)
	a.chunk(chunkData, 0, 1, uint64(1032), half)
	a.chunk(chunkStatus, 0, 2, uint32(7), uint32(512), uint32(0), uint32(1<<30), uint32(3))
	a.chunk(chunkStatus, chunkFlagDone, 2, uint32(8), uint32(4096), uint32(1))
	a.chunk(chunkHole, 0, 1, uint64(1000), uint32(32))
	a.chunk(chunkNone, chunkFlagDone, 1)
	read, status, ended, err := parse(a.Bytes(), true)
	if !errors.Is(err, io.EOF) || !ended[1] || !ended[2] {
		t.Fatal(err, ended)
	}
	if !bytes.Equal(read.data, append(make([]byte, 32), half...)) {
		t.Errorf("read %v", read.data)
	}
	if s := status.spans[7]; len(s) != 2 || s[1] != (Span{4096 - 512, 3}) {
		t.Errorf("status %v", s)
	}
}

func TestRepliesThatBreakTheProtocol(t *testing.T) {
	full := make([]byte, 64)
	for name, a := range map[string]*answer{
		"a cookie nobody has":         new(answer).chunk(chunkNone, chunkFlagDone, 99),
		"data for a flush":            new(answer).chunk(chunkData, chunkFlagDone, 3, uint64(0), full),
		"more than asked for":         new(answer).header(chunkData, chunkFlagDone, 1, 8+65, make([]byte, 73)),
		"four gigabytes":              new(answer).header(chunkData, chunkFlagDone, 1, 1<<32-1, nil),
		"data before the stretch":     new(answer).chunk(chunkData, chunkFlagDone, 1, uint64(999), full),
		"data after the stretch":      new(answer).chunk(chunkData, chunkFlagDone, 1, uint64(1001), full),
		"an offset that turns over":   new(answer).chunk(chunkData, chunkFlagDone, 1, uint64(1<<64-1), full),
		"a hole that turns over":      new(answer).chunk(chunkHole, chunkFlagDone, 1, uint64(1<<63+1000), uint32(1<<32-1)),
		"a hole of nothing":           new(answer).chunk(chunkHole, chunkFlagDone, 1, uint64(1000), uint32(0)),
		"a part only":                 new(answer).chunk(chunkData, chunkFlagDone, 1, uint64(1000), full[:63]),
		"nothing at all":              new(answer).chunk(chunkNone, chunkFlagDone, 1),
		"the same twice":              new(answer).chunk(chunkData, 0, 1, uint64(1000), full[:32]).chunk(chunkData, chunkFlagDone, 1, uint64(1000), full[:32]),
		"an overlap":                  new(answer).chunk(chunkData, 0, 1, uint64(1000), full[:32]).chunk(chunkHole, chunkFlagDone, 1, uint64(1031), uint32(32)),
		"an unknown context":          new(answer).chunk(chunkStatus, chunkFlagDone, 2, uint32(6), uint32(4096), uint32(0)),
		"a context twice":             new(answer).chunk(chunkStatus, 0, 2, uint32(7), uint32(4096), uint32(0)).chunk(chunkStatus, 0, 2, uint32(7), uint32(4096), uint32(0)),
		"a span of nothing":           new(answer).chunk(chunkStatus, chunkFlagDone, 2, uint32(7), uint32(0), uint32(0)),
		"spans beyond the end":        new(answer).chunk(chunkStatus, chunkFlagDone, 2, uint32(7), uint32(4096), uint32(0), uint32(1), uint32(0)),
		"a status of odd length":      new(answer).chunk(chunkStatus, chunkFlagDone, 2, uint32(7), uint32(4096), uint16(0)),
		"no status":                   new(answer).chunk(chunkNone, chunkFlagDone, 2),
		"an error of no number":       new(answer).chunk(chunkError, chunkFlagDone, 1, uint32(0), uint16(0)),
		"an error's text cut":         new(answer).chunk(chunkError, chunkFlagDone, 1, uint32(5), uint16(9), uint16(0)),
		"an error of a megabyte":      new(answer).header(chunkError, chunkFlagDone, 1, 1<<20, nil),
		"a chunk of an unknown type":  new(answer).chunk(42, chunkFlagDone, 1),
		"an empty chunk that goes on": new(answer).chunk(chunkNone, 0, 1),
	} {
		if _, _, _, err := parse(a.Bytes(), true); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var a answer
	a.chunk(chunkNone, chunkFlagDone, 3)
	if _, _, _, err := parse(a.Bytes(), false); !errors.Is(err, ErrProtocol) {
		t.Errorf("structured though simple was agreed on: %v", err)
	}
}

// Whatever a server sends, a call that ends without an error is answered whole,
// and no more is held than was asked for.
func FuzzReplies(f *testing.F) {
	f.Add(new(answer).chunk(chunkData, chunkFlagDone, 1, uint64(1000), make([]byte, 64)).Bytes(), true)
	f.Add(new(answer).chunk(chunkHole, chunkFlagDone, 1, uint64(1000), uint32(64)).Bytes(), true)
	f.Add(new(answer).chunk(chunkStatus, chunkFlagDone, 2, uint32(7), uint32(4096), uint32(0)).Bytes(), true)
	f.Add(new(answer).chunk(chunkErrOff, chunkFlagDone, 1, uint32(5), uint16(1), "x"[0], uint64(1000)).Bytes(), true)
	f.Add(append(simpleReply(&request{cookie: 1}, 0), make([]byte, 64)...), false)
	f.Fuzz(func(t *testing.T, in []byte, structured bool) {
		read, status, ended, err := parse(in, structured)
		if err == nil {
			t.Fatal("the end was not noticed")
		}
		if ended[1] && read.fault == nil && !read.got.all(64) {
			t.Errorf("a read that ended well has only %v", read.got)
		}
		for _, spans := range status.spans {
			sum := int64(0)
			for _, s := range spans {
				sum += s.Length
			}
			if sum <= 0 || sum > 4096 {
				t.Errorf("spans of %d bytes", sum)
			}
		}
	})
}

type script struct {
	io.Reader
	io.Writer
}

func FuzzHandshake(f *testing.F) {
	for _, s := range []*Server{
		{Exports: []Export{{Name: "vda", Source: &memory{b: make([]byte, 512)}, Bitmap: "b"}}},
		{Exports: []Export{{Name: "other", Source: &memory{}}}},
	} {
		// What a good server says to this client.
		var ask, say bytes.Buffer
		ask.Write(binary.BigEndian.AppendUint32(nil, flagFixedNewstyle|flagNoZeroes))
		h := &handshaker{rw: script{nil, &ask}}
		data := binary.BigEndian.AppendUint32(appendString(nil, "vda"), 1)
		for opt, d := range map[uint32][]byte{optStructured: nil, optSetContext: appendString(data, "qemu:dirty-bitmap:b"), optGo: append(appendString(nil, "vda"), 0, 0)} {
			if err := h.send(opt, d); err != nil {
				f.Fatal(err)
			}
		}
		_ = (&terms{server: s, rw: script{&ask, &say}}).agree() // it ends when the client falls silent
		f.Add(say.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		i, err := handshake(script{bytes.NewReader(in), io.Discard}, "vda", []string{"qemu:dirty-bitmap:b"})
		if err == nil && (i.Size < 0 || i.MaxBlock <= 0 || i.MaxBlock > MaxPayload || i.MinBlock <= 0 || len(i.Contexts) > 1 && len(i.Contexts) > maxReplies) {
			t.Errorf("agreed on %+v", i)
		}
	})
}
