package model

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// How long one call to a host may take, and how polls are paced.
const (
	pollDeadline    = 15 * time.Second // the first poll also dials, perhaps over ssh
	figuresDeadline = 4 * time.Second
	sampleDeadline  = 4 * time.Second
	eventJoin       = 40 * time.Millisecond // events that arrive within it cause one early poll
	maxBackoff      = 5 * time.Second
	flashFor        = 1500 * time.Millisecond
)

// Fleet polls every host and holds the rows of all their VMs. Each host has
// its own polls, failures and waits: one that fails never holds back another.
// All state is written in Update; commands get copies.
type Fleet struct {
	ctx     context.Context
	clock   Clock
	refresh time.Duration
	hosts   []*HostState
	byName  map[string]*HostState
	rows    map[backend.Key]*Row
	wanted  map[string][]backend.UUID // by host: whose dear figures the screen wants
	history map[backend.Key]*History
	counts  map[string]Counts // by host; "" is all
}

// HostState is what the fleet knows of one host.
type HostState struct {
	Host backend.Host

	Connected bool
	PolledAt  time.Time // of the last poll that succeeded
	Err       error     // why the last poll failed; nil when it did not
	DownSince time.Time
	Sample    backend.HostSample
	Prev      backend.HostSample // the sample before, for CPU rates
	SampleErr error
	PollTook  time.Duration

	polling, figuring, sampling bool
	again                       bool // an event came while a poll was under way
	early                       bool // an early poll is armed
	watching                    bool
	failures                    int
	gen                         int // of the armed poll tick; older ticks are void
}

// Messages of the fleet. Each is addressed to a host by name.
type (
	pollMsg struct {
		host string
		poll backend.Poll
		err  error
		took time.Duration
	}
	figuresMsg struct {
		host    string
		figures []backend.Figures
		err     error
	}
	sampleMsg struct {
		host   string
		sample backend.HostSample
		err    error
	}
	watchMsg struct {
		host string
		ch   <-chan backend.Event
		err  error
	}
	eventsMsg struct {
		host   string
		ch     <-chan backend.Event
		events []backend.Event
		closed bool
	}
	pollTick struct {
		host  string
		gen   int
		early bool
	}
)

// NewFleet polls hosts every refresh, for as long as ctx lives.
func NewFleet(ctx context.Context, clock Clock, hosts []backend.Host, refresh time.Duration) *Fleet {
	f := &Fleet{
		ctx: ctx, clock: clock, refresh: refresh,
		byName:  map[string]*HostState{},
		rows:    map[backend.Key]*Row{},
		wanted:  map[string][]backend.UUID{},
		history: map[backend.Key]*History{},
	}
	for _, h := range hosts {
		f.add(h)
	}
	return f
}

func (f *Fleet) add(h backend.Host) *HostState {
	s := &HostState{Host: h}
	f.hosts = append(f.hosts, s)
	f.byName[h.Name()] = s
	return s
}

// Add joins one more host to the fleet and begins to poll it.
func (f *Fleet) Add(h backend.Host) tea.Cmd { return f.start(f.add(h)) }

// Init begins to poll, sample and watch every host.
func (f *Fleet) Init() tea.Cmd {
	var cmds []tea.Cmd
	for _, s := range f.hosts {
		cmds = append(cmds, f.start(s))
	}
	return tea.Batch(cmds...)
}

// start polls first: the list is what a person waits for. The sample and the
// subscription follow the first answer.
func (f *Fleet) start(s *HostState) tea.Cmd { return f.poll(s) }

// Hosts returns the hosts in the order they were given.
func (f *Fleet) Hosts() []*HostState { return f.hosts }

// HostState returns the host of that name, or nil.
func (f *Fleet) HostState(name string) *HostState { return f.byName[name] }

// Row returns the VM's row, or nil when no host has it any more.
func (f *Fleet) Row(k backend.Key) *Row { return f.rows[k] }

// Len is the number of VMs.
func (f *Fleet) Len() int { return len(f.rows) }

// Refresh is the time between two polls of a host.
func (f *Fleet) Refresh() time.Duration { return f.refresh }

// SetRefresh changes the pace, from the next tick on.
func (f *Fleet) SetRefresh(d time.Duration) { f.refresh = max(d, 200*time.Millisecond) }

// Want says whose dear figures are wanted: the VMs on screen first, then, when
// the list is ordered or filtered by such a figure, the others.
func (f *Fleet) Want(keys []backend.Key) {
	clear(f.wanted)
	for _, k := range keys {
		f.wanted[k.Host] = append(f.wanted[k.Host], k.UUID)
	}
}

// PollNow polls every host at once, as after a person's request.
func (f *Fleet) PollNow() tea.Cmd {
	var cmds []tea.Cmd
	for _, s := range f.hosts {
		cmds = append(cmds, f.pollSoon(s, 0))
	}
	return tea.Batch(cmds...)
}

// PollHost polls one host soon.
func (f *Fleet) PollHost(name string) tea.Cmd {
	if s := f.byName[name]; s != nil {
		return f.pollSoon(s, eventJoin)
	}
	return nil
}

// Change says what an Update changed, so that only what depends on it is
// worked out anew.
type Change struct {
	Rows   bool            // VMs came, went or changed in any way
	Hosts  bool            // a host's sample, state or error changed
	Events []backend.Event // what hosts told, oldest first
}

// Update takes the fleet's own messages; others change nothing.
func (f *Fleet) Update(msg tea.Msg) (Change, tea.Cmd) {
	switch m := msg.(type) {
	case pollTick:
		return Change{}, f.onTick(m)
	case pollMsg:
		return f.onPoll(m)
	case figuresMsg:
		return f.onFigures(m)
	case sampleMsg:
		return f.onSample(m), nil
	case watchMsg:
		return f.onWatch(m)
	case eventsMsg:
		return f.onEvents(m)
	}
	return Change{}, nil
}

func (f *Fleet) onTick(m pollTick) tea.Cmd {
	s := f.byName[m.host]
	if s == nil || (!m.early && m.gen != s.gen) {
		return nil
	}
	if m.early {
		s.early = false
	}
	if s.polling {
		s.again = true
		return nil
	}
	return f.poll(s)
}

// pollSoon arms one early poll; several requests within the wait share it.
func (f *Fleet) pollSoon(s *HostState, wait time.Duration) tea.Cmd {
	if s.early {
		return nil
	}
	if s.polling {
		s.again = true
		return nil
	}
	s.early = true
	m := pollTick{host: s.Host.Name(), early: true}
	if wait == 0 {
		return func() tea.Msg { return m }
	}
	return f.clock.After(wait, m)
}

func (f *Fleet) poll(s *HostState) tea.Cmd {
	s.polling = true
	host, parent, now := s.Host, f.ctx, f.clock.Now
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, pollDeadline)
		defer cancel()
		start := now()
		p, err := host.Poll(ctx)
		return pollMsg{host: host.Name(), poll: p, err: err, took: now().Sub(start)}
	}
}

func (f *Fleet) onPoll(m pollMsg) (Change, tea.Cmd) {
	s := f.byName[m.host]
	if s == nil {
		return Change{}, nil
	}
	s.polling = false
	s.PollTook = m.took
	if m.err != nil {
		return f.onPollFailed(s, m.err)
	}
	first := s.PolledAt.IsZero()
	var events []backend.Event
	if s.Err != nil {
		events = append(events, f.connectionEvent(s, "answers again", "after "+Duration(f.clock.Now().Sub(s.DownSince))))
	}
	s.failures, s.Err, s.Connected, s.DownSince = 0, nil, true, time.Time{}
	s.PolledAt = m.poll.At
	f.merge(s, m.poll)
	f.recount()
	cmds := []tea.Cmd{f.arm(s, first), f.sample(s), f.figures(s)}
	if !s.watching {
		cmds = append(cmds, f.watch(s))
	}
	return Change{Rows: true, Hosts: true, Events: events}, tea.Batch(cmds...)
}

// arm waits for the next poll. The first poll told only names and states, so
// the second, which tells the rest, follows at once; so does one after events.
func (f *Fleet) arm(s *HostState, first bool) tea.Cmd {
	s.gen++
	wait := f.refresh
	if first {
		wait = 30 * time.Millisecond
	} else if s.again {
		wait = eventJoin
	}
	s.again = false
	return f.tick(s, wait)
}

func (f *Fleet) tick(s *HostState, wait time.Duration) tea.Cmd {
	return f.clock.After(wait, pollTick{host: s.Host.Name(), gen: s.gen})
}

func (f *Fleet) onPollFailed(s *HostState, err error) (Change, tea.Cmd) {
	if f.ctx.Err() != nil {
		return Change{}, nil // berth is ending
	}
	s.failures++
	var events []backend.Event
	if s.Err == nil {
		s.DownSince = f.clock.Now()
		events = append(events, f.connectionEvent(s, "does not answer", err.Error()))
	}
	s.Err, s.again = err, false
	s.Connected = false
	for k, r := range f.rows {
		if k.Host == s.Host.Name() {
			r.HostDown = true
		}
	}
	s.gen++
	return Change{Rows: true, Hosts: true, Events: events}, f.tick(s, backoff(s.failures, err))
}

// connectionEvent is an event of berth's own: what it sees of a host's connection.
func (f *Fleet) connectionEvent(s *HostState, what, detail string) backend.Event {
	return backend.Event{At: f.clock.Now(), Host: s.Host.Name(), Kind: backend.EventConnection, What: what, Detail: detail}
}

// backoff grows from a quarter of a second to maxBackoff, with jitter so that
// many consoles do not return to one host in step. What will not heal without
// a person is tried less often.
func backoff(failures int, err error) time.Duration {
	d := min(250*time.Millisecond<<min(failures-1, 8), maxBackoff)
	if errors.Is(err, backend.ErrAuth) || errors.Is(err, backend.ErrHostKey) || errors.Is(err, backend.ErrURI) {
		d = 30 * time.Second
	}
	return d*3/4 + rand.N(d/2+1)
}

// unreached reports whether every host has been tried and none has ever
// answered.
func (f *Fleet) unreached() bool {
	for _, s := range f.hosts {
		if !s.PolledAt.IsZero() || s.Err == nil {
			return false
		}
	}
	return len(f.hosts) > 0
}

func (f *Fleet) anyConnected() bool {
	for _, s := range f.hosts {
		if s.Connected {
			return true
		}
	}
	return false
}

// Stale reports whether the row's figures are older than they should be, and
// since when.
func (f *Fleet) Stale(r *Row) (since time.Time, stale bool) {
	if r.HostDown {
		return r.PolledAt, true
	}
	if !r.StuckSince.IsZero() {
		return r.StuckSince, true
	}
	if f.clock.Now().Sub(r.PolledAt) > 3*f.refresh+time.Second {
		return r.PolledAt, true
	}
	return time.Time{}, false
}
