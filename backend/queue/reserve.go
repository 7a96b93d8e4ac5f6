package queue

// maxFutile bounds how many reservations are sought in vain in one pass: with
// many open-ended VMs there may be no believed end that helps, and every search
// looks at all that runs.
const maxFutile = 64

// reserve keeps room for a waiting job at the earliest (time, host) there is.
// It reports whether there was one.
func (b *board) reserve(wi int32) bool {
	w := &b.waits[wi]
	if b.futile >= maxFutile || w.plain && b.never.cover(&w.size) {
		return false
	}
	at, h := b.earliest(wi, b.now)
	if h < 0 {
		if w.plain {
			b.never.learn(&w.size)
		}
		b.futile++
		return false
	}
	b.hold(wi, h, at)
	return true
}

// earliest is when and where a waiting job can start soonest by believed ends
// and the room kept for others, from from on; the first host wins a tie. The
// host is -1 when there is no such time.
func (b *board) earliest(wi int32, from Time) (Time, int) {
	j := b.waits[wi].job
	at, where := Never, -1
	for i := range b.hosts {
		if !b.hosts[i].couldTake(j, i) {
			continue
		}
		if t := b.earliestOn(wi, i, max(from, b.now), at); t < at {
			at, where = t, i
		}
	}
	return at, where
}

// couldTake reports whether j may use h, host number i, once it is empty enough.
func (h *host) couldTake(j *Job, i int) bool {
	return !h.out && j.Size.fits(&h.cap) && j.allowed(i)
}

// earliestOn is when a waiting job can start on host i soonest, or Never when
// that is not before limit.
func (b *board) earliestOn(wi int32, i int, from, limit Time) Time {
	h := &b.hosts[i]
	j := b.waits[wi].job
	if b.tagged && (len(j.Near) > 0 || len(j.Apart) > 0 || len(j.Tags) > 0) {
		return b.earliestTagged(wi, h, from, limit)
	}
	if len(h.holds) > 0 || len(h.prof) > 0 {
		return b.profile(h).earliest(&j.Size, j.Estimate, from)
	}
	if !h.sorted && !h.fitsBy(&j.Size, limit-1) {
		return Never
	}
	h.sort()
	free := h.free
	if j.Size.fits(&free) {
		return from
	}
	for k := range h.runs {
		r := &h.runs[k]
		if r.end >= limit {
			return Never
		}
		free.add(&r.size)
		if j.Size.fits(&free) {
			return max(r.end, from)
		}
	}
	return Never
}

// fitsBy reports whether s fits h once all has ended that ends by t.
func (h *host) fitsBy(s *Size, t Time) bool {
	free := h.free
	for i := range h.runs {
		if h.runs[i].end <= t {
			free.add(&h.runs[i].size)
		}
	}
	return s.fits(&free)
}

// profile is the future of h.
func (b *board) profile(h *host) profile {
	if len(h.prof) > 0 {
		return h.prof
	}
	b.steps = h.future(b.now, b.steps)
	return b.steps
}

// earliestTagged is earliestOn for a job whose company matters: what it must be
// near has to run there until then as far as is believed, what it must not
// meet has to have ended.
func (b *board) earliestTagged(wi int32, h *host, from, limit Time) Time {
	j := b.waits[wi].job
	if !h.near(j) {
		return Never
	}
	p := b.profile(h)
	for at := from; ; {
		at = p.earliest(&j.Size, j.Estimate, at)
		if at >= limit {
			return Never
		}
		next := b.apartFrom(j, h, at)
		if next == at {
			return at
		}
		at = next
	}
}

// apartFrom is the first time from at on at which j, started then, would meet
// nothing on h that it may not meet, as far as what meets it at at is concerned.
func (b *board) apartFrom(j *Job, h *host, at Time) Time {
	free := at
	for i := range h.runs {
		r := &h.runs[i]
		if r.end > at && (overlap(j.Apart, r.tags) || overlap(r.apart, j.Tags)) {
			free = max(free, r.end)
		}
	}
	for i := range h.holds {
		k := &h.holds[i]
		if k.end > at && k.at < later(at, j.Estimate) && clash(j, b.waits[k.wait].job) {
			free = max(free, k.end)
		}
	}
	return free
}

// hold keeps room on host i from at on.
func (b *board) hold(wi int32, i int, at Time) {
	w, h := &b.waits[wi], &b.hosts[i]
	w.fate, w.host, w.at = reserved, int32(i), at
	k := hold{at: at, end: later(at, w.job.Estimate), size: w.job.Size, extra: h.freeAt(at), wait: wi}
	k.extra.sub(&k.size)
	n := 0
	for n < len(h.holds) && h.holds[n].at <= at {
		n++
	}
	for m := range h.holds {
		if o := &h.holds[m]; o.at >= k.at && o.at < k.end {
			o.extra.sub(&k.size)
		}
	}
	h.holds = append(h.holds, hold{})
	copy(h.holds[n+1:], h.holds[n:])
	h.holds[n] = k
	if len(h.prof) > 0 {
		h.prof = h.prof.take(k.at, k.end, &k.size)
	}
	b.kept++
}

// unhold gives up the room kept for a waiting job.
func (b *board) unhold(wi int32) {
	w := &b.waits[wi]
	if w.fate != reserved {
		return
	}
	h := &b.hosts[w.host]
	for n := range h.holds {
		if h.holds[n].wait != wi {
			continue
		}
		k := h.holds[n]
		h.holds = append(h.holds[:n], h.holds[n+1:]...)
		for m := range h.holds {
			if o := &h.holds[m]; o.at >= k.at && o.at < k.end {
				o.extra.add(&k.size)
			}
		}
		if len(h.prof) > 0 {
			h.prof = h.prof.give(k.at, k.end, &k.size)
		}
		b.kept--
		break
	}
	w.fate, w.host, w.at = undecided, -1, Never
}

// freeAt is what is free on h at t beside the room kept there.
func (h *host) freeAt(t Time) Size {
	free := h.free
	for i := range h.runs {
		if h.runs[i].end <= t {
			free.add(&h.runs[i].size)
		}
	}
	for i := range h.holds {
		if k := &h.holds[i]; k.at <= t && t < k.end {
			free.sub(&k.size)
		}
	}
	return free
}

// begin starts a waiting job on host i now.
func (b *board) begin(wi int32, i int) {
	w, h := &b.waits[wi], &b.hosts[i]
	w.fate, w.host, w.at = starting, int32(i), b.now
	end := later(b.now, w.job.Estimate)
	for n := range h.holds {
		if k := &h.holds[n]; k.at < end {
			k.extra.sub(&w.job.Size)
		}
	}
	if h.took < 0 {
		h.took = wi
	}
	if len(h.prof) > 0 {
		h.prof = h.prof.take(b.now, end, &w.job.Size)
	}
	b.occupy(wi, i)
	b.starts = append(b.starts, wi)
}
