package libvirt

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

const (
	// addressesEvery is how often a domain's addresses are asked for, and
	// addressesSoon how often while none is known.
	addressesEvery = 30 * time.Second
	addressesSoon  = 5 * time.Second
	// addressDeadline bounds one question; an agent may never answer.
	addressDeadline = 2 * time.Second
	// addressRound bounds the work one Figures sets off.
	addressRound = 5 * time.Second
	// agentPause is how long a silent agent is left alone at first; it doubles.
	agentPause     = time.Minute
	agentPauseMost = 16 * time.Minute
)

// addressBook says whose addresses are due. Its zero value is ready.
type addressBook struct {
	mu   sync.Mutex
	busy bool
	next map[backend.UUID]time.Time
	hush map[backend.UUID]*pause
}

// pause is how long an agent that did not answer is left alone.
type pause struct {
	run   int32
	until time.Time
	wait  time.Duration
}

// refreshAddresses starts to ask for the addresses that are due, in the
// background: they are in what a later Figures returns.
func (h *Host) refreshAddresses(wanted []asked) {
	due := h.lookup.due(wanted, h.now())
	if len(due) == 0 {
		return
	}
	h.spawn(func() {
		defer h.lookup.done()
		ctx, cancel := context.WithTimeout(h.life, addressRound)
		defer cancel()
		for _, a := range due {
			if ctx.Err() != nil {
				return
			}
			h.findAddresses(ctx, a)
		}
	})
}

// due picks the domains to ask for now; none while a round is under way.
func (b *addressBook) due(wanted []asked, now time.Time) []asked {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy {
		return nil
	}
	if b.next == nil {
		b.next, b.hush = map[backend.UUID]time.Time{}, map[backend.UUID]*pause{}
	}
	for u, at := range b.next {
		if now.Sub(at) > 10*addressesEvery { // long not asked for, or gone
			delete(b.next, u)
			delete(b.hush, u)
		}
	}
	var due []asked
	for _, a := range wanted {
		if a.facts == nil || len(a.facts.nics) == 0 || now.Before(b.next[a.uuid]) {
			continue
		}
		due = append(due, a)
	}
	b.busy = len(due) > 0
	return due
}

func (b *addressBook) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = false
}

// findAddresses asks the DHCP server of libvirt's networks, then the guest's
// agent, then the host's ARP table, until one knows.
func (h *Host) findAddresses(ctx context.Context, a asked) {
	var found []string
	for _, src := range h.lookup.sources(a, h.now()) {
		ifaces, err := h.addresses(ctx, a.dom, src)
		if src == libvirt.DomainInterfaceAddressesSrcAgent {
			h.lookup.agent(a, h.now(), err)
		}
		if err != nil {
			continue // a source that does not know is no failure: the next may
		}
		if found = usable(ifaces); len(found) > 0 {
			break
		}
	}
	now := h.now()
	h.lookup.wait(a.uuid, now, len(found) > 0)
	h.table.setAddresses(a.dom, found, now)
}

func (h *Host) addresses(ctx context.Context, d libvirt.Domain, src libvirt.DomainInterfaceAddressesSource) ([]libvirt.DomainInterface, error) {
	ctx, cancel := context.WithTimeout(ctx, addressDeadline)
	defer cancel()
	return ask(ctx, h.single, func(lv *libvirt.Libvirt) ([]libvirt.DomainInterface, error) {
		return lv.DomainInterfaceAddresses(d, uint32(src), 0)
	})
}

// sources is who may know a domain's addresses, the cheapest first.
func (b *addressBook) sources(a asked, now time.Time) []libvirt.DomainInterfaceAddressesSource {
	var s []libvirt.DomainInterfaceAddressesSource
	if slices.ContainsFunc(a.facts.nics, func(n nicFact) bool { return n.leases }) {
		s = append(s, libvirt.DomainInterfaceAddressesSrcLease)
	}
	b.mu.Lock()
	p := b.hush[a.uuid]
	quiet := p != nil && p.run == a.dom.ID && now.Before(p.until)
	b.mu.Unlock()
	if a.agent && !quiet {
		s = append(s, libvirt.DomainInterfaceAddressesSrcAgent)
	}
	return append(s, libvirt.DomainInterfaceAddressesSrcArp)
}

// agent enters how an agent answered.
func (b *addressBook) agent(a asked, now time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		delete(b.hush, a.uuid)
		return
	}
	if !errors.Is(coded(err), backend.ErrNoAgent) && !errors.Is(err, backend.ErrTimeout) {
		return
	}
	p := b.hush[a.uuid]
	if p == nil || p.run != a.dom.ID {
		p = &pause{run: a.dom.ID, wait: agentPause / 2}
		b.hush[a.uuid] = p
	}
	p.wait = min(2*p.wait, agentPauseMost)
	p.until = now.Add(p.wait)
}

// wait sets when a domain is next asked.
func (b *addressBook) wait(u backend.UUID, now time.Time, found bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if found {
		b.next[u] = now.Add(addressesEvery)
	} else {
		b.next[u] = now.Add(addressesSoon)
	}
}

// usable is the addresses one could reach a guest at: no loopback, no
// link-local, IPv4 first.
func usable(ifaces []libvirt.DomainInterface) []string {
	var v4, v6 []string
	for _, i := range ifaces {
		for _, a := range i.Addrs {
			ip, err := netip.ParseAddr(a.Addr)
			if err != nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() {
				continue
			}
			ip = ip.Unmap().WithZone("")
			if ip.Is4() {
				v4 = append(v4, ip.String())
			} else {
				v6 = append(v6, ip.String())
			}
		}
	}
	all := append(v4, v6...)
	out := all[:0]
	for _, s := range all {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// setAddresses keeps a run's addresses.
func (t *table) setAddresses(d libvirt.Domain, found []string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.domains[backend.UUID(d.UUID)]
	if e == nil || e.dom.ID != d.ID {
		return
	}
	if len(found) > 0 || !e.figures.AddressesAt.IsZero() && at.Sub(e.figures.AddressesAt) > 2*addressesEvery {
		e.figures.Addresses = found
		e.figures.AddressesAt = at
	} else if e.figures.AddressesAt.IsZero() {
		e.figures.AddressesAt = at
	}
}
