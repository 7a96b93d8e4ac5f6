package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"berth/backend"
)

var _ backend.Storage = (*host)(nil)

// writable says that the host refuses changes, or nil.
func (h *host) writable(op, target string) error {
	if h.ReadOnly() {
		return failed(op, target, backend.ErrReadOnly, hintReadOnly)
	}
	return nil
}

// Pools returns the host's storage pools.
func (h *host) Pools(ctx context.Context) ([]backend.Pool, error) {
	if err := h.enter(ctx, "list the pools of"); err != nil {
		return nil, err
	}
	entries := h.listed()
	h.leave()
	used, count := map[string]uint64{}, map[string]int{}
	for _, e := range entries {
		if e.img != nil {
			used[e.shown.Pool] += uint64(realOf(e.img))
			count[e.shown.Pool]++
		}
	}
	if err := h.enter(ctx, "list the pools of"); err != nil {
		return nil, err
	}
	defer h.leave()
	var list []backend.Pool
	for _, p := range h.poolsOf() {
		row := backend.Pool{Host: h.name, Name: p.name, UUID: h.poolUUID(p), Type: p.kind, Path: p.path,
			Active: p.active, Autostart: p.autostart, Trouble: p.trouble}
		if p.active {
			row.Capacity, row.Available = p.sizes(h.fleet, used[p.name])
			row.Allocation, row.Volumes = row.Capacity-row.Available, count[p.name]
		}
		list = append(list, row)
	}
	return list, nil
}

// PoolDo starts, stops or refreshes a pool, or changes whether it is started
// with the host.
func (h *host) PoolDo(ctx context.Context, name string, verb backend.PoolVerb) error {
	if err := h.writable("change the pool", name); err != nil {
		return err
	}
	return h.poolDo(ctx, name, verb)
}

func (h *host) poolDo(ctx context.Context, name string, verb backend.PoolVerb) error {
	op := string(verb) + " the pool"
	if err := h.enter(ctx, op); err != nil {
		return err
	}
	defer h.leave()
	i := slices.IndexFunc(h.poolsOf(), func(p *pool) bool { return p.name == name })
	if i < 0 {
		return failed(op, name, fmt.Errorf("%w: %s has no such pool", backend.ErrNoStorage, h.name), "")
	}
	if err := h.poolVerb(i, verb); err != nil {
		return failed(op, name, err, "")
	}
	return nil
}

func (h *host) poolVerb(i int, verb backend.PoolVerb) error {
	p := h.pools[i]
	switch verb {
	case backend.PoolStart:
		if p.active {
			return fmt.Errorf("%w: it is running", backend.ErrState)
		}
		if p.trouble != "" {
			return fmt.Errorf("%w: %s", backend.ErrUnreachable, p.trouble)
		}
		p.active = true
	case backend.PoolDestroy, backend.PoolRefresh:
		if !p.active {
			return fmt.Errorf("%w: it does not run", backend.ErrState)
		}
		p.active = verb == backend.PoolRefresh
	case backend.PoolAutostartOn, backend.PoolAutostartOff:
		p.autostart = verb == backend.PoolAutostartOn
	case backend.PoolUndefine:
		if p.active {
			return fmt.Errorf("%w: it is running; stop it first", backend.ErrState)
		}
		h.pools = slices.Delete(h.pools, i, i+1)
	default:
		return fmt.Errorf("%w: %q", backend.ErrUnsupported, string(verb))
	}
	return nil
}

// DefinePool makes a pool and starts it.
func (h *host) DefinePool(ctx context.Context, s backend.PoolSpec) error {
	if err := h.writable("make the pool", s.Name); err != nil {
		return err
	}
	return h.definePool(ctx, s)
}

func (h *host) definePool(ctx context.Context, s backend.PoolSpec) error {
	const op = "make the pool"
	if err := h.enter(ctx, op); err != nil {
		return err
	}
	defer h.leave()
	if err := h.checkPool(s); err != nil {
		return failed(op, s.Name, err, "")
	}
	h.pools = append(h.pools, &pool{name: s.Name, kind: "dir", path: filepath.Clean(s.Path), active: true, autostart: s.Autostart})
	slices.SortFunc(h.pools, func(a, b *pool) int { return strings.Compare(a.name, b.name) })
	return nil
}

func (h *host) checkPool(s backend.PoolSpec) error {
	if err := checkName(s.Name); err != nil {
		return err
	}
	if !filepath.IsAbs(s.Path) {
		return fmt.Errorf("%w path %q: it does not begin with /", backend.ErrInvalid, s.Path)
	}
	for _, p := range h.poolsOf() {
		if p.name == s.Name {
			return fmt.Errorf("%w: %s has a pool of that name", backend.ErrInvalid, h.name)
		}
		if p.path == filepath.Clean(s.Path) {
			return fmt.Errorf("%w: the pool %s has that folder", backend.ErrInvalid, p.name)
		}
	}
	return nil
}
