package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/backend"
)

// lockWait is how long libvirt lets a call wait for another one on the same
// domain before it gives up.
const lockWait = 30 * time.Second

// job is one thing that libvirt does to a machine; a machine has one at a
// time.
type job struct {
	verb backend.Verb
	due  storyTime
	done chan struct{}
	err  error // once done is closed
}

// operation is a verb on a machine that was found possible: it takes so long
// and then has this effect.
type operation struct {
	takes  storyTime
	effect func() error
}

// Do carries out one verb. It returns when libvirt would: for a start when
// the process runs, for a shutdown when the guest was asked, for a save when
// the memory is on disk. A verb that was begun is carried out though ctx ends.
func (h *host) Do(ctx context.Context, a backend.Action) error {
	target := a.Name
	if target == "" {
		target = a.UUID.String()
	}
	if h.ReadOnly() {
		return failed(string(a.Verb), target, backend.ErrReadOnly, hintReadOnly)
	}
	return h.do(ctx, a, target)
}

const hintReadOnly = "connect with --write to change anything"

// do is Do for whoever may change the host.
func (h *host) do(ctx context.Context, a backend.Action, target string) error {
	ctx, cancel := h.bind(ctx)
	defer cancel()
	j, err := h.accept(ctx, a)
	if err == nil {
		err = h.await(ctx, j)
	}
	if err != nil {
		return failed(string(a.Verb), target, err, hintFor(a.Verb, err))
	}
	return nil
}

// hintFor is what to do next.
func hintFor(verb backend.Verb, err error) string {
	switch {
	case errors.Is(err, backend.ErrStuck):
		return "force it off, or wait for its storage to come back"
	case errors.Is(err, backend.ErrNoAgent):
		return "shut it down by ACPI instead"
	case errors.Is(err, backend.ErrNoDomain):
		return "it was deleted or has moved; look at the list again"
	case errors.Is(err, backend.ErrInvalid) && verb == backend.VerbRename:
		return "choose another name"
	}
	return ""
}

// accept waits for the machine's turn and begins the verb.
func (h *host) accept(ctx context.Context, a backend.Action) (*job, error) {
	var waited storyTime
	for {
		j, again, err := h.tryAccept(ctx, a, waited)
		if j != nil || err != nil {
			return j, err
		}
		waited += again
		if h.fleet.clock.Sleep(ctx, h.fleet.shownFor(again)) != nil {
			return nil, contextError(ctx)
		}
	}
}

// tryAccept begins the verb, or says how long to wait before another try.
func (h *host) tryAccept(ctx context.Context, a backend.Action, waited storyTime) (*job, storyTime, error) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if err := h.reach(ctx); err != nil {
		return nil, 0, err
	}
	v, ok := h.byUUID[a.UUID]
	if !ok {
		return nil, 0, backend.ErrNoDomain
	}
	prepare, ok := operations[a.Verb]
	if !ok {
		return nil, 0, backend.ErrUnsupported
	}
	if again, err := v.occupied(a.Verb, waited); again > 0 || err != nil {
		return nil, again, err
	}
	if err := a.Verb.Check(&v.row); err != nil {
		return nil, 0, err
	}
	op, err := prepare(v, &a)
	if err != nil {
		return nil, 0, err
	}
	return v.begin(a.Verb, op), 0, nil
}

// occupied says how long to wait because libvirt is doing something else to
// the machine, or its QEMU does not answer. Pulling the cord needs neither.
func (v *vm) occupied(verb backend.Verb, waited storyTime) (storyTime, error) {
	if verb == backend.VerbDestroy {
		return 0, nil
	}
	switch {
	case verb == backend.VerbSave && v.backup != nil && waited >= lockWait:
		return 0, fmt.Errorf("%w: libvirt is busy with a backup of it", backend.ErrTimeout)
	case verb == backend.VerbSave && v.backup != nil:
		return time.Second, nil
	case v.job != nil && waited >= lockWait:
		return 0, fmt.Errorf("%w: libvirt is busy with %s on it", backend.ErrTimeout, v.job.verb)
	case v.job != nil:
		return max(v.job.due-v.fleet().now, time.Millisecond), nil
	case v.stuck && needsMonitor(verb) && waited >= lockWait:
		return 0, fmt.Errorf("%w since %s", backend.ErrStuck, v.fleet().shown(v.stuckAt).Format(time.TimeOnly))
	case v.stuck && needsMonitor(verb):
		return time.Second, nil
	}
	return 0, nil
}

// needsMonitor reports whether libvirt talks to QEMU for the verb.
func needsMonitor(verb backend.Verb) bool {
	switch verb {
	case backend.VerbAutostartOn, backend.VerbAutostartOff, backend.VerbSaveRemove:
		return false
	}
	return true
}

// begin notes that the operation's effect comes when it has taken its time.
func (v *vm) begin(verb backend.Verb, op operation) *job {
	f := v.fleet()
	j := &job{verb: verb, due: f.now + op.takes, done: make(chan struct{})}
	if verb == backend.VerbDestroy {
		f.after(op.takes, func() { j.finish(v.effect(verb, op)) })
		return j
	}
	v.job = j
	f.after(op.takes, func() {
		if v.job != j {
			return // ended by the machine's stop
		}
		v.job = nil
		j.finish(v.effect(verb, op))
	})
	return j
}

// effect checks once more that the verb makes sense, since the machine may
// have changed by itself, and carries it out.
func (v *vm) effect(verb backend.Verb, op operation) error {
	if v.host.byUUID[v.row.UUID] != v {
		return backend.ErrNoDomain
	}
	if err := verb.Check(&v.row); err != nil {
		return err
	}
	return op.effect()
}

func (j *job) finish(err error) {
	j.err = err
	close(j.done)
}

// endJob ends the job under way, if there is one, without its effect.
func (v *vm) endJob(err error) {
	if j := v.job; j != nil {
		v.job = nil
		j.finish(err)
	}
}

// await waits until the job is done.
func (h *host) await(ctx context.Context, j *job) error {
	f := h.fleet
	for {
		f.mu.Lock()
		err := h.ended(ctx)
		if err == nil && f.catchUp(ctx) != nil {
			err = h.ended(ctx)
		}
		left := f.shownFor(j.due - f.now)
		f.mu.Unlock()
		select {
		case <-j.done:
			return j.err
		default:
		}
		if err != nil {
			return err
		}
		if f.clock.Sleep(ctx, max(left, 100*time.Microsecond)) != nil {
			return contextError(ctx)
		}
	}
}

// checkName says what is wrong with a domain's name.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w name: it is empty", backend.ErrInvalid)
	case len(name) > 200:
		return fmt.Errorf("%w name: more than 200 bytes", backend.ErrInvalid)
	case strings.ContainsAny(name, "/\n"):
		return fmt.Errorf("%w name %q: it contains a slash or a line break", backend.ErrInvalid, name)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("%w name %q: it begins or ends with a blank", backend.ErrInvalid, name)
	}
	return nil
}
