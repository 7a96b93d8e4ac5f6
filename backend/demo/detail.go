package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"berth/backend"
)

var errNoMonitor = errors.New("QEMU does not answer its monitor")

// Detail reads one machine in depth.
func (h *host) Detail(ctx context.Context, id backend.UUID) (backend.Detail, error) {
	v, err := h.find(ctx, "read", id)
	if err != nil {
		return backend.Detail{}, err
	}
	defer h.leave()
	f, def := h.fleet, v.def()
	d := backend.Detail{
		At: f.shown(f.now), Machine: backend.Clean(def.machine), Arch: "x86_64", CPUModel: "host-passthrough", Firmware: "BIOS",
		Emulator: "/usr/bin/qemu-system-x86_64", ConsolePTY: v.pty(),
		Snapshots: slices.Clone(v.snapshots), Checkpoints: slices.Clone(v.checkpoints),
		Differs: v.live != nil && v.stored != nil && !v.live.same(v.stored),
	}
	v.show(&d.VM, f.now, d.At)
	if def.uefi {
		d.Firmware = "UEFI /usr/share/OVMF/OVMF_CODE_4M.fd"
	}
	if def.graphics && v.row.State.Active() {
		d.Graphics = "vnc 127.0.0.1:" + v.vncPort()
	}
	m := v.at(f.now)
	if v.stuck {
		m = v.at(v.stuckAt)
		d.Missing = append(d.Missing, "block, balloon, vcpu: "+errNoMonitor.Error())
	}
	d.VCPU = v.vcpuCounters(&m)
	d.Disks = v.diskDetails(&m, &d.VM.Disk)
	d.NICs = v.nicDetails(&d.VM.Net)
	v.balloonDetail(&d)
	return d, nil
}

// vcpuCounters divides the machine's CPU time among its vCPUs: the first does
// a little more.
func (v *vm) vcpuCounters(m *meters) []backend.VCPUCounter {
	if !v.row.State.Active() {
		return nil
	}
	n := v.live.vcpus
	list := make([]backend.VCPUCounter, n)
	sum := float64(n*(n+1)) / 2
	for i := range list {
		part := 0.6/float64(n) + 0.4*float64(n-i)/sum
		list[i] = backend.VCPUCounter{Number: i, Used: duration(m.cpu * part), Wait: duration(m.wait * part), State: "running"}
		if v.draw.cpu*part < 0.05 {
			list[i].State = "halted"
		}
	}
	return list
}

// diskDetails divides the machine's block counters among its disks: a data
// disk takes most of it.
func (v *vm) diskDetails(m *meters, total *backend.DiskCounter) []backend.DiskDetail {
	def := v.def()
	var list []backend.DiskDetail
	var disks int
	for i := range def.disks {
		if def.disks[i].device == "disk" {
			disks++
		}
	}
	for i := range def.disks {
		k := &def.disks[i]
		d := backend.DiskDetail{
			Target: backend.Clean(k.target), Device: backend.Clean(k.device), Bus: backend.Clean(k.bus),
			Source: backend.Clean(k.source), Format: backend.Clean(k.format), ReadOnly: k.readOnly,
			Capacity: k.capacity, Backing: cleanAll(k.backing),
		}
		d.Allocation = v.allocated(k, m)
		d.Physical = d.Allocation
		part := 1.0
		switch {
		case k.device != "disk":
			part = 0
		case disks == 2 && i == 0:
			part = 0.15
		case disks == 2:
			part = 0.85
		case disks > 2:
			part = 1 / float64(disks)
		}
		d.DiskCounter = diskPart(total, part)
		list = append(list, d)
	}
	return list
}

func diskPart(t *backend.DiskCounter, p float64) backend.DiskCounter {
	part := func(n uint64) uint64 { return uint64(float64(n) * p) }
	return backend.DiskCounter{
		At: t.At, ReadBytes: part(t.ReadBytes), WriteBytes: part(t.WriteBytes), ReadOps: part(t.ReadOps), WriteOps: part(t.WriteOps),
		FlushOps: part(t.FlushOps), ReadTime: duration(t.ReadTime.Seconds() * p), WriteTime: duration(t.WriteTime.Seconds() * p),
	}
}

// allocated is what a disk's file holds: all of a raw one; of a qcow2 a share
// that grows with what is written.
func (v *vm) allocated(k *diskDef, m *meters) uint64 {
	if k.format != "qcow2" {
		return k.capacity
	}
	full := float64(k.capacity)
	grown := full * (0.25 + 0.5*v.role.mem)
	if len(k.backing) > 0 {
		grown = full * 0.08
	}
	if v.fleet().now < v.fullUntil {
		grown = full
	}
	return uint64(min(grown+0.01*m.wrtBytes, full))
}

// nicDetails gives the machine's traffic to its first card, and a third of it
// to a second.
func (v *vm) nicDetails(total *backend.NetCounter) []backend.NICDetail {
	def := v.def()
	var list []backend.NICDetail
	for i := range def.nics {
		n := &def.nics[i]
		d := backend.NICDetail{MAC: backend.Clean(n.mac), Model: backend.Clean(n.model), Type: backend.Clean(n.kind), Source: backend.Clean(n.source)}
		if v.row.State.Active() {
			d.Target = v.tap(i)
			d.NetCounter = netPart(total, i, len(def.nics))
			if i == 0 && v.addressKnown() {
				d.Addresses = v.addresses
			}
		}
		list = append(list, d)
	}
	return list
}

func netPart(t *backend.NetCounter, i, n int) backend.NetCounter {
	p := 1.0
	if n > 1 {
		p = 1 / (3 * float64(n-1))
		if i == 0 {
			p = 2.0 / 3
		}
	}
	part := func(n uint64) uint64 { return uint64(float64(n) * p) }
	return backend.NetCounter{At: t.At, RxBytes: part(t.RxBytes), TxBytes: part(t.TxBytes), RxPkts: part(t.RxPkts),
		TxPkts: part(t.TxPkts), RxDrop: part(t.RxDrop), TxDrop: part(t.TxDrop), RxErrs: part(t.RxErrs), TxErrs: part(t.TxErrs)}
}

func (v *vm) balloonDetail(d *backend.Detail) {
	if !v.row.State.Active() || !v.balloonTells() {
		return
	}
	m := &v.draw
	d.BalloonAvailable = uint64(m.balloon * 0.98)
	d.BalloonUsable = uint64(max(m.balloon*0.98-m.used, 0))
	d.BalloonUnused = uint64(max(m.balloon*0.98-m.touched, 0))
	up := v.uptime(v.fleet().now).Seconds()
	d.MinorFaults, d.MajorFaults = uint64(up*90), uint64(up*0.05)
}

// Guest is what the machine's agent tells.
func (h *host) Guest(ctx context.Context, id backend.UUID) (backend.Guest, error) {
	v, err := h.find(ctx, "ask the agent of", id)
	if err != nil {
		return backend.Guest{}, err
	}
	defer h.leave()
	switch {
	case !v.row.HasAgent:
		return backend.Guest{}, failed("ask the agent of", v.row.Name, fmt.Errorf("%w: no channel is configured", backend.ErrNoAgent),
			"add a channel org.qemu.guest_agent.0 to its definition")
	case !v.agentUp || v.stuck || v.row.State != backend.Running:
		return backend.Guest{}, failed("ask the agent of", v.row.Name, fmt.Errorf("%w: it is not connected", backend.ErrNoAgent), "")
	}
	return v.tellGuest(), nil
}

func (v *vm) tellGuest() backend.Guest {
	f, def := v.fleet(), v.live
	names := osNames[def.os]
	g := backend.Guest{
		At: f.shown(f.now), Hostname: backend.Clean(v.hostname), OSName: names.pretty, Kernel: names.kernel, Timezone: "UTC",
		Interfaces: []backend.GuestInterface{{Name: "lo", MAC: "00:00:00:00:00:00", Addresses: []string{"127.0.0.1/8", "::1/128"}}},
	}
	if g.OSName == "" {
		g.Missing = append(g.Missing, "guest-get-osinfo: the command has been disabled")
	}
	for i := range def.nics {
		n := backend.GuestInterface{Name: fmt.Sprintf("enp%ds0", i+1), MAC: backend.Clean(def.nics[i].mac)}
		if i == 0 {
			for _, a := range v.addresses {
				n.Addresses = append(n.Addresses, withPrefix(a))
			}
		}
		g.Interfaces = append(g.Interfaces, n)
	}
	m := v.at(f.now)
	for i := range def.disks {
		k := &def.disks[i]
		if k.device != "disk" {
			continue
		}
		fs := backend.GuestFilesystem{Mount: "/", Device: "/dev/" + backend.Clean(k.target) + "1", Type: "ext4", Total: k.capacity / 100 * 98}
		if i > 0 {
			fs.Mount, fs.Type = "/srv", "xfs"
		}
		fs.Used = min(v.allocated(k, &m), fs.Total)
		if k.format == "raw" {
			fs.Used = uint64(float64(fs.Total)*v.role.mem + 0.01*m.wrtBytes)
		}
		fs.Used = min(fs.Used, fs.Total)
		g.Filesystems = append(g.Filesystems, fs)
	}
	if v.role.drive == byDesk && v.draw.level > 0.2 {
		g.Users = []string{"ada"}
	}
	return g
}

// withPrefix adds the length of the fleet's networks to an address.
func withPrefix(a string) string {
	for _, c := range a {
		if c == ':' {
			return a + "/64"
		}
	}
	return a + "/16"
}

// XML is the machine's definition. Characters that could harm a terminal are
// written as references, so that nothing is lost when it is edited.
func (h *host) XML(ctx context.Context, id backend.UUID, stored bool) (string, error) {
	v, err := h.find(ctx, "read the XML of", id)
	if err != nil {
		return "", err
	}
	defer h.leave()
	if v.live != nil && !stored {
		return v.live.xml(v), nil
	}
	if v.stored != nil {
		return v.stored.xml(nil), nil
	}
	return v.live.xml(nil), nil
}
