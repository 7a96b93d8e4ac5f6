package screen

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// probe is a model that shows what it was told.
type probe struct {
	screen *Screen
	w, h   int
	keys   string
	done   string
}

func (m probe) Init() tea.Cmd { return nil }

type execDone struct{ err error }

func (m probe) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.w, m.h = msg.Width, msg.Height
	case execDone:
		m.done = fmt.Sprintf("exec: %v", msg.err)
	case tea.KeyMsg:
		m.keys += msg.String()
		switch msg.String() {
		case "q":
			return m, tea.Quit
		case "e":
			return m, m.screen.ExecProcess(exec.Command("sh", "-c", "stty -a; echo child was here"), func(err error) tea.Msg { return execDone{err} })
		case "f":
			return m, m.screen.ExecProcess(exec.Command("/does/not/exist"), func(err error) tea.Msg { return execDone{err} })
		}
	}
	return m, nil
}

func (m probe) View() string {
	if m.w > 0 {
		m.screen.Show(fmt.Sprintf("size %dx%d\nkeys %s\n%s", m.w, m.h, m.keys, m.done), m.w, m.h)
	}
	return ""
}

// ptyReader collects what comes out of a pseudo-terminal.
type ptyReader struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{}
	end  chan struct{}
}

func readPTY(f *os.File) *ptyReader {
	r := &ptyReader{more: make(chan struct{}, 1), end: make(chan struct{})}
	go func() {
		defer close(r.end)
		b := make([]byte, 4096)
		for {
			n, err := f.Read(b)
			r.mu.Lock()
			r.buf.Write(b[:n])
			r.mu.Unlock()
			select {
			case r.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return r
}

// await waits until want came out after position from, and returns the
// position behind it.
func (r *ptyReader) await(t *testing.T, from int, want string) int {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		r.mu.Lock()
		got := r.buf.String()
		r.mu.Unlock()
		if i := strings.Index(got[from:], want); i >= 0 {
			return from + i + len(want)
		}
		select {
		case <-r.more:
		case <-deadline:
			t.Fatalf("%q did not come, after %q", want, got[from:])
		}
	}
}

func modes(t *testing.T, f *os.File) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

// A whole program on a pseudo-terminal: sizes, keys, raw mode, a child that
// has the terminal to itself, one that cannot be started, and everything given
// back at the end.
func TestRun(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(master, &pty.Winsize{Rows: 7, Cols: 33}); err != nil {
		t.Fatal(err)
	}
	before := modes(t, slave)
	out := readPTY(master)
	s := New(slave, Options{In: slave, AltScreen: true, Mouse: true, Term: "xterm"})
	result := make(chan error, 1)
	go func() {
		_, err := s.Run(context.Background(), probe{screen: s})
		result <- err
	}()
	at := out.await(t, 0, "size 33x7")
	if m := modes(t, slave); m.Lflag&unix.ICANON != 0 || m.Lflag&unix.ECHO != 0 || m.Lflag&unix.ISIG != 0 {
		t.Error("not in raw mode")
	}
	press := func(key string) {
		if _, err := master.WriteString(key); err != nil {
			t.Fatal(err)
		}
	}
	press("x")
	at = out.await(t, at, "x")
	if err := pty.Setsize(master, &pty.Winsize{Rows: 9, Cols: 44}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	at = out.await(t, at, "size 44x9")
	press("e")
	at = out.await(t, at, altOff)
	at = out.await(t, at, " icanon")
	at = out.await(t, at, "child was here")
	at = out.await(t, at, altOn)
	at = out.await(t, at, "exec: <nil>")
	press("f")
	at = out.await(t, at, altOn)
	at = out.await(t, at, "size 44x9") // all of it again
	at = out.await(t, at, "/does/not")
	if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, &before); err != nil { // as a shell does
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	at = out.await(t, at, altOn)
	at = out.await(t, at, "/does/not/exist") // the end of a whole frame
	if m := modes(t, slave); m.Lflag&unix.ICANON != 0 {
		t.Error("not in raw mode after SIGCONT")
	}
	press("y")
	at = out.await(t, at, "y")
	press("q")
	out.await(t, at, altOff)
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("did not quit")
	}
	if after := modes(t, slave); after != before {
		t.Errorf("terminal modes before %+v, after %+v", before, after)
	}
	_ = slave.Close()
	_ = master.Close()
	<-out.end
}

// A signal ends the program at once, whoever else listens for it, and gives
// the terminal back.
func TestRunEndsOnASignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		before := modes(t, slave)
		out := readPTY(master)
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		s := New(slave, Options{In: slave, AltScreen: true, Term: "xterm"})
		result := make(chan error, 1)
		go func() {
			_, err := s.Run(ctx, probe{screen: s})
			result <- err
		}()
		at := out.await(t, 0, "size ")
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		out.await(t, at, altOff)
		select {
		case err := <-result:
			if err != nil {
				t.Errorf("%s: %v", sig, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s did not end it", sig)
		}
		stop()
		if after := modes(t, slave); after != before {
			t.Errorf("%s: terminal modes before %+v, after %+v", sig, before, after)
		}
		_ = slave.Close()
		_ = master.Close()
		<-out.end
	}
}
