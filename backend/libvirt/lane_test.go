package libvirt

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt"
	"go.uber.org/goleak"

	"berth/backend"
)

func version(ctx context.Context, l *lane) (uint64, error) {
	return ask(ctx, l, (*libvirt.Libvirt).ConnectGetLibVersion)
}

func TestLaneIsAbandonedAtItsDeadline(t *testing.T) {
	d := newFake(t)
	h := d.host(Options{})
	d.hang(procLibVersion)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := version(ctx, h.cheap)
	if !errors.Is(err, backend.ErrTimeout) || time.Since(start) > 5*time.Second {
		t.Fatalf("%v after %s, want ErrTimeout at once", err, time.Since(start))
	}
	// Another lane never noticed, and this one dials afresh.
	d.heal(procLibVersion)
	for _, l := range []*lane{h.dear, h.cheap} {
		if v, err := version(soon(t), l); v != 9000000 || err != nil {
			t.Fatalf("lane %s: %d, %v", l.name, v, err)
		}
	}
	if n := d.count(procOpen); n != 3 {
		t.Errorf("%d connections were opened, want 3", n)
	}
}

func TestOneLaneDoesNotBlockAnother(t *testing.T) {
	d := newFake(t, running("a", 1))
	h := d.host(Options{})
	if _, err := h.Poll(soon(t)); err != nil {
		t.Fatal(err)
	}
	d.hang(procScreenshot)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Screenshot(ctx, backend.UUID{1}, io.Discard) }()
	for d.count(procScreenshot) == 0 {
		if _, err := h.Poll(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Poll(soon(t)); err != nil {
		t.Error("a Poll beside a hanging call:", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error("the hanging call:", err)
	}
}

func TestReadIsTriedAgainAfterALostConnection(t *testing.T) {
	d := newFake(t)
	h := d.host(Options{})
	lost := 0
	d.handle[procLibVersion] = func([]byte) ([]byte, error) {
		if lost++; lost == 1 {
			d.cut()
			return nil, nil
		}
		return (&xdr{}).u64(7).Bytes(), nil
	}
	if v, err := version(soon(t), h.cheap); v != 7 || err != nil {
		t.Errorf("%d, %v; want the second answer", v, err)
	}
}

func TestChangeIsNotSentTwice(t *testing.T) {
	d := newFake(t, running("a", 1))
	h := d.host(Options{})
	d.handle[procDestroy] = func([]byte) ([]byte, error) {
		d.cut()
		return nil, nil
	}
	err := h.Do(soon(t), backend.Action{Verb: backend.VerbDestroy, UUID: backend.UUID{1}, Name: "a"})
	if !errors.Is(err, backend.ErrUnreachable) {
		t.Error(err)
	}
	if n := d.count(procDestroy); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
}

func TestChangeSurvivesAnIdleConnectionThatDied(t *testing.T) {
	d := newFake(t, running("a", 1))
	d.handle[procDestroy] = func([]byte) ([]byte, error) { return nil, nil }
	h := d.host(Options{})
	for range 2 {
		if err := h.Do(soon(t), backend.Action{Verb: backend.VerbDestroy, UUID: backend.UUID{1}, Name: "a"}); err != nil {
			t.Fatal(err)
		}
		d.cut()
	}
}

func TestDeadlineOfAChangeSaysThatItMayStillHappen(t *testing.T) {
	d := newFake(t, running("a", 1))
	h := d.host(Options{})
	d.hang(procDestroy)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := h.Do(ctx, backend.Action{Verb: backend.VerbDestroy, UUID: backend.UUID{1}, Name: "a"})
	if !errors.Is(err, backend.ErrTimeout) || !strings.Contains(backend.Hint(err), "may still") {
		t.Error(err)
	}
}

func TestUnreachableHostSaysSoAndRecovers(t *testing.T) {
	d := newFake(t, running("a", 1))
	h := d.host(Options{})
	d.down = true
	if _, err := h.Poll(soon(t)); !errors.Is(err, backend.ErrUnreachable) {
		t.Error(err)
	}
	d.mu.Lock()
	d.down = false
	d.mu.Unlock()
	if _, err := h.Poll(soon(t)); err != nil {
		t.Error("after it came back:", err)
	}
}

func TestReadOnlyIsAskedOfTheDaemon(t *testing.T) {
	for _, ro := range []bool{false, true} {
		d := newFake(t)
		h := d.host(Options{ReadOnly: ro})
		if _, err := version(soon(t), h.cheap); err != nil {
			t.Fatal(err)
		}
		d.mu.Lock()
		got := d.flags[0]
		d.mu.Unlock()
		if (got == flagReadOnly) != ro {
			t.Errorf("read-only %v opened with flags %d", ro, got)
		}
	}
}

func TestReadOnlyRefusesEveryVerbBeforeAnyIO(t *testing.T) {
	d := newFake(t)
	d.down = true
	h := d.host(Options{ReadOnly: true})
	for _, v := range backend.Verbs() {
		if err := h.Do(soon(t), backend.Action{Verb: v.Verb, Name: "x"}); !errors.Is(err, backend.ErrReadOnly) {
			t.Errorf("%s: %v", v.Verb, err)
		}
	}
	if _, err := h.Define(soon(t), fakeXML); !errors.Is(err, backend.ErrReadOnly) {
		t.Error("define:", err)
	}
	if _, err := h.Console(soon(t), backend.UUID{1}, false); !errors.Is(err, backend.ErrReadOnly) {
		t.Error("console:", err)
	}
}

func TestStreamDataBeforeItsReply(t *testing.T) {
	picture := []byte("P6 2 1 255\n\x01\x02\x03\xff\xfe\xfd")
	for _, eager := range []bool{false, true} {
		d := newFake(t, running("a", 1))
		d.eager, d.picture = eager, picture
		h := d.host(Options{})
		var out bytes.Buffer
		if err := h.Screenshot(soon(t), backend.UUID{1}, &out); err != nil {
			t.Fatalf("eager %v: %v", eager, err)
		}
		img, err := png.Decode(&out)
		if err != nil {
			t.Fatal(err)
		}
		if r, g, b, _ := img.At(1, 0).RGBA(); r>>8 != 0xff || g>>8 != 0xfe || b>>8 != 0xfd {
			t.Errorf("the second pixel is %x %x %x", r>>8, g>>8, b>>8)
		}
	}
}

func TestCloseEndsCallsAndLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	d := newFake(t, running("a", 1))
	h := newHost(Options{}, d)
	if _, err := h.Poll(soon(t)); err != nil {
		t.Fatal(err)
	}
	events, err := h.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	arrived := d.hang(procLibVersion)
	ended := make(chan error, 1)
	go func() { _, err := version(context.Background(), h.cheap); ended <- err }()
	<-arrived
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a call survived Close")
	}
	for range events {
		t.Error("an event after Close")
	}
	if _, err := h.Poll(soon(t)); !errors.Is(err, backend.ErrClosed) {
		t.Error("Poll after Close:", err)
	}
	d.end()
}
