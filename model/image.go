package model

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// How hosts are asked for their pools and images while those are shown. To
// look at many images takes a host a while.
const (
	storageDeadline = 30 * time.Second
	storageEvery    = 10 * time.Second
	storageIdle     = 20 * time.Second // after a failure
)

// ImageKey names an image in the fleet.
type ImageKey struct{ Host, Path string }

// PoolKey names a storage pool in the fleet.
type PoolKey struct{ Host, Name string }

// Images are the screens of disk images and storage pools. They ask only while
// they are shown. Written only in Update.
type Images struct {
	ctx   context.Context
	clock Clock
	fleet *Fleet

	byHost map[string]*hostStorage
	list   imageList
	Pools  PoolList

	pending  map[ImageKey]string
	poolBusy map[PoolKey]string
	requests int
	gen      int
	shown    bool
}

// hostStorage is what one host last told.
type hostStorage struct {
	pools  []backend.Pool
	images []backend.Image
	err    error // why the last question failed
	at     time.Time
	asking bool
	again  bool // something was changed while it was asked
	known  bool
	none   bool // it cannot tell at all
}

type (
	storageMsg struct {
		gen    int
		host   string
		pools  []backend.Pool
		images []backend.Image
		err    error
	}
	storageTick struct {
		gen  int
		host string
	}
)

// NewImages makes the screens over fleet's hosts.
func NewImages(ctx context.Context, clock Clock, fleet *Fleet) *Images {
	s := &Images{ctx: ctx, clock: clock, fleet: fleet, byHost: map[string]*hostStorage{}, pending: map[ImageKey]string{}, poolBusy: map[PoolKey]string{}}
	s.list.SortBy = "name"
	return s
}

// isImageScreen reports whether a screen is made of what Images knows.
func isImageScreen(s ScreenID) bool { return s == ScreenImages || s == ScreenPools }

// Show tells whether one of the screens is looked at.
func (s *Images) Show(on bool) tea.Cmd {
	if on == s.shown {
		return nil
	}
	s.shown = on
	if on {
		return s.AskNow()
	}
	return nil
}

// AskNow asks every host.
func (s *Images) AskNow() tea.Cmd {
	s.gen++
	var cmds []tea.Cmd
	for _, h := range s.fleet.hosts {
		if of := s.byHost[h.Host.Name()]; of != nil {
			of.asking = false // what was asked before is dropped
		}
		cmds = append(cmds, s.ask(h))
	}
	s.rebuild()
	return tea.Batch(cmds...)
}

// ask asks one host, one question at a time.
func (s *Images) ask(h *HostState) tea.Cmd {
	name := h.Host.Name()
	of := s.byHost[name]
	if of == nil {
		of = &hostStorage{}
		s.byHost[name] = of
	}
	store, ok := h.Host.(backend.Storage)
	switch {
	case !ok:
		of.none = true
		return nil
	case h.Err != nil:
		of.err = fmt.Errorf("%s does not answer: %w", name, h.Err)
		return s.clock.After(storageIdle, storageTick{s.gen, name})
	case of.asking:
		of.again = true
		return nil
	}
	of.asking = true
	gen, parent := s.gen, s.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, storageDeadline)
		defer cancel()
		m := storageMsg{gen: gen, host: name}
		if m.pools, m.err = store.Pools(ctx); m.err == nil {
			m.images, m.err = store.Images(ctx)
		}
		return m
	}
}

// Update takes the screens' own messages.
func (s *Images) Update(msg tea.Msg) tea.Cmd {
	switch m := msg.(type) {
	case storageTick:
		h := s.fleet.HostState(m.host)
		if m.gen == s.gen && s.shown && h != nil {
			return s.ask(h)
		}
	case storageMsg:
		of := s.byHost[m.host]
		if m.gen != s.gen || of == nil {
			return nil
		}
		of.asking = false
		if errors.Is(m.err, context.Canceled) {
			return nil
		}
		if m.pools != nil || m.err == nil {
			of.pools = m.pools
		}
		of.err = m.err
		if m.err == nil {
			of.images, of.at, of.known = m.images, s.clock.Now(), true
		}
		s.rebuild()
		return s.goOn(of, m.host)
	}
	return nil
}

// goOn arms the next question to a host.
func (s *Images) goOn(of *hostStorage, host string) tea.Cmd {
	if of.again {
		of.again = false
		if h := s.fleet.HostState(host); h != nil {
			return s.ask(h)
		}
	}
	if !s.shown {
		return nil
	}
	wait := storageEvery
	if of.err != nil {
		wait = storageIdle
	}
	return s.clock.After(wait, storageTick{s.gen, host})
}

// Asking is how many hosts have not answered yet for the first time.
func (s *Images) Asking() (n int) {
	for _, of := range s.byHost {
		if of.asking && !of.known {
			n++
		}
	}
	return n
}

// Able is how many of the hosts can tell of their storage.
func (s *Images) Able() (n int) {
	for _, of := range s.byHost {
		if !of.none {
			n++
		}
	}
	return n
}

// Troubles are the hosts whose last answer was an error, by name.
func (s *Images) Troubles() map[string]error {
	out := map[string]error{}
	for name, of := range s.byHost {
		if of.err != nil {
			out[name] = of.err
		}
	}
	return out
}

// Requests is how many requests are under way.
func (s *Images) Requests() int { return s.requests }

// Pending is what is being done to an image, as "deleting", or "".
func (s *Images) Pending(k ImageKey) string { return s.pending[k] }

// PoolPending is the same of a pool.
func (s *Images) PoolPending(k PoolKey) string { return s.poolBusy[k] }

// rebuild works out anew what the screens list.
func (s *Images) rebuild() {
	s.rebuildImages()
	s.rebuildPools()
}

// storageRequest is one thing that a host's storage is asked for.
type storageRequest struct {
	host  string
	image ImageKey // whose row shows it pending; may be zero
	pool  PoolKey
	doing string
	done  string
	audit auditLine
	do    func(context.Context, backend.Storage) error
	back  *storageRequest // what takes it back; nil: nothing does
}

// askStorage begins a request.
func (a *App) askStorage(r *storageRequest) tea.Cmd {
	s := a.Images
	h := a.Fleet.HostState(r.host)
	if h == nil {
		return a.Warn(r.host + " is not connected any more")
	}
	store, ok := h.Host.(backend.Storage)
	switch {
	case !ok:
		return a.Warn(r.host + ": its storage cannot be managed from here")
	case h.Host.ReadOnly():
		return a.Warn(errReadOnly.Error())
	}
	if r.image.Path != "" {
		s.pending[r.image] = r.doing
	}
	if r.pool.Name != "" {
		s.poolBusy[r.pool] = r.doing
	}
	s.requests++
	record := a.recorder(r.audit.key, r.audit.name, r.audit.verb, r.audit.detail)
	parent := s.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, storageDeadline*2)
		defer cancel()
		err := r.do(ctx, store)
		auditErr := record(err)
		return result(func(a *App) tea.Cmd { return a.storageDone(r, err, auditErr) })
	}
}

func (a *App) storageDone(r *storageRequest, err, auditErr error) tea.Cmd {
	s := a.Images
	s.requests--
	delete(s.pending, r.image)
	delete(s.poolBusy, r.pool)
	cmds := []tea.Cmd{a.auditFailed(auditErr)}
	if h := a.Fleet.HostState(r.host); h != nil && s.shown {
		cmds = append(cmds, s.ask(h))
	}
	if err != nil {
		return tea.Batch(append(cmds, a.Bad(backend.Clean(err.Error())))...)
	}
	a.Events.Add(LogEntry{At: a.clock.Now(), Host: r.host, Level: LevelOK, Kind: "storage", Text: r.done})
	a.undo = nil
	if back := r.back; back != nil {
		a.undo = &undoStep{Label: "undoes it", Run: func(a *App) tea.Cmd { return a.askStorage(back) }}
	}
	return tea.Batch(append(cmds, a.OK(a.undoable(r.done)))...)
}
