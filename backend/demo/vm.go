package demo

import (
	"math"
	"time"

	"berth/backend"
)

// phase is what the guest inside a running machine is doing.
type phase uint8

const (
	phaseOff phase = iota
	phaseFirmware
	phaseKernel
	phaseUp
	phaseStopping
)

// vm is one simulated machine. Its row is what polls show of it; state,
// reason, ID and flags are kept there and nowhere else.
type vm struct {
	host    *host
	role    *role
	service *service // nil when it serves none

	row    backend.VM
	stored *definition // nil for a transient machine
	live   *definition // what the process was started with; nil when off

	load, life, acts chance

	phase     phase
	bootFor   storyTime // how long this boot takes, from power on to agent
	upSince   storyTime // the guest's clock: running since then ...
	upBefore  storyTime // ... after having run so long
	pending   plan      // what the guest does next
	job       *job      // what libvirt is doing to it
	saved     *saved    // behind a managed save
	boots     int
	agentUp   bool
	stuckAt   storyTime
	stuck     bool
	fullUntil storyTime // its storage pool has no room until then
	latched   func()    // what its power button, pressed while it booted, asks for
	habit     func()    // what it does whenever it has come up
	ignores   bool      // it does not listen to its power button
	ha        bool      // a cluster manager starts it again
	staticIP  bool      // nobody but the guest knows its address

	shares          backend.Shares // weights against the others on its host
	cpuPart, ioPart float64        // what it gets of what it asks for

	draw    draw
	acc     meters // what it used up to segment
	rates   meters // and uses since
	segment storyTime

	snapshots   []backend.Snapshot
	checkpoints []backend.Checkpoint
	addresses   []string
	hostname    string // what the guest calls itself, as it says it
	firstTap    int    // number of its first card's host device
	history     []logEntry
	console     *talk

	starts  int             // of its process
	aborted storyTime       // when the job of somebody else was ended
	crashed bool            // its QEMU died once
	wrote   float64         // of acc's bytes written, what its images know of
	holding bool            // its images stand still for a moment
	backup  *session        // of which it is a part
	past    *session        // and one of what was before the story
	lost    map[string]bool // checkpoints whose bitmaps a dead QEMU left in use
	kept    map[string]bool // checkpoints whose backups were committed
}

// saved is what a managed save keeps of a running guest.
type saved struct {
	live    *definition
	phase   phase
	uptime  storyTime
	bootFor storyTime
	pending plan
	paused  bool
	agentUp bool
	draw    draw
}

// meters are the counters of one machine, or what they grow by in a second.
type meters struct {
	cpu, wait           float64 // seconds of CPU used, and of CPU wanted and not got
	readBytes, wrtBytes float64
	readOps, wrtOps     float64
	flushes             float64
	readTime, wrtTime   float64 // seconds, summed over requests
	rxBytes, txBytes    float64
	rxPkts, txPkts      float64
	rxDrop              float64
}

// plus is m after s seconds at the given rates.
func (m meters) plus(r *meters, s float64) meters {
	m.cpu += r.cpu * s
	m.wait += r.wait * s
	m.readBytes += r.readBytes * s
	m.wrtBytes += r.wrtBytes * s
	m.readOps += r.readOps * s
	m.wrtOps += r.wrtOps * s
	m.flushes += r.flushes * s
	m.readTime += r.readTime * s
	m.wrtTime += r.wrtTime * s
	m.rxBytes += r.rxBytes * s
	m.txBytes += r.txBytes * s
	m.rxPkts += r.rxPkts * s
	m.txPkts += r.txPkts * s
	m.rxDrop += r.rxDrop * s
	return m
}

func (v *vm) fleet() *Fleet { return v.host.fleet }

// def is the definition that is in force: the live one, else the stored one.
func (v *vm) def() *definition {
	if v.live != nil {
		return v.live
	}
	return v.stored
}

// at reads the counters at a moment not before the last change of rates.
func (v *vm) at(now storyTime) meters {
	return v.acc.plus(&v.rates, v.fleet().elapsed(v.segment, now))
}

// setRates lets the machine go on at other rates from now. Its host's CPUs
// feel the difference.
func (v *vm) setRates(r meters) {
	now := v.fleet().now
	v.acc = v.at(now)
	v.segment = now
	v.host.guestCPU += r.cpu - v.rates.cpu
	v.rates = r
}

// uptime is how long the guest has been running by its own clock, which
// stands still while the machine is paused or saved.
func (v *vm) uptime(now storyTime) storyTime {
	if !v.clockRuns() {
		return v.upBefore
	}
	return v.upBefore + now - v.upSince
}

// clockRuns reports whether the guest's CPUs are being run.
func (v *vm) clockRuns() bool {
	return (v.row.State == backend.Running || v.row.State == backend.ShuttingDown) && !v.stuck
}

// show fills in the machine's row as a poll at the given moment sees it.
func (v *vm) show(out *backend.VM, now storyTime, at time.Time) {
	*out = v.row
	out.FactsAt = at
	if !v.row.State.Active() {
		return
	}
	m := v.at(now)
	out.CPU = backend.CPUCounter{At: at, Used: duration(m.cpu)}
	v.showNet(&out.Net, &m, at)
	slow := at // what only QEMU's monitor can tell
	if v.stuck {
		slow = v.fleet().shown(v.stuckAt)
		out.StuckSince = slow
		out.Note = "QEMU does not answer its monitor"
		m = v.at(v.stuckAt)
	}
	v.showDisk(&out.Disk, &m, slow)
	out.Mem = v.memory(slow)
	if len(v.addresses) > 0 && v.addressKnown() {
		out.Addresses, out.AddressesAt = v.addresses, slow
	}
}

func (v *vm) showDisk(d *backend.DiskCounter, m *meters, at time.Time) {
	*d = backend.DiskCounter{
		At: at, ReadBytes: uint64(m.readBytes), WriteBytes: uint64(m.wrtBytes),
		ReadOps: uint64(m.readOps), WriteOps: uint64(m.wrtOps), FlushOps: uint64(m.flushes),
		ReadTime: duration(m.readTime), WriteTime: duration(m.wrtTime),
	}
}

func (v *vm) showNet(n *backend.NetCounter, m *meters, at time.Time) {
	*n = backend.NetCounter{
		At: at, RxBytes: uint64(m.rxBytes), TxBytes: uint64(m.txBytes),
		RxPkts: uint64(m.rxPkts), TxPkts: uint64(m.txPkts), RxDrop: uint64(m.rxDrop),
	}
}

// memory is the machine's memory as libvirt's balloon figures tell it: by the
// guest once its driver is loaded, else by the size of the QEMU process.
func (v *vm) memory(at time.Time) backend.MemoryFigure {
	f := backend.MemoryFigure{At: at, Current: uint64(v.draw.balloon)}
	if v.balloonTells() {
		f.Used, f.Source = uint64(v.draw.used), backend.MemoryGuest
	} else {
		f.Used, f.Source = uint64(v.resident()), backend.MemoryResident
	}
	return f
}

// balloonTells reports whether the guest's balloon driver gives statistics.
func (v *vm) balloonTells() bool { return v.phase >= phaseUp && !v.role.ignoresACPI }

// addressKnown reports whether the host can learn the guest's addresses: from
// its agent, or from a DHCP lease.
func (v *vm) addressKnown() bool {
	return v.phase == phaseUp && (v.agentUp || !v.staticIP)
}

// duration converts seconds, cutting off what is below a nanosecond.
func duration(s float64) time.Duration { return time.Duration(math.Floor(s * 1e9)) }
