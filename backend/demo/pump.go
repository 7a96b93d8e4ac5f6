package demo

import (
	"context"
	"slices"
	"time"

	"berth/backend"
)

// watchBuffer is how many events a watcher may fall behind before it loses
// some. An event only says that a poll is worth while, so losing one of
// hundreds costs nothing.
const watchBuffer = 512

// pumpLongest is the longest that the story stands still, by the Clock, while
// somebody watches and nothing is due.
const pumpLongest = 10 * time.Second

// pump is the one goroutine of a fleet that somebody watches: it lets the
// story go on when the next event is due, so that watchers hear of it then.
type pump struct {
	watchers []*watcher
	running  chan struct{} // closed when the goroutine ends; nil when there is none
	kick     chan struct{} // something was noted, or a watcher left
}

type watcher struct {
	host *host
	c    chan backend.Event
	stop func() bool // releases the watcher's hold on its context
}

// Watch subscribes to the host's events until ctx ends, the host is closed or
// lost.
func (h *host) Watch(ctx context.Context) (<-chan backend.Event, error) {
	if err := h.enter(ctx, "watch"); err != nil {
		return nil, err
	}
	defer h.leave()
	f := h.fleet
	w := &watcher{host: h, c: make(chan backend.Event, watchBuffer)}
	f.pump.watchers = append(f.pump.watchers, w)
	w.stop = context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.unwatch(func(o *watcher) bool { return o == w })
	})
	if f.pump.running == nil {
		f.pump.running = make(chan struct{})
		go f.runPump(f.pump.running)
	}
	return w.c, nil
}

// unwatch closes the channels of the watchers that gone picks. f.mu is held.
func (f *Fleet) unwatch(gone func(*watcher) bool) {
	f.pump.watchers = slices.DeleteFunc(f.pump.watchers, func(w *watcher) bool {
		if !gone(w) {
			return false
		}
		w.stop()
		close(w.c)
		return true
	})
	f.poke()
}

// poke makes the pump look again at what is due. f.mu need not be held.
func (f *Fleet) poke() {
	select {
	case f.pump.kick <- struct{}{}:
	default:
	}
}

// runPump waits for one due event after another until nobody watches.
func (f *Fleet) runPump(done chan struct{}) {
	defer close(done)
	for {
		wait, more := f.pumpOnce()
		if !more {
			return
		}
		due, stop := f.clock.Timer(wait)
		select {
		case <-due:
		case <-f.pump.kick:
		}
		stop()
	}
}

// pumpOnce does what is due and tells how long to wait; more is false when the
// last watcher is gone.
func (f *Fleet) pumpOnce() (wait time.Duration, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pump.watchers) == 0 {
		f.pump.running = nil
		return 0, false
	}
	if f.catchUp(f.life) != nil {
		return 0, true // closing: Close drops the watchers next
	}
	wait = pumpLongest
	if at, ok := f.agenda.next(); ok {
		wait = min(wait, max(f.shownFor(at-f.storyNow()), time.Millisecond))
	}
	return wait, true
}

// tell sends an event about a machine, or about its host when v is nil.
func (h *host) tell(v *vm, kind backend.EventKind, what, detail string) {
	e := backend.Event{At: h.fleet.shown(h.fleet.now), Host: h.name, Kind: kind, What: what, Detail: detail}
	if v != nil {
		e.UUID, e.Name = v.row.UUID, v.row.Name
	}
	for _, w := range h.fleet.pump.watchers {
		if w.host != h {
			continue
		}
		select {
		case w.c <- e:
		default: // see watchBuffer
		}
	}
}
