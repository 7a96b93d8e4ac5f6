package model

import (
	"context"
	"errors"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// backupsPace is how backups are followed: sooner than the queue while somebody
// looks, for the figures of what runs may change alone.
var backupsPace = followPace{wait: time.Second, hiddenWait: 15 * time.Second}

// errNoBackups is why there are no backups when nobody said more.
var errNoBackups = errors.New("backups are not available in this session")

// Backups are the screens of backups: what is being transferred, the catalogue
// of what there is to restore from, and the schedules. It is written only in
// Update.
type Backups struct {
	follower[backend.BackupsState]
	fleet *Fleet
	b     backend.Backups // nil: there are none

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
}

type (
	backupsMsg  = followMsg[backend.BackupsState]
	backupsTick = followTick[backend.BackupsState]
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
	s := &Backups{fleet: fleet, b: b, fresh: fresh, pending: map[backend.TransferID]string{}}
	s.follower = follower[backend.BackupsState]{ctx: ctx, clock: clock, none: none, pace: backupsPace,
		number: func(st *backend.BackupsState) int64 { return st.Revision }}
	if b != nil {
		s.source = b
	}
	s.Catalogue.init()
	s.jobs.init()
	return s
}

// replace goes on with other backups, and forgets all of those before.
func (s *Backups) replace(b backend.Backups) tea.Cmd {
	fresh := NewBackups(s.ctx, s.clock, s.fleet, b, nil, s.fresh)
	fresh.succeed(&s.follower)
	fresh.jobs.gen, fresh.left.gen = s.jobs.gen+1, s.left.gen+1
	*s = *fresh
	return s.Init()
}

// Show tells whether one of the screens is looked at: then changes are shown
// at once, and hosts are asked for the jobs of others.
func (s *Backups) Show(on bool) tea.Cmd {
	if s.show(on) && on {
		return tea.Batch(s.askJobs(), s.askLeftovers(), s.AskNow())
	}
	return nil
}

// Update takes the screens' own messages; changed tells whether what is shown
// did.
func (s *Backups) Update(msg tea.Msg) (changed bool, cmd tea.Cmd) {
	switch m := msg.(type) {
	case backupsTick:
		return false, s.ticked(m)
	case backupsMsg:
		return s.answered(m, s.same, s.take)
	case hostJobsMsg, hostJobsTick:
		return s.onHostJobs(m)
	case leftoversMsg, leftoversTick:
		return s.onLeftovers(m)
	}
	return false, nil
}

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
	first := !s.HasData
	if !s.accept(st) {
		return false
	}
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
