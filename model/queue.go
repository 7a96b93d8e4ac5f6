package model

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// How the queue is followed. A change is asked for once it has happened, and
// no sooner than a pace after the last answer, so that bursts are joined.
const (
	queueDeadline   = 10 * time.Second // for one answer
	queueWait       = 2 * time.Second  // for a change, before the state is asked for anyway: that an engine is gone changes nothing in the store
	queueHiddenWait = 15 * time.Second // the same while another screen is shown
	queuePace       = 250 * time.Millisecond
	queueHiddenPace = 3 * time.Second // while another screen is shown
	queueStaleAfter = 45 * time.Second
)

// errNoQueue is why there is no queue when nobody said more.
var errNoQueue = errors.New("the queue is not available in this session")

// Queue is the screen of VMs that wait for a berth: what runs, what waits in
// the order in which it would start, what ended lately. Selection, marks and
// scroll belong to jobs, never to rows. It is written only in Update.
type Queue struct {
	ctx   context.Context
	clock Clock
	q     backend.Queue // nil: there is none
	none  error         // why

	State   backend.QueueState
	HasData bool
	Err     error     // why the last question failed
	Since   time.Time // of Err
	At      time.Time // of the last answer

	list     queueList
	Gantt    Gantt
	AsGantt  bool
	revived  time.Time                // when a lost engine was last started again
	pending  map[backend.JobID]string // what is being asked of a job
	requests int                      // that are under way

	gen      int // answers to older questions are dropped
	shown    bool
	asking   bool
	failures int
	cancel   context.CancelFunc
}

type (
	// queueMsg is the answer to one question for the state.
	queueMsg struct {
		gen   int
		state backend.QueueState
		err   error
	}
	queueTick struct{ gen int }
)

// NewQueue makes the screen over q. Without one, none says why.
func NewQueue(ctx context.Context, clock Clock, q backend.Queue, none error) *Queue {
	if q == nil && none == nil {
		none = errNoQueue
	}
	s := &Queue{ctx: ctx, clock: clock, q: q, none: none, pending: map[backend.JobID]string{}}
	s.list.init()
	s.Gantt.init()
	s.Gantt.match = func(j *backend.Job) bool { return s.list.filter.Match(j) }
	return s
}

// replace goes on with another queue, and forgets all of the one before.
func (s *Queue) replace(q backend.Queue) tea.Cmd {
	if s.cancel != nil {
		s.cancel()
	}
	fresh := NewQueue(s.ctx, s.clock, q, nil)
	fresh.gen, fresh.shown = s.gen+1, s.shown
	*s = *fresh
	s.Gantt.match = func(j *backend.Job) bool { return s.list.filter.Match(j) }
	return s.Init()
}

// Missing says why there is no queue, or nil when there is one.
func (s *Queue) Missing() error {
	if s.q == nil {
		return s.none
	}
	return nil
}

// Init asks for the first state.
func (s *Queue) Init() tea.Cmd {
	if s.q == nil {
		return nil
	}
	return s.AskNow()
}

// Show tells whether the screen, or one made from the same answers, is looked
// at: then changes are shown at once, else now and then.
func (s *Queue) Show(on bool) tea.Cmd {
	if on == s.shown {
		return nil
	}
	s.shown = on
	if on && s.q != nil {
		return s.AskNow()
	}
	return nil
}

// Stale reports whether the state is older than it should be, and since when
// nothing was heard.
func (s *Queue) Stale() (time.Time, bool) {
	return s.At, s.Err != nil || (s.HasData && s.clock.Now().Sub(s.At) > queueStaleAfter)
}

// AskNow asks for the state at once and gives up on what was asked before.
func (s *Queue) AskNow() tea.Cmd {
	if s.cancel != nil {
		s.cancel()
	}
	s.gen++
	return s.ask(false)
}

// ask begins the one question that is under way: the state, after a change
// where wait is set.
func (s *Queue) ask(wait bool) tea.Cmd {
	ctx, cancel := context.WithCancel(s.ctx)
	s.cancel, s.asking = cancel, true
	q, gen, revision, patience := s.q, s.gen, s.State.Revision, queueHiddenWait
	if s.shown {
		patience = queueWait
	}
	return func() tea.Msg {
		defer cancel()
		if wait {
			if err := awaitChange(ctx, q, revision, patience); err != nil {
				return queueMsg{gen: gen, err: err}
			}
		}
		ctx, cancel := context.WithTimeout(ctx, queueDeadline)
		defer cancel()
		st, err := q.State(ctx)
		return queueMsg{gen: gen, state: st, err: err}
	}
}

// awaitChange waits for another revision, but not for ever.
func awaitChange(ctx context.Context, q interface {
	Wait(ctx context.Context, revision int64) error
}, revision int64, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := q.Wait(ctx, revision)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// Update takes the screen's own messages; changed tells whether what is shown
// did.
func (s *Queue) Update(msg tea.Msg) (changed bool, cmd tea.Cmd) {
	switch m := msg.(type) {
	case queueTick:
		if m.gen == s.gen && !s.asking {
			return false, s.ask(s.Err == nil && s.HasData)
		}
	case queueMsg:
		if m.gen != s.gen {
			return false, nil
		}
		s.asking, s.cancel = false, nil
		return s.answered(m)
	}
	return false, nil
}

func (s *Queue) answered(m queueMsg) (changed bool, cmd tea.Cmd) {
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
	pace := queuePace
	if !s.shown {
		pace = queueHiddenPace
	}
	return changed, s.arm(pace)
}

func (s *Queue) arm(wait time.Duration) tea.Cmd { return s.clock.After(wait, queueTick{s.gen}) }

// queueBackoff grows to ten seconds, with jitter.
func queueBackoff(failures int) time.Duration {
	d := min(500*time.Millisecond<<min(failures-1, 8), 10*time.Second)
	return d*3/4 + rand.N(d/2+1)
}

// same reports whether a state tells nothing that is not shown already.
func (s *Queue) same(st *backend.QueueState) bool {
	was, is := s.State.Engine, st.Engine
	was.Beat, is.Beat = time.Time{}, time.Time{}
	return s.HasData && st.Revision == s.State.Revision && was == is
}

// take makes a state the one that is shown, unless it is older than that.
func (s *Queue) take(st backend.QueueState) bool {
	if s.HasData && st.Revision < s.State.Revision {
		return false
	}
	s.State, s.HasData = st, true
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
