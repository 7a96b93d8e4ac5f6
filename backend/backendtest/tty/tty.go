// Package tty runs a program in a pseudo-terminal and sees what a person
// would see: it keeps the screen, types keys, changes the size, and waits for
// what is to appear.
package tty

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// Session is a program in a terminal.
type Session struct {
	Cmd *exec.Cmd

	pty     *os.File
	mu      sync.Mutex
	screen  *Screen
	raw     []byte        // all output since the last TakeOutput
	changed chan struct{} // closed and replaced at each output
	last    time.Time     // of the last output
	done    chan struct{} // closed when the program has ended and all is read
	err     error         // of the program
}

// Start runs cmd in a terminal of w columns and h rows. Unless cmd says
// otherwise the terminal is an xterm-256color and the locale is UTF-8.
func Start(cmd *exec.Cmd, w, h int) (*Session, error) {
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append([]string{"TERM=xterm-256color", "LANG=C.UTF-8", "LC_ALL=C.UTF-8"}, withoutTerminal(cmd.Env)...)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)})
	if err != nil {
		return nil, err
	}
	s := &Session{Cmd: cmd, pty: f, changed: make(chan struct{}), done: make(chan struct{})}
	s.screen = NewScreen(w, h, func(answer string) { go io.WriteString(f, answer) }) //nolint:errcheck // the program may have ended
	go s.read()
	return s, nil
}

// withoutTerminal drops what describes the terminal the tests run in.
func withoutTerminal(env []string) []string {
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "TMUX", "TERM_PROGRAM", "COLORTERM", "LINES", "COLUMNS", "CLICOLOR_FORCE", "STY":
			continue
		}
		out = append(out, e)
	}
	return out
}

func (s *Session) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.pty.Read(buf)
		now := time.Now()
		s.mu.Lock()
		s.screen.Write(buf[:n]) //nolint:errcheck // never fails
		s.raw = append(s.raw, buf[:n]...)
		if n > 0 {
			s.last = now
		}
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
		if err != nil { // EIO: the program has closed the terminal
			break
		}
	}
	s.err = s.Cmd.Wait()
	s.pty.Close()
	close(s.done)
}

// Type sends keys as the terminal would: see Keys for names of special ones.
func (s *Session) Type(keys string) error {
	_, err := io.WriteString(s.pty, keys)
	return err
}

// What special keys send in an xterm.
const (
	Enter     = "\r"
	Esc       = "\x1b"
	Tab       = "\t"
	Backspace = "\x7f"
	Up        = "\x1b[A"
	Down      = "\x1b[B"
	Right     = "\x1b[C"
	Left      = "\x1b[D"
	PageUp    = "\x1b[5~"
	PageDown  = "\x1b[6~"
	F2        = "\x1bOQ"
	CtrlC     = "\x03"
	CtrlD     = "\x04"
	CtrlU     = "\x15"
	CtrlSpace = "\x00"
	CtrlRight = "\x1d" // ^]
)

// Resize changes the terminal's size and tells the program.
func (s *Session) Resize(w, h int) error {
	s.mu.Lock()
	s.screen.Resize(w, h)
	s.mu.Unlock()
	return pty.Setsize(s.pty, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)})
}

// Screen returns what the screen shows now, without trailing blanks.
func (s *Session) Screen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.String()
}

// Mode reports whether the program has switched a DEC private mode on: 1049
// is the alternate screen, 25 the cursor, 1000 to 1006 the mouse.
func (s *Session) Mode(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.Modes[n]
}

// Title is the window title the program has set.
func (s *Session) Title() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.screen.Title
}

// TakeOutput returns the bytes written to the terminal since the last call,
// and when the last of them came.
func (s *Session) TakeOutput() ([]byte, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw := s.raw
	s.raw = nil
	return raw, s.last
}

// ErrEnded: the program ended while something was awaited on its screen.
var ErrEnded = errors.New("the program ended")

// Await looks at the screen after each output until seen is true of it. It
// returns the time of the output that made it so.
func (s *Session) Await(ctx context.Context, seen func(screen string) bool) (time.Time, error) {
	for {
		s.mu.Lock()
		screen, changed, last := s.screen.String(), s.changed, s.last
		s.mu.Unlock()
		if seen(screen) {
			return last, nil
		}
		select {
		case <-changed:
		case <-s.done:
			if seen(s.Screen()) {
				return last, nil
			}
			return last, ErrEnded
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
}

// Press types keys and returns how long the first output after them took.
func (s *Session) Press(ctx context.Context, keys string) (time.Duration, error) {
	s.mu.Lock()
	changed := s.changed
	s.mu.Unlock()
	from := time.Now()
	if err := s.Type(keys); err != nil {
		return 0, err
	}
	select {
	case <-changed:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.Sub(from), nil
}

// Quiet waits until nothing has been written for d, and returns when the last
// output came.
func (s *Session) Quiet(ctx context.Context, d time.Duration) (time.Time, error) {
	for {
		s.mu.Lock()
		changed, last := s.changed, s.last
		s.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(d):
			return last, nil
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
}

// Wait waits for the program's end and returns its exit status, or -1 when a
// signal ended it.
func (s *Session) Wait(ctx context.Context) (int, error) {
	select {
	case <-s.done:
	case <-ctx.Done():
		return -1, ctx.Err()
	}
	var exit *exec.ExitError
	if s.err != nil && !errors.As(s.err, &exit) {
		return -1, s.err
	}
	return s.Cmd.ProcessState.ExitCode(), nil
}

// Close ends the program, gently first.
func (s *Session) Close() error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		s.Cmd.Process.Signal(sig) //nolint:errcheck // it may have ended
		select {
		case <-s.done:
			return nil
		case <-time.After(3 * time.Second):
		}
	}
	return fmt.Errorf("%s does not end", s.Cmd)
}
