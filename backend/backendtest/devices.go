package backendtest

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"io"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

// console is a session whose output a goroutine collects.
type console struct {
	io.ReadWriteCloser
	chunks chan []byte // closed when reading ended
	err    error       // why, once chunks is closed
	seen   strings.Builder
}

// openConsole starts a guest to talk to and connects to it.
func (b *bench) openConsole(ctx context.Context) (*console, backend.UUID) {
	b.Helper()
	consoler, ok := b.h.(backend.Consoler)
	if !ok || b.f.Console == nil {
		b.Skip("no serial consoles here")
	}
	var id backend.UUID
	if b.f.Console.Guest != nil {
		id = b.f.Console.Guest(b, b.h)
	} else {
		id = b.running()
	}
	rw, err := consoler.Console(ctx, id, false)
	if err != nil {
		b.Fatalf("Console: %v", err)
	}
	c := &console{ReadWriteCloser: rw, chunks: make(chan []byte, 64)}
	go c.collect()
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Logf("closing the console: %v", err)
		}
	})
	return c, id
}

func (c *console) collect() {
	defer close(c.chunks)
	for {
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		if n > 0 {
			c.chunks <- buf[:n]
		}
		if err != nil {
			c.err = err
			return
		}
	}
}

// read waits until what the console printed since the last call has text in it.
func (c *console) read(b *bench, text string) {
	b.Helper()
	limit := time.NewTimer(b.f.within())
	defer limit.Stop()
	for !strings.Contains(c.seen.String(), text) {
		select {
		case chunk, ok := <-c.chunks:
			if !ok {
				b.Fatalf("the console ended (%v) before %q; it printed %q", c.err, text, c.seen.String())
			}
			c.seen.Write(chunk)
		case <-limit.C:
			b.Fatalf("no %q on the console; it printed %q", text, c.seen.String())
		}
	}
	c.seen.Reset()
}

// ended waits until reading ended.
func (c *console) ended(b *bench) {
	b.Helper()
	limit := time.NewTimer(b.f.within())
	defer limit.Stop()
	for {
		select {
		case _, ok := <-c.chunks:
			if !ok {
				return
			}
		case <-limit.C:
			b.Fatal("the console did not end")
		}
	}
}

// consoleTalks both ways.
func consoleTalks(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	c, id := b.openConsole(b.ctx)
	if f.Console.Prompt != "" {
		c.read(b, f.Console.Prompt)
	}
	if _, err := io.WriteString(c, f.Console.Type); err != nil {
		t.Fatalf("typing: %v", err)
	}
	c.read(b, f.Console.Reply)
	b.do(backend.VerbDestroy, id)
	c.ended(b)
}

// consoleIsHeldByOne: a second is ErrBusy, or by force ends the first.
func consoleIsHeldByOne(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	first, id := b.openConsole(b.ctx)
	consoler := b.h.(backend.Consoler)
	if _, err := consoler.Console(b.ctx, id, false); !errors.Is(err, backend.ErrBusy) {
		t.Fatalf("a second console: %v, want ErrBusy", err)
	}
	second, err := consoler.Console(b.ctx, id, true)
	if err != nil {
		t.Fatalf("a second console by force: %v", err)
	}
	first.ended(b)
	if err := second.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	var third io.ReadWriteCloser
	err = b.settle(func() bool { // letting go may take the host a moment
		third, err = consoler.Console(b.ctx, id, false)
		return err == nil
	})
	if err != nil {
		t.Fatalf("a console after all were closed: %v", err)
	}
	if err := third.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func consoleEndsWithItsContext(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	c, _ := b.openConsole(ctx)
	cancel()
	c.ended(b)
	if c.err == nil {
		t.Error("reading ended without an error")
	}
}

func consoleNeedsARunningDomain(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	consoler, ok := b.h.(backend.Consoler)
	if !ok || f.Console == nil {
		t.Skip("no serial consoles here")
	}
	if _, err := consoler.Console(b.ctx, b.domain(), false); !f.refused(err) {
		t.Errorf("the console of a domain that is off: %v, want ErrState", err)
	}
}

// screenshotIsAPicture that any program can read.
func screenshotIsAPicture(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	s, ok := b.h.(backend.Screenshotter)
	if !ok || f.NoScreenshot != "" {
		t.Skip("no pictures here: " + f.NoScreenshot)
	}
	id := b.running()
	var buf bytes.Buffer
	if err := s.Screenshot(b.ctx, id, &buf); err != nil {
		t.Fatalf("Screenshot: %v", err)
	}
	img, err := png.Decode(&buf)
	if err != nil {
		t.Fatalf("the picture is no PNG: %v", err)
	}
	if r := img.Bounds(); r.Dx() < 100 || r.Dy() < 100 {
		t.Errorf("the picture is %d×%d", r.Dx(), r.Dy())
	}
	if err := s.Screenshot(b.ctx, b.domain(), &buf); !f.refused(err) && f.VagueErrors == "" {
		t.Errorf("a picture of a domain that is off: %v, want ErrState", err)
	}
}

// logTailIsBounded, and tells of the start.
func logTailIsBounded(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	l, ok := b.h.(backend.LogTailer)
	if !ok || f.NoLog != "" {
		t.Skip("no logs here: " + f.NoLog)
	}
	id := b.running()
	all, err := l.LogTail(b.ctx, id, 1000)
	if err != nil {
		t.Fatalf("LogTail: %v", err)
	}
	if !strings.Contains(strings.Join(all, "\n"), "starting up") {
		t.Errorf("the log tells of no start: %q", all)
	}
	two, err := l.LogTail(b.ctx, id, 2)
	if err != nil || len(two) != 2 {
		t.Errorf("LogTail of 2 lines: %q, %v", two, err)
	}
}

// guestNeedsAnAgent: without one the error says so; with one it answers.
func guestNeedsAnAgent(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	if _, err := b.h.Guest(b.ctx, b.domain()); !errors.Is(err, backend.ErrNoAgent) && !errors.Is(err, backend.ErrState) && !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("Guest of a domain that is off: %v, want ErrNoAgent, ErrState or ErrUnsupported", err)
	}
	if !f.HasAgent {
		return
	}
	id := b.running()
	var last error
	err := b.settle(func() bool {
		g, err := b.h.Guest(b.ctx, id)
		last = err
		if err == nil && (g.At.IsZero() || g.Hostname == "") {
			t.Errorf("the agent answers %+v", g)
		}
		return err == nil
	})
	if err != nil {
		t.Errorf("the agent did not come up: %v", last)
	}
}
