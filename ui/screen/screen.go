package screen

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"berth/themes"
)

// Options say what kind of terminal it is and what to switch on.
type Options struct {
	// In is where keys come from; if it is a terminal, Start puts it into raw
	// mode and Stop back. Nil leaves modes alone, as in tests.
	In *os.File
	// AltScreen draws on the terminal's second screen, so that what was there
	// before comes back.
	AltScreen bool
	// Mouse reports clicks, drags and the wheel from the start.
	Mouse bool
	// Profile is how many colours may be written; frames that have more are
	// degraded. The zero Profile is themes.NoColor.
	Profile themes.Profile
	// ASCII shows nothing but ASCII, whatever frames hold, on terminals or in
	// locales that would show rubbish; themes.Glyphs.ASCII says when.
	ASCII bool
	// Term is $TERM; it tells what erasing does.
	Term string
	// MinInterval is the least time between two drawings; 0 is 8 ms.
	MinInterval time.Duration
}

// DefaultInterval is the least time between two drawings: 125 a second.
const DefaultInterval = 8 * time.Millisecond

// stopWait is how long Stop waits for a terminal that takes no bytes.
const stopWait = 2 * time.Second

// Screen draws frames on a terminal. Make it with New; all its methods may be
// called from several goroutines.
type Screen struct {
	opts Options
	tty  *terminal

	mu       sync.Mutex
	frame    string // the latest, drawn or not
	w, h     int
	fresh    bool // frame is to be drawn
	redraw   bool // all of it, not only what changed
	base     themes.Style
	rebase   bool
	queue    []string // out-of-band sequences
	mouse    bool
	running  bool
	suspends int
	err      error
	stats    Stats
	idle     chan struct{} // closed when there is nothing left to draw

	lost chan struct{} // closed when err is set by a write
	wake chan struct{} // holds one token when there is work
	calm chan struct{} // closed when the writer has ended
	gate sync.Mutex    // held by the writer while it writes

	canvas canvas // the writer's alone
	last   time.Time
}

// Stats are what drawing has cost since Start.
type Stats struct {
	Frames    uint64        // frames that changed something
	Skipped   uint64        // frames that a later one overtook, or that changed nothing
	Bytes     uint64        // written
	LastBytes int           // of the last frame written
	LastDraw  time.Duration // to work out the last frame's changes
	LastWrite time.Duration // the terminal took to accept them
}

// New makes a Screen that writes to out. Nothing is written before Start.
func New(out io.Writer, o Options) *Screen {
	if o.MinInterval == 0 {
		o.MinInterval = DefaultInterval
	}
	s := &Screen{opts: o, tty: newTerminal(out, o), mouse: o.Mouse, wake: make(chan struct{}, 1), lost: make(chan struct{})}
	s.canvas.bce, s.canvas.ascii, s.canvas.profile = hasBCE(o.Term), o.ASCII, o.Profile
	s.idle = make(chan struct{})
	close(s.idle)
	return s
}

// Start takes over the terminal: raw mode, alternate screen, no cursor,
// bracketed paste, the mouse. It fails if the terminal refuses raw mode.
func (s *Screen) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return nil
	}
	if err := s.tty.raw(); err != nil {
		return err
	}
	s.running, s.redraw = true, true
	s.calm = make(chan struct{})
	s.queue = append([]string{s.tty.enter(s.mouse)}, s.queue...)
	s.notify()
	go s.write(s.calm)
	return nil
}

// Stop gives the terminal back as it was. It may be called more than once,
// from a panic handler and without Start. A terminal that takes no bytes any
// more is given up on after 2 seconds.
func (s *Screen) Stop() {
	s.mu.Lock()
	if !s.running {
		s.mu.Unlock()
		return
	}
	s.running = false
	calm := s.calm
	s.notify()
	s.mu.Unlock()
	select {
	case <-calm:
	case <-time.After(stopWait):
	}
	s.tty.cooked()
}

// Show draws frame, whose size is w × h cells, as soon as the terminal is
// ready for it. It never waits. Frames shown in between are dropped.
func (s *Screen) Show(frame string, w, h int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if frame == s.frame && w == s.w && h == s.h {
		s.stats.Skipped++
		return
	}
	if s.fresh {
		s.stats.Skipped++
	}
	s.frame, s.w, s.h, s.fresh = frame, w, h, true
	s.notify()
}

// Repaint draws everything anew, as after something else wrote to the
// terminal.
func (s *Screen) Repaint() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redraw = true
	s.notify()
}

// resized notes that the terminal's size may have changed and that it may
// have moved everything about. If the size is what it was, nobody will show a
// new frame, so the last one is drawn again.
func (s *Screen) resized(w, h int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redraw = true
	if w == s.w && h == s.h {
		s.notify()
	}
}

// SetBase sets the ground that all frames are painted on; a plain style is
// the terminal's own.
func (s *Screen) SetBase(base themes.Style) {
	s.mu.Lock()
	defer s.mu.Unlock()
	base.Attr = 0
	if base.Fg == themes.DefaultColor {
		base.Fg = 0
	}
	if base.Bg == themes.DefaultColor {
		base.Bg = 0
	}
	if base != s.base {
		s.base, s.rebase = base, true
		s.notify()
	}
}

// SetMouse switches mouse reports on or off; off, the terminal's own
// selection of text works.
func (s *Screen) SetMouse(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mouse == on {
		return
	}
	s.mouse = on
	if s.running && s.suspends == 0 {
		s.queue = append(s.queue, mouseSequence(on))
		s.notify()
	}
}

// Mouse reports whether mouse reports are on.
func (s *Screen) Mouse() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mouse
}

// Write sends a sequence of one's own, such as OSC 52 or a bell, between two
// frames. It must not move the cursor.
func (s *Screen) Write(seq string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, seq)
	s.notify()
}

// Suspend gives the terminal to another program and returns when everything
// is written. Frames shown meanwhile wait. Suspends nest.
func (s *Screen) Suspend() {
	s.mu.Lock()
	s.suspends++
	first := s.suspends == 1 && s.running
	s.mu.Unlock()
	if !first {
		return
	}
	s.gate.Lock() // waits for a write under way
	s.flushQueue()
	s.send([]byte(s.tty.leave()))
	s.gate.Unlock()
	s.tty.cooked()
}

// Resume takes the terminal back after Suspend and draws everything anew.
func (s *Screen) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspends == 0 {
		return
	}
	if s.suspends--; s.suspends > 0 || !s.running {
		return
	}
	s.takeOver(s.tty.raw)
}

// retake takes the terminal back from a shell that had it while the program
// was stopped.
func (s *Screen) retake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running && s.suspends == 0 {
		s.takeOver(s.tty.again)
	}
}

// takeOver sets all modes and draws everything. s.mu is held.
func (s *Screen) takeOver(raw func() error) {
	if err := raw(); err != nil {
		s.fail(err)
	}
	s.queue = append([]string{s.tty.enter(s.mouse)}, s.queue...)
	s.redraw = true
	s.notify()
}

// Stats returns what drawing has cost so far.
func (s *Screen) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Err is the error that ended writing, such as a terminal that went away; nil
// while all is well.
func (s *Screen) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// WaitDrawn returns when the latest frame is on the terminal, or with ctx's
// error.
func (s *Screen) WaitDrawn(ctx context.Context) error {
	for {
		s.mu.Lock()
		idle, busy := s.idle, s.busy()
		s.mu.Unlock()
		if !busy {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// busy reports whether something waits to be written. s.mu is held.
func (s *Screen) busy() bool {
	select {
	case <-s.idle:
		return false
	default:
		return s.running
	}
}

// notify wakes the writer. s.mu is held.
func (s *Screen) notify() {
	select {
	case <-s.idle:
		s.idle = make(chan struct{})
	default:
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// settle says that there is nothing left to write. s.mu is held.
func (s *Screen) settle() {
	select {
	case <-s.idle:
	default:
		close(s.idle)
	}
}
