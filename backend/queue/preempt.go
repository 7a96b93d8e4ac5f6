package queue

import (
	"cmp"
	"slices"
)

// The rules of preemption.
const (
	priorityGap  = 10  // in base priority, at least
	maxPreempted = 2   // times a VM is put aside
	maxVictims   = 12  // looked at on one host, the least important first
	maxExact     = 4   // up to how many the smallest set is sought by trying all
	maxPreempts  = 20  // jobs for which victims are sought in one pass
	maxSearched  = 128 // hosts looked through for one job
	// leaveTime is what the one for whom others are put aside is promised: by
	// then they should have been saved.
	leaveTime = 5 * minute
)

// victim is a running job that may be put aside.
type victim struct {
	run     *run
	running *Running
}

// preempt looks for the smallest set of preemptible jobs whose leaving makes
// room for a waiting one that is more important: fewest first, then lowest
// priority, then youngest. It marks them and keeps their room. It reports
// whether there was one.
func (b *board) preempt(wi int32) bool {
	w := &b.waits[wi]
	if !b.policy.Preempt || w.job.Priority < b.weakest+priorityGap || b.sought >= maxPreempts || len(w.job.Near) > 0 {
		return false
	}
	b.sought++
	if at, _ := b.earliest(wi, b.now); at <= b.now+leaveTime {
		return false // those who make room are leaving already, or it is not worth it
	}
	var best []victim
	where := -1
	searched := 0
	for i := b.roomy.nextOf(w.job, 0); i >= 0 && searched < maxSearched; i = b.roomy.nextOf(w.job, i+1) {
		set := b.victims(wi, &b.hosts[i])
		if set != nil {
			searched++
		}
		if set != nil && (best == nil || milder(set, best)) {
			best, where = set, i
		}
	}
	if best == nil {
		return false
	}
	h := &b.hosts[where]
	for _, v := range best {
		b.evict = append(b.evict, eviction{running: v.run.index, wait: wi})
		v.run.leaving = true
		v.run.end = b.now + 1
	}
	h.sorted = false
	if len(h.prof) > 0 {
		h.prof = h.future(b.now, h.prof)
	}
	b.rehold(h)
	w.urgent = true
	b.hold(wi, where, b.now+1)
	return true
}

// rehold works out anew what is free beside the room kept on h, after believed
// ends have changed.
func (b *board) rehold(h *host) {
	for i := range h.holds {
		k := &h.holds[i]
		k.extra = h.freeAt(k.at) // beside all that is kept, k included
	}
}

// milder reports whether putting a aside is the lesser evil than b: fewer, then
// less important, then younger.
func milder(a, b []victim) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	sum := func(s []victim) (priority int, start Time) {
		for _, v := range s {
			priority += v.running.Priority
			start += v.running.Start
		}
		return priority, start
	}
	pa, sa := sum(a)
	pb, sb := sum(b)
	return pa < pb || pa == pb && sa > sb
}

// victims is the smallest set on h whose leaving lets a waiting job start there,
// or nil.
func (b *board) victims(wi int32, h *host) []victim {
	j := b.waits[wi].job
	var all []victim
	for i := range h.runs {
		r := &h.runs[i]
		if r.leaving || r.fresh || r.index < 0 {
			continue
		}
		v := &b.running[r.index]
		if v.Preemptible && !v.Leaving && v.Preempted < maxPreempted && v.ID != 0 && j.Priority >= v.Priority+priorityGap {
			all = append(all, victim{r, v})
		}
	}
	slices.SortFunc(all, func(x, y victim) int {
		return cmp.Or(cmp.Compare(x.running.Priority, y.running.Priority),
			cmp.Compare(y.running.Start, x.running.Start), cmp.Compare(x.run.id, y.run.id))
	})
	all = all[:min(len(all), maxVictims)]
	if !b.suffice(wi, h, all) {
		return nil
	}
	for n := 1; n <= min(len(all), maxExact); n++ {
		if set := b.choose(wi, h, all, nil, n); set != nil {
			return set
		}
	}
	return b.thin(wi, h, all)
}

// thin drops from a set that suffices whomever it can do without, the most
// important and oldest first.
func (b *board) thin(wi int32, h *host, set []victim) []victim {
	for i := len(set) - 1; i >= 0; i-- {
		if less := slices.Delete(slices.Clone(set), i, i+1); b.suffice(wi, h, less) {
			set = less
		}
	}
	return set
}

// choose is the first n of all, beside those taken, that suffice, or nil.
func (b *board) choose(wi int32, h *host, all, taken []victim, n int) []victim {
	if n == 0 {
		if b.suffice(wi, h, taken) {
			return slices.Clone(taken)
		}
		return nil
	}
	for i := 0; i+n <= len(all); i++ {
		if set := b.choose(wi, h, all[i+1:], append(taken, all[i]), n-1); set != nil {
			return set
		}
	}
	return nil
}

// suffice reports whether a job may start on h once the victims are gone,
// without harm to the room kept for others.
func (b *board) suffice(wi int32, h *host, gone []victim) bool {
	j := b.waits[wi].job
	room := h.free
	for _, v := range gone {
		room.add(&v.run.size)
	}
	if !j.Size.fits(&room) || !h.welcomesWithout(j, gone) {
		return false
	}
	end := later(b.now+1, j.Estimate)
	for i := range h.holds {
		k := &h.holds[i]
		if k.at >= end {
			break
		}
		extra := k.extra
		for _, v := range gone {
			if v.run.end > k.at {
				extra.add(&v.run.size)
			}
		}
		if !j.Size.fits(&extra) || clash(j, b.waits[k.wait].job) {
			return false
		}
	}
	return true
}

// welcomesWithout is whether tags let j run beside what stays on h.
func (h *host) welcomesWithout(j *Job, gone []victim) bool {
	for i := range h.runs {
		r := &h.runs[i]
		if slices.ContainsFunc(gone, func(v victim) bool { return v.run == r }) {
			continue
		}
		if overlap(j.Apart, r.tags) || overlap(r.apart, j.Tags) {
			return false
		}
	}
	return true
}
