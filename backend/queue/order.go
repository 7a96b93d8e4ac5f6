package queue

import "slices"

// The weights of the order Priority, in Slurm's multifactor form.
const (
	weightPriority = 10000.0
	weightAge      = 3000.0
	weightSmall    = 1000.0
	maxAge         = 7 * 24 * hour
)

// key is what the queue is sorted by.
type key struct {
	front  int64
	firm   bool
	score  float64
	submit Time
	id     int64
	wait   int32
}

// compare orders keys: who comes first is less.
func (k *key) compare(l *key) int {
	switch {
	case k.front != l.front:
		return sign(k.front > l.front)
	case k.firm != l.firm:
		return sign(k.firm)
	case k.score != l.score:
		return sign(k.score > l.score)
	case k.submit != l.submit:
		return sign(k.submit < l.submit)
	case k.id != l.id:
		return sign(k.id < l.id)
	}
	return int(k.wait) - int(l.wait)
}

// sign is -1 when the left one is first, else 1.
func sign(first bool) int {
	if first {
		return -1
	}
	return 1
}

// age is the waiting time of w that counts.
func (b *board) age(w *waiting) Time { return max(b.now-w.born, 0) }

// score is the rank of w under the order in force.
func (b *board) score(w *waiting) float64 {
	switch b.policy.Order {
	case SJF:
		return -float64(w.job.Estimate)
	case HRRN:
		return b.ratio(w)
	case Priority:
		p, a, s := b.multifactor(w)
		return p + a + s - float64(w.job.Nice)
	case Aged:
		return b.aged(w)
	}
	return float64(b.age(w))
}

// ratio is the response ratio of HRRN.
func (b *board) ratio(w *waiting) float64 {
	e := float64(max(w.job.Estimate, 1))
	return (float64(b.age(w)) + e) / e
}

// multifactor is the terms of the order Priority but for nice.
func (b *board) multifactor(w *waiting) (priority, age, small float64) {
	priority = weightPriority * float64(w.job.Priority) / 100
	age = weightAge * min(1, float64(b.age(w))/float64(maxAge))
	small = weightSmall * (1 - b.share(&w.job.Size))
	return priority, age, small
}

// share is which part of the largest host s is, in its greatest dimension.
func (b *board) share(s *Size) float64 {
	part := func(n, of int64) float64 {
		if of <= 0 || n <= 0 {
			return 0
		}
		return min(1, float64(n)/float64(of))
	}
	return max(part(s.VCPU, b.most.VCPU), part(s.Memory, b.most.Memory), part(s.Disk, b.most.Disk))
}

// line puts the waiting jobs that are ready in order into b.queue.
func (b *board) line() {
	b.keys = b.keys[:0]
	for i := range b.waits {
		w := &b.waits[i]
		if w.gone {
			continue
		}
		w.fate, w.host, w.at = undecided, -1, Never
		if w.job.Held || w.job.NotReady || w.job.Begin > b.now {
			w.fate = unready
			continue
		}
		w.score = b.score(w)
		w.firm = w.job.Promise.Made && b.policy.Firm
		b.keys = append(b.keys, key{w.job.Front, w.firm, w.score, w.job.Submit, w.job.ID, int32(i)})
	}
	slices.SortFunc(b.keys, func(k, l key) int { return k.compare(&l) })
	b.queue = b.queue[:0]
	for i := range b.keys {
		b.queue = append(b.queue, b.keys[i].wait)
	}
}
