package libvirt

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// entry is one domain as the table knows it. The table's lock guards it;
// what facts points to is never changed, only replaced.
type entry struct {
	dom    libvirt.Domain
	state  int32
	reason int32
	since  time.Time

	persistent  bool
	autostart   bool
	managedSave bool
	snapshots   int

	facts      *facts
	factsStale bool
	factsRetry time.Time // after a failure, not before this
	agentUp    bool
	note       string

	process   *process
	soughtAt  time.Time // when the process was last looked for
	startedAt time.Time

	cpu     backend.CPUCounter
	mem     backend.MemoryFigure // the host's view
	net     backend.NetCounter
	figures backend.Figures // the last ones known
}

func (e *entry) uuid() backend.UUID { return backend.UUID(e.dom.UUID) }
func (e *entry) active() bool       { return stateOf(e.state).Active() }

// touch says what of a domain must be read again.
type touch uint8

const (
	touchState touch = 1 << iota
	touchFacts
	touchFlags
)

// table is the host's domains as far as they are known.
type table struct {
	mu      sync.Mutex
	domains map[backend.UUID]*entry
	order   []*entry // by name; nil when it must be made again
	touched map[backend.UUID]touch
	sweptAt time.Time // zero before the first sweep
	flagsAt time.Time
}

func newTable() *table {
	return &table{domains: map[backend.UUID]*entry{}, touched: map[backend.UUID]touch{}}
}

// note records that something of a domain changed.
func (t *table) touch(u backend.UUID, what touch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.touched[u] |= what
}

// take returns what was touched since the last take.
func (t *table) take() map[backend.UUID]touch {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.touched
	t.touched = map[backend.UUID]touch{}
	return m
}

// domain is libvirt's handle of u, as last seen.
func (t *table) domain(u backend.UUID) (libvirt.Domain, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.domains[u]; e != nil {
		return e.dom, true
	}
	return libvirt.Domain{UUID: libvirt.UUID(u), ID: -1}, false
}

// sighting is a domain and its state, as one call of libvirt told.
type sighting struct {
	dom           libvirt.Domain
	state, reason int32
}

// replace makes the table hold exactly what a sweep saw.
func (t *table) replace(seen []sighting, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range seen {
		t.put(s, now)
	}
	if len(seen) < len(t.domains) {
		here := make(map[backend.UUID]bool, len(seen))
		for _, s := range seen {
			here[backend.UUID(s.dom.UUID)] = true
		}
		for u := range t.domains {
			if !here[u] {
				t.drop(u)
			}
		}
	}
	t.sweptAt = now
}

// put enters one sighting; t.mu is held.
func (t *table) put(s sighting, now time.Time) {
	u := backend.UUID(s.dom.UUID)
	e := t.domains[u]
	if e == nil {
		e = &entry{dom: s.dom, state: s.state, reason: s.reason, snapshots: -1}
		t.domains[u] = e
		t.order = nil
		return
	}
	if e.dom.Name != s.dom.Name {
		t.order = nil
		e.factsStale = true
	}
	if e.dom.ID != s.dom.ID || !stateOf(s.state).Active() {
		e.newRun()
	}
	if e.state != s.state {
		e.since = now
		if e.active() != stateOf(s.state).Active() {
			e.factsStale = true
		}
	}
	e.dom, e.state, e.reason = s.dom, s.state, s.reason
	if e.state != int32(libvirt.DomainPaused) {
		e.note = ""
	}
}

// newRun forgets what belonged to the process that ended.
func (e *entry) newRun() {
	if e.process != nil {
		e.process.close()
		e.process = nil
	}
	e.soughtAt = time.Time{}
	if e.cpu.At.IsZero() && e.startedAt.IsZero() && e.figures.Disk.At.IsZero() && e.figures.AddressesAt.IsZero() {
		return
	}
	e.factsStale = true
	e.agentUp = false
	e.startedAt = time.Time{}
	e.cpu, e.mem, e.net = backend.CPUCounter{}, backend.MemoryFigure{}, backend.NetCounter{}
	e.figures = backend.Figures{}
}

// drop removes a domain; t.mu is held.
func (t *table) drop(u backend.UUID) {
	e := t.domains[u]
	if e == nil {
		return
	}
	if e.process != nil {
		e.process.close()
	}
	delete(t.domains, u)
	t.order = nil
}

// sorted is every entry by name; t.mu is held.
func (t *table) sorted() []*entry {
	if t.order == nil {
		t.order = make([]*entry, 0, len(t.domains))
		for _, e := range t.domains {
			t.order = append(t.order, e)
		}
		slices.SortFunc(t.order, func(a, b *entry) int {
			if c := cmp.Compare(a.dom.Name, b.dom.Name); c != 0 {
				return c
			}
			return slices.Compare(a.dom.UUID[:], b.dom.UUID[:])
		})
	}
	return t.order
}

// snapshot is a copy of every domain, by name.
func (t *table) snapshot(host string) []backend.VM {
	t.mu.Lock()
	defer t.mu.Unlock()
	order := t.sorted()
	vms := make([]backend.VM, len(order))
	for i, e := range order {
		e.fill(&vms[i], host)
	}
	return vms
}

// vm is a copy of one domain.
func (t *table) vm(u backend.UUID, host string) (vm backend.VM, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.domains[u]
	if e == nil {
		return vm, false
	}
	e.fill(&vm, host)
	return vm, true
}

// memory is the guest's own word while it is fresh, else the host's: the
// resident size from /proc where QEMU runs here, else from the balloon group.
// A remote domain that was not asked yet has none.
func (e *entry) memory() backend.MemoryFigure {
	told := e.figures.Mem
	fresh := told.Source == backend.MemoryGuest && e.mem.At.Sub(told.At) < guestAge
	if fresh || e.mem.Source == backend.MemoryUnknown {
		return told
	}
	return e.mem
}

// fill writes the entry as backend's VM.
func (e *entry) fill(vm *backend.VM, host string) {
	*vm = backend.VM{
		Host: host, UUID: e.uuid(), Name: backend.Clean(e.dom.Name), ID: e.dom.ID,
		State: stateOf(e.state), Reason: reasonOf(e.state, e.reason), Since: e.since,
		Persistent: e.persistent, Autostart: e.autostart, ManagedSave: e.managedSave, Snapshots: e.snapshots,
		StartedAt: e.startedAt, CPU: e.cpu, Mem: e.mem, Net: e.net, Note: e.note,
		Disk: e.figures.Disk, StuckSince: e.figures.StuckSince,
		Addresses: slices.Clone(e.figures.Addresses), AddressesAt: e.figures.AddressesAt,
	}
	vm.Mem = e.memory()
	if f := e.facts; f != nil {
		vm.FactsAt, vm.VCPUs, vm.MemoryMax = f.at, f.vcpus, f.memoryMax
		vm.Title, vm.Description, vm.OS = f.title, f.description, f.os
		vm.Tags = slices.Clone(f.tags)
		vm.HasAgent, vm.Disks, vm.NICs = f.hasAgent, f.disks, len(f.nics)
		if vm.Mem.Current == 0 && !vm.Mem.At.IsZero() {
			vm.Mem.Current = f.memoryNow
		}
	}
}

// flags enters what one call each told of all domains.
func (t *table) flags(transient, autostart, saved, snapshots map[backend.UUID]bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for u, e := range t.domains {
		e.persistent, e.autostart, e.managedSave = !transient[u], autostart[u], saved[u]
		if !snapshots[u] {
			e.snapshots = 0
		}
	}
	t.flagsAt = now
}

func (t *table) setSnapshots(u backend.UUID, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.domains[u]; e != nil {
		e.snapshots = n
	}
}

// staleFacts makes the next Poll read the definition again.
func (t *table) staleFacts(u backend.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.domains[u]; e != nil {
		e.factsStale = true
	}
}

// setNote enters what is odd about a domain.
func (t *table) setNote(u backend.UUID, note string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.domains[u]; e != nil {
		e.note = note
	}
}

// setAgent enters whether a guest agent is connected.
func (t *table) setAgent(u backend.UUID, up bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.domains[u]; e != nil {
		e.agentUp = up
	}
}

// close lets go of all process files.
func (t *table) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.domains {
		if e.process != nil {
			e.process.close()
			e.process = nil
		}
	}
}
