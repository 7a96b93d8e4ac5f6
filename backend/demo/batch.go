package demo

import (
	"math"
	"slices"

	"berth/backend"
)

// BatchTag marks machines that work for a while, power off by themselves, and
// then wait until somebody starts them again.
const BatchTag = "batch"

// MaxBatch bounds Options.Batch.
const MaxBatch = 1000

// batchRoles are what batch machines do. How long one runs is drawn at each
// start, log-normally, as run times in traces of batch systems are.
var batchRoles = roleTable([]role{
	{key: "runner", title: "CI runner of %s", oses: debianish, vcpus: []int{2, 4}, ram: []int{4, 8}, disk: []int{40}, drive: byBatch,
		idle: .02, cpu: .85, read: 2 * mib, write: 3 * mib, readSize: 40 * kib, wrtSize: 60 * kib, flush: .05, rx: 1.2 * mib, tx: 150 * kib, mem: .2, memLoad: .5,
		median: 130, spread: .6},
	{key: "suite", title: "Test suite of %s", oses: serverOS, vcpus: []int{1, 2}, ram: []int{2, 4}, disk: []int{20}, drive: byBatch,
		idle: .02, cpu: .6, read: 600 * kib, write: 400 * kib, readSize: 24 * kib, wrtSize: 16 * kib, flush: .1, rx: 300 * kib, tx: 100 * kib, mem: .3, memLoad: .3,
		median: 70, spread: .5},
	{key: "etl", title: "Nightly ETL of %s", oses: debianish, vcpus: []int{4}, ram: []int{8, 16}, disk: []int{120}, drive: byBatch,
		idle: .02, cpu: .55, read: 9 * mib, write: 4 * mib, readSize: 96 * kib, wrtSize: 128 * kib, flush: .04, rx: 3 * mib, tx: 400 * kib, mem: .3, memLoad: .5,
		median: 420, spread: .35},
	{key: "render", title: "Render node of %s", oses: []string{"ubuntu24.04"}, vcpus: []int{8}, ram: []int{16}, disk: []int{80}, drive: byBatch,
		idle: .02, cpu: .97, read: 700 * kib, write: 900 * kib, readSize: 128 * kib, wrtSize: 256 * kib, rx: 400 * kib, tx: 600 * kib, mem: .25, memLoad: .5,
		median: 600, spread: .5},
	{key: "train", title: "Model training of %s", oses: []string{"ubuntu24.04"}, vcpus: []int{8, 16}, ram: []int{32}, disk: []int{200}, drive: byBatch,
		idle: .03, cpu: .9, read: 6 * mib, write: 500 * kib, readSize: 256 * kib, wrtSize: 256 * kib, rx: 200 * kib, tx: 60 * kib, mem: .25, memLoad: .55,
		median: 1500, spread: .6},
})

// batchPattern is the roles of the first batch machines, then again and again.
var batchPattern = []string{
	"render", "runner", "suite", "etl", "runner", "render", "suite", "runner",
	"train", "suite", "runner", "etl", "suite", "runner", "render", "train",
}

// underWay says of the first batch machines how many seconds the run in which
// the story finds them has still to go.
var underWay = []float64{260, 28, 50, 420, 95}

// castBatch adds the fleet's batch machines, the first of them at work.
func (f *Fleet) castBatch(names map[string]int) {
	for i := range f.opts.Batch {
		r := batchRoles[batchPattern[i%len(batchPattern)]]
		h := f.hosts[i%len(f.hosts)]
		v := f.newVM(h, r, nil)
		build := newChance(f.opts.Seed, streamBuild, uint64(i)|1<<45)
		labels := serviceNames
		if r.key == "render" || r.key == "train" {
			labels = people
		}
		v.stored = v.design(&build, labels[(i*5+i/len(batchPattern))%len(labels)], BatchTag, names)
		v.stored.desc = "Works for a while, powers off by itself, and waits to be started again."
		v.row.UUID = v.stored.uuid
		v.equip(&build)
		v.snapshots, v.checkpoints = nil, nil
		h.add(v)
		v.row.ID, v.row.State, v.row.Reason = -1, backend.Shutoff, reasonShutdown
		if i < len(underWay) {
			v.raiseAtWork(underWay[i])
		}
		v.applyDefinition()
	}
}

// raiseAtWork puts a batch machine in the middle of a run.
func (v *vm) raiseAtWork(left float64) {
	f := v.fleet()
	since := -max(v.runTime(), seconds(left)) / 2
	v.host.vcpusOn += v.stored.vcpus
	v.startProcess(v.stored)
	v.row.StartedAt = f.shown(since)
	v.enterState(backend.Running, reasonBooted)
	v.row.Since = f.shown(since)
	v.phase, v.boots, v.bootFor = phaseUp, 1, v.life.delay(5, 20)
	v.upSince, v.agentUp = since, v.live.agent
	v.history = []logEntry{{since, logStarted, ""}}
	v.draw.used = float64(v.live.curMem) * (v.role.mem + v.role.memLoad/2)
	v.draw.touched = min(v.draw.used*1.15, v.draw.balloon)
	v.next(seconds(left), v.finish)
}

// runTime draws how long the machine's next run takes, boot and end aside.
func (v *vm) runTime() storyTime {
	c := &v.life
	// Box and Muller's normal deviate.
	normal := math.Sqrt(-2*math.Log(1-c.unit())) * math.Cos(2*math.Pi*c.unit())
	return seconds(v.role.median * math.Exp(v.role.spread*max(-2, min(normal, 2))))
}

// work lets a batch machine that has come up do what it is for, once.
func (v *vm) work() { v.next(v.runTime(), v.finish) }

// finish is the end of its work: it powers off, or falls over just then.
func (v *vm) finish() {
	if !v.fleet().opts.Calm && v.life.happens(0.03) {
		v.crash()
		return
	}
	v.stopGuest(v.powerOff)
}

// roleFor is that of a definition that is new on a host: the one its machine
// has on another host, else that which its tags tell, else a test machine's.
func (f *Fleet) roleFor(d *definition) *role {
	for _, h := range f.hosts {
		if v := h.byUUID[d.uuid]; v != nil {
			return v.role
		}
	}
	if slices.Contains(d.tags, BatchTag) {
		for _, t := range d.tags {
			if r := batchRoles[t]; r != nil {
				return r
			}
		}
	}
	for _, t := range d.tags {
		if r := roles[t]; r != nil {
			return r
		}
	}
	return roles["test"]
}
