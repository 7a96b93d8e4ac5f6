package queue

import (
	"math"
	"slices"
)

// place chooses the host on which a waiting job may start now, or -1.
func (b *board) place(wi int32) int {
	w := &b.waits[wi]
	b.looked++
	plain := w.job.free()
	if plain && b.failed.cover(&w.job.Size) {
		return -1
	}
	if b.policy.Placement == Snug {
		w.span = b.span(later(b.now, w.job.Estimate))
	}
	best, rank, any := -1, 0.0, false
	for h := b.next(w.job, 0); h >= 0; h = b.next(w.job, h+1) {
		any = true
		if !b.may(wi, h) {
			continue
		}
		if b.policy.Placement == FirstFit {
			return h
		}
		if r := b.rank(w, &b.hosts[h]); best < 0 || r > rank {
			best, rank = h, r
		}
	}
	if plain && !any {
		b.failed.learn(&w.job.Size)
	}
	return best
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
		if j.Host >= 0 {
			if h > j.Host {
				return -1
			}
			h = j.Host
		}
		if j.Hosts != nil {
			i, _ := slices.BinarySearch(j.Hosts, int32(h))
			if i == len(j.Hosts) {
				return -1
			}
			h = int(j.Hosts[i])
		}
		got := t.next(h, &j.Size)
		if got < 0 || got == h || j.free() {
			return got
		}
		h = got
	}
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
	h := &b.hosts[at]
	j := b.waits[wi].job
	return b.spares(wi, h) && (!b.tagged || h.welcomes(j)) && b.guard.allows(at, &j.Size)
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
	j := w.job
	switch b.policy.Placement {
	case BestFit:
		return -left(j, h)
	case WorstFit:
		return left(j, h)
	case DotFit:
		return dot(j, h)
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

// left is how much of h stays free beside j, summed over the dimensions as
// parts of its capacity.
func left(j *Job, h *host) float64 {
	return ratio(h.free.VCPU-j.Size.VCPU, h.cap.VCPU) +
		ratio(h.free.Memory-j.Size.Memory, h.cap.Memory) +
		ratio(h.free.Disk-j.Size.Disk, h.cap.Disk)
}

// dot is the product of demand and free room, both as parts of the host's capacity.
func dot(j *Job, h *host) float64 {
	return ratio(j.Size.VCPU, h.cap.VCPU)*ratio(h.free.VCPU, h.cap.VCPU) +
		ratio(j.Size.Memory, h.cap.Memory)*ratio(h.free.Memory, h.cap.Memory) +
		ratio(j.Size.Disk, h.cap.Disk)*ratio(h.free.Disk, h.cap.Disk)
}

// What shapes the placement Snug.
const (
	// snugGrain is below which differences in the time left hardly count.
	snugGrain = 10 * minute
	// snugLeft is what being full is worth beside ending together.
	snugLeft = 0.2
)

// snug is berth's own: a job goes where what runs longest ends about when it
// will, on a scale of orders of magnitude, so that short jobs do not sit on the
// hosts that long ones keep busy anyhow, nor long ones on hosts that are about
// to be free altogether for somebody large; then where the least is left over.
func (b *board) snug(w *waiting, h *host) float64 {
	return -math.Abs(w.span-h.span) - snugLeft*left(w.job, h)
}

// span is how long from now until t, on Snug's scale.
func (b *board) span(t Time) float64 { return math.Log(float64(max(t-b.now, 0) + snugGrain)) }
