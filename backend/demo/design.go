package demo

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"berth/backend"
)

// design draws a machine's definition for its role.
func (v *vm) design(c *chance, label, env string, names map[string]int) *definition {
	r := v.role
	stem := r.key
	if v.service != nil || r.key == "desk" || r.key == "test" || r.drive == byBatch {
		stem = label + "-" + r.key
	}
	names[stem]++
	d := &definition{
		name: fmt.Sprintf("%s-%02d", stem, names[stem]), kind: "kvm", uuid: newUUID(c),
		vcpus: pick(c, r.vcpus), os: pick(c, r.oses), machine: "pc-q35-9.2",
		title: r.title, tags: []string{env, r.key}, agent: !r.noAgent && c.happens(0.9), console: !r.noConsole, graphics: true,
	}
	if strings.Contains(r.title, "%s") {
		d.title = fmt.Sprintf(r.title, label)
	}
	if v.service != nil {
		d.tags = append(d.tags, v.service.name)
	}
	d.maxMem = uint64(pick(c, r.ram)) * gib
	d.curMem = d.maxMem
	if c.happens(0.2) {
		d.curMem = d.maxMem / 4 * 3
	}
	d.uefi = d.os == "win11" || c.happens(0.3)
	d.preserve = r.key == "test"
	v.designDevices(c, d)
	v.staticIP = c.happens(0.1)
	return d
}

func newUUID(c *chance) (u backend.UUID) {
	binary.BigEndian.PutUint64(u[:8], c.pcg.Uint64())
	binary.BigEndian.PutUint64(u[8:], c.pcg.Uint64())
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80 // version 4, RFC 9562
	return u
}

// designDevices draws disks, some of them overlays, and network cards.
func (v *vm) designDevices(c *chance, d *definition) {
	const pool = "/var/lib/libvirt/images/"
	root := diskDef{target: "vda", bus: "virtio", device: "disk", format: "qcow2", source: pool + d.name + ".qcow2",
		capacity: uint64(pick(c, v.role.disk)) * gib}
	switch {
	case c.happens(0.25):
		root.backing = []string{pool + "base/" + d.os + ".qcow2"}
	case c.happens(0.1):
		root.backing = []string{pool + d.name + ".snap1", pool + "base/" + d.os + ".qcow2"}
	}
	d.disks = append(d.disks, root)
	if v.role.key == "db" || v.role.key == "backup" || v.role.key == "log" {
		d.disks = append(d.disks, diskDef{target: "vdb", bus: "virtio", device: "disk", format: "raw",
			source: "/dev/vg0/" + d.name + "-data", capacity: root.capacity * 2})
	}
	if v.role.key == "dc" || v.role.key == "desk" {
		d.disks = append(d.disks, diskDef{target: "sda", bus: "sata", device: "cdrom", format: "raw", source: pool + "virtio-win.iso", readOnly: true, capacity: 693 * mib})
	}
	nics := 1
	if v.role.key == "lb" || v.role.key == "vpn" {
		nics = 2
	}
	for n := range nics {
		nic := nicDef{mac: newMAC(c), model: "virtio", kind: "bridge", source: "br0"}
		if n == 1 {
			nic.source = "br-dmz"
		} else if v.role.key == "test" {
			nic.kind, nic.source = "network", "default"
		}
		d.nics = append(d.nics, nic)
	}
}

func newMAC(c *chance) string {
	u := c.pcg.Uint64()
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", u&0xff, u>>8&0xff, u>>16&0xff)
}

// equip gives the machine what is around its definition: addresses, a host
// name, snapshots and checkpoints.
func (v *vm) equip(c *chance) {
	d := v.stored
	v.hostname = d.name
	v.lease(c.happens(0.35))
	if c.happens(0.25) {
		v.snapshots = drawSnapshots(c, v.fleet())
	}
	if v.role.key == "db" || c.happens(0.06) {
		v.checkpoints = drawCheckpoints(c, v.fleet(), d)
	}
}

// lease gives the machine addresses that no other on its host ever had.
func (v *vm) lease(six bool) {
	if len(v.stored.nics) == 0 {
		return
	}
	h := v.host
	h.leases++
	high, low := (h.leases+9)/250, (h.leases+9)%250+4
	v.addresses = []string{fmt.Sprintf("10.%d.%d.%d", h.subnet, high%256, low)}
	if six {
		v.addresses = append(v.addresses, fmt.Sprintf("2001:db8:%d:%x::%x", h.subnet, high, low))
	}
}

func drawSnapshots(c *chance, f *Fleet) []backend.Snapshot {
	var list []backend.Snapshot
	names := []string{"fresh-install", "before-upgrade", "after-upgrade", "before-migration"}
	age := c.between(30, 300)
	for i := range 1 + c.below(len(names)) {
		s := backend.Snapshot{Name: names[i], Created: f.shown(-seconds(age * 86400)).Truncate(time.Second), State: "shutoff", Description: "taken by hand"}
		if i > 0 {
			s.Parent = names[i-1]
		}
		if c.happens(0.4) {
			s.State, s.External = "disk-snapshot", true
		} else if c.happens(0.5) {
			s.State = "running"
		}
		list = append(list, s)
		age *= c.between(0.2, 0.8)
	}
	list[len(list)-1].Current = true
	return list
}

func drawCheckpoints(c *chance, f *Fleet, d *definition) []backend.Checkpoint {
	var list []backend.Checkpoint
	var disks []string
	for i := range d.disks {
		if d.disks[i].device == "disk" && d.disks[i].format == "qcow2" {
			disks = append(disks, d.disks[i].target)
		}
	}
	for day := 2 + c.below(4); day >= 1; day-- {
		at := f.shown(-seconds(float64(day)*86400 - c.between(0, 3600))).Truncate(time.Second)
		cp := backend.Checkpoint{Name: "backup-" + at.Format("2006-01-02"), Created: at, Disks: disks}
		if n := len(list); n > 0 {
			cp.Parent = list[n-1].Name
		}
		list = append(list, cp)
	}
	return list
}

// hostile gives a few machines texts that no terminal or table should trust,
// and some that are merely wide.
func (v *vm) hostile(i int) {
	d := v.stored
	switch i % len(block) {
	case 6: // a test machine whose owner tries to take over the reader's terminal
		d.title = "Pen test \x1b[2J\x1b[1;31mroot:\x1b]0;owned\x07\u009b31m"
		d.desc = "first line\r\nsecond \u202etxt.exe\u202c \u2066hidden\u2069 \x1b]52;c;cm0gLXJmIC8=\x07\u200b\x00end"
		d.tags = append(d.tags, "red\x1b[31m")
		v.hostname = "evil\x1b[5m\u202etsoh\u009b2J"
	case 13:
		d.title = "検証環境 データベース (staging)"
	case 17:
		d.title = "Git and code review 🦊 für alle"
	default:
		d.desc = describe(d)
	}
}

// describe is what whoever made the machine noted about it.
func describe(d *definition) string {
	n, _ := osNames[d.os]
	return fmt.Sprintf("%s on %s, owned by the %s team.", d.title, n.pretty, d.tags[len(d.tags)-1])
}
