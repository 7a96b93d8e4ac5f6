package libvirt

import (
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// describe fills in what the definition tells.
func describe(d *backend.Detail, x *domainXML) {
	d.Machine, d.Arch = backend.Clean(x.OS.Type.Machine), backend.Clean(x.OS.Type.Arch)
	d.CPUModel, d.Firmware = backend.Clean(x.CPU.model()), backend.Clean(x.OS.firmware())
	d.Emulator, d.ConsolePTY = backend.Clean(x.Devices.Emulator), backend.Clean(x.Devices.console())
	d.Graphics = backend.Clean(x.Devices.display())
	for i := range x.Devices.Disks {
		d.Disks = append(d.Disks, describeDisk(&x.Devices.Disks[i]))
	}
	for i := range x.Devices.Interfaces {
		d.NICs = append(d.NICs, describeNIC(&x.Devices.Interfaces[i]))
	}
}

func describeDisk(x *diskXML) backend.DiskDetail {
	d := backend.DiskDetail{
		Target: backend.Clean(x.Target.Dev), Device: backend.Clean(x.Device), Bus: backend.Clean(x.Target.Bus),
		Source: backend.Clean(x.Source.place()), Format: backend.Clean(x.Driver.Type),
		ReadOnly: x.ReadOnly != nil, Backing: x.chain(),
	}
	if d.Device == "" {
		d.Device = "disk"
	}
	return d
}

func describeNIC(x *interfaceXML) backend.NICDetail {
	return backend.NICDetail{
		Target: backend.Clean(x.Target.Dev), MAC: backend.Clean(x.MAC.Address), Model: backend.Clean(x.Model.Type),
		Type: backend.Clean(x.Type), Source: backend.Clean(x.from()), LinkDown: x.Link.State == "down",
	}
}

// readDetail enters the vCPU, block and balloon groups, counted at the given
// time. It is false when nothing in them came from the QEMU.
func readDetail(d *backend.Detail, params []libvirt.TypedParam, at time.Time) bool {
	disks := map[int]*backend.DiskDetail{}
	cpus := map[int]*backend.VCPUCounter{}
	balloon := map[string]uint64{}
	counted := false
	for _, p := range params {
		if f, ok := indexed(p.Field, "block."); ok {
			counted = readBlock(d, disks, f, p) || counted
		} else if f, ok := indexed(p.Field, "vcpu."); ok {
			readVCPU(cpus, f, p)
		} else if name, ok := strings.CutPrefix(p.Field, "balloon."); ok {
			balloon[name] = unsigned(p)
		}
	}
	for _, b := range disks {
		if counted {
			b.At = at
		}
	}
	for _, c := range byIndex(cpus) {
		d.VCPU = append(d.VCPU, *c)
	}
	if _, ok := balloon["rss"]; !ok {
		return counted
	}
	d.BalloonAvailable, d.BalloonUnused, d.BalloonUsable = balloon["available"]<<10, balloon["unused"]<<10, balloon["usable"]<<10
	d.SwapIn, d.SwapOut = balloon["swap_in"]<<10, balloon["swap_out"]<<10
	d.MajorFaults, d.MinorFaults = balloon["major_fault"], balloon["minor_fault"]
	if m := memoryOf(balloon, at); m.Source == backend.MemoryGuest || d.VM.Mem.At.IsZero() {
		d.VM.Mem = m
	}
	return true
}

// readBlock enters one field of one device; true for a counter. The device is
// found by its name, which libvirt sends first.
func readBlock(d *backend.Detail, disks map[int]*backend.DiskDetail, f field, p libvirt.TypedParam) bool {
	if f.name == "name" {
		for i := range d.Disks {
			if d.Disks[i].Target == text(p) {
				disks[f.index] = &d.Disks[i]
			}
		}
		return false
	}
	b := disks[f.index]
	if b == nil {
		return false
	}
	switch f.name {
	case "capacity":
		b.Capacity = unsigned(p)
	case "allocation":
		b.Allocation = unsigned(p)
	case "physical":
		b.Physical = unsigned(p)
	}
	return addBlock(&b.DiskCounter, f.name, p)
}

func readVCPU(cpus map[int]*backend.VCPUCounter, f field, p libvirt.TypedParam) {
	c := cpus[f.index]
	if c == nil {
		c = &backend.VCPUCounter{Number: f.index}
		cpus[f.index] = c
	}
	switch f.name {
	case "time":
		c.Used = time.Duration(unsigned(p))
	case "delay": // waiting in the host's run queue; "wait" is for I/O
		c.Wait = time.Duration(unsigned(p))
	case "state":
		c.State = word(vcpuStates, int32(unsigned(p)))
	}
}

// readNICs enters the interface group, whose cards are named by their device.
func readNICs(nics []backend.NICDetail, params []libvirt.TypedParam, at time.Time) {
	byNumber := map[int]*backend.NICDetail{}
	for _, p := range params {
		f, ok := indexed(p.Field, "net.")
		if !ok {
			continue
		}
		if f.name == "name" {
			for i := range nics {
				if nics[i].Target != "" && nics[i].Target == text(p) {
					byNumber[f.index] = &nics[i]
				}
			}
			continue
		}
		n := byNumber[f.index]
		if place := netFields[f.name]; n != nil && place != nil {
			*place(&n.NetCounter) = unsigned(p)
			n.At = at
		}
	}
}
