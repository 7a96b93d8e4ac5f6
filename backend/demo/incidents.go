package demo

import (
	"fmt"

	"berth/backend"
)

// plot arranges what goes wrong, and what others do, as the story goes on.
// Every incident draws from a stream of its own.
func (f *Fleet) plot() {
	f.each("log", 1, (*vm).diskFills)
	f.each("build", 1, (*vm).storageHangs)
	f.each("cache", 1, (*vm).fallsOver)
	f.each("ml", 2, (*vm).fallsOver)
	f.each("app", 1, (*vm).loops)
	f.each("git", 2, (*vm).updates)
	f.each("mail", 2, (*vm).updates)
	f.each("ci", 2, (*vm).scheduled)
	f.runners()
	if n := len(f.hosts); n > 1 {
		f.hosts[n-1].plotCut(1)
	}
}

// each gives an incident to machines of a role, one in a block of the fleet
// at first and one in so many blocks thereafter.
func (f *Fleet) each(role string, blocks int, give func(*vm, *chance)) {
	seen := 0
	for _, h := range f.hosts {
		for _, v := range h.vms {
			if v.role.key != role || v.row.State != backend.Running {
				continue
			}
			if seen%(blocks*len(f.hosts)) == 0 {
				c := newChance(f.opts.Seed, streamIncidents, uint64(len(h.vms))<<20|uint64(v.row.ID)<<8|uint64(seen&0xff))
				give(v, &c)
			}
			seen++
		}
	}
}

// again does something now and then: first after first seconds or so, later
// every so many on average.
func (v *vm) again(c *chance, first, every float64, do func()) {
	var next func(mean float64)
	next = func(mean float64) {
		v.fleet().after(seconds(mean*0.5+c.exp(mean*0.5)), func() {
			if v.host.byUUID[v.row.UUID] == v {
				do()
				next(every)
			}
		})
	}
	next(first)
}

// isUp reports whether the guest runs and nothing is the matter with it.
func (v *vm) isUp() bool { return v.serving() && v.job == nil }

// diskFills: the pool under its disk has no room left, and libvirt pauses the
// machine at the next write. After some minutes somebody makes room.
func (v *vm) diskFills(c *chance) {
	v.again(c, 70, 2400, func() {
		if v.isUp() {
			v.fullUntil = v.fleet().now + c.delay(180, 420)
			v.ioError()
		}
	})
}

func (v *vm) ioError() {
	v.row.Note = "no space left on its storage pool"
	v.host.tell(v, backend.EventIOError, "paused", "vda: No space left on device")
	v.pause(reasonIOError)
}

// fillDisk pauses the machine again soon when there still is no room.
func (v *vm) fillDisk() {
	f := v.fleet()
	if f.now >= v.fullUntil {
		v.row.Note = ""
		return
	}
	f.after(v.life.delay(1, 3), func() {
		if v.row.State == backend.Running && f.now < v.fullUntil {
			v.ioError()
		}
	})
}

// storageHangs: its disk's server does not answer, QEMU waits for it in the
// kernel, and nobody who asks QEMU gets an answer.
func (v *vm) storageHangs(c *chance) {
	v.again(c, 110, 3000, func() {
		if !v.isUp() {
			return
		}
		v.hang()
		run := v.row.ID
		v.fleet().after(c.delay(200, 600), func() {
			if v.stuck && v.row.ID == run {
				v.unhang()
			}
		})
	})
}

// fallsOver: its kernel or its QEMU crashes. Where a cluster manager looks
// after it, it is started again.
func (v *vm) fallsOver(c *chance) {
	v.again(c, 45, 1500, func() {
		if v.isUp() {
			v.crash()
			v.startSoon(c.delay(12, 40))
		}
	})
}

// startSoon starts the machine if it is still off then.
func (v *vm) startSoon(d storyTime) {
	if v.stored == nil {
		return
	}
	v.fleet().after(d, func() {
		if v.host.byUUID[v.row.UUID] == v && !v.row.State.Active() && v.saved == nil && v.job == nil {
			v.powerOn(false)
		}
	})
}

// loops: its first service kills it, whenever it has come up; it starts over.
func (v *vm) loops(c *chance) {
	v.habit = func() {
		boot := v.boots
		v.fleet().after(c.delay(15, 60), func() {
			if v.isUp() && v.boots == boot {
				v.reboot()
			}
		})
	}
	if v.isUp() {
		v.habit()
	}
}

// updates: now and then the guest installs a kernel and reboots.
func (v *vm) updates(c *chance) {
	v.again(c, 150, 1800, func() {
		if v.isUp() {
			v.stopGuest(v.reboot)
		}
	})
}

// scheduled: somebody else's script shuts it down and starts it again.
func (v *vm) scheduled(c *chance) {
	v.again(c, 25, 240, func() {
		if v.isUp() {
			v.stopGuest(v.powerOff)
			v.startSoon(c.delay(25, 60))
		}
	})
}

// runners are transient machines that a CI system makes for one job each:
// they have no stored definition, and are gone when they stop.
func (f *Fleet) runners() {
	if len(f.hosts[0].vms) < 4 {
		return
	}
	c := newChance(f.opts.Seed, streamIncidents, 1<<42)
	h := f.hosts[c.below(len(f.hosts))]
	var spawn func(n int)
	spawn = func(n int) {
		v := h.runner(&c, n)
		f.after(c.delay(90, 300), func() {
			if h.byUUID[v.row.UUID] == v && v.row.State == backend.Running && !v.stuck {
				v.stopGuest(v.powerOff)
			}
		})
		f.after(c.delay(150, 420), func() { spawn(n + 1) })
	}
	f.after(c.delay(8, 20), func() { spawn(1) })
}

// runner makes and starts one.
func (h *host) runner(c *chance, n int) *vm {
	v := h.fleet.newVM(h, roles["ci"], nil)
	names := map[string]int{}
	d := v.design(c, "ci", "staging", names)
	d.name, d.title = fmt.Sprintf("ci-runner-%04x", 0x3a00+n*7), "CI runner for one job"
	d.desc = "Made by the CI system; vanishes when its job is done."
	d.vcpus, d.maxMem, d.curMem = 2, 4*gib, 4*gib
	v.row.UUID = d.uuid
	v.stored = d
	v.equip(c)
	v.snapshots, v.checkpoints = nil, nil
	h.add(v)
	v.draw.jobOn = true
	v.powerOn(false)
	v.stored = nil
	v.applyDefinition()
	h.sorted = nil
	return v
}

// plotCut plans the host's next loss: a cable is pulled, and after a while put
// back. Its guests go on meanwhile.
func (h *host) plotCut(round int) {
	f := h.fleet
	c := newChance(f.opts.Seed, streamIncidents, uint64(round)|1<<43)
	wait := c.between(260, 420)
	if round > 1 {
		wait = c.between(1500, 3600)
	}
	f.after(seconds(wait), func() {
		h.tell(nil, backend.EventConnection, "lost", "no route to host")
		h.down = true
		f.unwatch(func(w *watcher) bool { return w.host == h })
		f.after(c.delay(20, 45), func() {
			h.down = false
			h.plotCut(round + 1)
		})
	})
}
