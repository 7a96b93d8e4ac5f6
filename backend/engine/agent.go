package engine

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/backend"
)

const (
	// pollDeadline bounds one reading of a host.
	pollDeadline = 20 * time.Second
	// joinEvents is how long events of a burst are waited for.
	joinEvents = 50 * time.Millisecond
	// lookEvery is how often a host is read when it tells nothing: events can
	// be lost, and what a host has can change.
	lookEvery = 30 * time.Second
	// actsAtOnce is how much is asked of one host at a time.
	actsAtOnce = 4
)

// redials are the waits between attempts to reach a host; the last repeats.
var redials = [...]time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second}

// view is a host as one reading of it was. It is never changed once it is
// handed out.
type view struct {
	seq   int64 // of the reading; 0: it was never read
	at    time.Time
	vms   map[backend.UUID]*backend.VM
	last  map[backend.UUID]string // why a domain stopped last, as an event told
	has   backend.HostCapacity
	known bool      // has was read
	down  time.Time // it cannot be asked since then; zero: it can
	why   string    // of down
	dead  bool      // nothing of it was reached: it may be off
}

// up reports whether the host was read and can be asked.
func (v *view) up() bool { return v != nil && v.seq > 0 && v.down.IsZero() }

// agent keeps the view of one host up to date, in a goroutine of its own.
type agent struct {
	spec    HostSpec
	host    backend.Host
	clock   Clock
	changed func() // tells the engine
	retire  func() // ends it
	slots   chan struct{}
	kick    chan struct{}

	mu    sync.Mutex
	v     *view
	begun int64                   // number of the last reading that was begun
	want  int64                   // number of the reading that somebody waits for
	cares map[backend.UUID]string // VMs of jobs with a berth here, and the boot they were started in
}

func newAgent(spec HostSpec, host backend.Host, clock Clock, changed func()) *agent {
	return &agent{spec: spec, host: host, clock: clock, changed: changed, v: &view{},
		slots: make(chan struct{}, actsAtOnce), kick: make(chan struct{}, 1)}
}

// now is the latest view.
func (a *agent) now() *view {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.v
}

// look asks for a reading and returns its number: a view of that number or a
// greater one was read after look was called.
func (a *agent) look() int64 {
	a.mu.Lock()
	a.want = a.begun + 1
	n := a.want
	a.mu.Unlock()
	select {
	case a.kick <- struct{}{}:
	default:
	}
	return n
}

// lookOnce is look, but for a host that was never read: what is read first
// will do.
func (a *agent) lookOnce() int64 {
	a.mu.Lock()
	never := a.begun == 0
	a.mu.Unlock()
	if never {
		return 1
	}
	return a.look()
}

// care says which domains' ends must not be mistaken for the host's.
func (a *agent) care(of map[backend.UUID]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cares = of
}

// run keeps reading until ctx ends.
func (a *agent) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		from := a.clock.Now()
		err := a.session(ctx)
		if ctx.Err() != nil {
			return
		}
		a.lose(err)
		if a.clock.Now().Sub(from) > time.Minute {
			failures = 0
		}
		wait, stop := a.clock.Timer(redials[min(failures, len(redials)-1)])
		failures++
		select {
		case <-wait:
		case <-ctx.Done():
		}
		stop()
	}
}

// session watches the host until that fails.
func (a *agent) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := a.subscribe(ctx)
	if err != nil {
		return err
	}
	// The first reading tells identity and state only, the second all.
	for range 2 {
		if err := a.read(ctx, true); err != nil {
			return err
		}
	}
	for {
		timer, stop := a.clock.Timer(lookEvery)
		regular, changed := false, true
		select {
		case e, ok := <-events:
			changed, err = a.gather(ctx, e, ok, events)
		case <-a.kick:
		case <-timer:
			regular = true
		case <-ctx.Done():
			err = ctx.Err()
		}
		stop()
		if err == nil && changed {
			err = a.read(ctx, regular)
		}
		if err != nil {
			return err
		}
	}
}

// subscribe is Watch, whose context is that of the subscription, with a bound.
func (a *agent) subscribe(ctx context.Context) (<-chan backend.Event, error) {
	live, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(pollDeadline, func() { cancel(backend.ErrTimeout) })
	events, err := a.host.Watch(live)
	if err != nil || !late.Stop() {
		cancel(nil)
		if err == nil {
			err = backend.ErrTimeout
		}
		return nil, err
	}
	context.AfterFunc(ctx, func() { cancel(nil) })
	return events, nil
}

// gather takes in a burst of events, and reports whether one of them was about
// the life of a domain: of a noisy guest's others nothing is to be read.
func (a *agent) gather(ctx context.Context, e backend.Event, ok bool, more <-chan backend.Event) (changed bool, err error) {
	burst := time.NewTimer(joinEvents)
	defer burst.Stop()
	for {
		if !ok {
			return changed, backend.ErrUnreachable
		}
		changed = changed || e.Kind == backend.EventLifecycle || e.Kind == backend.EventIOError
		if !changed {
			return false, nil
		}
		a.heed(e)
		select {
		case e, ok = <-more:
		case <-burst.C:
			return changed, nil
		case <-ctx.Done():
			return changed, ctx.Err()
		}
	}
}

// heed remembers why a domain stopped.
func (a *agent) heed(e backend.Event) {
	if e.Kind != backend.EventLifecycle || (e.What != "stopped" && e.What != "started") {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	v := *a.v
	v.last = maps.Clone(v.last)
	if v.last == nil {
		v.last = map[backend.UUID]string{}
	}
	delete(v.last, e.UUID)
	if e.What == "stopped" {
		v.last[e.UUID] = e.Detail
	}
	a.v = &v
}

// read polls the host, with what it has when full, and hands out the view.
func (a *agent) read(ctx context.Context, full bool) error {
	ctx, cancel := context.WithTimeout(ctx, pollDeadline)
	defer cancel()
	a.mu.Lock()
	a.begun++
	seq, old, cares := a.begun, a.v, a.cares
	a.mu.Unlock()
	// A domain that is off because its host was booted has not come to its end.
	// So which boot this is must be known before and after the domains are read.
	boot := old.has.Boot
	if !old.up() || !old.known {
		has, _, err := a.readCapacity(ctx)
		if err != nil {
			return err
		}
		boot = has.Boot
	}
	p, err := a.host.Poll(ctx)
	if err != nil {
		return err
	}
	v := &view{seq: seq, at: a.clock.Now(), vms: make(map[backend.UUID]*backend.VM, len(p.VMs)), has: old.has, known: old.known}
	for i := range p.VMs {
		v.vms[p.VMs[i].UUID] = &p.VMs[i]
	}
	if full || !old.up() || !old.known || missed(v, old, cares) {
		if v.has, v.known, err = a.readCapacity(ctx); err != nil {
			return err
		}
		if !sameBoot(boot, v.has.Boot) {
			return errBooted // the next session reads it anew
		}
	}
	a.publish(v)
	return nil
}

var errBooted = errors.New("the host was booted")

// bootPrefix marks a boot that is known by its time only, in Unix seconds.
const bootPrefix = "@"

// sameBoot reports whether both name one boot of a host, as far as is known. A
// host's idea of when it was booted wanders with its clock.
func sameBoot(a, b string) bool {
	if a == "" || b == "" || a == b {
		return true
	}
	x, timed := strings.CutPrefix(a, bootPrefix)
	y, both := strings.CutPrefix(b, bootPrefix)
	if !timed || !both {
		return false
	}
	at, err1 := strconv.ParseInt(x, 10, 64)
	bt, err2 := strconv.ParseInt(y, 10, 64)
	return err1 == nil && err2 == nil && max(at-bt, bt-at) <= 60
}

// missed reports whether a domain of a job is off that was not before, or was
// started in another boot of the host than is known.
func missed(v, old *view, cares map[backend.UUID]string) bool {
	for u, boot := range cares {
		vm, was := v.vms[u], old.vms[u]
		off := vm == nil || !vm.State.Active()
		if off && (was == nil || was.State.Active() || boot != old.has.Boot) {
			return true
		}
	}
	return false
}

// readCapacity is what the host has, as well as it can tell.
func (a *agent) readCapacity(ctx context.Context) (has backend.HostCapacity, known bool, err error) {
	if c, ok := a.host.(backend.Capacitor); ok {
		has, err := c.Capacity(ctx)
		if !errors.Is(err, backend.ErrUnsupported) {
			return has, err == nil, err
		}
	}
	s, err := a.host.Sample(ctx)
	if err != nil {
		return has, false, err
	}
	has = backend.HostCapacity{At: s.At, Total: backend.Resources{VCPU: s.CPUs, Memory: s.MemTotal}}
	if !s.BootTime.IsZero() {
		has.Boot = bootPrefix + strconv.FormatInt(s.BootTime.Unix(), 10)
	}
	return has, s.CPUs > 0, nil
}

// mostLast is how many ends are remembered of domains that come and go.
const mostLast = 1000

// lately is why domains stopped last. Of those that are gone and nobody asks
// for, which can be any number, nothing is kept in the long run.
func (a *agent) lately(v *view) map[backend.UUID]string {
	if len(a.v.last) <= mostLast {
		return a.v.last
	}
	last := maps.Clone(a.v.last)
	maps.DeleteFunc(last, func(u backend.UUID, _ string) bool { _, cared := a.cares[u]; return !cared && v.vms[u] == nil })
	return last
}

// publish hands out a view.
func (a *agent) publish(v *view) {
	a.mu.Lock()
	v.last = a.lately(v) // events may have come meanwhile
	again := a.want > v.seq
	a.v = v
	a.mu.Unlock()
	if again {
		select {
		case a.kick <- struct{}{}:
		default:
		}
	}
	a.changed()
}

// lose notes that the host cannot be asked.
func (a *agent) lose(err error) {
	a.mu.Lock()
	v := *a.v
	if v.down.IsZero() {
		v.down = a.clock.Now()
	}
	v.why = "it does not answer"
	// One that turns us away lives, and so do its guests.
	v.dead = !errors.Is(err, backend.ErrAuth) && !errors.Is(err, backend.ErrHostKey) && !errors.Is(err, backend.ErrURI)
	if err != nil {
		v.why = backend.Clean(err.Error())
	}
	a.v = &v
	a.mu.Unlock()
	a.changed()
}
