package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/backend"
)

// cpuModels are what hosts are made of.
var cpuModels = []struct {
	name string
	mhz  int
}{
	{"AMD EPYC 7543P 32-Core Processor", 2800},
	{"Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", 2000},
	{"AMD EPYC 9354 32-Core Processor", 3250},
	{"Intel(R) Xeon(R) Silver 4314 CPU @ 2.40GHz", 2400},
}

// sites name hosts: "ams-hv1".
var sites = []string{"ams", "fra", "sto", "mad"}

// hostCPUs are the sizes in which hosts come.
var hostCPUs = []int{4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}

// build makes the fleet as it is when the story begins: a machine that is on
// has been so for hours or weeks.
func (f *Fleet) build() {
	for i := range f.opts.Hosts {
		f.hosts = append(f.hosts, f.newHost(i))
	}
	names := map[string]int{}
	for i := range f.opts.VMs {
		f.cast(i, names)
	}
	f.castBatch(names)
	for _, h := range f.hosts {
		h.size()
	}
	f.buildShelf()
	f.load() // the loads of the first tick
	f.nextTick = f.tick
	for _, h := range f.hosts {
		h.backfill()
		for _, v := range h.vms {
			v.backfill()
			v.wrote = v.acc.wrtBytes
		}
	}
	if !f.opts.Calm {
		f.plot()
	}
	// Nothing can end the context of an advance that has nothing to do.
	_ = f.advance(context.Background(), 0)
}

func (f *Fleet) newHost(i int) *host {
	h := &host{fleet: f, name: fmt.Sprintf("%s-hv%d", sites[i%len(sites)], i/len(sites)+1), byUUID: map[backend.UUID]*vm{}}
	h.life, h.end = context.WithCancel(f.life)
	h.rng = newChance(f.opts.Seed, streamLoad, uint64(i)|1<<40)
	model := pick(&h.rng, cpuModels)
	h.model, h.mhz, h.threads, h.sockets = model.name, model.mhz, 2, 1
	h.wire = time.Duration(h.rng.between(0.2, 2.5) * float64(time.Millisecond))
	h.subnet = 20 + i
	h.bootAt = -seconds(h.rng.between(20, 140) * 86400)
	h.diskSpeed = h.rng.between(900, 2200) * mib
	h.ownMem = h.rng.between(1.2, 2.4) * gib
	h.nextID = int32(h.rng.between(3, 40))
	h.cpuShare, h.diskShare, h.latency = 1, 1, 0.00028
	return h
}

// size gives a host the CPUs and memory that somebody would have bought for
// its machines. Every third is too small for what it now carries.
func (h *host) size() {
	var vcpus, memory float64
	least := 16.0 * gib
	for _, v := range h.vms {
		if v.role.drive == byBatch {
			least = max(least, 1.25*float64(v.stored.maxMem))
		}
		if v.row.State.Active() {
			vcpus += float64(v.live.vcpus)
			memory += float64(v.live.maxMem)
		}
	}
	i := slices.Index(h.fleet.hosts, h)
	perCPU, spare := 1.7, 1.35
	switch {
	case i%3 == 1 && h.fleet.opts.Batch > 0: // tight, but a queue can use it
		perCPU, spare = 3, 1
	case i%3 == 1:
		perCPU, spare = 6.5, 0.8
	}
	h.cpus = hostCPUs[len(hostCPUs)-1]
	for _, n := range hostCPUs {
		if float64(n)*perCPU >= vcpus {
			h.cpus = n
			break
		}
	}
	if h.cpus >= 64 {
		h.sockets = 2
	}
	if busy := float64(len(h.vms)); busy > 40 {
		h.diskSpeed *= busy / 40 // a bigger shelf
	}
	h.memTotal = uint64(max(memory*spare+h.ownMem, least)/(16*gib)+0.999) * 16 * gib
	h.swapTotal = 8 * gib
	h.cores = make([]core, h.cpus)
}

// cast makes the i-th machine of the fleet's first day.
func (f *Fleet) cast(i int, names map[string]int) {
	m := block[i%len(block)]
	round := i / len(block)
	h := f.hosts[(i+round)%len(f.hosts)]
	label := people[(i*7+round)%len(people)]
	var s *service
	if m.service >= 0 {
		s = f.serviceFor(2*round + m.service)
		label = s.name
	}
	v := f.newVM(h, roles[m.role], s)
	build := newChance(f.opts.Seed, streamBuild, uint64(i))
	d := v.design(&build, label, m.env, names)
	v.stored = d
	v.row.UUID = d.uuid
	v.row.Autostart = m.env == "prod" || build.happens(0.2)
	v.ha = v.row.Autostart
	v.equip(&build)
	v.hostile(i)
	h.add(v)
	v.row.ID, v.row.State, v.row.Reason = -1, backend.Shutoff, reasonUnknown
	v.raise(m.power, round, &build)
	v.applyDefinition()
}

// serviceFor is the n-th service, which is made when it is first asked for.
func (f *Fleet) serviceFor(n int) *service {
	for len(f.services) <= n {
		i := len(f.services)
		s := &service{name: serviceNames[i%len(serviceNames)], rng: newChance(f.opts.Seed, streamLoad, uint64(i)|1<<41), burst: 1, tiers: map[*role]tier{}}
		if i >= len(serviceNames) {
			s.name = fmt.Sprintf("%s%d", s.name, i/len(serviceNames)+1)
		}
		s.size = s.rng.between(0.55, 1.1)
		f.services = append(f.services, s)
	}
	return f.services[n]
}

// newVM makes an empty machine on a host, with its streams of chance.
func (f *Fleet) newVM(h *host, r *role, s *service) *vm {
	f.things++
	n, seed := f.things, f.opts.Seed
	v := &vm{host: h, role: r, service: s, ignores: r.ignoresACPI,
		load: newChance(seed, streamLoad, n), life: newChance(seed, streamLife, n), acts: newChance(seed, streamActions, n)}
	v.row.Host = h.name
	v.draw.burst, v.draw.jobLevel = 1, 0.8
	if s != nil {
		s.members = append(s.members, v)
	}
	return v
}

// raise puts the machine in the state in which the story finds it.
func (v *vm) raise(p power, round int, c *chance) {
	if round > 0 && p != powerOff && c.happens(0.12) {
		p = powerOff
	}
	if p == powerOff || v.host.vcpusOn+v.stored.vcpus > mostVCPUs {
		return
	}
	v.host.vcpusOn += v.stored.vcpus
	f := v.fleet()
	since := -seconds(c.between(1, 40*24) * 3600)
	v.startProcess(v.stored)
	v.row.StartedAt = f.shown(since)
	v.enterState(backend.Running, reasonBooted)
	v.row.Since = time.Time{}
	v.phase, v.boots, v.bootFor = phaseUp, 1, v.life.delay(5, 20)
	v.upSince, v.agentUp = since, v.live.agent
	v.history = []logEntry{{since, logStarted, ""}}
	v.draw.used = float64(v.live.curMem) * (v.role.mem + v.role.memLoad/2)
	v.draw.touched = min(v.draw.used*1.15, v.draw.balloon)
	switch p {
	case powerPaused:
		v.freeze()
		v.row.State, v.row.Reason = backend.Paused, reasonUser
	case powerAsleep:
		v.freeze()
		v.row.State, v.row.Reason = backend.PMSuspended, reasonUnknown
	case powerSaved:
		v.freeze()
		v.saved = &saved{live: v.live, phase: v.phase, uptime: v.upBefore, bootFor: v.bootFor, agentUp: v.agentUp, draw: v.draw}
		v.row.ManagedSave = true
		v.stop(backend.Shutoff, reasonSaved)
		v.row.Since = time.Time{}
	}
}

// mostVCPUs is how many virtual CPUs a host runs at most when the story begins.
const mostVCPUs = 2560

// backfill gives a machine the counters of its life before the story, as if
// it had always worked as it does now.
func (v *vm) backfill() {
	if v.row.State.Active() {
		v.acc = meters{}.plus(&v.rates, v.fleet().base.Sub(v.row.StartedAt).Seconds()*0.8)
	}
}
