package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/backend"
)

// call is one method of a Host, or of what it may also be, on one domain.
type call struct {
	name string
	do   func(ctx context.Context, h backend.Host, id backend.UUID) error
	// whole is set for what is about the host, not a domain.
	whole bool
}

// calls are all the methods that this host has.
func calls(h backend.Host, xml string) []call {
	list := []call{
		{"Poll", func(ctx context.Context, h backend.Host, _ backend.UUID) error { _, err := h.Poll(ctx); return err }, true},
		{"Figures", func(ctx context.Context, h backend.Host, id backend.UUID) error {
			_, err := h.Figures(ctx, []backend.UUID{id})
			return err
		}, true},
		{"Sample", func(ctx context.Context, h backend.Host, _ backend.UUID) error { _, err := h.Sample(ctx); return err }, true},
		{"Watch", func(ctx context.Context, h backend.Host, _ backend.UUID) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			_, err := h.Watch(ctx)
			return err
		}, true},
		{"Detail", func(ctx context.Context, h backend.Host, id backend.UUID) error {
			_, err := h.Detail(ctx, id)
			return err
		}, false},
		{"Guest", func(ctx context.Context, h backend.Host, id backend.UUID) error {
			_, err := h.Guest(ctx, id)
			return err
		}, false},
		{"live XML", func(ctx context.Context, h backend.Host, id backend.UUID) error {
			_, err := h.XML(ctx, id, false)
			return err
		}, false},
		{"stored XML", func(ctx context.Context, h backend.Host, id backend.UUID) error {
			_, err := h.XML(ctx, id, true)
			return err
		}, false},
	}
	for _, info := range backend.Verbs() {
		list = append(list, call{"Do " + string(info.Verb), func(ctx context.Context, h backend.Host, id backend.UUID) error {
			return h.Do(ctx, backend.Action{Verb: info.Verb, UUID: id, New: freshName()})
		}, false})
	}
	return append(list, abilities(h, xml)...)
}

// abilities are the methods of what the host may also be.
func abilities(h backend.Host, xml string) []call {
	var list []call
	if d, ok := h.(backend.Definer); ok {
		list = append(list, call{"Define", func(ctx context.Context, _ backend.Host, _ backend.UUID) error {
			_, err := d.Define(ctx, xml)
			return err
		}, true})
	}
	if c, ok := h.(backend.Consoler); ok {
		list = append(list, call{"Console", func(ctx context.Context, _ backend.Host, id backend.UUID) error {
			s, err := c.Console(ctx, id, false)
			if err == nil {
				err = s.Close()
			}
			return err
		}, false})
	}
	if s, ok := h.(backend.Screenshotter); ok {
		list = append(list, call{"Screenshot", func(ctx context.Context, _ backend.Host, id backend.UUID) error {
			return s.Screenshot(ctx, id, &bytes.Buffer{})
		}, false})
	}
	if l, ok := h.(backend.LogTailer); ok {
		list = append(list, call{"LogTail", func(ctx context.Context, _ backend.Host, id backend.UUID) error {
			_, err := l.LogTail(ctx, id, 5)
			return err
		}, false})
	}
	return append(list, queueAbilities(h, xml)...)
}

// missing reports whether the backend has the method and cannot do it.
func (f *Fixture) missing(method string) bool {
	switch method {
	case "LogTail":
		return f.NoLog != ""
	case "Shares", "SetShares":
		return f.NoShares != ""
	case "Screenshot":
		return f.NoScreenshot != ""
	case "Console":
		return f.Console == nil
	case "BackupFacts", "BeginBackup", "Leftovers":
		return f.NoBackups != ""
	}
	return false
}

// unknownUUIDs are ErrNoDomain to every method that is about a domain.
func unknownUUIDs(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	unknown := backend.UUID{0xde, 0xad, 0xbe, 0xef, 15: 1}
	for _, c := range calls(b.h, "") {
		if c.whole || f.missing(c.name) {
			continue
		}
		if err := c.do(b.ctx, b.h, unknown); !errors.Is(err, backend.ErrNoDomain) {
			t.Errorf("%s: %v, want ErrNoDomain", c.name, err)
		}
	}
}

// readOnlyRefusesEveryChange, whatever the state of the domain.
func readOnlyRefusesEveryChange(t *testing.T, f *Fixture) {
	if f.OpenReadOnly == nil {
		t.Skip("no read-only host here")
	}
	rw := newBench(t, f)
	rw.running()
	rw.domain()
	b := benchOn(t, f, f.OpenReadOnly(t))
	if !b.h.ReadOnly() || rw.h.ReadOnly() {
		t.Errorf("ReadOnly is %v of the read-only host, %v of the other", b.h.ReadOnly(), rw.h.ReadOnly())
	}
	before := b.poll()
	if len(before.VMs) == 0 {
		t.Fatal("there is no domain to try it on")
	}
	for i := range before.VMs {
		v := &before.VMs[i]
		for _, info := range backend.Verbs() {
			a := backend.Action{Verb: info.Verb, UUID: v.UUID, New: freshName(),
				Delete: backend.UndefineOptions{Storage: true, Snapshots: true, NVRAM: true, ManagedSave: true}}
			if err := b.h.Do(b.ctx, a); !errors.Is(err, backend.ErrReadOnly) {
				t.Errorf("%s on %s: %v, want ErrReadOnly", info.Verb, v.Name, err)
			}
		}
		if c, ok := b.h.(backend.Consoler); ok {
			if _, err := c.Console(b.ctx, v.UUID, true); !errors.Is(err, backend.ErrReadOnly) {
				t.Errorf("Console of %s: %v, want ErrReadOnly", v.Name, err)
			}
		}
	}
	if s, ok := b.h.(backend.Tuner); ok {
		if err := s.SetShares(b.ctx, before.VMs[0].UUID, backend.Shares{CPU: 512}); !errors.Is(err, backend.ErrReadOnly) {
			t.Errorf("SetShares: %v, want ErrReadOnly", err)
		}
	}
	if d, ok := b.h.(backend.Definer); ok {
		if _, err := d.Define(b.ctx, f.XML(freshName(), "", "")); !errors.Is(err, backend.ErrReadOnly) {
			t.Errorf("Define: %v, want ErrReadOnly", err)
		}
	}
	b.readOnlyStorage(before.VMs[0].UUID)
	for i := range before.VMs {
		b.same(&before.VMs[i], "what a read-only host refused")
	}
	if n := len(b.poll().VMs); n != len(before.VMs) {
		t.Errorf("%d domains, were %d", n, len(before.VMs))
	}
}

// cancelledCallsReturn soon, with the context's error.
func cancelledCallsReturn(t *testing.T, f *Fixture) {
	b := newBench(t, f)
	id := b.running()
	b.await(id, "to have its facts", func(v *backend.VM) bool { return !v.FactsAt.IsZero() })
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	for _, c := range calls(b.h, f.XML(freshName(), "", "")) {
		began := time.Now()
		err := c.do(ctx, b.h, id)
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s took %v after its context had ended", c.name, took)
		}
		if err == nil && c.name != "Sample" && c.name != "LogTail" { // which may need no call to the host
			t.Errorf("%s succeeded after its context had ended", c.name)
		}
	}
	if v := b.look(id); v == nil || v.State != backend.Running {
		t.Errorf("what was cancelled was carried out: %+v", v)
	}
}

// concurrentCalls from many goroutines do no harm; run it under -race. They
// get in each other's way on purpose, so that verbs may fail as they like, but
// the host stays reachable and answers what is asked of it as a whole.
func concurrentCalls(t *testing.T, f *Fixture) {
	if f.OneAtATime != "" {
		t.Skip(f.OneAtATime)
	}
	const callers = 16
	b := newBench(t, f)
	ids := []backend.UUID{b.running(), b.running(), b.domain()}
	b.await(ids[2], "to have its facts", func(v *backend.VM) bool { return !v.FactsAt.IsZero() })
	var list []call
	for _, c := range calls(b.h, "<bad/>") {
		if c.name != "Do undefine" && c.name != "Do rename" {
			list = append(list, c)
		}
	}
	ctx, cancel := context.WithTimeout(b.ctx, f.within()/4) // real guests are slow
	defer cancel()
	done := make(chan error, callers)
	for n := range callers {
		go func() {
			for i := range list {
				c := list[(i+n*5)%len(list)]
				err := c.do(ctx, b.h, ids[(i+n)%len(ids)])
				if !over(ctx) && harmful(c, err) {
					done <- fmt.Errorf("%s: %w", c.name, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, id := range ids {
		b.await(id, "to be listed still", func(*backend.VM) bool { return true })
	}
}

// over reports whether ctx's deadline has passed. Its timer may fire later, on a
// busy machine, than a socket's with the same deadline.
func over(ctx context.Context) bool {
	until, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(until)
}

// harmful reports whether a call's error is more than that somebody else was
// faster.
func harmful(c call, err error) bool {
	if c.whole && c.name != "Define" && c.name != "Reach" { // which refuse the XML that they are given
		return err != nil
	}
	return errors.Is(err, backend.ErrClosed) || errors.Is(err, backend.ErrUnreachable) || errors.Is(err, backend.ErrNoDomain)
}

// closeEndsEverything: calls, watches and goroutines.
func closeEndsEverything(t *testing.T, f *Fixture) {
	before := goleak.IgnoreCurrent()
	h := f.Open(t)
	ctx, cancel := context.WithTimeout(context.Background(), f.within())
	defer cancel()
	p, err := h.Poll(ctx)
	if err != nil {
		t.Fatalf("Poll: %v", err)
	}
	id := backend.UUID{1}
	if len(p.VMs) > 0 {
		id = p.VMs[0].UUID
	}
	events, err := h.Watch(ctx)
	if err != nil && f.NoEvents == "" {
		t.Fatalf("Watch: %v", err)
	}
	for range 2 { // closing twice is no error
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := drain(ctx, events); err != nil {
		t.Errorf("the channel of events was not closed: %v", err)
	}
	for _, c := range calls(h, f.XML(freshName(), "", "")) {
		err := c.do(ctx, h, id)
		if f.missing(c.name) && errors.Is(err, backend.ErrUnsupported) {
			continue
		}
		if !errors.Is(err, backend.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", c.name, err)
		}
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// drain reads until the channel is closed; a nil one is none.
func drain(ctx context.Context, events <-chan backend.Event) error {
	if events == nil {
		return nil
	}
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
