package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"berth/backend"
)

// manual is a clock that stands until it is moved.
type manual struct {
	mu  sync.Mutex
	now time.Time
}

func (c *manual) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *manual) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *manual) Timer(time.Duration) (<-chan time.Time, func() bool) {
	return nil, func() bool { return true }
}

// guest is a domain of a fake host.
type guest struct {
	vm      backend.VM
	boots   int       // how often its guest was booted and let run
	resumes int       // how often it went on from a saved state
	fresh   bool      // it was started, and has not been let run yet
	since   time.Time // when it was let run
	life    time.Duration
	deaf    bool  // does not heed a shutdown
	broken  error // what every start is answered with
	shares  backend.Shares
	disk    uint64
}

// fakeHost is a host for tests: what is asked happens at once, and what it
// should refuse is told beforehand.
type fakeHost struct {
	name  string
	clock *manual

	mu      sync.Mutex
	guests  map[backend.UUID]*guest
	down    bool
	before  func(backend.Verb) // is called before a verb is carried out
	door    error              // what it answers to everybody at its door
	boot    int
	has     backend.Resources
	refuse  map[backend.Verb][]error // the next answers; nil is a success
	late    map[backend.Verb]bool    // carry it out and then answer with an error
	tuned   []backend.Shares
	reach   error
	defines int
}

var (
	_ backend.Host      = (*fakeHost)(nil)
	_ backend.Definer   = (*fakeHost)(nil)
	_ backend.Tuner     = (*fakeHost)(nil)
	_ backend.Capacitor = (*fakeHost)(nil)
	_ backend.Reacher   = (*fakeHost)(nil)
)

func newFakeHost(name string, clock *manual) *fakeHost {
	return &fakeHost{name: name, clock: clock, guests: map[backend.UUID]*guest{}, boot: 1,
		has:    backend.Resources{VCPU: 8, Memory: 8 << 30, Disk: 100 << 30},
		refuse: map[backend.Verb][]error{}, late: map[backend.Verb]bool{}, reach: backend.ErrNoStorage}
}

// uuidFor makes a UUID of a name.
func uuidFor(name string) (u backend.UUID) {
	copy(u[:], name+"................")
	return u
}

// add defines a guest that shuts off by itself after life, if that is not 0.
func (h *fakeHost) add(name string, vcpus int, gib uint64, life time.Duration) *guest {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := &guest{life: life, shares: backend.Shares{CPU: 1024, IO: 100}, vm: backend.VM{
		Host: h.name, UUID: uuidFor(name), Name: name, ID: -1, State: backend.Shutoff, Persistent: true,
		FactsAt: h.clock.Now(), VCPUs: vcpus, MemoryMax: gib << 30,
	}}
	h.guests[g.vm.UUID] = g
	return g
}

// with changes a guest as somebody outside would.
func (h *fakeHost) with(name string, f func(g *guest)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.guests[uuidFor(name)]
	if g == nil {
		panic("no guest " + name + " on " + h.name)
	}
	f(g)
}

func (h *fakeHost) off(g *guest, reason string) {
	g.vm.State, g.vm.Reason, g.vm.ID = backend.Shutoff, reason, -1
}

// pass lets guests come to their ends.
func (h *fakeHost) pass() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.guests {
		if g.vm.State == backend.Running && g.life > 0 && h.clock.Now().Sub(g.since) >= g.life {
			h.off(g, "shutdown")
		}
	}
}

// power cuts the host's power, or boots it.
func (h *fakeHost) power(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = !on
	if on {
		return
	}
	h.boot++
	for _, g := range h.guests {
		if g.vm.State.Active() {
			h.off(g, "")
		}
	}
}

// cable pulls the host's network cable, or plugs it in.
func (h *fakeHost) cable(in bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = !in
}

func (h *fakeHost) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if h.door != nil {
		return h.door
	}
	if h.down {
		return fmt.Errorf("%w: no route to %s", backend.ErrUnreachable, h.name)
	}
	return nil
}

func (h *fakeHost) Name() string   { return h.name }
func (h *fakeHost) URI() string    { return "fake://" + h.name }
func (h *fakeHost) ReadOnly() bool { return false }
func (h *fakeHost) Close() error   { return nil }

func (h *fakeHost) Poll(ctx context.Context) (backend.Poll, error) {
	h.pass()
	h.mu.Lock()
	defer h.mu.Unlock()
	p := backend.Poll{At: h.clock.Now()}
	if err := h.enter(ctx); err != nil {
		return p, err
	}
	for _, g := range h.guests {
		p.VMs = append(p.VMs, g.vm)
	}
	return p, nil
}

func (h *fakeHost) Do(ctx context.Context, a backend.Action) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.enter(ctx); err != nil {
		return err
	}
	g := h.guests[a.UUID]
	if g == nil {
		return backend.ErrNoDomain
	}
	if h.before != nil {
		h.before(a.Verb)
	}
	var answer error
	if list := h.refuse[a.Verb]; len(list) > 0 {
		answer, h.refuse[a.Verb] = list[0], list[1:]
	}
	if answer != nil && !h.late[a.Verb] {
		return answer
	}
	if err := a.Verb.Check(&g.vm); err != nil {
		return err
	}
	if a.Verb == backend.VerbStartPaused && g.broken != nil {
		return g.broken
	}
	return errors.Join(h.obey(g, a.Verb), answer)
}

func (h *fakeHost) obey(g *guest, v backend.Verb) error {
	switch v {
	case backend.VerbStartPaused:
		g.vm.State, g.vm.Reason, g.vm.ID = backend.Paused, "user", 7
		g.fresh = true
	case backend.VerbResume:
		h.letRun(g)
	case backend.VerbShutdown:
		if !g.deaf {
			h.off(g, "shutdown")
		}
	case backend.VerbDestroy:
		h.off(g, "destroyed")
	case backend.VerbSave:
		h.off(g, "saved")
		g.vm.ManagedSave = true
	case backend.VerbUndefine:
		delete(h.guests, g.vm.UUID)
	default:
		return fmt.Errorf("%w: %s", backend.ErrUnsupported, v)
	}
	return nil
}

// letRun lets a paused guest run.
func (h *fakeHost) letRun(g *guest) {
	g.vm.State, g.vm.Reason = backend.Running, "unpaused"
	if g.fresh {
		g.since = h.clock.Now()
		if g.vm.ManagedSave {
			g.resumes++
		} else {
			g.boots++
		}
		g.vm.ManagedSave, g.fresh = false, false
	}
}

func (h *fakeHost) Watch(context.Context) (<-chan backend.Event, error) {
	return make(chan backend.Event), nil
}

func (h *fakeHost) Figures(context.Context, []backend.UUID) ([]backend.Figures, error) {
	return nil, backend.ErrUnsupported
}

func (h *fakeHost) Sample(context.Context) (backend.HostSample, error) {
	return backend.HostSample{}, backend.ErrUnsupported
}

func (h *fakeHost) Detail(_ context.Context, u backend.UUID) (backend.Detail, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.guests[u]
	if g == nil {
		return backend.Detail{}, backend.ErrNoDomain
	}
	return backend.Detail{VM: g.vm, Disks: []backend.DiskDetail{
		{Device: "disk", Capacity: g.disk, Allocation: 1 << 20}, {Device: "cdrom", Capacity: 1 << 40},
	}}, nil
}

func (h *fakeHost) Guest(context.Context, backend.UUID) (backend.Guest, error) {
	return backend.Guest{}, backend.ErrNoAgent
}

// XML of a fake guest is its name and size.
func (h *fakeHost) XML(ctx context.Context, u backend.UUID, _ bool) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	g := h.guests[u]
	if g == nil {
		return "", backend.ErrNoDomain
	}
	return fmt.Sprintf("%s %d %d %d", g.vm.Name, g.vm.VCPUs, g.vm.MemoryMax>>30, g.life), nil
}

func (h *fakeHost) Define(ctx context.Context, xml string) (backend.UUID, error) {
	var name string
	var vcpus int
	var gib uint64
	var life time.Duration
	if _, err := fmt.Sscan(xml, &name, &vcpus, &gib, (*int64)(&life)); err != nil {
		return backend.UUID{}, err
	}
	h.mu.Lock()
	err := h.enter(ctx)
	h.defines++
	h.mu.Unlock()
	if err != nil {
		return backend.UUID{}, err
	}
	return h.add(name, vcpus, gib, life).vm.UUID, nil
}

func (h *fakeHost) Shares(_ context.Context, u backend.UUID) (backend.Shares, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.guests[u].shares, nil
}

func (h *fakeHost) SetShares(_ context.Context, u backend.UUID, s backend.Shares) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.guests[u].shares = s
	h.tuned = append(h.tuned, s)
	return nil
}

func (h *fakeHost) Capacity(ctx context.Context) (backend.HostCapacity, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.enter(ctx); err != nil {
		return backend.HostCapacity{}, err
	}
	return backend.HostCapacity{At: h.clock.Now(), Total: h.has, Disk: h.has.Disk, Boot: fmt.Sprintf("boot %d of %s", h.boot, h.name)}, nil
}

func (h *fakeHost) Reach(context.Context, string) error { return h.reach }

// lines joins lines for comparison.
func lines(list []string) string { return strings.Join(list, "\n") }
