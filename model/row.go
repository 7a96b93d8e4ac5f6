package model

import (
	"math"
	"time"

	"berth/backend"
)

// Row is one VM as the screens show it: the last poll of it, and the rates
// derived from the two last readings of each counter.
type Row struct {
	backend.VM
	Rates Rates

	// Pending is the verb that berth is carrying out on the VM, or empty.
	Pending backend.Verb
	// FlashUntil is set for a moment after the state changed.
	FlashUntil time.Time
	// HostDown is set while the VM's host does not answer; the figures are
	// those of PolledAt.
	HostDown bool
	// PolledAt is when the host last answered for this VM.
	PolledAt time.Time
	// Queued is what the queue has to say of it: "#3 14:05 hv2", or empty.
	Queued string
	// Backup is what there is to restore it from.
	Backup RowBackup
}

// Rates are what counters did between two readings. NaN means not known.
type Rates struct {
	CPU                 float64 // percent of one core; 400 is four cores busy
	DiskRead, DiskWrite float64 // bytes per second
	DiskReadOps         float64 // requests per second
	DiskWriteOps        float64
	NetRx, NetTx        float64 // bytes per second, as the guest sees it
}

// UnknownRates has no rate known.
func UnknownRates() Rates {
	n := math.NaN()
	return Rates{CPU: n, DiskRead: n, DiskWrite: n, DiskReadOps: n, DiskWriteOps: n, NetRx: n, NetTx: n}
}

// CPUOfOwn is the CPU use in percent of the VM's own vCPUs: 100 is all of
// them busy. NaN when either is not known.
func (r *Row) CPUOfOwn() float64 {
	if r.VCPUs <= 0 {
		return math.NaN()
	}
	return r.Rates.CPU / float64(r.VCPUs)
}

// MemoryPercent is the memory used in percent of the maximum, or NaN.
func (r *Row) MemoryPercent() float64 {
	if r.Mem.At.IsZero() || r.MemoryMax == 0 {
		return math.NaN()
	}
	return 100 * float64(r.Mem.Used) / float64(r.MemoryMax)
}

// DeriveRates compares two readings of one VM. Where a counter was not read
// again, the rate is kept from last; where it went backwards, as after a
// restart, it is unknown until the next reading.
func DeriveRates(prev, cur *backend.VM, last Rates) Rates {
	r := last
	if !cur.State.Active() {
		return UnknownRates()
	}
	if cur.ID != prev.ID {
		r = UnknownRates()
	}
	if s, ok := elapsed(prev.CPU.At, cur.CPU.At); ok {
		r.CPU = math.NaN()
		if d := cur.CPU.Used - prev.CPU.Used; d >= 0 {
			r.CPU = 100 * d.Seconds() / s
		}
	}
	if s, ok := elapsed(prev.Disk.At, cur.Disk.At); ok {
		r.DiskRead = perSecond(prev.Disk.ReadBytes, cur.Disk.ReadBytes, s)
		r.DiskWrite = perSecond(prev.Disk.WriteBytes, cur.Disk.WriteBytes, s)
		r.DiskReadOps = perSecond(prev.Disk.ReadOps, cur.Disk.ReadOps, s)
		r.DiskWriteOps = perSecond(prev.Disk.WriteOps, cur.Disk.WriteOps, s)
	}
	if s, ok := elapsed(prev.Net.At, cur.Net.At); ok {
		r.NetRx = perSecond(prev.Net.RxBytes, cur.Net.RxBytes, s)
		r.NetTx = perSecond(prev.Net.TxBytes, cur.Net.TxBytes, s)
	}
	return r
}

// elapsed is the time between two readings in seconds; false when the counter
// was not read twice.
func elapsed(a, b time.Time) (float64, bool) {
	if a.IsZero() || b.IsZero() || !b.After(a) {
		return 0, false
	}
	return b.Sub(a).Seconds(), true
}

func perSecond(a, b uint64, s float64) float64 {
	if b < a {
		return math.NaN()
	}
	return float64(b-a) / s
}

// shortestSpan is the least time between two readings of a counter that makes a
// rate: over less, a single request more or less is most of the result.
const shortestSpan = 100 * time.Millisecond

// TakeFigures brings what only the VM's own QEMU could tell into the row.
// Figures that were not read this time, or that a poll brought a moment ago,
// keep the time they have.
func (r *Row) TakeFigures(fig *backend.Figures) {
	if !r.State.Active() {
		return
	}
	prev := r.VM
	r.StuckSince = fig.StuckSince
	if !fig.Disk.At.IsZero() && !early(r.Disk.At, fig.Disk.At, shortestSpan) {
		r.Disk = fig.Disk
	}
	if !fig.Mem.At.IsZero() {
		r.Mem = fig.Mem
	}
	if !fig.AddressesAt.IsZero() {
		r.Addresses, r.AddressesAt = fig.Addresses, fig.AddressesAt
	}
	r.Rates = DeriveRates(&prev, &r.VM, r.Rates)
}
