package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"berth/backend"
)

// ask makes a request of the transmission phase.
func ask(cmd uint16, cookie, offset uint64, length uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, magicRequest)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, cmd)
	b = binary.BigEndian.AppendUint64(b, cookie)
	b = binary.BigEndian.AppendUint64(b, offset)
	return binary.BigEndian.AppendUint32(b, length)
}

// wire is a connection whose client has said all that it will say.
type wire struct {
	io.Reader
	out bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error)    { return w.out.Write(p) }
func (*wire) Close() error                     { return nil }
func (*wire) LocalAddr() net.Addr              { return nil }
func (*wire) RemoteAddr() net.Addr             { return nil }
func (*wire) SetDeadline(time.Time) error      { return nil }
func (*wire) SetReadDeadline(time.Time) error  { return nil }
func (*wire) SetWriteDeadline(time.Time) error { return nil }

func hello() []byte {
	b := binary.BigEndian.AppendUint32(nil, flagFixedNewstyle|flagNoZeroes)
	b = binary.BigEndian.AppendUint64(b, magicOption)
	b = binary.BigEndian.AppendUint32(b, optExportName)
	return binary.BigEndian.AppendUint32(b, 0)
}

func TestServerRefusesWhatItMust(t *testing.T) {
	m := &memory{b: mixed(16 * page)}
	for name, tt := range map[string]struct {
		in    []byte
		sink  Sink
		errno uint32
	}{
		"a read over the end":      {ask(cmdRead, 5, 15*page+1, page), m, 22},
		"a read far out":           {ask(cmdRead, 5, 1<<63+1, page), m, 22},
		"a read of four gigabytes": {ask(cmdRead, 5, 0, 1<<32-1), m, 22},
		"a command of the future":  {ask(99, 5, 0, 0), m, 22},
		"zeroes over the end":      {ask(cmdWriteZeroes, 5, 15*page, 2*page), m, 28},
		"zeroes without leave":     {ask(cmdWriteZeroes, 5, 0, page), nil, 1},
		"a status not agreed on":   {ask(cmdBlockStatus, 5, 0, page), m, 22},
	} {
		w := &wire{Reader: bytes.NewReader(append(hello(), tt.in...))}
		s := &Server{Exports: []Export{{Source: m, Sink: tt.sink}}}
		if err := s.ServeConn(t.Context(), w); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		reply := w.out.Bytes()[18+10:]
		if len(reply) != simpleSize || binary.BigEndian.Uint32(reply[4:]) != tt.errno || reply[15] != 5 {
			t.Errorf("%s: answered with %x", name, reply)
		}
	}
	w := &wire{Reader: bytes.NewReader(append(hello(), ask(cmdWrite, 5, 0, 1<<31)...))}
	s := &Server{Exports: []Export{{Source: m, Sink: m}}}
	if err := s.ServeConn(t.Context(), w); !errors.Is(err, ErrProtocol) {
		t.Errorf("a write of two gigabytes: %v", err)
	}
}

// A client that reads none of its answers does not keep the server for ever,
// nor from others.
func TestServerDropsWhoDoesNotListen(t *testing.T) {
	m := &memory{b: mixed(4 << 20)}
	told := make(chan error, 1)
	s := &Server{Exports: []Export{{Source: m}}, Idle: 100 * time.Millisecond, Complain: func(err error) { told <- err }}
	dial := serving(t, s)
	deaf, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := deaf.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := deaf.Write(append(hello(), ask(cmdRead, 1, 0, 4<<20)...)); err != nil {
		t.Fatal(err)
	}
	c := dialed(t, dial, Options{})
	want(t, c, m.b)
	select {
	case err := <-told:
		if err == nil {
			t.Error("no reason was given")
		}
	case <-time.After(20 * time.Second):
		t.Error("the deaf client is still there")
	}
}

func TestServerTurnsAwayWhatIsTooMany(t *testing.T) {
	m := &memory{b: mixed(page)}
	told := make(chan error, 4)
	dial := serving(t, &Server{Exports: []Export{{Source: m}}, Connections: 1, Complain: func(err error) { told <- err }})
	c := dialed(t, dial, Options{})
	if _, err := Dial(t.Context(), dial, Options{Attempts: -1}); err == nil {
		t.Error("a second connection was taken")
	}
	if err := <-told; !errors.Is(err, backend.ErrBusy) {
		t.Error(err)
	}
	want(t, c, m.b)
}

func FuzzServer(f *testing.F) {
	m := &memory{b: mixed(16 * page)}
	f.Add(append(hello(), ask(cmdRead, 1, 0, page)...))
	f.Add(append(hello(), append(ask(cmdWrite, 1, 0, 4), "abcd"...)...))
	var b bytes.Buffer
	b.Write(binary.BigEndian.AppendUint32(nil, flagFixedNewstyle))
	h := &handshaker{rw: script{nil, &b}}
	for _, err := range []error{
		h.send(optStructured, nil),
		h.send(optSetContext, appendString(binary.BigEndian.AppendUint32(appendString(nil, ""), 1), ContextAllocation)),
		h.send(optGo, append(appendString(nil, ""), 0, 0)),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add(append(b.Bytes(), ask(cmdBlockStatus, 1, 0, 16*page)...))
	f.Fuzz(func(_ *testing.T, in []byte) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s := &Server{Exports: []Export{{Source: m, Sink: m, Bitmap: "b"}}}
		// How it ends is not the question: it must, without a panic.
		_ = s.ServeConn(ctx, &wire{Reader: bytes.NewReader(in)})
	})
}
