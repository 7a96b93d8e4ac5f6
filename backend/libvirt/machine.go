package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

// machiner is a target beside whose daemon berth can work; dial.Target is one.
type machiner interface {
	Machine(ctx context.Context, readOnly bool) (dial.Machine, error)
}

// road is the way to the host's machine, opened when needed.
type road struct {
	turn chan struct{} // held while it is being opened
	mu   sync.Mutex
	m    dial.Machine
}

// current is the machine while it can be used, else nil.
func (r *road) current() dial.Machine {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil || !r.m.Alive() {
		return nil
	}
	return r.m
}

// set replaces the machine and closes the one before.
func (r *road) set(m dial.Machine) {
	r.mu.Lock()
	old := r.m
	r.m = m
	r.mu.Unlock()
	if old != nil {
		_ = old.Close() // it is of no more use
	}
}

// machine is what the daemon runs on. Data goes over a connection of its own,
// which no stuck call of libvirt's ever closes.
func (h *Host) machine(ctx context.Context) (dial.Machine, error) {
	if h.life.Err() != nil {
		return nil, backend.ErrClosed
	}
	if m := h.road.current(); m != nil {
		return m, nil
	}
	if err := h.take(ctx, h.road.turn); err != nil {
		return nil, err
	}
	defer func() { <-h.road.turn }()
	if m := h.road.current(); m != nil { // somebody else was faster
		return m, nil
	}
	t, ok := h.target.(machiner)
	if !ok {
		return nil, fmt.Errorf("%w: berth reaches libvirt alone there, not the host's files", backend.ErrUnsupported)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.life, cancel)()
	m, err := t.Machine(ctx, h.readOnly)
	if err != nil {
		if h.life.Err() != nil {
			err = backend.ErrClosed
		}
		return nil, err
	}
	h.road.set(m)
	if h.life.Err() != nil {
		h.road.set(nil)
		return nil, backend.ErrClosed
	}
	return m, nil
}

// onFile gives the errors of files their sentinels and hints.
func onFile(err error) error {
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrPermission):
		return &backend.OpError{Op: "use", Target: "the host's files", Err: fmt.Errorf("%w: %w", backend.ErrAuth, err),
			Hint: "run berth, or log in by ssh, as a user that may (root)"}
	case isNoSpace(err):
		return fmt.Errorf("%w: %w", backend.ErrNoRoom, err)
	}
	return err
}
