package demo

import (
	"math"
	"time"

	"berth/backend"
)

// cpuTimes are seconds of CPU by kind, or their growth in a second.
type cpuTimes struct{ user, system, iowait, idle float64 }

func (c *cpuTimes) add(r *cpuTimes, s float64) {
	c.user += r.user * s
	c.system += r.system * s
	c.iowait += r.iowait * s
	c.idle += r.idle * s
}

func (c *cpuTimes) shown() backend.HostCPU {
	return backend.HostCPU{User: duration(c.user), System: duration(c.system), IOWait: duration(c.iowait), Idle: duration(c.idle)}
}

// core is one logical CPU of a host.
type core struct {
	acc, rate cpuTimes
	lean      float64 // how much more than its neighbour it gets, in (-1, 1)
}

// settle brings the host's CPU counters up to now.
func (h *host) settle() {
	s := h.fleet.elapsed(h.segment, h.fleet.now)
	if s == 0 {
		return
	}
	for i := range h.cores {
		h.cores[i].acc.add(&h.cores[i].rate, s)
	}
	h.segment = h.fleet.now
}

// share gives the machines what the host has, for the tick that begins now:
// when they ask for more CPU or disk than there is, each gets the same part
// of what it asked for.
func (h *host) share(dt float64) {
	var cpu, io, wanted float64
	active := 0
	for _, v := range h.vms {
		if v.row.State.Active() {
			active++
			cpu += v.draw.cpu
			io += v.draw.read + v.draw.write
		}
	}
	h.own = 0.06 + 0.004*float64(active) + io/(900*mib)
	have := 0.98*float64(h.cpus) - h.own
	h.cpuShare, h.diskShare = portion(have, cpu), portion(h.diskSpeed, io)
	h.divide(have, h.diskSpeed)
	busy := min(io/h.diskSpeed, 0.97)
	h.latency = 0.00028 / (1 - busy) // as a single queue's: service time over what is free of it
	h.guestCPU = 0
	for _, v := range h.vms {
		if v.row.State.Active() {
			v.setRates(v.grant())
			wanted += v.rates.cpu + v.rates.wait
		}
	}
	h.sumGuests()
	h.waiting = 0.35 * busy * math.Sqrt(float64(h.cpus))
	h.average(dt, wanted+h.own+h.waiting)
	h.squeeze(dt)
	h.lean(dt)
	h.spread()
}

// portion is how much of a demand can be met, at most all.
func portion(have, want float64) float64 {
	if want <= have || want == 0 {
		return 1
	}
	return have / want
}

// sumGuests adds up the machines afresh, so that rounding never piles up.
func (h *host) sumGuests() {
	h.guestCPU = 0
	for _, v := range h.vms {
		h.guestCPU += v.rates.cpu
	}
}

// average moves the load averages, which forget over 1, 5 and 15 minutes as
// the kernel's do.
func (h *host) average(dt, runnable float64) {
	for i, tau := range [...]float64{60, 300, 900} {
		k := math.Exp(-dt / tau)
		h.loadAvg[i] = k*h.loadAvg[i] + (1-k)*runnable
	}
}

// memory sums what the host's processes hold; free may be negative, and is
// then what the host swaps.
func (h *host) memory() (used, free float64) {
	used = h.ownMem
	for _, v := range h.vms {
		used += v.resident()
	}
	return used, float64(h.memTotal) - used
}

// squeeze is the host's memory manager: it blows up the balloons of its guests
// while little memory is free, and lets them go when there is enough.
func (h *host) squeeze(dt float64) {
	_, free := h.memory()
	low := 0.06 * float64(h.memTotal)
	for _, v := range h.vms {
		if !v.row.State.Active() || !v.balloonTells() || v.stuck {
			continue
		}
		d := &v.draw
		switch {
		case free < low:
			d.balloon = max(min(d.used*1.1, d.balloon), d.balloon*(1-0.01*dt))
			d.touched = min(d.touched, d.balloon)
		case free > 2*low:
			d.balloon = min(float64(v.live.curMem), d.balloon*(1+0.01*dt))
		}
	}
}

// lean lets the scheduler favour now one CPU, now its neighbour.
func (h *host) lean(dt float64) {
	for i := 0; i+1 < len(h.cores); i += 2 {
		n, _ := h.rng.noises()
		x := max(-1, min(1, drift(h.cores[i].lean, n, dt, 4)))
		h.cores[i].lean, h.cores[i+1].lean = x, -x
	}
}

// spread puts the host's work on its CPUs.
func (h *host) spread() {
	n := float64(len(h.cores))
	busy := min(h.guestCPU+h.own, n)
	user := 0.0
	if busy > 0 {
		user = (0.9*h.guestCPU + 0.4*h.own) / (h.guestCPU + h.own)
	}
	each := busy / n
	room := 0.8 * min(each, 1-each)
	for i := range h.cores {
		c := &h.cores[i]
		mine := each + c.lean*room
		wait := min(h.waiting/n, 1-mine)
		c.rate = cpuTimes{user: mine * user, system: mine * (1 - user), iowait: wait, idle: 1 - mine - wait}
	}
}

// cpuAt reads the host's CPU counters at a moment; the first is the sum of
// the others.
func (h *host) cpuAt(now storyTime) (backend.HostCPU, []backend.HostCPU) {
	s := h.fleet.elapsed(h.segment, now)
	var total backend.HostCPU
	per := make([]backend.HostCPU, len(h.cores))
	for i := range h.cores {
		t := h.cores[i].acc
		t.add(&h.cores[i].rate, s)
		per[i] = t.shown()
		total.User += per[i].User
		total.System += per[i].System
		total.IOWait += per[i].IOWait
		total.Idle += per[i].Idle
	}
	return total, per
}

// backfill gives the host the CPU counters of the time before the story, as if
// it had always been as busy as now.
func (h *host) backfill() {
	up := -h.bootAt.Seconds()
	for i := range h.cores {
		h.cores[i].acc = cpuTimes{}
		h.cores[i].acc.add(&h.cores[i].rate, up)
	}
	busy := h.guestCPU + h.own + h.waiting
	h.loadAvg = [3]float64{busy, busy * 0.97, busy * 0.94}
}

// latencyNow is what a round trip to the host's libvirt takes: a wire's
// length, and longer when the host's CPUs are all busy.
func (h *host) latencyNow() time.Duration {
	full := (h.guestCPU + h.own) / float64(h.cpus)
	return h.wire + time.Duration(float64(400*time.Microsecond)*full/(1.05-min(full, 1)))
}
