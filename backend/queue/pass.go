package queue

import (
	"cmp"
	"slices"
)

// pass decides what starts now and for whom room is kept.
func (b *board) pass() {
	b.clear()
	b.line()
	if b.policy.Backfill == Conservative {
		b.conserve()
		return
	}
	b.promised()
	for i, wi := range b.queue {
		if b.attempt(wi) {
			continue
		}
		if b.waits[wi].fate == hopeless || b.waits[wi].fate == lonely {
			continue
		}
		b.backfill(b.queue[i+1:])
		break
	}
	b.again()
}

// clear forgets what the last pass found.
func (b *board) clear() {
	b.failed, b.starts, b.evict, b.kept = b.failed[:0], b.starts[:0], b.evict[:0], 0
	for i := range b.hosts {
		b.hosts[i].holds = b.hosts[i].holds[:0]
		b.hosts[i].prof = nil
	}
}

// attempt starts a job now if it may. Else it notes why not, and keeps room for
// it if it is its turn.
func (b *board) attempt(wi int32) bool {
	w := &b.waits[wi]
	b.unhold(wi)
	if h := b.place(wi); h >= 0 {
		b.begin(wi, h)
		return true
	}
	if b.kept == 0 || w.firm {
		if b.reserve(wi) {
			return false
		}
	}
	w.fate = blocked
	return false
}

// backfill lets those behind a blocked head overtake it as the policy allows.
func (b *board) backfill(rest []int32) {
	switch b.policy.Backfill {
	case NoBackfill:
		for _, wi := range rest {
			b.waits[wi].fate = behind
		}
		return
	case SJBF:
		rest = slices.Clone(rest)
		slices.SortStableFunc(rest, func(x, y int32) int {
			return cmp.Compare(b.waits[x].job.Estimate, b.waits[y].job.Estimate)
		})
	}
	for _, wi := range rest {
		b.attempt(wi)
	}
}

// promised keeps the room that was promised in earlier passes.
func (b *board) promised() {}

// again tries once more those for whom company has started meanwhile.
func (b *board) again() {}

// conserve is the pass in which every job holds a reservation.
func (b *board) conserve() {}
