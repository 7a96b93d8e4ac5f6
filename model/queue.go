package model

import (
	"context"
	"errors"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// queuePace is how the queue is followed: that an engine is gone changes
// nothing in the store, and is found out by asking all the same.
var queuePace = followPace{wait: 2 * time.Second, hiddenWait: 15 * time.Second}

// errNoQueue is why there is no queue when nobody said more.
var errNoQueue = errors.New("the queue is not available in this session")

// Queue is the screen of VMs that wait for a berth: what runs, what waits in
// the order in which it would start, what ended lately. Selection, marks and
// scroll belong to jobs, never to rows. It is written only in Update.
type Queue struct {
	follower[backend.QueueState]
	q backend.Queue // nil: there is none

	list     queueList
	Gantt    Gantt
	AsGantt  bool
	revived  time.Time                // when a lost engine was last started again
	pending  map[backend.JobID]string // what is being asked of a job
	requests int                      // that are under way
}

type (
	queueMsg  = followMsg[backend.QueueState]
	queueTick = followTick[backend.QueueState]
)

// NewQueue makes the screen over q. Without one, none says why.
func NewQueue(ctx context.Context, clock Clock, q backend.Queue, none error) *Queue {
	if q == nil && none == nil {
		none = errNoQueue
	}
	s := &Queue{q: q, pending: map[backend.JobID]string{}}
	s.follower = follower[backend.QueueState]{ctx: ctx, clock: clock, none: none, pace: queuePace,
		number: func(st *backend.QueueState) int64 { return st.Revision }}
	if q != nil {
		s.source = q
	}
	s.list.init()
	s.Gantt.init()
	s.Gantt.match = func(j *backend.Job) bool { return s.list.filter.Match(j) }
	return s
}

// replace goes on with another queue, and forgets all of the one before.
func (s *Queue) replace(q backend.Queue) tea.Cmd {
	fresh := NewQueue(s.ctx, s.clock, q, nil)
	fresh.succeed(&s.follower)
	*s = *fresh
	s.Gantt.match = func(j *backend.Job) bool { return s.list.filter.Match(j) }
	return s.Init()
}

// Show tells whether the screen, or one made from the same answers, is looked
// at.
func (s *Queue) Show(on bool) tea.Cmd {
	if s.show(on) && on {
		return s.AskNow()
	}
	return nil
}

// Update takes the screen's own messages; changed tells whether what is shown
// did.
func (s *Queue) Update(msg tea.Msg) (changed bool, cmd tea.Cmd) {
	switch m := msg.(type) {
	case queueTick:
		return false, s.ticked(m)
	case queueMsg:
		return s.answered(m, s.same, s.take)
	}
	return false, nil
}

// same reports whether a state tells nothing that is not shown already.
func (s *Queue) same(st *backend.QueueState) bool {
	was, is := s.State.Engine, st.Engine
	was.Beat, is.Beat = time.Time{}, time.Time{}
	return s.HasData && st.Revision == s.State.Revision && was == is
}

// take makes a state the one that is shown, unless it is older than that.
func (s *Queue) take(st backend.QueueState) bool {
	if !s.accept(st) {
		return false
	}
	s.list.take(&s.State, s.clock.Now())
	s.Gantt.take(&s.State)
	return true
}

// Job returns the job of that number as it was last seen, or nil.
func (s *Queue) Job(id backend.JobID) *backend.Job {
	if i, ok := s.list.byID[id]; ok {
		return &s.State.Jobs[i]
	}
	return nil
}

// Pending is what is being asked of a job, as "cancelling", or "".
func (s *Queue) Pending(id backend.JobID) string { return s.pending[id] }

// Requests is how many requests are under way.
func (s *Queue) Requests() int { return s.requests }

// HostByName returns the queue's view of a host, or nil.
func (s *Queue) HostByName(name string) *backend.QueueHost {
	for i := range s.State.Hosts {
		if s.State.Hosts[i].Name == name {
			return &s.State.Hosts[i]
		}
	}
	return nil
}

// Active returns the job that a VM has in the queue and that has not ended,
// or nil.
func (s *Queue) Active(k backend.Key) *backend.Job {
	for _, i := range s.list.byVM[k.UUID] {
		j := &s.State.Jobs[i]
		if !j.State.Ended() && (j.Home == k.Host || j.RunsOn == k.Host) {
			return j
		}
	}
	return nil
}
