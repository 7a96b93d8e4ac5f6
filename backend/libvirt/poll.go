package libvirt

import (
	"context"
	"errors"
	"time"

	"github.com/digitalocean/go-libvirt"
	"golang.org/x/sync/errgroup"

	"berth/backend"
)

const (
	// sweepEvery is how often the whole host is listed while events keep
	// the table current; without events every Poll does.
	sweepEvery = 10 * time.Second
	// flagsEvery is the same for what no event tells: autostart, saved
	// states, snapshots.
	flagsEvery = 10 * time.Second
	// touchedMost is how many domains are read again one by one; above it one
	// sweep is cheaper.
	touchedMost = 32
	// pipeline is how many calls are under way at once on one connection. A
	// daemon serves five (max_client_requests).
	pipeline = 4
)

// Poll returns every domain. See the package comment for what it asks.
func (h *Host) Poll(ctx context.Context) (backend.Poll, error) {
	if err := h.take(ctx, h.polling); err != nil {
		return backend.Poll{}, h.broken("poll", err)
	}
	defer func() { <-h.polling }()
	first, err := h.refresh(ctx)
	if err != nil {
		return backend.Poll{}, h.broken("poll", err)
	}
	if !first {
		if err := h.count(ctx); err != nil {
			return backend.Poll{}, h.broken("poll", err)
		}
		if err := h.readFacts(ctx); err != nil {
			return backend.Poll{}, h.broken("poll", err)
		}
	}
	p := backend.Poll{At: h.now(), VMs: h.table.snapshot(h.name)}
	for i := range p.VMs {
		p.VMs[i].StuckSince = h.stuck.since(p.VMs[i].UUID)
	}
	return p, nil
}

// refresh brings identity and state up to date and reports whether the table
// was empty before.
func (h *Host) refresh(ctx context.Context) (first bool, err error) {
	touched := h.table.take()
	now := h.now()
	h.table.mu.Lock()
	swept, flagged := h.table.sweptAt, h.table.flagsAt
	h.table.mu.Unlock()
	first = swept.IsZero()

	switch {
	case first, h.watches.Load() == 0, len(touched) > touchedMost, now.Sub(swept) >= sweepEvery:
		err = h.sweep(ctx)
	case len(touched) > 0:
		err = h.reread(ctx, touched)
	}
	if err == nil && (first || flagTouched(touched) || now.Sub(flagged) >= flagsEvery) {
		err = h.readFlags(ctx)
	}
	if err != nil {
		h.giveBack(touched)
		return first, err
	}
	for u, what := range touched {
		if what&touchFacts != 0 {
			h.table.staleFacts(u)
		}
	}
	return first, nil
}

func flagTouched(m map[backend.UUID]touch) bool {
	for _, what := range m {
		if what&touchFlags != 0 {
			return true
		}
	}
	return false
}

// giveBack puts touches back for the next Poll.
func (h *Host) giveBack(m map[backend.UUID]touch) {
	for u, what := range m {
		h.table.touch(u, what)
	}
}

// sweep lists every domain with its state.
func (h *Host) sweep(ctx context.Context) error {
	seen, err := h.list(ctx)
	if err != nil {
		return err
	}
	h.table.replace(seen, h.now())
	return nil
}

// list asks for all domains and their states in one call where the driver can.
func (h *Host) list(ctx context.Context) ([]sighting, error) {
	if !h.bulkless.Load() {
		seen, err := ask(ctx, h.cheap, bulkStates)
		if !unsupported(err) {
			return seen, err
		}
		h.bulkless.Store(true)
	}
	doms, err := ask(ctx, h.cheap, func(lv *libvirt.Libvirt) ([]libvirt.Domain, error) {
		doms, _, err := lv.ConnectListAllDomains(1, libvirt.ConnectListDomainsActive|libvirt.ConnectListDomainsInactive)
		return doms, err
	})
	if err != nil {
		return nil, err
	}
	return h.states(ctx, doms)
}

// bulkStates reads identity and state of all domains. It never reaches a QEMU.
func bulkStates(lv *libvirt.Libvirt) ([]sighting, error) {
	recs, err := lv.ConnectGetAllDomainStats(nil, uint32(libvirt.DomainStatsState), 0)
	if err != nil {
		return nil, err
	}
	seen := make([]sighting, 0, len(recs))
	for _, r := range recs {
		s := sighting{dom: r.Dom}
		for _, p := range r.Params {
			switch p.Field {
			case libvirt.DomainStatsStateState:
				s.state, _ = p.Value.I.(int32)
			case libvirt.DomainStatsStateReason:
				s.reason, _ = p.Value.I.(int32)
			}
		}
		seen = append(seen, s)
	}
	return seen, nil
}

// states asks each domain's state singly. Those that vanished meanwhile are
// left out.
func (h *Host) states(ctx context.Context, doms []libvirt.Domain) ([]sighting, error) {
	found := make([]*sighting, len(doms))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(pipeline)
	for i, d := range doms {
		g.Go(func() error {
			s, err := ask(gctx, h.cheap, func(lv *libvirt.Libvirt) (*sighting, error) { return stateNow(lv, d) })
			if gone(err) {
				return nil
			}
			found[i] = s
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	seen := make([]sighting, 0, len(found))
	for _, s := range found {
		if s != nil {
			seen = append(seen, *s)
		}
	}
	return seen, nil
}

func stateNow(lv *libvirt.Libvirt, d libvirt.Domain) (*sighting, error) {
	state, reason, err := lv.DomainGetState(d, 0)
	return &sighting{dom: d, state: state, reason: reason}, err
}

// gone reports whether the error says that the domain exists no more.
func gone(err error) bool { return errors.Is(coded(err), backend.ErrNoDomain) }

// reread looks up the touched domains again: name, number, state.
func (h *Host) reread(ctx context.Context, touched map[backend.UUID]touch) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(pipeline)
	for u := range touched {
		g.Go(func() error {
			s, err := ask(gctx, h.cheap, func(lv *libvirt.Libvirt) (*sighting, error) {
				d, err := lv.DomainLookupByUUID(libvirt.UUID(u))
				if err != nil {
					return nil, err
				}
				return stateNow(lv, d)
			})
			h.table.mu.Lock()
			defer h.table.mu.Unlock()
			switch {
			case gone(err):
				h.table.drop(u)
				return nil
			case err != nil:
				return err
			}
			h.table.put(*s, h.now())
			return nil
		})
	}
	return g.Wait()
}

// readFlags asks which domains are transient, start by themselves, have a
// saved state or snapshots: one call each, whatever the number of domains.
func (h *Host) readFlags(ctx context.Context) error {
	filters := []libvirt.ConnectListAllDomainsFlags{
		libvirt.ConnectListDomainsTransient, libvirt.ConnectListDomainsAutostart,
		libvirt.ConnectListDomainsManagedsave, libvirt.ConnectListDomainsHasSnapshot,
	}
	sets := make([]map[backend.UUID]bool, len(filters))
	g, gctx := errgroup.WithContext(ctx)
	for i, f := range filters {
		g.Go(func() error {
			doms, err := ask(gctx, h.cheap, func(lv *libvirt.Libvirt) ([]libvirt.Domain, error) {
				doms, _, err := lv.ConnectListAllDomains(1, f)
				return doms, err
			})
			if err != nil && !unsupported(err) {
				return err
			}
			sets[i] = make(map[backend.UUID]bool, len(doms))
			for _, d := range doms {
				sets[i][backend.UUID(d.UUID)] = true
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	h.table.flags(sets[0], sets[1], sets[2], sets[3], h.now())
	return h.countSnapshots(ctx, sets[3])
}

// countSnapshots asks the number of snapshots of the domains that have any.
func (h *Host) countSnapshots(ctx context.Context, have map[backend.UUID]bool) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(pipeline)
	for u := range have {
		d, ok := h.table.domain(u)
		if !ok {
			continue
		}
		g.Go(func() error {
			n, err := ask(gctx, h.cheap, func(lv *libvirt.Libvirt) (int32, error) { return lv.DomainSnapshotNum(d, 0) })
			if err != nil {
				n = -1
			}
			h.table.setSnapshots(u, int(n))
			if err != nil && !errors.As(coded(err), new(*daemonError)) {
				return err
			}
			return nil
		})
	}
	return g.Wait()
}
