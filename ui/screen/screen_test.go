package screen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/themes"

	"github.com/charmbracelet/x/cellbuf"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lockedWriter serialises an emulator and finds writes that overlap.
type lockedWriter struct {
	mu     sync.Mutex
	to     *emulator
	all    bytes.Buffer
	gate   chan struct{} // if not nil, each write takes one token first
	inside bool
	t      *testing.T
}

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	if w.inside {
		w.t.Error("two writes at once")
	}
	w.inside = true
	w.mu.Unlock()
	if w.gate != nil {
		<-w.gate
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inside = false
	w.all.Write(b)
	return w.to.Write(b)
}

func (w *lockedWriter) written() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

func newTestScreen(t *testing.T, w, h int) (*Screen, *lockedWriter) {
	t.Helper()
	out := &lockedWriter{to: newEmulator(t, w, h, true), t: t}
	s := New(out, Options{AltScreen: true, Mouse: true, Term: "xterm-256color", Profile: themes.TrueColor, MinInterval: time.Millisecond})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s, out
}

func waitDrawn(t *testing.T, s *Screen) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.WaitDrawn(ctx); err != nil {
		t.Fatal("not drawn: ", err)
	}
}

func (w *lockedWriter) check(frame string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.want(frame, cellbuf.Style{})
}

func TestLatestFrameWins(t *testing.T) {
	s, out := newTestScreen(t, 40, 10)
	r := rand.New(rand.NewPCG(3, 4))
	lines := make([]string, 10)
	for round := range 40 {
		var frame string
		for range 1 + r.IntN(5) {
			lines = mutate(r, lines, 40)
			frame = strings.Join(lines, "\n")
			s.Show(frame, 40, 10)
		}
		waitDrawn(t, s)
		if err := out.check(frame); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	st := s.Stats()
	if st.Frames == 0 || st.Bytes == 0 || st.Bytes != uint64(len(out.written())) {
		t.Errorf("stats %+v, %d bytes written", st, len(out.written()))
	}
}

func TestUnchangedFrameWritesNothing(t *testing.T) {
	s, out := newTestScreen(t, 20, 3)
	s.Show("one\ntwo\nthree", 20, 3)
	waitDrawn(t, s)
	before := len(out.written())
	s.Show("one\ntwo\nthree"+"", 20, 3)
	s.Show("\x1b[mone \ntwo\nthree", 20, 3) // another string, the same cells
	waitDrawn(t, s)
	if got := out.written()[before:]; got != "" {
		t.Errorf("wrote %q", got)
	}
}

func TestStartAndStopModes(t *testing.T) {
	s, out := newTestScreen(t, 20, 3)
	s.Show("hello", 20, 3)
	waitDrawn(t, s)
	for mode, want := range map[int]bool{1049: true, 25: false, 7: false, 2004: true, 1002: true, 1006: true} {
		if got := out.to.modes[mode]; got != want {
			t.Errorf("started: mode %d is %v", mode, got)
		}
	}
	s.Stop()
	s.Stop()
	for mode, want := range map[int]bool{1049: false, 25: true, 7: true, 2004: false, 1002: false, 1006: false} {
		if got := out.to.modes[mode]; got != want {
			t.Errorf("stopped: mode %d is %v", mode, got)
		}
	}
	if out.to.style != (cellbuf.Style{}) {
		t.Error("style left set")
	}
	before := len(out.written())
	s.Show("after", 20, 3)
	s.Write("\a")
	if got := out.written()[before:]; got != "" {
		t.Errorf("wrote %q after Stop", got)
	}
}

func TestStopWithoutStart(t *testing.T) {
	var out bytes.Buffer
	New(&out, Options{}).Stop()
	if out.Len() > 0 {
		t.Errorf("wrote %q", out.String())
	}
}

func TestStopFromPanic(t *testing.T) {
	s, out := newTestScreen(t, 20, 3)
	func() {
		defer func() {
			s.Stop()
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		s.Show("x", 20, 3)
		panic("bug")
	}()
	if out.to.modes[1049] {
		t.Error("alternate screen left on")
	}
}

func TestSuspendAndResume(t *testing.T) {
	s, out := newTestScreen(t, 20, 3)
	s.Show("before", 20, 3)
	waitDrawn(t, s)
	s.Suspend()
	s.Suspend()
	if out.to.modes[1049] || out.to.modes[1002] || !out.to.modes[25] {
		t.Error("modes still set while suspended")
	}
	before := len(out.written())
	s.Show("meanwhile", 20, 3)
	s.SetMouse(false)
	s.Resume()
	if got := out.written()[before:]; got != "" {
		t.Errorf("wrote %q while suspended", got)
	}
	out.to.resize(20, 3) // the other program left its own things behind
	s.Resume()
	waitDrawn(t, s)
	if err := out.check("meanwhile"); err != nil {
		t.Error(err)
	}
	if !out.to.modes[1049] || out.to.modes[25] || out.to.modes[1002] {
		t.Errorf("modes after resume: %v", out.to.modes)
	}
	s.Resume() // one too many does nothing
}

func TestResizeDrawsAll(t *testing.T) {
	s, out := newTestScreen(t, 20, 3)
	s.Show("one\ntwo", 20, 3)
	waitDrawn(t, s)
	out.mu.Lock()
	out.to.resize(9, 5)
	out.mu.Unlock()
	s.Show("one\ntwo", 9, 5)
	waitDrawn(t, s)
	if err := out.check("one\ntwo"); err != nil {
		t.Error(err)
	}
}

func TestRepaint(t *testing.T) {
	s, out := newTestScreen(t, 20, 3)
	s.Show("one", 20, 3)
	waitDrawn(t, s)
	out.mu.Lock()
	out.to.resize(20, 3) // rubbish everywhere
	out.mu.Unlock()
	s.Repaint()
	waitDrawn(t, s)
	if err := out.check("one"); err != nil {
		t.Error(err)
	}
}

func TestBase(t *testing.T) {
	s, out := newTestScreen(t, 20, 3)
	s.Show("one", 20, 3)
	s.SetBase(themes.Style{Fg: mustColor("#ffffff"), Bg: mustColor("#000080"), Attr: themes.Bold})
	waitDrawn(t, s)
	var base cellbuf.Style
	readSGR("\x1b[38;2;255;255;255;48;2;0;0;128m", &base)
	if err := out.to.want("one", base); err != nil {
		t.Error(err)
	}
	s.SetBase(themes.Style{Fg: themes.DefaultColor, Bg: themes.DefaultColor})
	waitDrawn(t, s)
	if err := out.check("one"); err != nil {
		t.Error(err)
	}
}

func TestOutOfBand(t *testing.T) {
	s, out := newTestScreen(t, 20, 3)
	s.Show("one", 20, 3)
	s.Write("\x1b]52;c;aGk=\x07")
	s.Show("two", 20, 3)
	waitDrawn(t, s)
	if len(out.to.osc) != 1 || out.to.osc[0] != "\x1b]52;c;aGk=\x07" {
		t.Errorf("OSC received: %q", out.to.osc)
	}
	if err := out.check("two"); err != nil {
		t.Error(err)
	}
	s.SetMouse(false)
	waitDrawn(t, s)
	if out.to.modes[1002] || s.Mouse() {
		t.Error("mouse still on")
	}
}

// A terminal that takes no bytes must not hold up whoever shows frames, and
// must see the latest one once it does.
func TestSlowTerminal(t *testing.T) {
	out := &lockedWriter{to: newEmulator(t, 20, 3, true), t: t, gate: make(chan struct{})}
	s := New(out, Options{AltScreen: true, Term: "xterm"})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for i := range 1000 {
		s.Show(fmt.Sprintf("frame %d", i), 20, 3)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("Show waited for the terminal: 1000 took %v", took)
	}
	close(out.gate)
	waitDrawn(t, s)
	if err := out.check("frame 999"); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Frames > 3 {
		t.Errorf("drew %d frames on a terminal that was stuck", st.Frames)
	}
	s.Stop()
}

// A terminal that takes nothing any more must not keep the program from
// ending.
func TestStopGivesUpOnStuckTerminal(t *testing.T) {
	out := &lockedWriter{to: newEmulator(t, 20, 3, true), t: t, gate: make(chan struct{})}
	s := New(out, Options{})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	s.Stop()
	if took := time.Since(start); took > 2*stopWait {
		t.Errorf("Stop took %v", took)
	}
	close(out.gate)
}

// A child may leave the terminal non-blocking; nothing may be lost then.
func TestNonBlockingTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(w.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "terminal") // a blocking file to Go, like os.Stdout
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789"), 50_000) // more than a pipe holds
	failed := make(chan error, 1)
	go func() {
		failed <- newTerminal(f, Options{}).write(want)
		_ = f.Close()
	}()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes came through (%v)", len(got), len(want), err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
	_ = r.Close()
}

// brokenWriter accepts n bytes, then fails.
type brokenWriter struct{ n int }

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.n -= len(b); w.n < 0 {
		return 0, unix.EIO
	}
	return len(b), nil
}

func TestTerminalGone(t *testing.T) {
	s := New(&brokenWriter{n: 60}, Options{AltScreen: true})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	s.Show(strings.Repeat("x", 100), 100, 1)
	waitDrawn(t, s)
	if err := s.Err(); !errors.Is(err, unix.EIO) {
		t.Errorf("Err is %v", err)
	}
	s.Stop()
}

func TestRateIsLimited(t *testing.T) {
	out := &lockedWriter{to: newEmulator(t, 20, 3, true), t: t}
	s := New(out, Options{MinInterval: 50 * time.Millisecond})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	start := time.Now()
	for i := range 4 {
		s.Show(fmt.Sprint(i), 20, 3)
		waitDrawn(t, s)
	}
	if took := time.Since(start); took < 150*time.Millisecond {
		t.Errorf("4 frames in %v, want 3 intervals of 50 ms between them", took)
	}
	if n := s.Stats().Frames; n != 4 {
		t.Errorf("%d frames drawn, want 4", n)
	}
}

func TestWaitDrawnHonoursContext(t *testing.T) {
	s, _ := newTestScreen(t, 20, 3)
	s.Suspend()
	defer s.Resume()
	s.Show("never", 20, 3)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.WaitDrawn(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitDrawn returned %v", err)
	}
}
