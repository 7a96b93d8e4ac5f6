package demo

import (
	"path/filepath"
	"slices"
	"time"

	"berth/backend"
)

// extra is an image that no machine has.
type extra struct {
	name    string // below the shelf
	format  string
	gib     int64
	days    int // since it was written to
	system  string
	own     int64
	locked  bool // encrypted
	backing []string
}

// extras are what piles up on every shelf: machines that were deleted without
// their disks, somebody's experiments, installation media.
var extras = []extra{
	{name: "old-shop-web-01.qcow2", format: "qcow2", gib: 20, days: 412, system: "debian12", own: 768 * kib},
	{name: "lift-and-shift.raw", format: "raw", gib: 8, days: 231, own: 512 * kib},
	{name: "vault.qcow2", format: "qcow2", gib: 10, days: 37, own: 256 * kib, locked: true},
	{name: "crm-db-01.clone.qcow2", format: "qcow2", gib: 40, days: 160, own: 256 * kib, backing: []string{shelf + "base/debian11.qcow2"}},
	{name: "base/debian12.qcow2", format: "qcow2", gib: 20, days: 90, system: "debian12"},
	{name: "debian-12.9.0-amd64-netinst.iso", format: "iso", gib: 1, days: 300},
}

// addExtras puts them in stock; the first host lists them.
func (f *Fleet) addExtras() {
	if f.stock.extras {
		return
	}
	f.stock.extras = true
	f.leaveBehind()
	for _, e := range extras {
		at := place{path: shelf + e.name}
		if f.stock.images[at] != nil || f.stock.gone[at] {
			continue
		}
		img := &diskImage{at: at, home: f.hosts[0], format: e.format, size: e.gib * gib, encrypted: e.locked, backing: e.backing,
			modified: f.base.Add(-time.Duration(e.days) * 24 * time.Hour)}
		img.layout = newLayout(img.size, f.opts.Seed^hash(e.name), 0)
		img.layout.own, img.layout.os, img.layout.iso, img.layout.name = e.own, e.system, e.format == "iso", "template"
		f.stock.images[at] = img
	}
	f.stock.gone[place{path: shelf + "base/debian11.qcow2"}] = true
}

// pool is one storage pool of a host.
type pool struct {
	name, kind, path  string
	active, autostart bool
	trouble           string // why it does not start
	capacity          uint64 // bytes; 0: the shelf's
	room              uint64 // bytes free before anything was put there
}

// poolsOf are the host's pools, which are made when somebody first asks.
func (h *host) poolsOf() []*pool {
	if h.pools != nil {
		return h.pools
	}
	h.pools = []*pool{
		{name: "base", kind: "dir", path: shelf + "base", active: true, autostart: true},
		{name: "default", kind: "dir", path: filepath.Clean(shelf), active: true, autostart: true},
		{name: "scratch", kind: "dir", path: "/var/lib/libvirt/scratch", active: true, autostart: true, capacity: 64 * gib, room: 24 * mib},
		{name: "vg0", kind: "logical", path: "/dev/vg0", active: true, autostart: true, capacity: h.volumeGroup()},
	}
	if h == h.fleet.hosts[0] {
		h.pools = slices.Insert(h.pools, 2, &pool{name: "nfs-archive", kind: "netfs", path: "/var/lib/libvirt/archive",
			trouble: "mount.nfs: Connection timed out: filer2.example.net:/export/archive"})
	}
	return h.pools
}

// volumeGroup is a size that holds the machines' logical volumes and some more.
func (h *host) volumeGroup() uint64 {
	sum := uint64(200 * gib)
	for _, v := range h.vms {
		for _, k := range v.writableDisks(v.def()) {
			if filepath.Dir(k.source) == "/dev/vg0" {
				sum += k.capacity
			}
		}
	}
	return sum
}

// poolAt is the pool in which a path lies, or nil.
func (h *host) poolAt(path string) *pool {
	dir := filepath.Dir(path)
	for _, p := range h.poolsOf() {
		if p.path == dir {
			return p
		}
	}
	return nil
}

// poolUUID is the same whenever it is asked for.
func (h *host) poolUUID(p *pool) backend.UUID {
	c := newChance(h.fleet.opts.Seed, streamNames, hash(h.name+"/"+p.name))
	return newUUID(&c)
}

// sizes are what a pool holds and what is free, given the images in it.
func (p *pool) sizes(f *Fleet, used uint64) (capacity, available uint64) {
	switch {
	case p.room > 0:
		return p.capacity, p.room - min(used, p.room)
	case p.capacity > 0:
		return p.capacity, p.capacity - min(used, p.capacity)
	}
	return f.shelfSize, f.shelfSize - min(f.shelved(), f.shelfSize)
}
