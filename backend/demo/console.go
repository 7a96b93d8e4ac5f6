package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"berth/backend"
)

// typedMost is how much a person may type ahead before the rest is lost, as
// on a real serial line.
const typedMost = 4096

var errTaken = fmt.Errorf("%w: another session took the console over", backend.ErrBusy)

// talk is one person at a machine's serial console. The fleet's lock
// guards all but the channels.
type talk struct {
	v    *vm
	kick chan struct{} // there may be something to read
	stop func() bool   // releases the hold on the context
	err  error         // why the session ended

	out   []byte // printed and not read yet
	typed []byte // and not yet looked at by the guest

	boot     int // which boot of the guest this is
	printed  int // of its boot's lines
	prompted bool
	farewell bool
	shell    shell
}

// Console connects to the machine's serial console. A person logs in with any
// name and password.
func (h *host) Console(ctx context.Context, id backend.UUID, force bool) (io.ReadWriteCloser, error) {
	const op = "open the console of"
	if h.ReadOnly() {
		return nil, failed(op, id.String(), backend.ErrReadOnly, "connect with --write to use consoles")
	}
	v, err := h.find(ctx, op, id)
	if err != nil {
		return nil, err
	}
	defer h.leave()
	name := v.row.Name
	switch {
	case !v.row.State.Active():
		return nil, failed(op, name, fmt.Errorf("%w: %s is %s", backend.ErrState, name, v.row.State), "start it first")
	case !v.live.console:
		return nil, failed(op, name, fmt.Errorf("%w: it has no serial console", backend.ErrUnsupported), "add a serial device to its definition")
	case v.console != nil && !force:
		return nil, failed(op, name, fmt.Errorf("%w: another session has it open", backend.ErrBusy), "take it over by force")
	}
	v.dropConsole(errTaken)
	s := &talk{v: v, kick: make(chan struct{}, 1), boot: v.boots}
	if v.phase >= phaseUp {
		s.printed = len(v.bootLines()) // long scrolled away
	}
	v.console = s
	s.stop = context.AfterFunc(ctx, func() {
		h.fleet.mu.Lock()
		defer h.fleet.mu.Unlock()
		s.finish(contextError(ctx))
	})
	return s, nil
}

// finish ends the session; only the first reason counts.
func (s *talk) finish(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	s.stop()
	if s.v.console == s {
		s.v.console = nil
	}
	s.wake()
}

// dropConsole ends the machine's session, if there is one.
func (v *vm) dropConsole(err error) {
	if v.console != nil {
		v.console.finish(err)
	}
}

// wakeConsole lets whoever reads the console look at the guest again.
func (v *vm) wakeConsole() {
	if v.console != nil {
		v.console.wake()
	}
}

func (s *talk) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Read returns what the guest prints, as soon as it does. When the machine
// stops it is io.EOF, once all was read.
func (s *talk) Read(p []byte) (int, error) {
	f := s.v.fleet()
	for {
		n, wait, err := s.take(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		due, stop := f.clock.Timer(wait)
		select {
		case <-s.kick:
		case <-due:
		}
		stop()
	}
}

// take moves what was printed to p, or says how long nothing will be.
func (s *talk) take(p []byte) (n int, wait time.Duration, err error) {
	f := s.v.fleet()
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.err == nil && f.catchUp(f.life) != nil {
		s.finish(backend.ErrClosed)
	}
	s.print()
	n = copy(p, s.out)
	s.out = s.out[n:]
	if n == 0 && s.err != nil {
		return 0, 0, s.err
	}
	return n, s.quiet(), nil
}

// quiet is how long the guest surely prints nothing by itself.
func (s *talk) quiet() time.Duration {
	f, v := s.v.fleet(), s.v
	wait := pumpLongest
	if at, ok := f.agenda.next(); ok {
		wait = min(wait, f.shownFor(at-f.now))
	}
	if v.booting() {
		if lines := v.bootLines(); s.printed < len(lines) {
			at := seconds(lines[s.printed].at * v.bootFor.Seconds())
			wait = min(wait, f.shownFor(at-v.uptime(f.now)))
		}
	}
	return max(wait, time.Millisecond)
}

func (v *vm) booting() bool {
	return (v.phase == phaseFirmware || v.phase == phaseKernel) && v.clockRuns()
}

// print brings the session's output up to what the guest does now.
func (s *talk) print() {
	v := s.v
	if s.err != nil || !v.clockRuns() {
		return
	}
	if s.boot != v.boots {
		s.boot, s.printed, s.prompted, s.farewell, s.typed, s.shell = v.boots, 0, false, false, nil, shell{}
	}
	s.printBoot()
	switch v.phase {
	case phaseUp:
		if !s.prompted {
			s.prompted, s.typed = true, nil
			s.write("\r\n" + v.issue("ttyS0") + "\r\n\r\n" + v.guestName() + " login: ")
		}
		s.obey()
	case phaseStopping:
		if !s.farewell {
			s.farewell = true
			s.write("\r\n" + strings.Join(v.farewell(), "\r\n") + "\r\n")
		}
	}
}

// printBoot prints the boot's lines that are due.
func (s *talk) printBoot() {
	v := s.v
	done := 1.0
	if v.phase < phaseUp {
		done = v.uptime(v.fleet().now).Seconds() / v.bootFor.Seconds()
	}
	lines := v.bootLines()
	for s.printed < len(lines) && lines[s.printed].at <= done {
		s.write(lines[s.printed].text + "\r\n")
		s.printed++
	}
}

func (s *talk) write(text string) { s.out = append(s.out, text...) }

// Write types p at the guest's terminal. It never waits.
func (s *talk) Write(p []byte) (int, error) {
	f := s.v.fleet()
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.err != nil {
		if errors.Is(s.err, io.EOF) {
			return 0, io.ErrClosedPipe
		}
		return 0, s.err
	}
	room := max(typedMost-len(s.typed), 0)
	s.typed = append(s.typed, p[:min(room, len(p))]...)
	s.wake()
	return len(p), nil
}

// Close ends the session. It is no error to close twice.
func (s *talk) Close() error {
	f := s.v.fleet()
	f.mu.Lock()
	defer f.mu.Unlock()
	s.finish(io.EOF)
	return nil
}
