package libvirt

import (
	"slices"
	"sync"
	"time"

	"berth/backend"
)

const (
	// dutyShare is the part of wall time that asking QEMUs may take. At 4 ms a
	// domain, measured, that is a dozen domains a second.
	dutyShare = 0.05
	// dutyBurst is the most that may be saved up, so that a screen of rows is
	// filled at once when it opens.
	dutyBurst = 300 * time.Millisecond
	// firstCost is what one domain is taken to cost until it was measured.
	firstCost = 4 * time.Millisecond
	// batchMost is how many domains one call asks for: what one stuck guest
	// among them holds up.
	batchMost = 8
	// quietEvery is how often a guest is asked that does nothing.
	quietEvery = 10 * time.Second
	// quietCPU is the use of one core below which a guest may be doing nothing.
	quietCPU = 0.01
	// againEvery keeps two questions to one guest apart.
	againEvery = 900 * time.Millisecond
)

// ration decides whose turn it is to be asked for dear figures.
type ration struct {
	mu     sync.Mutex
	credit time.Duration // lane time that may be spent now; negative is a debt
	at     time.Time     // when credit was last counted
	cost   time.Duration // of one domain, a moving average
	turns  map[backend.UUID]*turn
	off    bool // everybody is asked every time
}

// turn is when a domain was last asked and what it was doing.
type turn struct {
	at    time.Time
	cpu   time.Duration // its CPU time then
	cpuAt time.Time
	quiet bool // its figures did not move
	count int
}

// candidate is a domain that could be asked.
type candidate struct {
	uuid backend.UUID
	cpu  backend.CPUCounter
}

func newRation() *ration {
	return &ration{credit: dutyBurst, cost: firstCost, turns: map[backend.UUID]*turn{}}
}

// choose returns those that should be asked now, the longest waiting first,
// at most as many as there is credit for.
func (r *ration) choose(now time.Time, from []candidate) []backend.UUID {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.earn(now)
	if r.off {
		us := make([]backend.UUID, len(from))
		for i, c := range from {
			us[i] = c.uuid
		}
		return us
	}
	if r.credit <= 0 {
		return nil
	}
	var due []candidate
	for _, c := range from {
		if r.due(now, c) {
			due = append(due, c)
		}
	}
	slices.SortStableFunc(due, func(a, b candidate) int { return r.last(a.uuid).Compare(r.last(b.uuid)) })
	n := min(len(due), int(r.credit/r.cost)+1)
	us := make([]backend.UUID, n)
	for i := range us {
		us[i] = due[i].uuid
	}
	return us
}

// earn adds the credit of the time that passed.
func (r *ration) earn(now time.Time) {
	if !r.at.IsZero() && now.After(r.at) {
		r.credit = min(dutyBurst, r.credit+time.Duration(dutyShare*float64(now.Sub(r.at))))
	}
	r.at = now
}

func (r *ration) last(u backend.UUID) time.Time {
	if t := r.turns[u]; t != nil {
		return t.at
	}
	return time.Time{}
}

// due reports whether a domain is worth asking now.
func (r *ration) due(now time.Time, c candidate) bool {
	t := r.turns[c.uuid]
	if t == nil {
		return true
	}
	age := now.Sub(t.at)
	if age < againEvery {
		return false
	}
	if !t.quiet || age >= quietEvery {
		return true
	}
	used, over := c.cpu.Used-t.cpu, c.cpu.At.Sub(t.cpuAt)
	return over > 0 && float64(used) > quietCPU*float64(over)
}

// asked enters that a domain was asked. The count of its turns tells the
// caller which groups of figures are due.
func (r *ration) asked(now time.Time, c candidate, quiet bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.turns[c.uuid]
	if t == nil {
		t = &turn{}
		r.turns[c.uuid] = t
	}
	t.at, t.cpu, t.cpuAt, t.quiet = now, c.cpu.Used, c.cpu.At, quiet
	t.count++
}

// turn is how often a domain has been asked.
func (r *ration) turn(u backend.UUID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.turns[u]; t != nil {
		return t.count
	}
	return 0
}

// spent enters what asking n domains took.
func (r *ration) spent(now time.Time, took time.Duration, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.earn(now)
	r.credit -= took
	if n > 0 {
		r.cost = max((3*r.cost+took/time.Duration(n))/4, 100*time.Microsecond)
	}
	// A call that ran into its deadline is no measure of the duty.
	r.credit = max(r.credit, -dutyBurst)
}

// forget drops domains that are no more.
func (r *ration) forget(keep func(backend.UUID) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for u := range r.turns {
		if !keep(u) {
			delete(r.turns, u)
		}
	}
}
