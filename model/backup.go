package model

import (
	"context"
	"errors"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// How backups are followed: as the queue is, and sooner while bytes move.
const (
	backupsDeadline   = 10 * time.Second // for one answer
	backupsWait       = 1 * time.Second  // for a change, before the state is asked for anyway: figures of what runs may change alone
	backupsHiddenWait = 15 * time.Second // the same while another screen is shown
	backupsPace       = 250 * time.Millisecond
	backupsHiddenPace = 3 * time.Second
	backupsStaleAfter = 45 * time.Second
)

// errNoBackups is why there are no backups when nobody said more.
var errNoBackups = errors.New("backups are not available in this session")

// Backups are the screens of backups: what is being transferred, the catalogue
// of what there is to restore from, and the schedules. It is written only in
// Update.
type Backups struct {
	ctx   context.Context
	clock Clock
	fleet *Fleet
	b     backend.Backups // nil: there are none
	none  error           // why

	State   backend.BackupsState
	HasData bool
	Err     error     // why the last question failed
	Since   time.Time // of Err
	At      time.Time // of the last answer

	list      transferList
	Catalogue Catalogue
	Points    PointsPage
	Schedules ScheduleList
	active    map[backend.UUID]*backend.Transfer // that each VM is under
	jobs      hostJobs
	left      leftovers

	// NotFresh is how many of the fleet's VMs stand out for want of a backup.
	NotFresh int
	judged   time.Time // when it was last worked out how fresh backups are
	known    int       // VMs of the fleet then

	fresh    time.Duration // after which a VM without a newer point stands out, where no schedule says
	pending  map[backend.TransferID]string
	requests int // that are under way

	gen      int // answers to older questions are dropped
	shown    bool
	asking   bool
	failures int
	cancel   context.CancelFunc
}

type (
	// backupsMsg is the answer to one question for the state.
	backupsMsg struct {
		gen   int
		state backend.BackupsState
		err   error
	}
	backupsTick struct{ gen int }
)

// DefaultFresh is after which time a VM without a newer backup stands out,
// where neither its schedule nor the config says; it is the config's own
// default.
const DefaultFresh = 26 * time.Hour

// NewBackups makes the screens over b. Without it, none says why.
func NewBackups(ctx context.Context, clock Clock, fleet *Fleet, b backend.Backups, none error, fresh time.Duration) *Backups {
	if b == nil && none == nil {
		none = errNoBackups
	}
	if fresh <= 0 {
		fresh = DefaultFresh
	}
	s := &Backups{ctx: ctx, clock: clock, fleet: fleet, b: b, none: none, fresh: fresh,
		pending: map[backend.TransferID]string{}}
	s.Catalogue.init()
	s.jobs.init()
	return s
}

// replace goes on with other backups, and forgets all of those before.
func (s *Backups) replace(b backend.Backups) tea.Cmd {
	if s.cancel != nil {
		s.cancel()
	}
	fresh := NewBackups(s.ctx, s.clock, s.fleet, b, nil, s.fresh)
	fresh.gen, fresh.shown, fresh.jobs.gen, fresh.left.gen = s.gen+1, s.shown, s.jobs.gen+1, s.left.gen+1
	*s = *fresh
	return s.Init()
}

// Missing says why there are no backups, or nil when there are.
func (s *Backups) Missing() error {
	if s.b == nil {
		return s.none
	}
	return nil
}

// Init asks for the first state.
func (s *Backups) Init() tea.Cmd {
	if s.b == nil {
		return nil
	}
	return s.AskNow()
}

// Show tells whether one of the screens is looked at: then changes are shown
// at once, and hosts are asked for the jobs of others.
func (s *Backups) Show(on bool) tea.Cmd {
	if on == s.shown {
		return nil
	}
	s.shown = on
	var cmds []tea.Cmd
	if on {
		cmds = append(cmds, s.askJobs(), s.askLeftovers())
		if s.b != nil {
			cmds = append(cmds, s.AskNow())
		}
	}
	return tea.Batch(cmds...)
}

// Stale reports whether the state is older than it should be, and since when
// nothing was heard.
func (s *Backups) Stale() (time.Time, bool) {
	return s.At, s.Err != nil || (s.HasData && s.clock.Now().Sub(s.At) > backupsStaleAfter)
}

// AskNow asks for the state at once and gives up on what was asked before.
func (s *Backups) AskNow() tea.Cmd {
	if s.b == nil {
		return nil
	}
	if s.cancel != nil {
		s.cancel()
	}
	s.gen++
	return s.ask(false)
}

// ask begins the one question that is under way: the state, after a change
// where wait is set.
func (s *Backups) ask(wait bool) tea.Cmd {
	ctx, cancel := context.WithCancel(s.ctx)
	s.cancel, s.asking = cancel, true
	b, gen, revision, patience := s.b, s.gen, s.State.Revision, backupsHiddenWait
	if s.shown {
		patience = backupsWait
	}
	return func() tea.Msg {
		defer cancel()
		if wait {
			if err := awaitChange(ctx, b, revision, patience); err != nil {
				return backupsMsg{gen: gen, err: err}
			}
		}
		ctx, cancel := context.WithTimeout(ctx, backupsDeadline)
		defer cancel()
		st, err := b.State(ctx)
		return backupsMsg{gen: gen, state: st, err: err}
	}
}

// Update takes the screens' own messages; changed tells whether what is shown
// did.
func (s *Backups) Update(msg tea.Msg) (changed bool, cmd tea.Cmd) {
	switch m := msg.(type) {
	case backupsTick:
		if m.gen == s.gen && !s.asking {
			return false, s.ask(s.Err == nil && s.HasData)
		}
	case backupsMsg:
		if m.gen != s.gen {
			return false, nil
		}
		s.asking, s.cancel = false, nil
		return s.answered(m)
	case hostJobsMsg, hostJobsTick:
		return s.onHostJobs(m)
	case leftoversMsg, leftoversTick:
		return s.onLeftovers(m)
	}
	return false, nil
}

func (s *Backups) answered(m backupsMsg) (changed bool, cmd tea.Cmd) {
	switch {
	case s.ctx.Err() != nil: // berth is ending
		return false, nil
	case m.err != nil:
		if s.Err == nil {
			s.Since = s.clock.Now()
		}
		s.Err = m.err
		s.failures++
		return true, s.arm(queueBackoff(s.failures))
	}
	s.failures, s.Err, s.At = 0, nil, s.clock.Now()
	if !s.same(&m.state) {
		changed = s.take(m.state)
	}
	pace := backupsPace
	if !s.shown {
		pace = backupsHiddenPace
	}
	return changed, s.arm(pace)
}

func (s *Backups) arm(wait time.Duration) tea.Cmd { return s.clock.After(wait, backupsTick{s.gen}) }

// same reports whether a state tells nothing that is not shown already.
func (s *Backups) same(st *backend.BackupsState) bool {
	was, is := s.State.Engine, st.Engine
	was.Beat, is.Beat = time.Time{}, time.Time{}
	return s.HasData && st.Revision == s.State.Revision && was == is && lastProgress(s.State.Transfers).Equal(lastProgress(st.Transfers))
}

// lastProgress is when any of the transfers last told how far it is.
func lastProgress(ts []backend.Transfer) time.Time {
	var at time.Time
	for i := range ts {
		at = later(ts[i].Progress.At, at)
	}
	return at
}

// take makes a state the one that is shown, unless it is older than that.
func (s *Backups) take(st backend.BackupsState) bool {
	if s.HasData && st.Revision < s.State.Revision {
		return false
	}
	first := !s.HasData
	s.State, s.HasData = st, true
	s.index()
	s.list.note(st.Transfers, first, s.clock.Now())
	s.rebuild()
	return true
}

// rebuild works out anew what the screens list.
func (s *Backups) rebuild() {
	s.rebuildTransfers()
	s.rebuildCatalogue()
	s.rebuildPoints()
	s.rebuildSchedules()
}

// Pending is what is being asked of a transfer, as "pausing", or "".
func (s *Backups) Pending(id backend.TransferID) string { return s.pending[id] }

// Requests is how many requests are under way.
func (s *Backups) Requests() int { return s.requests }

// Transfer returns the transfer of that number as it was last seen, or nil.
func (s *Backups) Transfer(id backend.TransferID) *backend.Transfer {
	for i := range s.State.Transfers {
		if s.State.Transfers[i].ID == id {
			return &s.State.Transfers[i]
		}
	}
	return nil
}

// Active returns the transfer that a VM is under, or nil.
func (s *Backups) Active(id backend.UUID) *backend.Transfer { return s.active[id] }

// index finds the transfer that each VM is under; of several the one that is
// told first.
func (s *Backups) index() {
	s.active = map[backend.UUID]*backend.Transfer{}
	for i := range s.State.Transfers {
		t := &s.State.Transfers[i]
		if id := t.Spec.VM.UUID; !t.State.Ended() && !id.IsZero() && s.active[id] == nil {
			s.active[id] = t
		}
	}
}

// Point returns the point of that ID as it was last seen, or nil.
func (s *Backups) Point(k PointKey) *backend.Point {
	for i := range s.State.Points {
		if p := &s.State.Points[i]; p.ID == k.ID && p.Repo == k.Repo {
			return p
		}
	}
	return nil
}

// Repo returns what is known of a repository, or nil.
func (s *Backups) Repo(url string) *backend.RepoState {
	for i := range s.State.Repos {
		if s.State.Repos[i].Ref.URL == url {
			return &s.State.Repos[i]
		}
	}
	return nil
}

// InUse reports whether anybody makes backups here: a VM without one stands
// out only then.
func (s *Backups) InUse() bool {
	return s.HasData && len(s.State.Repos)+len(s.State.Points)+len(s.State.Schedules) > 0
}
