package queue

import "math"

// tree finds hosts with enough free room among thousands: a tournament in
// which each node holds the greatest free amount, per dimension, of the hosts
// below it. A subtree in which one dimension is too small everywhere is
// passed over at once, which is nearly always the root's case in a full cluster.
type tree struct {
	n    int // hosts
	base int // index of the first leaf
	max  []Size
}

// nothing is the room of a host that does not exist or takes no jobs.
var nothing = Size{math.MinInt64, math.MinInt64, math.MinInt64}

// reset makes room for n hosts without free room.
func (t *tree) reset(n int) {
	t.n, t.base = n, 1
	for t.base < n {
		t.base *= 2
	}
	if cap(t.max) < 2*t.base {
		t.max = make([]Size, 2*t.base)
	}
	t.max = t.max[:2*t.base]
	for i := range t.max {
		t.max[i] = nothing
	}
}

// build sets the inner nodes after the leaves were set.
func (t *tree) build() {
	for i := t.base - 1; i > 0; i-- {
		m := t.max[2*i]
		m.grow(&t.max[2*i+1])
		t.max[i] = m
	}
}

// set gives host h that much free room.
func (t *tree) set(h int, free Size) {
	i := t.base + h
	t.max[i] = free
	for i /= 2; i > 0; i /= 2 {
		m := t.max[2*i]
		m.grow(&t.max[2*i+1])
		if m == t.max[i] {
			return
		}
		t.max[i] = m
	}
}

// next is the first host from h on that s fits, or -1.
func (t *tree) next(h int, s *Size) int {
	if h >= t.n || !s.fits(&t.max[1]) {
		return -1
	}
	for i := t.base + h; ; {
		if s.fits(&t.max[i]) {
			if i >= t.base {
				return i - t.base
			}
			i *= 2
			continue
		}
		for i&1 == 1 { // up while it is a right child
			i /= 2
		}
		if i == 0 {
			return -1
		}
		i++
	}
}
