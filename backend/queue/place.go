package queue

import (
	"math"
	"slices"
)

// place chooses the host on which a waiting job may start now, or -1.
func (b *board) place(wi int32) int {
	w := &b.waits[wi]
	b.looked++
	if w.plain && b.failed.cover(&w.size) {
		return -1
	}
	if b.policy.Placement == Snug {
		w.span = b.span(later(b.now, w.estimate))
	}
	best, rank, any := -1, 0.0, false
	b.stamp++
	for i := b.nextFor(w, 0); i >= 0; i = b.nextFor(w, i+1) {
		any = true
		h := &b.hosts[i]
		if len(h.runs) == 0 && !b.guard.on && len(h.holds) == 0 { // as good as another empty one of its kind
			if b.seen[h.kind] == b.stamp {
				continue
			}
			b.seen[h.kind] = b.stamp
		}
		if b.policy.Placement == FirstFit {
			if b.may(wi, i) {
				return i
			}
			continue
		}
		if r := b.rank(w, h); (best < 0 || r > rank) && b.may(wi, i) {
			best, rank = i, r
		}
	}
	if w.plain && !any {
		b.failed.learn(&w.size)
	}
	return best
}

// nextFor is the first host from h on that has room for w now and that it may
// use, or -1.
func (b *board) nextFor(w *waiting, h int) int {
	if w.plain {
		return b.free.next(h, &w.size)
	}
	return b.free.nextOf(w.job, h)
}

// room reports whether any host has room for a waiting job now, whatever else
// speaks against it.
func (b *board) room(wi int32) bool {
	w := &b.waits[wi]
	if !w.plain {
		return b.next(w.job, 0) >= 0
	}
	if b.failed.cover(&w.size) {
		return false
	}
	if b.free.next(0, &w.size) >= 0 {
		return true
	}
	b.failed.learn(&w.size)
	return false
}

// free reports whether any host will do for j.
func (j *Job) free() bool { return j.Host < 0 && j.Hosts == nil }

// allowed reports whether j may use host h by its own wish.
func (j *Job) allowed(h int) bool {
	if j.Host >= 0 && j.Host != h {
		return false
	}
	if j.Hosts == nil {
		return true
	}
	_, ok := slices.BinarySearch(j.Hosts, int32(h))
	return ok
}

// next is the first host from h on that has room for j now and that j may use,
// or -1.
func (b *board) next(j *Job, h int) int { return b.free.nextOf(j, h) }

// nextOf is next among the hosts that j may use.
func (t *tree) nextOf(j *Job, h int) int {
	for {
		if h = j.hostFrom(h); h < 0 {
			return -1
		}
		got := t.next(h, &j.Size)
		if got <= h || j.free() {
			return got
		}
		h = got
	}
}

// hostFrom is the first host from h on that j may use by its own wish, or -1.
func (j *Job) hostFrom(h int) int {
	if j.Host >= 0 {
		if h > j.Host || !j.allowed(j.Host) {
			return -1
		}
		return j.Host
	}
	if j.Hosts == nil {
		return h
	}
	i, _ := slices.BinarySearch(j.Hosts, int32(h))
	if i == len(j.Hosts) {
		return -1
	}
	return int(j.Hosts[i])
}

// maxSizes bounds how many sizes are remembered.
const maxSizes = 16

// sizes is a memory of sizes for which something failed that fails for every
// greater one too: only the smallest are kept.
type sizes []Size

// cover reports whether s is as great as one of those kept.
func (k sizes) cover(s *Size) bool {
	for i := range k {
		if k[i].fits(s) {
			return true
		}
	}
	return false
}

// learn adds s.
func (k *sizes) learn(s *Size) {
	kept := (*k)[:0]
	for _, o := range *k {
		if !s.fits(&o) {
			kept = append(kept, o)
		}
	}
	if len(kept) < maxSizes {
		kept = append(kept, *s)
	}
	*k = kept
}

// may reports whether a waiting job, for which host at has room, may start
// there now without harm to the room kept for others, tags and N+1.
func (b *board) may(wi int32, at int) bool {
	h, w := &b.hosts[at], &b.waits[wi]
	return (len(h.holds) == 0 || b.spares(wi, h)) && (!b.tagged || h.welcomes(w.job)) && (!b.guard.on || b.guard.allows(at, &w.size))
}

// spares reports whether starting a job on h now leaves the room that is kept there.
func (b *board) spares(wi int32, h *host) bool {
	if len(h.holds) == 0 {
		return true
	}
	j := b.waits[wi].job
	end := later(b.now, j.Estimate)
	for i := range h.holds {
		k := &h.holds[i]
		if k.at >= end {
			break
		}
		if !j.Size.fits(&k.extra) || clash(j, b.waits[k.wait].job) {
			return false
		}
	}
	return true
}

// welcomes reports whether tags let j run beside what runs on h.
func (h *host) welcomes(j *Job) bool {
	return h.near(j) && !overlap(j.Apart, h.tags) && !overlap(j.Tags, h.shuns)
}

// near reports whether all company that j wants runs on h.
func (h *host) near(j *Job) bool {
	for _, t := range j.Near {
		if !slices.Contains(h.tags, t) {
			return false
		}
	}
	return true
}

// clash reports whether two jobs may not run on one host at once.
func clash(j, k *Job) bool { return overlap(j.Apart, k.Tags) || overlap(k.Apart, j.Tags) }

// overlap reports whether a and b have a word in common.
func overlap(a, b []string) bool {
	for _, x := range a {
		if slices.Contains(b, x) {
			return true
		}
	}
	return false
}

// rank is how good h is for w: more is better.
func (b *board) rank(w *waiting, h *host) float64 {
	switch b.policy.Placement {
	case BestFit:
		return -h.left(&w.size)
	case WorstFit:
		return h.left(&w.size)
	case DotFit:
		return h.dot(&w.size)
	}
	return b.snug(w, h)
}

// ratio is part of whole, 0 when there is no whole.
func ratio(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// left is how much of h stays free beside a size, summed over the dimensions as
// parts of its capacity.
func (h *host) left(s *Size) float64 {
	return float64(h.free.VCPU-s.VCPU)*h.part[0] + float64(h.free.Memory-s.Memory)*h.part[1] + float64(h.free.Disk-s.Disk)*h.part[2]
}

// dot is the product of demand and free room, both as parts of the host's capacity.
func (h *host) dot(s *Size) float64 {
	c, m, d := h.part[0], h.part[1], h.part[2]
	return float64(s.VCPU)*c*(float64(h.free.VCPU)*c) + float64(s.Memory)*m*(float64(h.free.Memory)*m) + float64(s.Disk)*d*(float64(h.free.Disk)*d)
}

// What shapes the placement Snug.
const (
	// snugGrain is below which differences in the time left hardly count.
	snugGrain = hour
	// snugLeft is what being full is worth beside ending together.
	snugLeft = 0.1
)

// snug is berth's own: a job goes where what runs longest ends about when it
// will, on a scale of orders of magnitude, so that short jobs do not sit on the
// hosts that long ones keep busy anyhow, nor long ones on hosts that are about
// to be free altogether for somebody large; then where the least is left over.
func (b *board) snug(w *waiting, h *host) float64 {
	return -math.Abs(w.span-h.span) - snugLeft*h.left(&w.size)
}

// span is how long from now until t, on Snug's scale.
func (b *board) span(t Time) float64 { return math.Log(float64(max(t-b.now, 0) + snugGrain)) }
