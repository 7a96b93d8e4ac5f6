package queue

import (
	"cmp"
	"slices"
)

// pass decides what starts now and for whom room is kept.
func (b *board) pass() {
	b.clear()
	b.line()
	scan := b.scan(b.attempt)
	if b.policy.Backfill == Conservative {
		b.survey()
		scan = b.scan(b.conserve)
	}
	scan(b.queue)
	b.again()
}

// clear forgets what the last pass found.
func (b *board) clear() {
	b.tight = b.tight[:0]
	b.failed, b.never, b.starts, b.evict, b.kept, b.futile, b.sought = b.failed[:0], b.never[:0], b.starts[:0], b.evict[:0], 0, 0, 0
	b.before.max = append(b.before.max[:0], b.free.max...)
	b.before.n, b.before.base = b.free.n, b.free.base
	for i := range b.hosts {
		h := &b.hosts[i]
		h.holds, h.prof, h.took = h.holds[:0], h.prof[:0], -1
		h.span = b.span(h.last)
	}
	b.guard = newNPlus1(b)
}

// scan is the walk along the queue: those at the front by a person's wish, then
// those with a promise, then the rest, of whom the first that is blocked is
// the head.
func (b *board) scan(try func(wi int32) bool) func([]int32) {
	return func(line []int32) {
		n := 0
		for n < len(line) && b.waits[line[n]].job.Front > 0 {
			n++
		}
		m := n
		for m < len(line) && b.waits[line[m]].firm {
			m++
		}
		held := b.walk(line[:n], try)
		b.promised(line[n:m])
		held = b.walk(line[n:m], try) || held
		rest := line[m:]
		for i := 0; i < len(rest) && !held; i++ {
			held = b.holdsUp(rest[i], try(rest[i]))
			if held {
				rest = rest[i+1:]
			}
		}
		if held {
			b.backfill(rest, try)
		}
	}
}

// walk tries each of line in turn and reports whether one of them is the head
// that others must not delay. In a strict order nobody passes it.
func (b *board) walk(line []int32, try func(wi int32) bool) bool {
	held := false
	for _, wi := range line {
		if held && b.policy.Backfill == NoBackfill {
			b.waits[wi].fate = behind
			continue
		}
		held = b.holdsUp(wi, try(wi)) || held
	}
	return held
}

// holdsUp reports whether a job that was tried is the head of the queue from
// now on: it could not start, but will one day.
func (b *board) holdsUp(wi int32, started bool) bool {
	f := b.waits[wi].fate
	return !started && f != hopeless && f != lonely && (f != unsafe || b.guard.closed)
}

// backfill lets those behind a blocked head overtake it as the policy allows.
func (b *board) backfill(rest []int32, try func(wi int32) bool) {
	switch {
	case b.policy.Backfill == NoBackfill || b.guard.closed:
		for _, wi := range rest {
			b.waits[wi].fate = behind
		}
		return
	case b.policy.Backfill == Conservative:
	case b.policy.Backfill == SJBF:
		rest = b.shortest(b.roomFor(rest), try)
	default:
		rest = b.roomFor(rest)
	}
	for _, wi := range rest {
		try(wi)
	}
}

// roomFor leaves out those of a long rest that cannot start: they have no room
// now, thus none later in this pass, and neither reservations nor preemption
// are open to them. It asks in the order in which jobs lie in memory, which is
// what makes it quick.
func (b *board) roomFor(rest []int32) []int32 {
	if len(rest) < many || b.kept == 0 || b.policy.Preempt {
		return rest
	}
	b.skip = append(b.skip[:0], make([]bool, len(b.waits))...)
	for i := range b.waits {
		w := &b.waits[i]
		if w.fate != undecided || !w.alone || b.room(int32(i)) {
			continue
		}
		b.looked++
		b.skip[i] = true
		if b.outcast(int32(i)) {
			continue
		}
		w.fate = blocked
	}
	b.order = b.order[:0]
	for _, wi := range rest {
		if !b.skip[wi] {
			b.order = append(b.order, wi)
		}
	}
	return b.order
}

// shortest tries those of rest that have no room now, in their order: they may
// be given a reservation or put others aside. It returns the others, the
// shortest first. What has no room now has none later in the pass.
func (b *board) shortest(rest []int32, try func(wi int32) bool) []int32 {
	b.keys = b.keys[:0]
	for _, wi := range rest {
		if b.room(wi) {
			b.keys = append(b.keys, key{-float64(b.waits[wi].estimate), wi})
			continue
		}
		try(wi)
	}
	b.sortStable()
	b.order = b.order[:0]
	for i := range b.keys {
		b.order = append(b.order, b.keys[i].wait)
	}
	return b.order
}

// attempt starts a job now if it may. Else it notes why not, and keeps room for
// it if it is its turn.
func (b *board) attempt(wi int32) bool {
	started, barred := b.start(wi)
	if !barred || b.guard.bars(wi) || b.preempt(wi) {
		return started
	}
	if w := &b.waits[wi]; b.kept == 0 || w.firm || w.job.Front > 0 {
		b.reserve(wi)
	}
	return false
}

// start starts a job now if it has room. If it is barred from that it may have
// room kept; if it is neither, no host can ever take it.
func (b *board) start(wi int32) (started, barred bool) {
	if b.outcast(wi) {
		return false, false
	}
	b.unhold(wi)
	if h := b.place(wi); h >= 0 {
		b.begin(wi, h)
		return true, false
	}
	b.waits[wi].fate = blocked
	b.note(wi)
	return false, true
}

// note keeps why a job that has room may not have it: later in the pass the
// room may be gone, and the reason hidden.
func (b *board) note(wi int32) {
	if b.said != nil && b.room(wi) {
		b.said[wi] = b.whyBarred(wi)
	}
}

// outcast notes and reports that no host can ever take a job as things stand:
// it is too big, its hosts are out, or its tags find no company.
func (b *board) outcast(wi int32) bool {
	w := &b.waits[wi]
	if w.plain {
		if b.roomy.next(0, &w.size) < 0 {
			w.fate = hopeless
		}
		return w.fate == hopeless
	}
	j := w.job
	if b.roomy.nextOf(j, 0) < 0 {
		w.fate = hopeless
		return true
	}
	if len(j.Near)+len(j.Apart) == 0 && (len(j.Tags) == 0 || !b.tagged) {
		return false
	}
	for i := b.roomy.nextOf(j, 0); i >= 0; i = b.roomy.nextOf(j, i+1) {
		h := &b.hosts[i]
		if h.near(j) && b.apartFrom(j, h, b.now) < Never {
			return false
		}
	}
	w.fate = lonely
	return true
}

// promised keeps the room that earlier passes promised, before anything starts.
// A single promise needs no care: it is the first to be looked at.
func (b *board) promised(line []int32) {
	if len(line) < 2 {
		return
	}
	line = slices.Clone(line)
	slices.SortStableFunc(line, func(x, y int32) int {
		return cmp.Compare(b.waits[x].job.Promise.At, b.waits[y].job.Promise.At)
	})
	for _, wi := range line {
		j := b.waits[wi].job
		p := j.Promise
		at := max(p.At, b.now)
		if p.Host < 0 || p.Host >= len(b.hosts) || !b.hosts[p.Host].couldTake(j, p.Host) {
			continue
		}
		if b.earliestOn(wi, p.Host, at, Never) == at {
			b.hold(wi, p.Host, at)
		}
	}
}

// again tries once more those who found no company: some may have started since.
func (b *board) again() {
	if !b.tagged {
		return
	}
	for found := true; found; {
		found = false
		for _, wi := range b.queue {
			if w := &b.waits[wi]; w.fate != lonely || len(w.job.Near) == 0 || b.outcast(wi) {
				continue
			}
			if h := b.place(wi); h >= 0 {
				b.begin(wi, h)
				found = true
				continue
			}
			b.waits[wi].fate = blocked
		}
	}
}
