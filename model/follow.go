package model

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// followed is what the engine keeps and tells of: the queue, the backups.
type followed[S any] interface {
	State(ctx context.Context) (S, error)
	Wait(ctx context.Context, revision int64) error
}

// followPace is how something is followed. A change is asked for once it has
// happened, and no sooner than a pace after the last answer, so that bursts are
// joined.
type followPace struct {
	wait       time.Duration // for a change, before the state is asked for anyway
	hiddenWait time.Duration // the same while another screen is shown
}

const (
	followDeadline   = 10 * time.Second // for one answer
	followEvery      = 250 * time.Millisecond
	followHidden     = 3 * time.Second // while another screen is shown
	followStaleAfter = 45 * time.Second
)

// follower follows one of the engine's states: one question at a time, the
// last answer kept while later ones fail. It is written only in Update.
type follower[S any] struct {
	ctx    context.Context
	clock  Clock
	source followed[S] // nil: there is none
	none   error       // why
	pace   followPace
	number func(*S) int64 // a state's revision

	State   S
	HasData bool
	Err     error     // why the last question failed
	Since   time.Time // of Err
	At      time.Time // of the last answer

	gen      int // answers to older questions are dropped
	shown    bool
	asking   bool
	failures int
	cancel   context.CancelFunc
}

type (
	// followMsg is the answer to one question for the state.
	followMsg[S any] struct {
		gen   int
		state S
		err   error
	}
	followTick[S any] struct{ gen int }
)

// Missing says why there is nothing to follow, or nil when there is something.
func (f *follower[S]) Missing() error {
	if f.source == nil {
		return f.none
	}
	return nil
}

// Init asks for the first state.
func (f *follower[S]) Init() tea.Cmd { return f.AskNow() }

// Stale reports whether the state is older than it should be, and since when
// nothing was heard.
func (f *follower[S]) Stale() (time.Time, bool) {
	return f.At, f.Err != nil || (f.HasData && f.clock.Now().Sub(f.At) > followStaleAfter)
}

// show tells whether a screen made from the answers is looked at: then changes
// are shown at once, else now and then. It reports whether that is new.
func (f *follower[S]) show(on bool) bool {
	was := f.shown
	f.shown = on
	return was != on
}

// succeed takes the place of was, whose answers are not wanted any more.
func (f *follower[S]) succeed(was *follower[S]) {
	if was.cancel != nil {
		was.cancel()
	}
	f.gen, f.shown = was.gen+1, was.shown
}

// AskNow asks for the state at once and gives up on what was asked before.
func (f *follower[S]) AskNow() tea.Cmd {
	if f.source == nil {
		return nil
	}
	if f.cancel != nil {
		f.cancel()
	}
	f.gen++
	return f.ask(false)
}

// ask begins the one question that is under way: the state, after a change
// where wait is set.
func (f *follower[S]) ask(wait bool) tea.Cmd {
	ctx, cancel := context.WithCancel(f.ctx)
	f.cancel, f.asking = cancel, true
	source, gen, revision, patience := f.source, f.gen, f.number(&f.State), f.pace.hiddenWait
	if f.shown {
		patience = f.pace.wait
	}
	return func() tea.Msg {
		defer cancel()
		if wait {
			if err := awaitChange(ctx, source, revision, patience); err != nil {
				return followMsg[S]{gen: gen, err: err}
			}
		}
		ctx, cancel := context.WithTimeout(ctx, followDeadline)
		defer cancel()
		st, err := source.State(ctx)
		return followMsg[S]{gen: gen, state: st, err: err}
	}
}

// awaitChange waits for another revision, but not for ever.
func awaitChange[S any](ctx context.Context, source followed[S], revision int64, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := source.Wait(ctx, revision)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// ticked asks again when it is time.
func (f *follower[S]) ticked(m followTick[S]) tea.Cmd {
	if m.gen != f.gen || f.asking {
		return nil
	}
	return f.ask(f.Err == nil && f.HasData)
}

// answered takes an answer and arms the next question. What is new goes to
// take; changed tells whether what is shown did.
func (f *follower[S]) answered(m followMsg[S], same func(*S) bool, take func(S) bool) (changed bool, cmd tea.Cmd) {
	if m.gen != f.gen {
		return false, nil
	}
	f.asking, f.cancel = false, nil
	switch {
	case f.ctx.Err() != nil: // berth is ending
		return false, nil
	case m.err != nil:
		if f.Err == nil {
			f.Since = f.clock.Now()
		}
		f.Err = m.err
		f.failures++
		return true, f.arm(followBackoff(f.failures))
	}
	f.failures, f.Err, f.At = 0, nil, f.clock.Now()
	if !same(&m.state) {
		changed = take(m.state)
	}
	if f.shown {
		return changed, f.arm(followEvery)
	}
	return changed, f.arm(followHidden)
}

func (f *follower[S]) arm(wait time.Duration) tea.Cmd {
	return f.clock.After(wait, followTick[S]{f.gen})
}

// accept makes a state the one that is shown, unless it is older than that.
func (f *follower[S]) accept(st S) bool {
	if f.HasData && f.number(&st) < f.number(&f.State) {
		return false
	}
	f.State, f.HasData = st, true
	return true
}

// followBackoff grows to ten seconds, with jitter.
func followBackoff(failures int) time.Duration {
	d := min(500*time.Millisecond<<min(failures-1, 8), 10*time.Second)
	return d*3/4 + rand.N(d/2+1)
}
