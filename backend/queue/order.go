package queue

import (
	"cmp"
	"math"
	"slices"
)

// The weights of the order Priority, in Slurm's multifactor form.
const (
	weightPriority = 10000.0
	weightAge      = 3000.0
	weightSmall    = 1000.0
	maxAge         = 7 * 24 * hour
)

// key is what the queue is sorted by; ties are settled by the jobs themselves.
type key struct {
	score float64
	wait  int32
}

// compare orders keys: who comes first is less.
func (b *board) compare(k, l key) int {
	if k.score != l.score {
		return sign(k.score > l.score)
	}
	return b.tie(k.wait, l.wait)
}

// tie orders two waiting jobs of the same score: by submit time, then ID.
func (b *board) tie(x, y int32) int {
	j, k := b.waits[x].job, b.waits[y].job
	return cmp.Or(cmp.Compare(j.Submit, k.Submit), cmp.Compare(j.ID, k.ID), cmp.Compare(x, y))
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
		return -float64(w.estimate)
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
	e := float64(max(w.estimate, 1))
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

// line puts the waiting jobs that are ready in order into b.queue: those put to
// the front by a person, those with a promise, the rest.
func (b *board) line() {
	b.keys, b.queue = slices.Grow(b.keys[:0], len(b.waits)), slices.Grow(b.queue[:0], len(b.waits))
	var ahead []int32
	for i := range b.waits {
		w := &b.waits[i]
		w.fate, w.host, w.at, w.urgent = undecided, -1, Never, false
		j := w.job
		if j.Held || j.NotReady || j.Begin > b.now {
			w.fate = unready
			continue
		}
		w.score = b.score(w)
		w.firm = j.Promise.Made && b.policy.Firm
		if w.firm || j.Front > 0 {
			ahead = append(ahead, int32(i))
			continue
		}
		b.keys = append(b.keys, key{w.score, int32(i)})
	}
	slices.SortFunc(ahead, func(x, y int32) int {
		v, w := &b.waits[x], &b.waits[y]
		if v.job.Front != w.job.Front {
			return sign(v.job.Front > w.job.Front)
		}
		return b.compare(key{v.score, x}, key{w.score, y})
	})
	b.queue = append(b.queue, ahead...)
	b.sortKeys()
	for i := range b.keys {
		b.queue = append(b.queue, b.keys[i].wait)
	}
}

// many is from how many keys on a radix sort beats comparing.
const many = 4096

// sortKeys sorts b.keys.
func (b *board) sortKeys() {
	if len(b.keys) < many {
		slices.SortFunc(b.keys, b.compare)
		return
	}
	b.sortStable()
	for i := 0; i < len(b.keys); {
		n := i + 1
		for n < len(b.keys) && b.keys[n].score == b.keys[i].score {
			n++
		}
		if n > i+1 {
			slices.SortFunc(b.keys[i:n], b.compare)
		}
		i = n
	}
}

// sortStable sorts b.keys and leaves those of one score in their order.
func (b *board) sortStable() {
	if len(b.keys) < many {
		slices.SortStableFunc(b.keys, func(k, l key) int { return cmp.Compare(l.score, k.score) })
		return
	}
	b.spare = slices.Grow(b.spare[:0], len(b.keys))[:len(b.keys)]
	b.keys, b.spare = radix(b.keys, b.spare)
}

// radix stably sorts keys by falling score, with as much room beside, and returns
// both, the sorted ones first.
func radix(keys, room []key) ([]key, []key) {
	const bits, digits = 11, 6
	var count [digits][1 << bits]int32
	for i := range keys {
		r := rank(keys[i].score)
		for d := range digits {
			count[d][r>>(d*bits)&(1<<bits-1)]++
		}
	}
	for d := range digits {
		c := &count[d]
		if c[rank(keys[0].score)>>(d*bits)&(1<<bits-1)] == int32(len(keys)) {
			continue // they all have the same digit here
		}
		sum := int32(0)
		for i := range c {
			c[i], sum = sum, sum+c[i]
		}
		for i := range keys {
			at := &c[rank(keys[i].score)>>(d*bits)&(1<<bits-1)]
			room[*at] = keys[i]
			*at++
		}
		keys, room = room, keys
	}
	return keys, room
}

// rank is a number that is the smaller the greater f is.
func rank(f float64) uint64 {
	u := math.Float64bits(f + 0) // which makes 0 of -0
	if u>>63 != 0 {
		return u
	}
	return ^u &^ (1 << 63)
}
