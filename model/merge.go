package model

import (
	"time"

	"berth/backend"
)

// merge brings a poll into the rows. Figures that the poll did not read are
// kept with the time they were read.
func (f *Fleet) merge(s *HostState, p backend.Poll) {
	seen := make(map[backend.Key]bool, len(p.VMs))
	for i := range p.VMs {
		vm := &p.VMs[i]
		k := vm.Key()
		seen[k] = true
		r := f.rows[k]
		if r == nil {
			f.rows[k] = &Row{VM: *vm, Rates: UnknownRates(), PolledAt: p.At}
			continue
		}
		f.mergeRow(r, vm, p.At)
	}
	for k := range f.rows {
		if k.Host == s.Host.Name() && !seen[k] {
			delete(f.rows, k)
			delete(f.history, k)
		}
	}
}

func (f *Fleet) mergeRow(r *Row, vm *backend.VM, at time.Time) {
	prev := r.VM
	r.VM = *vm
	r.HostDown, r.PolledAt = false, at
	if vm.ID == prev.ID {
		f.keepEarly(&r.VM, &prev)
		keepUnread(&r.VM, &prev)
	}
	if vm.State != prev.State {
		r.FlashUntil = f.clock.Now().Add(flashFor)
		if r.Since.IsZero() {
			r.Since = at
		}
	} else if r.Since.IsZero() {
		r.Since = prev.Since
	}
	r.Rates = DeriveRates(&prev, &r.VM, r.Rates)
	if r.State.Active() && r.CPU.At.After(prev.CPU.At) {
		f.record(r)
	}
}

// keepEarly drops counters that were read again too soon after the last time,
// as by the poll after an event: the kernel counts CPU time in steps of 10 ms,
// and a rate over a few of them is noise.
func (f *Fleet) keepEarly(vm, prev *backend.VM) {
	soon := min(f.refresh, 600*time.Millisecond) / 2
	if early(prev.CPU.At, vm.CPU.At, soon) {
		vm.CPU = prev.CPU
	}
	if early(prev.Net.At, vm.Net.At, soon) {
		vm.Net = prev.Net
	}
	if early(prev.Disk.At, vm.Disk.At, soon) {
		vm.Disk = prev.Disk
	}
}

func early(last, now time.Time, soon time.Duration) bool {
	return !last.IsZero() && now.After(last) && now.Sub(last) < soon
}

// keepGuestMemory is how long what a guest said of its memory stands against
// the host's view of it.
const keepGuestMemory = 30 * time.Second

// keepUnread copies from prev what the poll behind vm did not read.
func keepUnread(vm, prev *backend.VM) {
	if vm.CPU.At.IsZero() {
		vm.CPU = prev.CPU
	}
	if vm.Mem.At.IsZero() || (vm.Mem.Source == backend.MemoryResident && prev.Mem.Source == backend.MemoryGuest && vm.Mem.At.Sub(prev.Mem.At) < keepGuestMemory) {
		vm.Mem = prev.Mem // the guest's own word, as Figures told it between two polls
	}
	if vm.Disk.At.IsZero() {
		vm.Disk = prev.Disk
	}
	if vm.Net.At.IsZero() {
		vm.Net = prev.Net
	}
	if vm.AddressesAt.IsZero() {
		vm.Addresses, vm.AddressesAt = prev.Addresses, prev.AddressesAt
	}
	if vm.StuckSince.IsZero() {
		vm.StuckSince = prev.StuckSince
	}
	if vm.FactsAt.IsZero() && !prev.FactsAt.IsZero() {
		keepFacts(vm, prev)
	}
}

// keepFacts copies what the definition says.
func keepFacts(vm, prev *backend.VM) {
	vm.FactsAt, vm.VCPUs, vm.MemoryMax = prev.FactsAt, prev.VCPUs, prev.MemoryMax
	vm.Title, vm.Description, vm.Tags, vm.OS = prev.Title, prev.Description, prev.Tags, prev.OS
	vm.HasAgent, vm.Snapshots, vm.Disks, vm.NICs = prev.HasAgent, prev.Snapshots, prev.Disks, prev.NICs
}
