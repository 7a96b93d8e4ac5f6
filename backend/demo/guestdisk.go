package demo

import (
	"path/filepath"
	"strings"
)

// crowd is how many machines a fleet has at most whose disks hold a file
// system and more. In a larger one they hold less.
const crowd = 100

// layoutFor says what one of a machine's disks holds.
func (f *Fleet) layoutFor(v *vm, d *definition, k *diskDef, at place) *layout {
	seed := f.opts.Seed ^ hash(at.host+":"+at.path)
	size := int64(k.capacity)
	if k.device == "cdrom" {
		l := newLayout(size, seed, 0)
		l.iso, l.name = true, strings.ToUpper(strings.TrimSuffix(filepath.Base(k.source), ".iso"))
		return l
	}
	l := newLayout(size, seed, placesFor(f, k))
	if size < roomy || f.opts.VMs > crowd {
		return l
	}
	l.own = 512 * kib
	if k == &d.disks[0] {
		l.os, l.name = d.os, d.name
		if _, known := osNames[d.os]; !known {
			l.os = "debian12"
		}
	}
	return l
}

// mostPlaces is the most of them.
const mostPlaces = 96

// placesFor is to how many places the guest of a disk writes.
func placesFor(f *Fleet, k *diskDef) int {
	switch {
	case f.opts.VMs > crowd:
		return 4
	case k.target != "vda":
		return mostPlaces
	}
	return 32
}

// owe adds what the machine has written since it was last asked to what its
// images are due.
func (v *vm) owe() {
	if v.live == nil || v.holding {
		return
	}
	wrote := v.at(v.fleet().now).wrtBytes
	grown := wrote - v.wrote
	v.wrote = wrote
	if grown <= 0 {
		return
	}
	disks := v.writableDisks(v.live)
	for i, k := range disks {
		if img := v.fleet().imageOf(v, v.live, k); img != nil {
			img.due += grown * diskShare(i, len(disks)) / writeScale / slotSize
			img.modified = v.fleet().shown(v.fleet().now)
		}
	}
}

// writableDisks are those that a backup is of.
func (v *vm) writableDisks(d *definition) (list []*diskDef) {
	for i := range d.disks {
		if k := &d.disks[i]; k.device == "disk" && !k.readOnly && k.source != "" {
			list = append(list, k)
		}
	}
	return list
}

// diskShare is the part of a machine's traffic that its i-th disk of n has.
func diskShare(i, n int) float64 {
	switch {
	case n == 2 && i == 0:
		return 0.15
	case n == 2:
		return 0.85
	}
	return 1 / float64(n)
}

// dueNow is how many writes the image has had by now.
func (f *Fleet) dueNow(img *diskImage) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.writer(img.at); v != nil {
		v.owe()
	}
	return int64(img.due)
}

// writer is the running machine that writes to an image, or nil.
func (f *Fleet) writer(at place) *vm {
	for _, h := range f.hosts {
		for _, v := range h.vms {
			if v.live == nil {
				continue
			}
			for _, k := range v.writableDisks(v.live) {
				if h.place(k.source) == at {
					return v
				}
			}
		}
	}
	return nil
}
