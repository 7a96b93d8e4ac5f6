package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// detailDeadline bounds what only the domain's QEMU can tell.
const detailDeadline = time.Second

// Detail reads one domain in depth. What does not answer in time is named in
// Missing; the rest comes all the same.
func (h *Host) Detail(ctx context.Context, u backend.UUID) (backend.Detail, error) {
	const op = "look into"
	if err := h.know(ctx, u); err != nil {
		return backend.Detail{}, failed(op, h.label(u), err)
	}
	dom, ok := h.table.domain(u)
	if !ok {
		return backend.Detail{}, failed(op, u.String(), backend.ErrNoDomain)
	}
	live, err := h.xml(ctx, u, 0)
	if err != nil {
		return backend.Detail{}, failed(op, h.label(u), err)
	}
	x, err := parseDomain(live)
	if err != nil {
		return backend.Detail{}, failed(op, h.label(u), err)
	}
	q := &inquiry{h: h, dom: dom, xml: x, run: dom.ID}
	q.d.At = h.now()
	q.d.VM, _ = h.table.vm(u, h.name)
	q.d.VM.StuckSince = h.stuck.since(u)
	describe(&q.d, x)
	q.ask(ctx, live)
	slices.Sort(q.d.Missing)
	if err := ctx.Err(); err != nil && errors.Is(err, context.Canceled) {
		return q.d, failed(op, h.label(u), err)
	}
	return q.d, nil
}

// know makes sure that the table has the domain with its facts and counters.
func (h *Host) know(ctx context.Context, u backend.UUID) error {
	if err := h.learnOf(ctx, u); err != nil {
		return err
	}
	vm, ok := h.table.vm(u, h.name)
	if !ok || !vm.State.Active() || !vm.CPU.At.IsZero() {
		return nil
	}
	select {
	case h.polling <- struct{}{}: // else the Poll under way counts
		defer func() { <-h.polling }()
		return h.count(ctx)
	default:
		return nil
	}
}

// learnOf reads identity and definition of a domain that the table lacks.
func (h *Host) learnOf(ctx context.Context, u backend.UUID) error {
	vm, ok := h.table.vm(u, h.name)
	if ok && !vm.FactsAt.IsZero() {
		return nil
	}
	if !ok {
		if err := h.reread(ctx, map[backend.UUID]touch{u: touchState}); err != nil {
			return err
		}
	}
	d, ok := h.table.domain(u)
	if !ok {
		return backend.ErrNoDomain
	}
	if err := h.readFlags(ctx); err != nil {
		return err
	}
	return h.readFactsOf(ctx, d)
}

// inquiry is one Detail under way. Its parts run at the same time.
type inquiry struct {
	h   *Host
	dom libvirt.Domain
	xml *domainXML
	run int32

	mu sync.Mutex // guards d
	d  backend.Detail
}

// ask asks everything that the definition does not tell.
func (q *inquiry) ask(ctx context.Context, live string) {
	active := q.d.VM.State.Active()
	var wg sync.WaitGroup
	if active {
		wg.Go(func() { q.part("live figures", q.live(ctx)) })
		wg.Go(func() { q.part("network figures", q.network(ctx)) })
		wg.Go(func() { q.part("addresses", q.leases(ctx)) })
		if q.d.VM.Persistent {
			wg.Go(func() { q.part("stored definition", q.compare(ctx, live)) })
		}
	} else {
		wg.Go(func() { q.part("disk sizes", q.sizes(ctx)) })
	}
	wg.Go(func() { q.part("snapshots", q.snapshots(ctx)) })
	wg.Go(func() { q.part("checkpoints", q.checkpoints(ctx)) })
	wg.Wait()
}

// part notes what could not be read. What a driver does not have is no loss.
func (q *inquiry) part(what string, err error) {
	if err == nil || unsupported(err) || gone(err) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.d.Missing = append(q.d.Missing, fmt.Sprintf("%s: %v", what, coded(err)))
}

// live asks the QEMU: vCPUs, block devices, balloon. A guest that is known to
// be stuck is not asked.
func (q *inquiry) live(ctx context.Context) error {
	h, u := q.h, backend.UUID(q.dom.UUID)
	if !h.qemu {
		return q.vcpus(ctx)
	}
	start := h.now()
	if held, due := h.stuck.holds(u, q.run, start); held && !due {
		q.part("vCPU times", q.vcpus(ctx))
		return fmt.Errorf("%w since %s", backend.ErrStuck, h.stuckWhen(u))
	}
	recs, err := q.stats(ctx, h.single, libvirt.DomainStatsVCPU|libvirt.DomainStatsBlock|libvirt.DomainStatsBalloon)
	if errors.Is(err, backend.ErrTimeout) && ctx.Err() == nil {
		h.stuck.silent(u, q.run, start, h.now(), true)
		q.part("vCPU times", q.vcpus(ctx))
		return fmt.Errorf("%w", backend.ErrStuck)
	}
	if err != nil {
		return err
	}
	q.mu.Lock()
	told := readDetail(&q.d, recs, h.now())
	q.mu.Unlock()
	if !told {
		h.stuck.silent(u, q.run, start, h.now(), false)
		q.part("vCPU times", q.vcpus(ctx))
		return fmt.Errorf("%w, or somebody else keeps it busy", backend.ErrStuck)
	}
	h.stuck.release(u)
	return nil
}

// stuckWhen is the time of day since when a domain is stuck.
func (h *Host) stuckWhen(u backend.UUID) string {
	t := h.stuck.since(u)
	if t.IsZero() {
		return "a moment ago"
	}
	return t.Format("15:04:05")
}

// stats asks some groups of virDomainStats about this domain alone.
func (q *inquiry) stats(ctx context.Context, l *lane, groups libvirt.DomainStatsTypes) ([]libvirt.TypedParam, error) {
	ctx, cancel := context.WithTimeout(ctx, detailDeadline)
	defer cancel()
	recs, err := ask(ctx, l, func(lv *libvirt.Libvirt) ([]libvirt.DomainStatsRecord, error) {
		return lv.ConnectGetAllDomainStats([]libvirt.Domain{q.dom}, uint32(groups), uint32(libvirt.ConnectGetAllDomainsStatsNowait))
	})
	if err != nil || len(recs) == 0 {
		return nil, err
	}
	return recs[0].Params, nil
}

// sizes asks for the disks of a domain that is off.
func (q *inquiry) sizes(ctx context.Context) error {
	params, err := q.stats(ctx, q.h.single, libvirt.DomainStatsBlock)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	readDetail(&q.d, params, time.Time{})
	return nil
}

// network asks for each card's counters, which never reaches the QEMU.
func (q *inquiry) network(ctx context.Context) error {
	params, err := q.stats(ctx, q.h.cheap, libvirt.DomainStatsInterface)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	readNICs(q.d.NICs, params, q.h.now())
	return nil
}

// leases asks libvirt's DHCP servers for each card's addresses; a single card
// also gets what the list knows from elsewhere.
func (q *inquiry) leases(ctx context.Context) error {
	if len(q.d.NICs) == 0 {
		return nil
	}
	ifaces, err := q.h.addresses(ctx, q.dom, libvirt.DomainInterfaceAddressesSrcLease)
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, i := range ifaces {
		for n := range q.d.NICs {
			if len(i.Hwaddr) == 1 && i.Hwaddr[0] == q.d.NICs[n].MAC {
				q.d.NICs[n].Addresses = append(q.d.NICs[n].Addresses, usable([]libvirt.DomainInterface{i})...)
			}
		}
	}
	if n := &q.d.NICs[0]; len(q.d.NICs) == 1 && len(n.Addresses) == 0 {
		n.Addresses = slices.Clone(q.d.VM.Addresses)
	}
	return err
}

// compare tells whether a restart would change the domain.
func (q *inquiry) compare(ctx context.Context, live string) error {
	stored, err := q.h.xml(ctx, backend.UUID(q.dom.UUID), libvirt.DomainXMLInactive)
	if err != nil {
		return err
	}
	differs, err := definitionsDiffer(live, stored)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.d.Differs = differs
	return err
}

// vcpuStates are the words of virVcpuState.
var vcpuStates = []string{"offline", "running", "blocked"}

// vcpus asks for the vCPUs' times in a way that does not need the monitor.
func (q *inquiry) vcpus(ctx context.Context) error {
	n := int32(max(q.d.VM.VCPUs, 1))
	info, err := ask(ctx, q.h.cheap, func(lv *libvirt.Libvirt) ([]libvirt.VcpuInfo, error) {
		info, _, err := lv.DomainGetVcpus(q.dom, n, 0)
		return info, err
	})
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.d.VCPU = nil
	for _, v := range info {
		q.d.VCPU = append(q.d.VCPU, backend.VCPUCounter{
			Number: int(v.Number), Used: time.Duration(v.CPUTime), State: word(vcpuStates, v.State),
		})
	}
	return nil
}
