package queue

import "slices"

// step is what is free from a time on, until the next step.
type step struct {
	at   Time
	free Size
}

// profile is what will be free on one host, by believed ends and the room kept
// for others: steps by time, the first of them now, the last one for ever.
type profile []step

// sort puts the runs of h in the order of their ends.
func (h *host) sort() {
	if h.sorted {
		return
	}
	slices.SortFunc(h.runs, func(a, b run) int {
		switch {
		case a.end < b.end:
			return -1
		case a.end > b.end:
			return 1
		case a.id < b.id:
			return -1
		case a.id > b.id:
			return 1
		}
		return int(a.index) - int(b.index)
	})
	h.sorted = true
}

// future writes the profile of h into p.
func (h *host) future(now Time, p profile) profile {
	h.sort()
	p = append(p[:0], step{now, h.free})
	free := h.free
	for i := range h.runs {
		r := &h.runs[i]
		if r.end >= Never {
			break
		}
		free.add(&r.size)
		if p[len(p)-1].at == r.end {
			p[len(p)-1].free = free
			continue
		}
		p = append(p, step{r.end, free})
	}
	for i := range h.holds {
		k := &h.holds[i]
		p = p.take(k.at, k.end, &k.size)
	}
	return p
}

// find is the index of the step in force at t.
func (p profile) find(t Time) int {
	lo, hi := 0, len(p)
	for lo < hi {
		if m := (lo + hi) / 2; p[m].at <= t {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return max(lo-1, 0)
}

// cut makes t the beginning of a step and returns its index.
func (p profile) cut(t Time) (profile, int) {
	i := p.find(t)
	if p[i].at >= t {
		return p, i
	}
	p = append(p, step{})
	copy(p[i+2:], p[i+1:])
	p[i+1] = step{t, p[i].free}
	return p, i + 1
}

// take makes size unavailable from one time until another.
func (p profile) take(from, until Time, size *Size) profile {
	return p.change(from, until, size, (*Size).sub)
}

// give makes it available again.
func (p profile) give(from, until Time, size *Size) profile {
	return p.change(from, until, size, (*Size).add)
}

func (p profile) change(from, until Time, size *Size, do func(*Size, *Size)) profile {
	if until <= from || len(p) == 0 {
		return p
	}
	p, i := p.cut(from)
	n := len(p)
	if until < Never {
		p, n = p.cut(until)
	}
	for ; i < n; i++ {
		do(&p[i].free, size)
	}
	return p
}

// earliest is the first time from from on at which size is free for d.
func (p profile) earliest(size *Size, d, from Time) Time {
	i := p.find(from)
	start := max(from, p[i].at)
	for ; i < len(p); i++ {
		if p[i].at >= later(start, d) {
			return start
		}
		if !size.fits(&p[i].free) {
			if i+1 == len(p) {
				return Never
			}
			start = p[i+1].at
		}
	}
	return start
}
