package placetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"berth/backend/image/place"
)

// ErrCrashed is what every step of a Faulty fails with after a crash.
var ErrCrashed = errors.New("the process is dead")

// Step is something that is about to be done to a place.
type Step struct {
	N     int    // counted from 1
	Op    string // "open", "read", "create", "write", "commit", "discard", "exclusive", "list", "folders", "stat", "drafts", "remove-drafts", "remove", "touch", "now", "room"
	Name  string
	Bytes int // of a read or write
}

// Changes reports whether the step changes what is there.
func (s Step) Changes() bool {
	switch s.Op {
	case "create", "write", "commit", "discard", "exclusive", "remove-drafts", "remove", "touch":
		return true
	}
	return false
}

// Fault is what happens at a step; the zero Fault is nothing.
type Fault struct {
	Err   error // the step fails with it
	After bool  // it is done nevertheless: only the answer is lost
	Torn  bool  // half of what was to be written is
	Crash bool  // the step and all after it fail, with nothing cleaned up
	Delay time.Duration
}

// Faulty is a place that fails where it is told to.
type Faulty struct {
	on   place.Place
	plan func(Step) Fault

	mu      sync.Mutex
	n       int
	crashed bool
}

// NewFaulty wraps a place. plan is asked at every step, from one goroutine at a
// time; nil: nothing fails.
func NewFaulty(on place.Place, plan func(Step) Fault) *Faulty {
	if plan == nil {
		plan = func(Step) Fault { return Fault{} }
	}
	return &Faulty{on: on, plan: plan}
}

// At is a plan for one fault, at the n-th step.
func At(n int, f Fault) func(Step) Fault {
	return func(s Step) Fault {
		if s.N == n {
			return f
		}
		return Fault{}
	}
}

// Steps is how many were begun.
func (f *Faulty) Steps() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// Crashed reports whether a step was the last one.
func (f *Faulty) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

func (f *Faulty) fault(op, name string, bytes int) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return Fault{Err: ErrCrashed, Crash: true}
	}
	f.n++
	fault := f.plan(Step{N: f.n, Op: op, Name: name, Bytes: bytes})
	if fault.Crash {
		f.crashed = true
		if fault.Err == nil {
			fault.Err = ErrCrashed
		}
	}
	return fault
}

// step does one step.
func (f *Faulty) step(ctx context.Context, op, name string, do func() error) error {
	fault := f.fault(op, name, 0)
	if err := wait(ctx, fault.Delay); err != nil {
		return err
	}
	if fault.Err != nil && !fault.After {
		return fault.Err
	}
	return errors.Join(do(), fault.Err)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// value is step for what returns something.
func value[T any](ctx context.Context, f *Faulty, op, name string, do func() (T, error)) (T, error) {
	var v, zero T
	err := f.step(ctx, op, name, func() (err error) {
		v, err = do()
		return err
	})
	if err != nil {
		return zero, err
	}
	return v, nil
}

// URL is the wrapped place's.
func (f *Faulty) URL() string { return f.on.URL() }

// Close does nothing: the wrapped place is its maker's.
func (f *Faulty) Close() error { return nil }

// Open opens a file of which reads are steps, too.
func (f *Faulty) Open(ctx context.Context, name string) (place.File, error) {
	return value(ctx, f, "open", name, func() (place.File, error) {
		file, err := f.on.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		return &faultyFile{File: file, ctx: ctx, f: f, name: name}, nil
	})
}

type faultyFile struct {
	place.File
	ctx  context.Context
	f    *Faulty
	name string
}

func (r *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	fault := r.f.fault("read", r.name, len(p))
	if err := wait(r.ctx, fault.Delay); err != nil {
		return 0, err
	}
	if fault.Err != nil {
		return 0, fault.Err
	}
	return r.File.ReadAt(p, off)
}

// Create begins a file of which writes are steps, too.
func (f *Faulty) Create(ctx context.Context, name string, sizeHint int64) (place.Draft, error) {
	return value(ctx, f, "create", name, func() (place.Draft, error) {
		d, err := f.on.Create(ctx, name, sizeHint)
		if err != nil {
			return nil, err
		}
		return &faultyDraft{Draft: d, ctx: ctx, f: f, name: name}, nil
	})
}

type faultyDraft struct {
	place.Draft
	ctx  context.Context
	f    *Faulty
	name string
}

func (d *faultyDraft) Write(p []byte) (int, error) {
	fault := d.f.fault("write", d.name, len(p))
	if err := wait(d.ctx, fault.Delay); err != nil {
		return 0, err
	}
	switch {
	case fault.Torn:
		n, err := d.Draft.Write(p[:len(p)/2])
		return n, errors.Join(fault.Err, err)
	case fault.Err != nil && !fault.After:
		return 0, fault.Err
	}
	n, err := d.Draft.Write(p)
	return n, errors.Join(err, fault.Err)
}

func (d *faultyDraft) Commit(ctx context.Context) error {
	return d.f.step(ctx, "commit", d.name, func() error { return d.Draft.Commit(ctx) })
}

func (d *faultyDraft) Discard() error {
	return d.f.step(context.Background(), "discard", d.name, d.Draft.Discard)
}

// CreateExclusive is a step.
func (f *Faulty) CreateExclusive(ctx context.Context, name string, content []byte) error {
	return f.step(ctx, "exclusive", name, func() error { return f.on.CreateExclusive(ctx, name, content) })
}

// List is a step.
func (f *Faulty) List(ctx context.Context, dir string) ([]place.Entry, error) {
	return value(ctx, f, "list", dir, func() ([]place.Entry, error) { return f.on.List(ctx, dir) })
}

// Folders is a step.
func (f *Faulty) Folders(ctx context.Context, dir string) ([]string, error) {
	return value(ctx, f, "folders", dir, func() ([]string, error) { return f.on.Folders(ctx, dir) })
}

// Stat is a step.
func (f *Faulty) Stat(ctx context.Context, name string) (place.Entry, error) {
	return value(ctx, f, "stat", name, func() (place.Entry, error) { return f.on.Stat(ctx, name) })
}

// Drafts is a step.
func (f *Faulty) Drafts(ctx context.Context) ([]place.Entry, error) {
	return value(ctx, f, "drafts", "", func() ([]place.Entry, error) { return f.on.Drafts(ctx) })
}

// RemoveDrafts is a step.
func (f *Faulty) RemoveDrafts(ctx context.Context, unchanged time.Duration) (int, error) {
	return value(ctx, f, "remove-drafts", "", func() (int, error) { return f.on.RemoveDrafts(ctx, unchanged) })
}

// Remove is a step.
func (f *Faulty) Remove(ctx context.Context, name string) error {
	return f.step(ctx, "remove", name, func() error { return f.on.Remove(ctx, name) })
}

// Touch is a step.
func (f *Faulty) Touch(ctx context.Context, name string) error {
	return f.step(ctx, "touch", name, func() error { return f.on.Touch(ctx, name) })
}

// Now is a step.
func (f *Faulty) Now(ctx context.Context) (time.Time, error) {
	return value(ctx, f, "now", "", func() (time.Time, error) { return f.on.Now(ctx) })
}

// Room is a step.
func (f *Faulty) Room(ctx context.Context) (int64, error) {
	return value(ctx, f, "room", "", func() (int64, error) { return f.on.Room(ctx) })
}
