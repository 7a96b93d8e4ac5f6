package demo

import (
	"math"

	"berth/backend"
)

// draw is what a machine asks for, with the slow noises that shape it.
type draw struct {
	noise, ioNoise float64 // first-order autoregressive, about (-1, 1)
	burst          float64 // what a burst multiplies the load by; 1 without
	burstLeft      float64 // seconds
	jobOn          bool
	jobLevel       float64
	level          float64 // load now: 1 is what it was built for

	cpu         float64 // cores
	read, write float64 // bytes a second
	rx, tx      float64

	used    float64 // memory the guest uses, bytes
	touched float64 // and ever used since it started
	balloon float64 // the balloon's size
}

// service is what several machines give together.
type service struct {
	name    string
	rng     chance
	size    float64 // some are busier than they were built for
	noise   float64
	burst   float64
	left    float64 // seconds of burst
	members []*vm

	asked  float64 // load of requests, 1 being what the tiers were built for
	served float64 // and what its front end passes on to the tiers behind
	tiers  map[*role]tier
}

// tier counts the machines of one role in a service.
type tier struct{ all, up float64 }

// load is one tick: demand follows the hour and chance, and hosts share out
// what they have.
func (f *Fleet) load() {
	dt := f.tick.Seconds()
	hour, workday := f.hour()
	for _, s := range f.services {
		s.step(dt, hour, workday)
	}
	for _, h := range f.hosts {
		h.settle()
		for _, v := range h.vms {
			if v.row.State.Active() {
				v.step(dt, hour, workday)
			}
		}
		h.share(dt)
	}
}

// rhythm is how busy people are at an hour of the day, from about 0.1 at four
// in the morning to 1 in the afternoon.
func rhythm(hour float64, workday bool) float64 {
	day := 0.5 - 0.5*math.Cos((hour-4)/24*2*math.Pi) // deepest at 4:00
	evening := 0.15 * math.Exp(-(hour-20.5)*(hour-20.5)/4)
	r := 0.1 + 0.75*day + evening
	if !workday {
		r *= 0.7
	}
	return min(r, 1)
}

// office is how many are at their desks.
func office(hour float64, workday bool) float64 {
	if !workday || hour < 7.5 || hour > 19 {
		return 0.04
	}
	lunch := 0.35 * math.Exp(-(hour-12.5)*(hour-12.5)/0.3)
	return max(0.04, 0.8*math.Sin((hour-7.5)/11.5*math.Pi)-lunch+0.1)
}

// drift is the next value of an autoregressive noise that forgets over about
// tau seconds, and n is in (-1, 1).
func drift(x, n, dt, tau float64) float64 {
	k := math.Exp(-dt / tau)
	return k*x + math.Sqrt(1-k*k)*n*1.6
}

// step draws the requests of one tick.
func (s *service) step(dt, hour float64, workday bool) {
	n, _ := s.rng.noises()
	s.noise = drift(s.noise, n, dt, 25)
	s.burst, s.left = nextBurst(&s.rng, s.burst, s.left, dt, 500, 1.4, 2.6)
	s.asked = max(0.01, s.size*rhythm(hour, workday)*(1+0.18*s.noise)*s.burst)
	clear(s.tiers)
	for _, v := range s.members {
		t := s.tiers[v.role]
		t.all++
		if v.serving() {
			t.up++
		}
		s.tiers[v.role] = t
	}
	s.served = s.asked
	if web := s.tiers[roles["web"]]; web.all > 0 {
		s.served = min(s.asked*web.all, 1.6*web.up) / web.all
	}
}

// levelFor is the load on one machine of the given role, which takes its part
// of those that are down.
func (s *service) levelFor(r *role) float64 {
	t := s.tiers[r]
	if t.up == 0 {
		return 0
	}
	load := s.served
	if r.key == "web" || r.key == "lb" {
		load = s.asked
	}
	return load * t.all / t.up
}

// serving reports whether the guest answers requests.
func (v *vm) serving() bool {
	return v.phase == phaseUp && v.row.State == backend.Running && !v.stuck
}

// nextBurst ends, keeps or begins a burst: one begins every so many seconds on
// average and lasts 10 to 60.
func nextBurst(c *chance, burst, left, dt, every, low, high float64) (float64, float64) {
	u, w := c.unit(), c.unit()
	switch {
	case left > dt:
		return burst, left - dt
	case u < dt/every:
		return low + (high-low)*w, 10 + 50*w
	}
	return 1, 0
}

// step draws what the machine asks for in one tick.
func (v *vm) step(dt, hour float64, workday bool) {
	d := &v.draw
	n, io := v.load.noises()
	d.noise, d.ioNoise = drift(d.noise, n, dt, 12), drift(d.ioNoise, io, dt, 6)
	d.burst, d.burstLeft = nextBurst(&v.load, d.burst, d.burstLeft, dt, 900, 1.2, 2)
	d.level = v.level(dt, hour, workday)
	v.ask()
	v.remember(dt)
}

// level is the machine's load now, by what drives its role.
func (v *vm) level(dt, hour float64, workday bool) float64 {
	d, r := &v.draw, v.role
	switch r.drive {
	case byService:
		if v.service != nil {
			return v.service.levelFor(r) * (1 + 0.1*d.noise)
		}
		return rhythm(hour, workday) * (1 + 0.2*d.noise) * d.burst
	case byJobs:
		return v.jobLevel(dt, rhythm(hour, workday))
	case byBatch:
		return min(1.05, 0.9+0.08*d.noise)
	case byNight:
		if hour >= 1 && hour < 4.5 {
			return 1 + 0.1*d.noise
		}
		return 0.02 * d.burst
	case byDesk:
		return max(0.02, office(hour, workday)*(1+0.5*d.noise)) * d.burst
	}
	return 0.6 * (1 + 0.15*d.noise) * d.burst
}

// jobLevel starts and ends jobs; by night there are fewer.
func (v *vm) jobLevel(dt, busy float64) float64 {
	d, r := &v.draw, v.role
	u, w := v.load.unit(), v.load.unit()
	switch {
	case d.jobOn && u < dt/r.onSeconds:
		d.jobOn = false
	case !d.jobOn && u < dt/r.offSeconds*(0.3+busy):
		d.jobOn, d.jobLevel = true, 0.65+0.35*w
	}
	if !d.jobOn {
		return 0.01
	}
	return min(1.05, d.jobLevel*(1+0.08*d.noise))
}

// ask works out the demand of the machine as it is now.
func (v *vm) ask() {
	d := &v.draw
	d.cpu, d.read, d.write, d.rx, d.tx = 0, 0, 0, 0, 0
	if !v.clockRuns() {
		return
	}
	wobble := max(0.2, 1+0.3*d.ioNoise)
	switch v.phase {
	case phaseFirmware:
		d.cpu, d.read = 0.6, 300*kib
	case phaseKernel:
		d.cpu = min(float64(v.live.vcpus), 1.3*wobble)
		d.read, d.write = 38*mib*wobble, 2.5*mib*wobble
		if v.role.bigBoot {
			d.read *= 1.6
		}
		d.rx, d.tx = 3*kib, 1*kib
	case phaseStopping:
		d.cpu, d.write, d.tx = 0.5, 5*mib*wobble, 2*kib
	case phaseUp:
		v.askUp(wobble)
	}
}

// askUp is the demand of a guest that does its work.
func (v *vm) askUp(wobble float64) {
	d, r := &v.draw, v.role
	vcpus := float64(v.live.vcpus)
	d.cpu = min(vcpus, r.idle*(1+0.3*math.Abs(d.noise))+r.cpu*vcpus*d.level)
	scale := d.level * vcpus / 2
	d.read = r.read * scale * wobble
	d.write = 2*kib*wobble + r.write*scale*wobble
	d.rx = 0.6*kib*wobble + r.rx*scale*max(0.3, 1+0.15*d.ioNoise)
	d.tx = 0.3*kib*wobble + r.tx*scale*max(0.3, 1+0.15*d.noise)
}

// remember lets the memory that the guest uses follow what it does.
func (v *vm) remember(dt float64) {
	d := &v.draw
	if v.row.State == backend.Paused || v.row.State == backend.PMSuspended {
		return
	}
	full := float64(v.live.curMem)
	want, tau := full*(v.role.mem+v.role.memLoad*min(d.level, 1.3)), 40.0
	switch v.phase {
	case phaseFirmware:
		want, tau = 24*mib, 1
	case phaseKernel:
		want, tau = full*v.role.mem*0.6, 8
	case phaseStopping:
		want, tau = full*0.08, 4
	}
	want = min(want, d.balloon*0.97)
	d.used += (want - d.used) * (1 - math.Exp(-dt/tau))
	d.touched = min(max(d.touched, d.used*1.12), d.balloon)
}

// resident is the size of the machine's QEMU process: the memory that the
// guest ever touched and QEMU's own needs.
func (v *vm) resident() float64 {
	if !v.row.State.Active() {
		return 0
	}
	return v.draw.touched + 52*mib + float64(v.live.vcpus)*1.5*mib
}

// grant is what the machine gets of what it asks for, given the host's
// pressure on CPU and disk. CPU it wants and does not get is time its vCPUs
// wait, which the guest sees as stolen.
func (v *vm) grant() meters {
	d, h, r := &v.draw, v.host, v.role
	if !v.clockRuns() {
		return meters{}
	}
	cpu, io := v.cpuPart, min(v.cpuPart, v.ioPart)
	m := meters{
		cpu: d.cpu * cpu, wait: d.cpu * (1 - cpu),
		readBytes: d.read * io, wrtBytes: d.write * io,
		rxBytes: d.rx * cpu, txBytes: d.tx * cpu,
	}
	m.readOps = m.readBytes / orElse(r.readSize, 24*kib)
	m.wrtOps = m.wrtBytes / orElse(r.wrtSize, 16*kib)
	m.flushes = m.wrtOps * r.flush
	m.readTime = m.readOps * h.latency
	m.wrtTime = m.wrtOps * h.latency * 1.4
	m.rxPkts, m.txPkts = m.rxBytes/780, m.txBytes/920
	if cpu < 0.85 {
		m.rxDrop = m.rxPkts * (0.85 - cpu) * 0.02
	}
	// QEMU's own threads: a little always, more for every request.
	m.cpu += 0.003 + (m.readOps+m.wrtOps)*9e-6 + (m.rxPkts+m.txPkts)*2e-6
	return m
}

func orElse(x, otherwise float64) float64 {
	if x == 0 {
		return otherwise
	}
	return x
}

// changed works out demand and rates again, after what the guest does changed
// between two ticks.
func (v *vm) changed() {
	v.host.settle()
	v.ask()
	v.setRates(v.grant())
	v.host.spread()
	v.wakeConsole()
}
