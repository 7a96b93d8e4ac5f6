package screen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/charmbracelet/x/term"
	"golang.org/x/sys/unix"
)

// terminal is the device: its modes, its size, writing to it.
type terminal struct {
	out io.Writer
	in  *os.File
	alt bool

	mu    sync.Mutex
	saved *term.State // modes before raw; nil when not raw
}

func newTerminal(out io.Writer, o Options) *terminal {
	return &terminal{out: out, in: o.In, alt: o.AltScreen}
}

// raw switches line editing, echo and signals off.
func (t *terminal) raw() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.in == nil || t.saved != nil || !term.IsTerminal(t.in.Fd()) {
		return nil
	}
	state, err := term.MakeRaw(t.in.Fd())
	if err != nil {
		return fmt.Errorf("terminal: cannot switch to raw mode: %w", err)
	}
	t.saved = state
	return nil
}

// again switches to raw mode once more, after a shell may have switched back
// while the program was stopped.
func (t *terminal) again() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saved == nil {
		return nil
	}
	if _, err := term.MakeRaw(t.in.Fd()); err != nil {
		return fmt.Errorf("terminal: cannot switch to raw mode: %w", err)
	}
	return nil
}

// cooked restores what raw changed. There is nothing to do about a failure:
// the terminal is gone.
func (t *terminal) cooked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saved != nil {
		_ = term.Restore(t.in.Fd(), t.saved)
		t.saved = nil
	}
}

// The modes that a full-screen program sets, in xterm's numbers
// (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html): 1049 alternate
// screen, 25 cursor, 7 wrapping, 2004 bracketed paste, 1002 and 1006 mouse.
const (
	altOn, altOff   = "\x1b[?1049h", "\x1b[?1049l"
	modesOn         = "\x1b[?25l\x1b[?7l\x1b[?2004h"
	modesOff        = "\x1b[?2004l\x1b[?7h\x1b[m\x1b[?25h"
	mouseOn         = "\x1b[?1002h\x1b[?1006h"
	mouseOff        = "\x1b[?1006l\x1b[?1002l"
	belowTheDrawing = "\x1b[999;1H\r\n"
)

// enter are the sequences that take the terminal over.
func (t *terminal) enter(mouse bool) string {
	s := modesOn
	if t.alt {
		s = altOn + s
	}
	if mouse {
		s += mouseOn
	}
	return s
}

// leave are the sequences that give it back. The mouse is switched off even
// if it was not on: that does no harm, and the other way does.
func (t *terminal) leave() string {
	s := mouseOff + modesOff
	if t.alt {
		return s + altOff
	}
	return s + belowTheDrawing
}

func mouseSequence(on bool) string {
	if on {
		return mouseOn
	}
	return mouseOff
}

// write writes all of b. A program that berth started may have left the
// terminal non-blocking (ssh does, when killed); then it waits for room.
func (t *terminal) write(b []byte) error {
	for {
		n, err := t.out.Write(b)
		b = b[min(n, len(b)):]
		f, isFile := t.out.(interface{ Fd() uintptr })
		if !errors.Is(err, unix.EAGAIN) || !isFile {
			return err
		}
		poll := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLOUT}}
		if _, err := unix.Poll(poll, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// hasBCE reports whether erasing fills with the current background colour on
// terminals of this name ("back colour erase"). GNU screen, and tmux that
// calls itself screen, do not; neither does what is not known.
func hasBCE(name string) bool {
	for _, prefix := range []string{"xterm", "tmux", "linux", "rxvt", "alacritty", "foot", "kitty", "wezterm", "ghostty", "contour", "konsole", "vte", "st-", "putty", "mintty"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Size is the terminal's size in cells; an error when out is no terminal.
func (s *Screen) Size() (w, h int, err error) {
	if f, ok := s.tty.out.(interface{ Fd() uintptr }); ok && term.IsTerminal(f.Fd()) {
		return term.GetSize(f.Fd())
	}
	if s.tty.in != nil {
		return term.GetSize(s.tty.in.Fd())
	}
	return 0, 0, errors.New("output is not a terminal")
}

// WatchSize calls changed with the terminal's size, at once and whenever it
// changes, until ctx ends. Meanwhile it also takes the terminal over again
// when the program goes on after it was stopped (SIGCONT). It calls nothing
// when there is no terminal.
func (s *Screen) WatchSize(ctx context.Context, changed func(w, h int)) {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	for {
		if w, h, err := s.Size(); err == nil {
			if w <= 0 || h <= 0 { // a serial line knows no size: what they have been since the VT100
				w, h = 80, 24
			}
			s.resized(w, h)
			changed(w, h)
		}
		select {
		case <-ctx.Done():
			return
		case <-resized:
		case <-continued:
			s.retake()
		}
	}
}
