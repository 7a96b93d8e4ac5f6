package nbd

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/backend"
)

func TestReadsWhatAServerOffers(t *testing.T) {
	m := &memory{b: mixed(9<<20 + 512)}
	dial := serving(t, &Server{Exports: []Export{{Name: "vda", Description: "a disk", Source: m}}})
	c := dialed(t, dial, Options{Export: "vda", Contexts: []string{ContextAllocation}, Connections: 3})
	if c.Size() != int64(len(m.b)) || !c.Info().Has(ReadOnly|CanMultiConn) || !c.Info().Structured || c.Info().Description != "a disk" {
		t.Errorf("the export is %+v", c.Info())
	}
	want(t, c, m.b)
	if err := c.ReadAt(t.Context(), make([]byte, 2), c.Size()-1); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("a read over the end: %v", err)
	}
	if err := c.WriteAt(t.Context(), []byte{1}, 0); !errors.Is(err, backend.ErrReadOnly) {
		t.Errorf("a write to a read-only export: %v", err)
	}
}

func TestWritesWhatItIsGiven(t *testing.T) {
	m := &memory{b: make([]byte, 8<<20)}
	dial := serving(t, &Server{Exports: []Export{{Source: m, Sink: m}}})
	c := dialed(t, dial, Options{})
	content := mixed(8 << 20)
	for at := 0; at < len(content); at += 1 << 20 {
		if err := c.WriteAt(t.Context(), content[at:at+1<<20], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.WriteZeroes(t.Context(), page, 3*page, ZeroOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Trim(t.Context(), 8*page, page); err != nil {
		t.Fatal(err)
	}
	clear(content[page : 4*page])
	clear(content[8*page : 9*page])
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, c, content)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !bytes.Equal(m.b, content) || m.flushes != 1 {
		t.Errorf("%d flushes, and the content is right: %v", m.flushes, bytes.Equal(m.b, content))
	}
}

func TestStatusOfBothContexts(t *testing.T) {
	m := &memory{b: mixed(64 * page), clean: func(at int64) bool { return at >= 32*page }}
	dial := serving(t, &Server{Exports: []Export{{Source: m, Bitmap: "b0"}}})
	c := dialed(t, dial, Options{Contexts: []string{ContextAllocation, ContextDirtyPrefix + "b0"}})
	got, err := c.BlockStatus(t.Context(), page, c.Size()-page)
	if err != nil {
		t.Fatal(err)
	}
	if s := got[ContextAllocation]; s[0] != (Span{page, StateHole | StateZero}) || s[1] != (Span{2 * page, 0}) {
		t.Errorf("allocation begins with %v", s[:2])
	}
	if s := got[ContextDirtyPrefix+"b0"]; len(s) != 2 || s[0] != (Span{31 * page, StateDirty}) || s[1] != (Span{32 * page, 0}) {
		t.Errorf("the bitmap is %v", s)
	}
}

func TestWhatTheServerLacksIsSaid(t *testing.T) {
	m := &memory{b: mixed(page)}
	dial := serving(t, &Server{Exports: []Export{{Name: "vda", Source: m}, {Name: "vdb", Source: m}}})
	if _, err := Dial(t.Context(), dial, Options{Export: "vdc"}); !errors.Is(err, ErrNoExport) {
		t.Errorf("an export that there is not: %v", err)
	}
	if _, err := Dial(t.Context(), dial, Options{Export: "vda", Contexts: []string{ContextDirtyPrefix + "x"}}); !errors.Is(err, ErrNoContext) {
		t.Errorf("a bitmap that there is not: %v", err)
	}
}

func TestErrorsOfTheServerAreTold(t *testing.T) {
	m := &memory{b: make([]byte, 4<<20)}
	m.fault = func(write bool, at int64) error {
		switch {
		case write && at >= 1<<20:
			return backend.ErrNoRoom
		case at >= 2<<20:
			return syscall.EIO
		}
		return nil
	}
	c := dialed(t, serving(t, &Server{Exports: []Export{{Source: m, Sink: m}}}), Options{})
	if err := c.WriteAt(t.Context(), make([]byte, page), 1<<20); !errors.Is(err, backend.ErrNoRoom) {
		t.Errorf("a full disk: %v", err)
	}
	err := c.ReadAt(t.Context(), make([]byte, page), 2<<20)
	if !errors.Is(err, syscall.EIO) || errors.Is(err, backend.ErrNoRoom) {
		t.Errorf("a broken disk: %v", err)
	}
	var told *Error
	if !errors.As(err, &told) || told.Offset != 2<<20 || told.Command != "read" || told.Text == "" {
		t.Errorf("the error tells %+v", told)
	}
	if err := c.ReadAt(t.Context(), make([]byte, page), 0); err != nil {
		t.Errorf("after an error nothing can be read: %v", err)
	}
}

// A connection that breaks at any moment is dialled again, and what is read is
// right all the same.
func TestALostConnectionIsDialledAgain(t *testing.T) {
	m := &memory{b: mixed(4 << 20)}
	dial := serving(t, &Server{Exports: []Export{{Source: m}}})
	r := rand.New(rand.NewPCG(1, 2))
	var dials, healed atomic.Int64
	cutting := func(ctx context.Context) (net.Conn, error) {
		nc, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		var left atomic.Int64
		left.Store(1500<<10 + r.Int64N(2<<20)) // more than one read, so that each gets through
		if dials.Add(1) > 1 {
			healed.Add(1)
		}
		return cutter{nc, &left}, nil
	}
	c := dialed(t, cutting, Options{})
	for range 8 {
		got := make([]byte, 1<<20)
		at := r.Int64N(3 << 20)
		if err := c.ReadAt(t.Context(), got, at); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, m.b[at:at+1<<20]) {
			t.Fatal("what was read over a lost connection is wrong")
		}
	}
	if healed.Load() == 0 {
		t.Error("no connection was lost: this tests nothing")
	}
}

// What the server had taken may be gone with the connection: no write is tried
// again behind the caller's back.
func TestAWriterDoesNotReconnect(t *testing.T) {
	m := &memory{b: make([]byte, 4<<20)}
	dial := serving(t, &Server{Exports: []Export{{Source: m, Sink: m}}})
	var conns []net.Conn
	c := dialed(t, func(ctx context.Context) (net.Conn, error) {
		nc, err := dial(ctx)
		conns = append(conns, nc)
		return nc, err
	}, Options{})
	if err := c.WriteAt(t.Context(), make([]byte, page), 0); err != nil {
		t.Fatal(err)
	}
	if err := conns[0].Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Flush(t.Context()); !errors.Is(err, backend.ErrUnreachable) {
			t.Errorf("a flush after the connection was lost: %v", err)
		}
	}
	if len(conns) != 1 {
		t.Errorf("%d connections were made", len(conns))
	}
}

func TestAnExportThatChangedIsNotReadOn(t *testing.T) {
	a, b := &memory{b: mixed(1 << 20)}, &memory{b: mixed(2 << 20)}
	dials := []func(context.Context) (net.Conn, error){
		serving(t, &Server{Exports: []Export{{Source: a}}}), serving(t, &Server{Exports: []Export{{Source: b}}}),
	}
	var first net.Conn
	n := 0
	c := dialed(t, func(ctx context.Context) (net.Conn, error) {
		nc, err := dials[min(n, 1)](ctx)
		if n++; n == 1 {
			first = nc
		}
		return nc, err
	}, Options{})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadAt(t.Context(), make([]byte, page), 0); !errors.Is(err, ErrChanged) {
		t.Errorf("another disk behind the same address: %v", err)
	}
}

func TestASilentServerEndsByDeadline(t *testing.T) {
	hold := make(chan struct{})
	m := &memory{b: mixed(1 << 20), fault: func(bool, int64) error { <-hold; return nil }}
	c := dialed(t, serving(t, &Server{Exports: []Export{{Source: m}}}), Options{Timeout: 50 * time.Millisecond})
	defer close(hold)
	if err := c.ReadAt(t.Context(), make([]byte, page), 0); !errors.Is(err, backend.ErrTimeout) {
		t.Errorf("a read that nobody answers: %v", err)
	}
	mute := func(context.Context) (net.Conn, error) {
		a, b := net.Pipe()
		t.Cleanup(func() { _ = b.Close() })
		return a, nil
	}
	if _, err := Dial(t.Context(), mute, Options{Timeout: 20 * time.Millisecond}); !errors.Is(err, backend.ErrTimeout) {
		t.Errorf("a handshake that nobody answers: %v", err)
	}
}

// Many callers at once whose contexts end at odd moments: each gets right data
// or an error, nothing blocks, and the client stays of use.
func TestCallersThatGiveUpDisturbNobody(t *testing.T) {
	m := &memory{b: mixed(4 << 20)}
	c := dialed(t, serving(t, &Server{Exports: []Export{{Source: m}}}), Options{Connections: 2, Window: 4})
	var wg sync.WaitGroup
	var right atomic.Int64
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			for range 40 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(3000))*time.Microsecond)
				got := make([]byte, 1<<20)
				at := r.Int64N(3 << 20)
				switch err := c.ReadAt(ctx, got, at); {
				case err == nil && !bytes.Equal(got, m.b[at:at+1<<20]):
					t.Error("wrong data")
				case err == nil:
					right.Add(1)
				}
				clear(got) // the race detector tells if anybody still fills it
				cancel()
			}
		})
	}
	wg.Wait()
	want(t, c, m.b)
	t.Log(right.Load(), "of 320 were answered in time")
}

func TestAClosedClientSaysSo(t *testing.T) {
	m := &memory{b: mixed(page)}
	c := dialed(t, serving(t, &Server{Exports: []Export{{Source: m}}}), Options{})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, backend.ErrClosed) {
		t.Errorf("a read after Close: %v", err)
	}
}
