package demo

import (
	"context"
	"errors"
	"sync"
	"time"

	"berth/backend"
)

// The size of a fleet when Options does not say, and its bounds.
const (
	DefaultHosts = 3
	DefaultVMs   = 24
	MaxHosts     = 64
	MaxVMs       = 10_000
)

// Options say what fleet New makes. The zero value is a usable one.
type Options struct {
	Seed  uint64 // the same seed gives the same story
	Hosts int    // 0: DefaultHosts; cut to MaxHosts
	VMs   int    // 0: DefaultVMs; cut to MaxVMs

	Clock Clock     // nil: the machine's
	Start time.Time // the day and hour at which the story begins; zero: the Clock's
	Speed float64   // story seconds a second; 0: 1

	// Batch is how many machines there are besides VMs that work for a while,
	// power off by themselves, and wait for somebody to start them again; cut to
	// MaxBatch. The hosts are large enough to run some of them at a time.
	Batch int

	// Dir is the folder below which the fleet makes one of its own for its
	// images' files, when they are first looked into; empty: the system's for
	// temporary files.
	Dir string

	ReadOnly bool // every Host refuses every verb
	Calm     bool // nothing happens by itself: no crashes, full disks or lost hosts
}

// storyTime is how long the story has been going; what was before it is negative.
type storyTime = time.Duration

func seconds(s float64) storyTime { return storyTime(s * float64(time.Second)) }

// Fleet is a set of simulated hosts that share one story.
type Fleet struct {
	opts  Options
	clock Clock
	base  time.Time // the Clock's time when the story began
	start time.Time // the story's own day and hour then
	speed float64
	tick  storyTime // how often loads change

	life context.Context // ends with Close
	end  context.CancelFunc

	mu        sync.Mutex // guards what follows and everything in it
	now       storyTime
	nextTick  storyTime
	agenda    agenda
	hosts     []*host
	services  []*service
	shelfSize uint64 // bytes of the disk images' file system
	things    uint64 // how many machines there ever were; numbers their streams
	pump      pump
	stock     stock
}

// New makes a fleet. It starts no goroutine before somebody watches a host.
func New(o Options) *Fleet {
	o = o.withDefaults()
	f := &Fleet{opts: o, clock: o.Clock, base: o.Clock.Now(), start: o.Start, speed: o.Speed, tick: tickFor(o.VMs)}
	if f.start.IsZero() {
		f.start = f.base
	}
	f.life, f.end = context.WithCancel(context.Background())
	f.pump.kick = make(chan struct{}, 1)
	f.stock = newStock()
	f.build()
	return f
}

func (o Options) withDefaults() Options {
	o.Hosts = clampOr(o.Hosts, DefaultHosts, MaxHosts)
	o.VMs = clampOr(o.VMs, DefaultVMs, MaxVMs)
	o.Batch = clampOr(o.Batch, 0, MaxBatch)
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.Clock == nil {
		o.Clock = wallClock{}
	}
	return o
}

func clampOr(n, otherwise, most int) int {
	if n <= 0 {
		return otherwise
	}
	return min(n, most)
}

// tickFor is longer for bigger fleets, to bound what catching up costs.
func tickFor(vms int) storyTime {
	switch {
	case vms <= 1000:
		return time.Second
	case vms <= 3000:
		return 2 * time.Second
	}
	return 5 * time.Second
}

// Hosts returns the fleet's hosts; they are the same each time.
func (f *Fleet) Hosts() []backend.Host {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]backend.Host, len(f.hosts))
	for i, h := range f.hosts {
		list[i] = h
	}
	return list
}

// Close closes every host, waits for the fleet's goroutine, if it has one, and
// removes the images' files.
func (f *Fleet) Close() error {
	f.end()
	var errs []error
	for _, h := range f.Hosts() {
		errs = append(errs, h.Close())
	}
	return errors.Join(append(errs, f.stock.close())...)
}

// closed reports whether all hosts are: then nobody needs the images any more.
func (f *Fleet) closed() bool {
	for _, h := range f.hosts {
		if h.life.Err() == nil {
			return false
		}
	}
	return true
}

// storyNow is where the story is by the Clock.
func (f *Fleet) storyNow() storyTime {
	return storyTime(float64(f.clock.Now().Sub(f.base)) * f.speed)
}

// shown is the Clock's time of a moment of the story. What was before the
// story began keeps its pace, so that uptimes look right at any speed.
func (f *Fleet) shown(at storyTime) time.Time {
	if at <= 0 {
		return f.base.Add(at)
	}
	return f.base.Add(f.shownFor(at))
}

// shownFor is how long, by the Clock, a stretch of the story takes.
func (f *Fleet) shownFor(d storyTime) time.Duration {
	if f.speed == 1 {
		return d
	}
	return time.Duration(float64(d) / f.speed)
}

// elapsed is the time by which counters grow between two moments, in the
// Clock's seconds.
func (f *Fleet) elapsed(from, to storyTime) float64 {
	return (to - from).Seconds() / f.speed
}

// catchUp lets the story go on to where the Clock says it is. It stops early
// when ctx ends; what was done stays done. f.mu is held.
func (f *Fleet) catchUp(ctx context.Context) error {
	return f.advance(ctx, f.storyNow())
}

func (f *Fleet) advance(ctx context.Context, to storyTime) error {
	for {
		at, due := f.agenda.next()
		switch {
		case f.nextTick <= to && (!due || f.nextTick <= at):
			if err := ctx.Err(); err != nil {
				return err
			}
			f.now = f.nextTick
			f.nextTick += f.tick
			f.load()
		case due && at <= to:
			e := f.agenda.pop()
			f.now = max(f.now, e.at)
			e.do()
		default:
			f.now = max(f.now, to)
			return nil
		}
	}
}

// after notes that do happens in d from now. f.mu is held.
func (f *Fleet) after(d storyTime, do func()) {
	f.agenda.add(f.now+d, do)
	f.poke()
}

// hour is the story's hour of day, with its fraction, and whether it is a
// working day.
func (f *Fleet) hour() (hour float64, workday bool) {
	t := f.start.Add(f.now)
	hour = float64(t.Hour()) + float64(t.Minute())/60 + float64(t.Second())/3600
	return hour, t.Weekday() != time.Saturday && t.Weekday() != time.Sunday
}
