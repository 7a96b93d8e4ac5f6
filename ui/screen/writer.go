package screen

import "time"

// work is what the writer takes from a Screen in one go.
type work struct {
	frame  string
	w, h   int
	draw   bool
	queue  []string
	ending bool
}

// write is the goroutine that writes; it alone draws. It ends after Stop,
// having left the terminal as it should be, and then closes calm.
func (s *Screen) write(calm chan struct{}) {
	defer close(calm)
	for range s.wake {
		if s.pause() {
			s.finish()
			return
		}
		s.gate.Lock()
		w, ok := s.take()
		if ok {
			s.step(w)
		}
		s.gate.Unlock()
		if w.ending {
			s.finish()
			return
		}
	}
}

// pause waits until the next frame may be drawn. It returns at once, with
// true, when the screen is being stopped.
func (s *Screen) pause() (ending bool) {
	wait := s.opts.MinInterval - time.Since(s.last)
	for wait > 0 {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		}
		s.mu.Lock()
		ending = !s.running
		s.mu.Unlock()
		if ending {
			return true
		}
		wait = s.opts.MinInterval - time.Since(s.last)
	}
	return false
}

// take fetches what there is to do; false when there is nothing, or the
// screen is suspended.
func (s *Screen) take() (work, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return work{ending: true}, false
	}
	if s.suspends > 0 {
		return work{}, false
	}
	if s.rebase {
		s.canvas.base, s.rebase, s.redraw = s.base.For(s.opts.Profile), false, true
	}
	if s.redraw {
		s.canvas.forget()
	}
	w := work{frame: s.frame, w: s.w, h: s.h, queue: s.queue}
	w.draw = (s.fresh || s.redraw) && s.w > 0 && s.h > 0
	s.fresh, s.redraw, s.queue = false, false, nil
	return w, true
}

// step writes one take and notes what it cost.
func (s *Screen) step(w work) {
	for _, seq := range w.queue {
		s.send([]byte(seq))
	}
	start := time.Now()
	var out []byte
	if w.draw {
		out = s.canvas.draw(w.frame, w.w, w.h)
	}
	drawn := time.Since(start)
	if len(out) > 0 {
		s.send(synchronized(out))
		s.last = time.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(out) > 0:
		s.stats.Frames++
		s.stats.LastBytes = len(out)
		s.stats.LastDraw, s.stats.LastWrite = drawn, s.last.Sub(start)-drawn
	case w.draw:
		s.stats.Skipped++
	}
	if !s.fresh && !s.redraw && !s.rebase && len(s.queue) == 0 {
		s.settle()
	}
}

// synchronized wraps large frames in mode 2026, so that terminals that know
// it show them all at once; small ones are not worth its 16 bytes.
// https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036
func synchronized(out []byte) []byte {
	const large = 1024
	if len(out) < large {
		return out
	}
	wrapped := make([]byte, 0, len(out)+16)
	wrapped = append(wrapped, "\x1b[?2026h"...)
	wrapped = append(wrapped, out...)
	return append(wrapped, "\x1b[?2026l"...)
}

// flushQueue writes what is queued. s.gate is held.
func (s *Screen) flushQueue() {
	s.mu.Lock()
	queue := s.queue
	s.queue = nil
	s.mu.Unlock()
	for _, seq := range queue {
		s.send([]byte(seq))
	}
}

// send writes to the terminal. After an error nothing more is written. s.gate
// is held.
func (s *Screen) send(b []byte) {
	s.mu.Lock()
	failed := s.err != nil
	s.mu.Unlock()
	if failed || len(b) == 0 {
		return
	}
	err := s.tty.write(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Bytes += uint64(len(b))
	if err != nil {
		s.fail(err)
	}
}

// fail notes that the terminal cannot be used any more. s.mu is held.
func (s *Screen) fail(err error) {
	if s.err == nil {
		s.err = err
		close(s.lost)
	}
}

// finish writes what is still queued and leaves the terminal. The last frame
// is not drawn: it would be gone at once.
func (s *Screen) finish() {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.flushQueue()
	s.mu.Lock()
	suspended := s.suspends > 0
	s.mu.Unlock()
	if !suspended {
		s.send([]byte(s.tty.leave()))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
}
