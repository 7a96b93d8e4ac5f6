package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

const (
	// batchDeadline is how long one batch of domains may take; eight took 35 ms
	// when measured.
	batchDeadline = 1500 * time.Millisecond
	// aloneDeadline is the same for one domain that is under suspicion.
	aloneDeadline = 500 * time.Millisecond
	// balloonEvery is how many turns of a domain pass between two questions to
	// its balloon, which moves slower than its disks and costs as much.
	balloonEvery = 4
	// guestAge is how old what the balloon driver told may be.
	guestAge = time.Minute
)

// asked is a running domain that Figures was asked for.
type asked struct {
	candidate
	dom   libvirt.Domain
	stats libvirt.DomainStatsTypes
	last  backend.Figures
	facts *facts
	agent bool
}

// Figures asks the QEMUs of the given domains, as many as its ration of time
// allows. Domains that do not answer come back with StuckSince set.
func (h *Host) Figures(ctx context.Context, uuids []backend.UUID) ([]backend.Figures, error) {
	if err := h.take(ctx, h.figuring); err != nil {
		return nil, h.broken("figures", err)
	}
	defer func() { <-h.figuring }()
	wanted := h.table.wanted(uuids)
	h.refreshAddresses(wanted)
	free, alone := h.sort(wanted)
	got, err := h.askFree(ctx, free)
	if err == nil {
		var more []backend.Figures
		more, err = h.askAlone(ctx, alone)
		got = append(got, more...)
	}
	if err != nil {
		return nil, h.broken("figures", err)
	}
	return h.complete(wanted, got), nil
}

// sort splits the domains that may be asked together from those under
// suspicion that are due.
func (h *Host) sort(wanted []asked) (free, alone []asked) {
	now := h.now()
	h.stuck.forget(h.table.isActive)
	h.plan.forget(h.table.isActive)
	var from []candidate
	byUUID := make(map[backend.UUID]asked, len(wanted))
	for _, a := range wanted {
		held, due := h.stuck.holds(a.uuid, a.dom.ID, now)
		switch {
		case !held:
			from = append(from, a.candidate)
			byUUID[a.uuid] = a
		case due:
			a.stats = libvirt.DomainStatsBlock | libvirt.DomainStatsBalloon
			alone = append(alone, a)
		}
	}
	for _, u := range h.plan.choose(now, from) {
		a := byUUID[u]
		a.stats = h.groups(a)
		free = append(free, a)
	}
	slices.SortStableFunc(free, func(a, b asked) int { return int(a.stats) - int(b.stats) })
	return free, alone
}

// groups is what to ask a domain this turn.
func (h *Host) groups(a asked) libvirt.DomainStatsTypes {
	diskless := a.facts != nil && a.facts.disks == 0
	if diskless {
		return libvirt.DomainStatsBalloon
	}
	if h.plan.turn(a.uuid)%balloonEvery == 0 {
		return libvirt.DomainStatsBlock | libvirt.DomainStatsBalloon
	}
	return libvirt.DomainStatsBlock
}

// askFree asks in batches of domains that want the same groups.
func (h *Host) askFree(ctx context.Context, free []asked) (got []backend.Figures, err error) {
	for len(free) > 0 {
		n := 1
		for n < min(len(free), batchMost) && free[n].stats == free[0].stats {
			n++
		}
		batch := free[:n]
		free = free[n:]
		figs, err := h.askBatch(ctx, batch, batchDeadline)
		if errors.Is(err, errSilent) {
			more, err := h.askAlone(ctx, batch)
			return append(got, more...), err
		}
		if err != nil {
			return got, err
		}
		got = append(got, figs...)
	}
	return got, nil
}

// askAlone asks one by one, and quarantines those that keep it waiting.
func (h *Host) askAlone(ctx context.Context, alone []asked) (got []backend.Figures, err error) {
	for _, a := range alone {
		start := h.now()
		figs, err := h.askBatch(ctx, []asked{a}, aloneDeadline)
		if errors.Is(err, errSilent) {
			h.stuck.silent(a.uuid, a.dom.ID, start, h.now(), true)
			continue
		}
		if err != nil {
			return got, err
		}
		got = append(got, figs...)
	}
	return got, nil
}

// errSilent is the error of a batch that passed its own deadline.
var errSilent = fmt.Errorf("%w: a QEMU monitor", backend.ErrTimeout)

// askBatch asks for some domains in one call.
func (h *Host) askBatch(ctx context.Context, batch []asked, deadline time.Duration) ([]backend.Figures, error) {
	if h.bulkless.Load() || !h.qemu {
		return h.askPlain(ctx, batch)
	}
	doms := make([]libvirt.Domain, len(batch))
	for i, a := range batch {
		doms[i] = a.dom
	}
	bctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	start := h.now()
	recs, err := ask(bctx, h.dear, func(lv *libvirt.Libvirt) ([]libvirt.DomainStatsRecord, error) {
		return lv.ConnectGetAllDomainStats(doms, uint32(batch[0].stats), uint32(libvirt.ConnectGetAllDomainsStatsNowait))
	})
	end := h.now()
	h.plan.spent(end, max(0, end.Sub(start)-time.Duration(h.latency.Load())), len(batch))
	switch {
	case err == nil:
		return h.enter(batch, recs, start, end), nil
	case ctx.Err() != nil:
		return nil, ended(ctx)
	case bctx.Err() != nil:
		return nil, errSilent
	case unsupported(err):
		h.bulkless.Store(true)
		return h.askPlain(ctx, batch)
	case gone(err): // one of them stopped meanwhile: the next Poll tells which
		for _, a := range batch {
			h.table.touch(a.uuid, touchState)
		}
		return nil, nil
	}
	return nil, err
}

// enter turns records into figures and keeps them in the table.
func (h *Host) enter(batch []asked, recs []libvirt.DomainStatsRecord, start, end time.Time) []backend.Figures {
	byUUID := make(map[backend.UUID][]libvirt.TypedParam, len(recs))
	for _, r := range recs {
		byUUID[backend.UUID(r.Dom.UUID)] = r.Params
	}
	var out []backend.Figures
	for _, a := range batch {
		params, told := byUUID[a.uuid]
		if !told {
			h.table.touch(a.uuid, touchState)
			continue
		}
		f := a.last
		f.UUID, f.StuckSince, f.Addresses = a.uuid, time.Time{}, slices.Clone(f.Addresses)
		if !readFigures(params, &f, end) {
			// With NOWAIT a guest whose job somebody holds has no figures.
			h.stuck.silent(a.uuid, a.dom.ID, start, end, false)
			h.plan.asked(end, a.candidate, false)
			continue
		}
		h.stuck.release(a.uuid)
		h.plan.asked(end, a.candidate, sameDisk(f.Disk, a.last.Disk))
		h.table.setFigures(a.dom, f)
		out = append(out, f)
	}
	return out
}

func sameDisk(a, b backend.DiskCounter) bool {
	a.At, b.At = time.Time{}, time.Time{}
	return a == b
}

// complete adds the stuck ones and news of addresses to what was read.
func (h *Host) complete(wanted []asked, got []backend.Figures) []backend.Figures {
	have := make(map[backend.UUID]bool, len(got))
	for _, f := range got {
		have[f.UUID] = true
	}
	for _, a := range wanted {
		f, ok := h.table.lastFigures(a.uuid)
		if !ok || have[a.uuid] {
			continue
		}
		f.UUID, f.StuckSince = a.uuid, h.stuck.since(a.uuid)
		if !f.StuckSince.IsZero() || f.AddressesAt.After(a.last.AddressesAt) {
			got = append(got, f)
		}
	}
	return got
}

// readFigures reads the block and balloon groups of virDomainStats. It is
// false when nothing in them came from the QEMU.
func readFigures(params []libvirt.TypedParam, f *backend.Figures, now time.Time) bool {
	var disk backend.DiskCounter
	var disks bool
	balloon := map[string]uint64{}
	for _, p := range params {
		if b, ok := indexed(p.Field, libvirt.DomainStatsBlockPrefix); ok {
			disks = addBlock(&disk, b.name, p) || disks
		} else if len(p.Field) > 8 && p.Field[:8] == "balloon." {
			balloon[p.Field[8:]] = unsigned(p)
		}
	}
	if disks {
		disk.At = now
		f.Disk = disk
	}
	if _, ok := balloon["rss"]; !ok {
		return disks
	}
	f.Mem = memoryOf(balloon, now)
	return true
}

// addBlock adds one counter of one device; false for what is no counter.
func addBlock(d *backend.DiskCounter, name string, p libvirt.TypedParam) bool {
	v := unsigned(p)
	switch name {
	case "rd.bytes":
		d.ReadBytes += v
	case "wr.bytes":
		d.WriteBytes += v
	case "rd.reqs":
		d.ReadOps += v
	case "wr.reqs":
		d.WriteOps += v
	case "fl.reqs":
		d.FlushOps += v
	case "rd.times":
		d.ReadTime += time.Duration(v)
	case "wr.times":
		d.WriteTime += time.Duration(v)
	default:
		return false
	}
	return true
}

// memoryOf reads the balloon group, which is in KiB: the guest's own word when
// its driver gave it lately, else what the QEMU process holds.
func memoryOf(b map[string]uint64, now time.Time) backend.MemoryFigure {
	m := backend.MemoryFigure{At: now, Used: b["rss"] << 10, Current: b["current"] << 10, Source: backend.MemoryResident}
	told := time.Unix(int64(b["last-update"]), 0)
	if b["last-update"] != 0 && now.Sub(told) > guestAge {
		if m.Used == 0 {
			return backend.MemoryFigure{}
		}
		return m
	}
	spare, ok := b["usable"]
	if !ok {
		unused, known := b["unused"]
		spare, ok = unused+b["disk_caches"], known
	}
	if total := b["available"]; ok && total > 0 && spare <= total {
		m.Used, m.Source = (total-spare)<<10, backend.MemoryGuest
	}
	if m.Used == 0 {
		return backend.MemoryFigure{} // nobody told
	}
	return m
}

// wanted is the running ones among the given domains.
func (t *table) wanted(uuids []backend.UUID) []asked {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]asked, 0, len(uuids))
	for _, u := range uuids {
		if e := t.domains[u]; e != nil && e.active() {
			out = append(out, asked{
				candidate: candidate{uuid: u, cpu: e.cpu},
				dom:       e.dom, last: e.figures, facts: e.facts, agent: e.agentUp,
			})
		}
	}
	return out
}

func (t *table) isActive(u backend.UUID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.domains[u]
	return e != nil && e.active()
}

// setFigures keeps what a domain's QEMU told, but for its addresses.
func (t *table) setFigures(d libvirt.Domain, f backend.Figures) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.domains[backend.UUID(d.UUID)]; e != nil && e.dom.ID == d.ID {
		e.figures.Disk, e.figures.Mem = f.Disk, f.Mem
	}
}

// lastFigures is a copy of a running domain's last figures.
func (t *table) lastFigures(u backend.UUID) (backend.Figures, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.domains[u]
	if e == nil || !e.active() {
		return backend.Figures{}, false
	}
	f := e.figures
	f.Addresses = slices.Clone(f.Addresses)
	return f, true
}
