package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/store"
)

// How long an act may take. A start may have to clear huge pages or to read a
// saved state.
const (
	startDeadline = 10 * time.Minute
	actDeadline   = time.Minute
	tuneDeadline  = 20 * time.Second
	fenceDeadline = 5 * time.Minute
)

// do begins an act; its outcome comes back to the loop.
func (e *Engine) do(d *decision) {
	j, n, what := d.m.job, d.m.note, d.m.act
	a := e.agents[j.RunsOn]
	if a == nil {
		return
	}
	e.busy[j.ID] = what
	source := e.source(&j, n, what)
	e.spawn(func() {
		out := &outcome{act: what}
		if out.err = e.at(string(what) + "/before"); out.err == nil {
			e.perform(a, &j, n, source, out)
		}
		e.at(string(what) + "/done") //nolint:errcheck // the next step meets the same error
		e.post(func() { e.finished(&j, a, out) })
	})
}

// finished takes in what came of an act.
func (e *Engine) finished(j *backend.Job, a *agent, out *outcome) {
	delete(e.busy, j.ID)
	e.done[j.ID] = out
	if present := e.agents[a.spec.Name]; present != nil { // it may be another by now
		a = present
	}
	e.news.act(j.ID, a.spec.Name, a.look())
}

// perform carries out an act on its host. Not too many at once: a host has
// few workers, and other programs use them too.
func (e *Engine) perform(a *agent, j *backend.Job, n note, source *agent, out *outcome) {
	ctx, cancel := context.WithTimeout(e.acts, e.deadline(out.act))
	defer cancel()
	if out.act == actFence {
		out.err = e.fence(ctx, a, j)
		return
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		out.err = fmt.Errorf("%w: %s is busy", backend.ErrTimeout, a.spec.Name)
		return
	}
	switch out.act {
	case actStart:
		out.err = e.start(ctx, a, j, source)
	case actShares:
		out.shares, out.err = readShares(ctx, a.host, j.VM)
	case actTune:
		out.err = setShares(ctx, a.host, j.VM, scaled(n.Shares, j.Priority))
	case actUntune:
		out.err = setShares(ctx, a.host, j.VM, n.Shares)
	default:
		out.err = e.verb(ctx, a, j, out.act)
	}
}

func (e *Engine) deadline(what act) time.Duration {
	switch what {
	case actStart:
		return startDeadline
	case actSave:
		return e.o.SaveGrace
	case actFence:
		return fenceDeadline
	case actShares, actTune, actUntune:
		return tuneDeadline
	}
	return actDeadline
}

// verbs are the acts that are one verb of a host.
var verbs = map[act]backend.Verb{
	actResume: backend.VerbResume, actShutdown: backend.VerbShutdown, actDestroy: backend.VerbDestroy, actSave: backend.VerbSave,
}

// verb carries out such an act and enters it in the trail.
func (e *Engine) verb(ctx context.Context, a *agent, j *backend.Job, what act) error {
	err := a.host.Do(ctx, backend.Action{Verb: verbs[what], UUID: j.VM, Name: j.Name})
	e.record(a, j, string(verbs[what]), err)
	return err
}

// record enters in the audit trail what was done for a job. A trail that
// cannot be written is the engine's trouble, for what it tells of has happened.
func (e *Engine) record(a *agent, j *backend.Job, verb string, outcome error) {
	err := e.o.Trail.Record(audit.Entry{
		At: e.o.Clock.Now(), Host: a.spec.Name, Verb: verb, VM: j.Name, UUID: j.VM.String(),
		Detail: fmt.Sprintf("job %d of %s", j.ID, j.Owner),
	}, outcome)
	said := ""
	if err != nil {
		said = backend.Clean(err.Error())
	}
	e.untold.Store(&said)
}

// source is the agent of a host that has the definition of a VM which is about
// to be started where it is not defined; nil when it is.
func (e *Engine) source(j *backend.Job, n note, what act) *agent {
	if what != actStart || n.Copy != j.RunsOn {
		return nil
	}
	for name, a := range e.agents {
		if v := a.now(); name != j.RunsOn && v.up() && v.vms[j.VM] != nil {
			return a
		}
	}
	return nil
}

// start starts the domain paused, and defines it before that where it is not.
func (e *Engine) start(ctx context.Context, a *agent, j *backend.Job, source *agent) error {
	if v := a.now(); source != nil && v.vms[j.VM] == nil {
		if err := e.define(ctx, a, j, source); err != nil {
			return err
		}
	}
	err := a.host.Do(ctx, backend.Action{Verb: backend.VerbStartPaused, UUID: j.VM, Name: j.Name})
	e.record(a, j, string(backend.VerbStart), err)
	return err
}

// define copies the definition from another host.
func (e *Engine) define(ctx context.Context, a *agent, j *backend.Job, source *agent) error {
	definer, ok := a.host.(backend.Definer)
	if !ok {
		return fmt.Errorf("%w: %s takes no definitions", backend.ErrUnsupported, a.spec.Name)
	}
	xml, err := source.host.XML(ctx, j.VM, true)
	if err != nil {
		return err
	}
	_, err = definer.Define(ctx, xml)
	e.record(a, j, "define", err)
	return err
}

// readShares reads a domain's shares where the host has such.
func readShares(ctx context.Context, h backend.Host, u backend.UUID) (backend.Shares, error) {
	t, ok := h.(backend.Tuner)
	if !ok {
		return backend.Shares{}, backend.ErrUnsupported
	}
	return t.Shares(ctx, u)
}

// setShares sets them.
func setShares(ctx context.Context, h backend.Host, u backend.UUID, s backend.Shares) error {
	t, ok := h.(backend.Tuner)
	if !ok {
		return backend.ErrUnsupported
	}
	return t.SetShares(ctx, u, s)
}

// fence makes sure that a host is off and notes that, for all its jobs.
func (e *Engine) fence(ctx context.Context, a *agent, j *backend.Job) error {
	argv := e.o.Limits(a.spec.Name).Fence
	if len(argv) == 0 {
		return fmt.Errorf("%w: no fence command is set for %s", backend.ErrUnsupported, a.spec.Name)
	}
	_, err, _ := e.fences.Do(a.spec.Name, func() (any, error) { return nil, e.fenceHost(ctx, a, argv) })
	e.record(a, j, "fence", err)
	return err
}

func (e *Engine) fenceHost(ctx context.Context, a *agent, argv []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "BERTH_HOST="+a.spec.Name, "BERTH_URI="+a.spec.URI)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		said := backend.Clean(strings.TrimSpace(string(out[max(0, len(out)-500):])))
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: it did not end in %v", backend.ErrTimeout, fenceDeadline)
		}
		return &backend.OpError{Op: "fence", Target: a.spec.Name, Err: errors.Join(err, words(said)),
			Hint: "see that the host is off, then say so with berth queue fenced " + a.spec.Name}
	}
	return e.o.Store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.CheckLease(e.epoch); err != nil {
			return err
		}
		return putOff(tx, a.spec.Name, e.o.Clock.Now(), "engine")
	})
}

// words is what a program said, as an error.
func words(said string) error {
	if said == "" {
		return nil
	}
	return errors.New(said)
}

// putOff notes that a host is off for sure.
func putOff(tx *store.Tx, host string, at time.Time, who string) error {
	if err := tx.SetSetting(offKey+host, at.UTC().Format(time.RFC3339Nano)); err != nil {
		return err
	}
	return tx.AddEvent(backend.JobEvent{At: at, What: "fenced", Host: host, Who: who})
}
