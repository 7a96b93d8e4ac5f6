package backendtest

import (
	"errors"
	"testing"
	"time"

	"berth/backend"
)

// transition is a verb that is possible, and where it must lead.
type transition struct {
	name   string
	before []backend.Verb // bring a domain that is off to where the verb is possible
	verb   backend.Verb
	state  backend.State
	reason string // empty: any
	// also must hold, when it is not nil.
	also  func(*backend.VM) bool
	guest bool // the guest must obey
	agent bool // and by its agent
}

// reached reports whether v is where the verb leads.
func (tr *transition) reached(f *Fixture, v *backend.VM) bool {
	return v.State == tr.state && (tr.reason == "" || f.VagueReasons != "" || v.Reason == tr.reason) &&
		(tr.also == nil || tr.also(v))
}

func saved(v *backend.VM) bool     { return v.ManagedSave }
func notSaved(v *backend.VM) bool  { return !v.ManagedSave }
func isRunning(v *backend.VM) bool { return v.State == backend.Running }

func autostart(on bool) func(*backend.VM) bool {
	return func(v *backend.VM) bool { return v.Autostart == on }
}

var transitions = []transition{
	{name: "start", verb: backend.VerbStart, state: backend.Running, reason: "booted"},
	{name: "start paused", verb: backend.VerbStartPaused, state: backend.Paused, reason: "user"},
	{name: "suspend", before: verbs(backend.VerbStart), verb: backend.VerbSuspend, state: backend.Paused, reason: "user"},
	{name: "resume", before: verbs(backend.VerbStart, backend.VerbSuspend), verb: backend.VerbResume, state: backend.Running, reason: "unpaused"},
	{name: "resume what was started paused", before: verbs(backend.VerbStartPaused), verb: backend.VerbResume, state: backend.Running},
	{name: "reset", before: verbs(backend.VerbStart), verb: backend.VerbReset, state: backend.Running},
	{name: "reboot", before: verbs(backend.VerbStart), verb: backend.VerbReboot, state: backend.Running},
	{name: "destroy", before: verbs(backend.VerbStart), verb: backend.VerbDestroy, state: backend.Shutoff, reason: "destroyed"},
	{name: "destroy what is paused", before: verbs(backend.VerbStart, backend.VerbSuspend), verb: backend.VerbDestroy, state: backend.Shutoff, reason: "destroyed"},
	{name: "save", before: verbs(backend.VerbStart), verb: backend.VerbSave, state: backend.Shutoff, reason: "saved", also: saved},
	{name: "restore", before: verbs(backend.VerbStart, backend.VerbSave), verb: backend.VerbRestore, state: backend.Running, reason: "restored", also: notSaved},
	{name: "start from saved", before: verbs(backend.VerbStart, backend.VerbSave), verb: backend.VerbStart, state: backend.Running, reason: "restored", also: notSaved},
	{name: "start paused from saved", before: verbs(backend.VerbStart, backend.VerbSave), verb: backend.VerbStartPaused, state: backend.Paused, reason: "migrating", also: notSaved},
	{name: "resume what was restored paused", before: verbs(backend.VerbStart, backend.VerbSave, backend.VerbStartPaused), verb: backend.VerbResume, state: backend.Running, reason: "unpaused"},
	{name: "start fresh", before: verbs(backend.VerbStart, backend.VerbSave), verb: backend.VerbStartFresh, state: backend.Running, reason: "booted", also: notSaved},
	{name: "remove saved state", before: verbs(backend.VerbStart, backend.VerbSave), verb: backend.VerbSaveRemove, state: backend.Shutoff, also: notSaved},
	{name: "autostart on", verb: backend.VerbAutostartOn, state: backend.Shutoff, also: autostart(true)},
	{name: "autostart off", before: verbs(backend.VerbAutostartOn), verb: backend.VerbAutostartOff, state: backend.Shutoff, also: autostart(false)},
	{name: "shutdown", before: verbs(backend.VerbStart), verb: backend.VerbShutdown, state: backend.Shutoff, reason: "shutdown", guest: true},
	{name: "shutdown by ACPI", before: verbs(backend.VerbStart), verb: backend.VerbShutdownACPI, state: backend.Shutoff, reason: "shutdown", guest: true},
	{name: "shutdown by agent", before: verbs(backend.VerbStart), verb: backend.VerbShutdownAgent, state: backend.Shutoff, reason: "shutdown", guest: true, agent: true},
}

func verbs(list ...backend.Verb) []backend.Verb { return list }

// verbsReachTheirStates, and with the reason that libvirt gives.
func verbsReachTheirStates(t *testing.T, f *Fixture) {
	for _, tr := range transitions {
		t.Run(tr.name, func(t *testing.T) {
			if tr.guest && !f.GuestObeys || tr.agent && !f.HasAgent {
				t.Skip("these guests do not follow")
			}
			b := newBench(t, f)
			b.needs(append(tr.before, tr.verb)...)
			tr.check(b)
		})
	}
}

func (tr *transition) check(b *bench) {
	b.Helper()
	id := b.domain()
	for _, verb := range tr.before {
		b.do(verb, id)
	}
	v := b.await(id, "to get there", func(v *backend.VM) bool { return tr.verb.Check(v) == nil })
	uuid, name := v.UUID, v.Name
	if tr.guest {
		b.insist(tr, id)
	} else {
		b.do(tr.verb, id)
	}
	v = b.await(id, "after "+string(tr.verb), func(v *backend.VM) bool { return tr.reached(b.f, v) })
	if v.UUID != uuid || v.Name != name {
		b.Errorf("%s made %s %s into %s %s", tr.verb, name, uuid, v.Name, v.UUID)
	}
}

// insist asks the guest until it follows: one that boots may not listen yet.
func (b *bench) insist(tr *transition, id backend.UUID) {
	b.Helper()
	var last error
	var asked time.Time
	err := b.settle(func() bool {
		v := b.look(id)
		if v == nil {
			b.Fatalf("%s vanished", id)
		}
		if tr.reached(b.f, v) {
			return true
		}
		if time.Since(asked) < 500*time.Millisecond {
			return false
		}
		asked = time.Now()
		last = b.try(tr.verb, id)
		if last != nil && !errors.Is(last, backend.ErrState) && !errors.Is(last, backend.ErrNoAgent) {
			b.Fatalf("%s: %v", tr.verb, last)
		}
		return false
	})
	if err != nil {
		b.Fatalf("the guest did not follow: %v; last answer: %v", err, last)
	}
}

// tolerated are verbs that the check of a state refuses and a hypervisor may
// accept without harm.
func tolerated(verb backend.Verb, v *backend.VM) bool {
	switch verb {
	case backend.VerbSuspend, backend.VerbShutdown, backend.VerbShutdownACPI, backend.VerbReboot:
		return v.State == backend.Paused
	case backend.VerbStartFresh:
		return !v.State.Active()
	}
	return false
}

// forbiddenVerbsChangeNothing, and say that the state is why.
func forbiddenVerbsChangeNothing(t *testing.T, f *Fixture) {
	for _, c := range []struct {
		name   string
		before []backend.Verb
	}{
		{"off", nil},
		{"running", verbs(backend.VerbStart)},
		{"paused", verbs(backend.VerbStart, backend.VerbSuspend)},
		{"saved", verbs(backend.VerbStart, backend.VerbSave)},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, f)
			b.needs(c.before...)
			id := b.domain()
			for _, verb := range c.before {
				b.do(verb, id)
			}
			v := b.await(id, "to have its facts", func(v *backend.VM) bool { return !v.FactsAt.IsZero() })
			b.forbidden(v)
		})
	}
}

// forbidden tries every verb that v's state forbids.
func (b *bench) forbidden(v *backend.VM) {
	b.Helper()
	tried := 0
	for _, info := range backend.Verbs() {
		verb := info.Verb
		if verb.Check(v) == nil || b.f.Lacks[verb] != "" || !b.f.Strict && tolerated(verb, v) {
			continue
		}
		tried++
		err := b.h.Do(b.ctx, backend.Action{Verb: verb, UUID: v.UUID, New: freshName()})
		// A domain without an agent cannot be shut down by it in any state.
		noAgent := verb == backend.VerbShutdownAgent && errors.Is(err, backend.ErrNoAgent)
		if !b.f.refused(err) && !noAgent {
			b.Errorf("%s while %s: %v, want an error that is ErrState", verb, v.State, err)
		}
		b.same(v, string(verb))
	}
	if tried == 0 {
		b.Errorf("no verb is forbidden while %s", v.State)
	}
}

// same checks that a domain is as it was.
func (b *bench) same(v *backend.VM, after string) {
	b.Helper()
	now := b.look(v.UUID)
	if now == nil {
		b.Fatalf("after %s %s is gone", after, v.Name)
	}
	type facts struct {
		name, reason           string
		state                  backend.State
		id                     int32
		persist, auto, managed bool
	}
	of := func(v *backend.VM) facts {
		return facts{v.Name, v.Reason, v.State, v.ID, v.Persistent, v.Autostart, v.ManagedSave}
	}
	if of(now) != of(v) {
		b.Errorf("after %s it is %+v, was %+v", after, of(now), of(v))
	}
}

// transientDomainsVanish when they stop, and have nothing stored to change.
func transientDomainsVanish(t *testing.T, f *Fixture) {
	if f.Transient == nil {
		t.Skip("no transient domains here")
	}
	b := newBench(t, f)
	id := f.Transient(t, b.h)
	v := b.await(id, "to run", func(v *backend.VM) bool { return v.State == backend.Running && !v.FactsAt.IsZero() })
	if v.Persistent {
		t.Error("a transient domain is persistent")
	}
	b.forbidden(v)
	b.do(backend.VerbDestroy, id)
	b.awaitGone(id)
}
