package libvirt

import (
	"context"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

const (
	// factsBudget is how long one Poll reads definitions; what is left over is
	// read by the next.
	factsBudget = 30 * time.Millisecond
	// factsRush is the budget while many have never been read.
	factsRush = 90 * time.Millisecond
	// factsAge is when a definition is read again without cause: with events
	// as a safety net, without them because nothing else tells.
	factsAge        = 10 * time.Minute
	factsAgeBlind   = time.Minute
	factsRetryAfter = 15 * time.Second
)

// facts is what a definition tells. Never changed once made.
type facts struct {
	at                 time.Time
	vcpus              int
	memoryMax          uint64
	memoryNow          uint64 // the balloon when the definition was read
	title, description string
	tags               []string
	os                 string
	hasAgent, agentUp  bool
	disks              int
	targets            []string // the disks' names in the guest
	nics               []nicFact
}

// nicFact is a network card's device on the host.
type nicFact struct {
	device string // "" while off or without one
	swap   bool   // the device counts the other way round
	leases bool   // on a libvirt network, whose DHCP server may know its address
}

// makeFacts picks the facts from a definition and cleans them.
func makeFacts(d *domainXML, at time.Time) *facts {
	f := &facts{
		at: at, vcpus: d.VCPU.online(), memoryMax: d.Memory.bytes(), memoryNow: d.Current.bytes(),
		title: backend.Clean(d.Title), description: backend.Clean(d.Description), os: d.Metadata.osName(),
		disks: len(d.Devices.Disks),
	}
	if f.memoryNow == 0 {
		f.memoryNow = f.memoryMax
	}
	for _, t := range d.Metadata.Tags.Tag {
		f.tags = append(f.tags, backend.Clean(t))
	}
	for i := range d.Devices.Disks {
		f.targets = append(f.targets, d.Devices.Disks[i].Target.Dev)
	}
	f.hasAgent, f.agentUp = d.Devices.agent()
	for i := range d.Devices.Interfaces {
		n := &d.Devices.Interfaces[i]
		f.nics = append(f.nics, nicFact{device: n.Target.Dev, swap: n.swapped(), leases: n.Source.Network != ""})
	}
	return f
}

// readFacts reads the definitions that are wanted, running domains first,
// until its budget is spent.
func (h *Host) readFacts(ctx context.Context) error {
	wanted, never := h.table.wantFacts(h.now(), h.factsAge())
	if len(wanted) == 0 {
		return nil
	}
	budget := factsBudget
	if never > 20 {
		budget = factsRush
	}
	until := h.now().Add(budget)
	var (
		mu    sync.Mutex
		fatal error
		wg    sync.WaitGroup
	)
	next := func() (libvirt.Domain, bool) {
		mu.Lock()
		defer mu.Unlock()
		if fatal != nil || len(wanted) == 0 || !h.now().Before(until) {
			return libvirt.Domain{}, false
		}
		d := wanted[0]
		wanted = wanted[1:]
		return d, true
	}
	for range min(pipeline, len(wanted)) {
		wg.Go(func() {
			for d, ok := next(); ok; d, ok = next() {
				if err := h.readFactsOf(ctx, d); err != nil {
					mu.Lock()
					fatal = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return fatal
}

// readFactsOf reads one definition. A definition that cannot be had is tried
// again later; only the loss of the connection is an error.
func (h *Host) readFactsOf(ctx context.Context, d libvirt.Domain) error {
	text, err := ask(ctx, h.cheap, func(lv *libvirt.Libvirt) (string, error) { return lv.DomainGetXMLDesc(d, 0) })
	if err == nil {
		var x *domainXML
		if x, err = parseDomain(text); err == nil {
			h.table.setFacts(d, makeFacts(x, h.now()))
			return nil
		}
	}
	if _, ours := coded(err).(*daemonError); !ours && !isInvalid(err) {
		return err
	}
	h.table.retryFacts(d, h.now().Add(factsRetryAfter))
	return nil
}

func (h *Host) factsAge() time.Duration {
	if h.watches.Load() == 0 {
		return factsAgeBlind
	}
	return factsAge
}

// wantFacts is the domains whose definition should be read, running ones
// first, then by name; never is how many have not been read at all.
func (t *table) wantFacts(now time.Time, age time.Duration) (doms []libvirt.Domain, never int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var off []libvirt.Domain
	for _, e := range t.sorted() {
		if e.facts != nil && !e.factsStale && now.Sub(e.facts.at) < age || now.Before(e.factsRetry) {
			continue
		}
		if e.facts == nil {
			never++
		}
		if e.active() {
			doms = append(doms, e.dom)
		} else {
			off = append(off, e.dom)
		}
	}
	return append(doms, off...), never
}

func (t *table) setFacts(d libvirt.Domain, f *facts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.domains[backend.UUID(d.UUID)]
	if e == nil {
		return
	}
	e.facts = f
	e.factsStale = e.dom.ID != d.ID
	e.agentUp = f.agentUp
}

func (t *table) retryFacts(d libvirt.Domain, after time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.domains[backend.UUID(d.UUID)]; e != nil {
		e.factsRetry = after
	}
}
