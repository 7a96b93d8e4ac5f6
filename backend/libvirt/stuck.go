package libvirt

import (
	"sync"
	"time"

	"berth/backend"
)

const (
	// stuckAfter is how long a guest may give no answer, without anything
	// blocking, before it counts as stuck: a job of somebody else's may hold it
	// for a moment.
	stuckAfter = 3 * time.Second
	stuckFirst = 2 * time.Second // wait before the first retry
	stuckMost  = 10 * time.Second
)

// quarantine holds the domains whose QEMU does not answer. They are asked
// alone, and ever more seldom.
type quarantine struct {
	mu sync.Mutex
	in map[backend.UUID]*suspect
}

type suspect struct {
	run    int32 // libvirt's number of the run that is stuck
	from   time.Time
	next   time.Time
	wait   time.Duration
	proven bool // it did block a call, or has been silent for long
}

func newQuarantine() *quarantine { return &quarantine{in: map[backend.UUID]*suspect{}} }

// since is when a domain was found stuck; zero when it is not.
func (q *quarantine) since(u backend.UUID) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.in[u]; s != nil && s.proven {
		return s.from
	}
	return time.Time{}
}

// holds reports whether a domain must not be asked with others, and whether it
// may be asked now, alone. Another run than the stuck one is free.
func (q *quarantine) holds(u backend.UUID, run int32, now time.Time) (held, due bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.in[u]
	if s == nil {
		return false, false
	}
	if s.run != run {
		delete(q.in, u)
		return false, false
	}
	return true, !now.Before(s.next)
}

// silent enters that a domain gave no answer to a question begun at from.
// blocked says that the call hung rather than coming back without figures.
func (q *quarantine) silent(u backend.UUID, run int32, from, now time.Time, blocked bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.in[u]
	if s == nil {
		s = &suspect{run: run, from: from, wait: stuckFirst / 2}
		q.in[u] = s
	}
	if blocked || now.Sub(s.from) >= stuckAfter {
		s.proven = true
	}
	if s.proven {
		s.wait = min(2*s.wait, stuckMost)
	}
	s.next = now.Add(s.wait)
}

// release enters that a domain answered.
func (q *quarantine) release(u backend.UUID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.in, u)
}

// forget drops domains that are off or gone.
func (q *quarantine) forget(keep func(backend.UUID) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for u := range q.in {
		if !keep(u) {
			delete(q.in, u)
		}
	}
}
