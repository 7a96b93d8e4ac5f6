package queue

import (
	"cmp"
	"slices"
)

// guard watches over N+1: whichever single host is lost, all that runs there
// must find room on the others. It keeps a plan of evacuation for each host and
// works one out anew only when a start takes the room that it counted on.
type guard struct {
	b      *board
	on     bool
	closed bool      // the head waits for room beyond its own: nobody may pass it
	plans  [][]spare // by the host that is lost
}

// spare is the room that a plan of evacuation takes on one host.
type spare struct {
	host int
	size Size
}

// newNPlus1 is a guard over b, idle unless the policy wants it.
func newNPlus1(b *board) guard {
	g := guard{b: b, on: b.policy.NPlus1}
	if !g.on {
		return g
	}
	g.plans = make([][]spare, len(b.hosts))
	for i := range b.hosts {
		g.plans[i], _ = g.evacuate(i, -1, nil)
	}
	return g
}

// evacuate plans where all that runs on host lost goes, when size more runs on
// host at: the largest first, each to the first host with room. It reports
// whether there is room for all.
func (g *guard) evacuate(lost, at int, size *Size) ([]spare, bool) {
	h := &g.b.hosts[lost]
	all := make([]Size, 0, len(h.runs)+1)
	for i := range h.runs {
		all = append(all, h.runs[i].size)
	}
	if lost == at {
		all = append(all, *size)
	}
	slices.SortFunc(all, func(x, y Size) int {
		return cmp.Or(cmp.Compare(g.b.share(&y), g.b.share(&x)), cmp.Compare(y.Memory, x.Memory),
			cmp.Compare(y.VCPU, x.VCPU), cmp.Compare(y.Disk, x.Disk))
	})
	var plan []spare
	for i := range all {
		if !g.put(&plan, lost, at, size, &all[i]) {
			return plan, false
		}
	}
	return plan, true
}

// put finds room for one VM of a lost host.
func (g *guard) put(plan *[]spare, lost, at int, size, vm *Size) bool {
	for i := g.b.free.next(0, vm); i >= 0; i = g.b.free.next(i+1, vm) {
		if i == lost {
			continue
		}
		room := g.b.hosts[i].free
		if i == at {
			room.sub(size)
		}
		n := slices.IndexFunc(*plan, func(s spare) bool { return s.host == i })
		if n >= 0 {
			room.sub(&(*plan)[n].size)
		}
		if !vm.fits(&room) {
			continue
		}
		if n < 0 {
			*plan = append(*plan, spare{i, *vm})
		} else {
			(*plan)[n].size.add(vm)
		}
		return true
	}
	return false
}

// allows reports whether size may start on host at: afterwards the loss of any
// host that could be taken up before still can be, and that of at too.
func (g *guard) allows(at int, size *Size) bool {
	if !g.on {
		return true
	}
	if _, ok := g.evacuate(at, at, size); !ok {
		return false
	}
	room := g.b.hosts[at].free
	room.sub(size)
	for lost, plan := range g.plans {
		n := slices.IndexFunc(plan, func(s spare) bool { return s.host == at })
		if lost == at || n < 0 || plan[n].size.fits(&room) {
			continue
		}
		if _, ok := g.evacuate(lost, at, size); !ok {
			return false
		}
	}
	return true
}

// bars reports whether N+1 alone keeps a blocked job from starting, and notes it.
// If that will pass once what has a believed end has ended, and nobody waits
// ahead, nobody may pass the job until then: the room it needs beyond its own
// would never be free else.
func (g *guard) bars(wi int32) bool {
	b := g.b
	if !g.on {
		return false
	}
	found := false
	for i := b.next(b.waits[wi].job, 0); i >= 0 && !found; i = b.next(b.waits[wi].job, i+1) {
		h := &b.hosts[i]
		found = b.spares(wi, h) && (!b.tagged || h.welcomes(b.waits[wi].job))
	}
	if !found {
		return false
	}
	b.waits[wi].fate = unsafe
	if b.kept == 0 && !g.closed {
		g.closed = g.passes(wi)
	}
	return true
}

// passes reports whether N+1 will let a job start when all that has a believed
// end has ended.
func (g *guard) passes(wi int32) bool {
	empty := &board{policy: g.b.policy, hosts: make([]host, len(g.b.hosts)), most: g.b.most}
	for i := range empty.hosts {
		h := &g.b.hosts[i]
		e := host{name: h.name, cap: h.cap, free: h.cap, out: h.out}
		for _, r := range h.runs {
			if r.end >= Never {
				e.runs = append(e.runs, r)
				e.free.sub(&r.size)
			}
		}
		empty.hosts[i] = e
	}
	empty.index()
	later := newNPlus1(empty)
	j := g.b.waits[wi].job
	for i := empty.next(j, 0); i >= 0; i = empty.next(j, i+1) {
		if later.allows(i, &j.Size) {
			return true
		}
	}
	return false
}

// started notes that something started on host at.
func (g *guard) started(at int) {
	if !g.on {
		return
	}
	for lost, plan := range g.plans {
		n := slices.IndexFunc(plan, func(s spare) bool { return s.host == at })
		if lost == at || n >= 0 && !plan[n].size.fits(&g.b.hosts[at].free) {
			g.plans[lost], _ = g.evacuate(lost, -1, nil)
		}
	}
}
