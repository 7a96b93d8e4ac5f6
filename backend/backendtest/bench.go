package backendtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"berth/backend"
)

// bench is one case's Host and what it does with it.
type bench struct {
	testing.TB
	f   *Fixture
	h   backend.Host
	ctx context.Context
}

// newBench opens a Host for a case.
func newBench(t testing.TB, f *Fixture) *bench {
	t.Helper()
	return benchOn(t, f, f.Open(t))
}

func benchOn(t testing.TB, f *Fixture, h backend.Host) *bench {
	ctx, cancel := context.WithTimeout(context.Background(), 8*f.within())
	t.Cleanup(func() {
		cancel()
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &bench{TB: t, f: f, h: h, ctx: ctx}
}

func (f *Fixture) within() time.Duration {
	if f.Within == 0 {
		return 20 * time.Second
	}
	return f.Within
}

func (f *Fixture) eventWithin() time.Duration {
	if f.EventWithin == 0 {
		return 300 * time.Millisecond
	}
	return f.EventWithin
}

// freshName is one that no domain has.
func freshName() string { return fmt.Sprintf("conformance-%08x", rand.Uint32()) }

// domain defines a domain that is off, and deletes it at the case's end.
func (b *bench) domain() backend.UUID {
	b.Helper()
	return b.define(b.f.XML(freshName(), "", ""))
}

// define stores xml and deletes the domain at the case's end.
func (b *bench) define(xml string) backend.UUID {
	b.Helper()
	id, err := b.definer().Define(b.ctx, xml)
	if err != nil {
		b.Fatalf("Define: %v", err)
	}
	b.Cleanup(func() { b.remove(id) })
	return id
}

func (b *bench) definer() backend.Definer {
	b.Helper()
	d, ok := b.h.(backend.Definer)
	if !ok {
		b.Skip("the host stores no definitions")
	}
	return d
}

// running defines and starts a domain.
func (b *bench) running() backend.UUID {
	b.Helper()
	id := b.domain()
	b.do(backend.VerbStart, id)
	b.await(id, "to run", func(v *backend.VM) bool { return v.State == backend.Running })
	return id
}

// remove deletes a domain with all that it has.
func (b *bench) remove(id backend.UUID) {
	ctx, cancel := context.WithTimeout(context.Background(), b.f.within())
	defer cancel()
	err := backend.ErrState
	for errors.Is(err, backend.ErrState) && ctx.Err() == nil { // a call that the case gave up may still start it again
		// Whether these are possible depends on how far the case came.
		_ = b.h.Do(ctx, backend.Action{Verb: backend.VerbDestroy, UUID: id})
		_ = b.h.Do(ctx, backend.Action{Verb: backend.VerbSaveRemove, UUID: id})
		err = b.h.Do(ctx, backend.Action{Verb: backend.VerbUndefine, UUID: id})
		if err != nil && !errors.Is(err, backend.ErrNoDomain) { // it has more, of which not every driver knows
			err = b.h.Do(ctx, backend.Action{Verb: backend.VerbUndefine, UUID: id,
				Delete: backend.UndefineOptions{Snapshots: true, NVRAM: true, ManagedSave: true}})
		}
	}
	if err != nil && !errors.Is(err, backend.ErrNoDomain) {
		b.Errorf("cleaning up %s: %v", id, err)
	}
}

// try carries out a verb and returns its error.
func (b *bench) try(verb backend.Verb, id backend.UUID) error {
	return b.h.Do(b.ctx, backend.Action{Verb: verb, UUID: id})
}

// do carries out a verb that must succeed.
func (b *bench) do(verb backend.Verb, id backend.UUID) {
	b.Helper()
	if err := b.try(verb, id); err != nil {
		b.Fatalf("%s: %v", verb, err)
	}
}

// refused reports whether err says that the state forbids it.
func (f *Fixture) refused(err error) bool {
	return errors.Is(err, backend.ErrState) || err != nil && f.VagueErrors != ""
}

// needs leaves the case out when the fixture lacks one of the verbs.
func (b *bench) needs(verbs ...backend.Verb) {
	b.Helper()
	for _, v := range verbs {
		if why := b.f.Lacks[v]; why != "" {
			b.Skipf("no %s here: %s", v, why)
		}
	}
}

// poll polls; it must succeed.
func (b *bench) poll() backend.Poll {
	b.Helper()
	p, err := b.h.Poll(b.ctx)
	if err != nil {
		b.Fatalf("Poll: %v", err)
	}
	return p
}

// look finds a domain in a fresh poll; nil when it is not there.
func (b *bench) look(id backend.UUID) *backend.VM {
	b.Helper()
	p := b.poll()
	for i := range p.VMs {
		if p.VMs[i].UUID == id {
			return &p.VMs[i]
		}
	}
	return nil
}

// await polls until ok holds for a domain, and returns it.
func (b *bench) await(id backend.UUID, what string, ok func(*backend.VM) bool) *backend.VM {
	b.Helper()
	var last *backend.VM
	err := b.settle(func() bool {
		last = b.look(id)
		return last != nil && ok(last)
	})
	switch {
	case err != nil && last == nil:
		b.Fatalf("waiting for %s %s: no such domain in polls (%v)", id, what, err)
	case err != nil:
		b.Fatalf("waiting for %s %s: it is %s (%s): %v", last.Name, what, last.State, last.Reason, err)
	}
	return last
}

// awaitGone polls until a domain is not there any more.
func (b *bench) awaitGone(id backend.UUID) {
	b.Helper()
	if err := b.settle(func() bool { return b.look(id) == nil }); err != nil {
		b.Fatalf("waiting for %s to go: %v", id, err)
	}
}

// settle waits until done.
func (b *bench) settle(done func() bool) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.f.within())
	defer cancel()
	if b.f.Settle != nil {
		return b.f.Settle(ctx, b.h, done)
	}
	return settle(ctx, b.h, done)
}

// settle looks whenever the host tells of an event, and now and then.
func settle(ctx context.Context, h backend.Host, done func() bool) error {
	if done() {
		return nil
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := h.Watch(watching)
	if err != nil {
		events = nil // polling alone does
	}
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case _, ok := <-events:
			if !ok {
				events = nil
			}
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
