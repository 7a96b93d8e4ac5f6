package queue

import (
	"math"

	"berth/backend"
)

// board is the cluster as a pass sees it: what is free, what runs, for whom
// room is kept. The simulator keeps one over many passes, Schedule makes one.
type board struct {
	policy  Policy
	now     Time
	hosts   []host
	free    tree
	waits   []waiting // every job that waits
	queue   []int32   // indexes of those of waits that are ready, in the order of the queue
	keys    []key     // scratch of sorting
	spare   []key     // the same
	before  tree      // free as it was before the pass
	roomy   tree      // what the hosts have altogether
	seen    []int64   // by kind: the last search that saw an empty host of it
	stamp   int64     // of the search
	failed  sizes     // those that fit no host any more in this pass
	never   sizes     // those that no believed end makes room for
	tight   sizes     // those that fitted no host before the pass
	futile  int       // reservations sought in vain in this pass
	kept    int       // reservations made in this pass
	looked  int64     // jobs looked at, over all passes
	starts  []int32   // indexes of waits, in the order in which they start
	evict   []eviction
	most    Size                     // the greatest capacity among hosts, per dimension
	said    map[int32]backend.Reason // why jobs with room may not have it; nil: nobody asks
	ahead   backend.JobID            // the head, for reasons
	tagged  bool                     // something that runs or waits has tags
	guard   guard
	order   []int32    // scratch of backfill
	skip    []bool     // the same
	running []Running  // what was loaded
	weakest int        // the lowest priority of what may be put aside
	sought  int        // jobs for which victims were sought in this pass
	steps   []step     // scratch of profiles
	sorted  [3][]int64 // what is free on the hosts, by dimension, for reasons
}

// host is one host of a board.
type host struct {
	name   string
	kind   int32 // hosts of the same capacity are of one kind
	took   int32 // the first job that started here in this pass; -1: none
	cap    Size
	free   Size
	part   [3]float64 // 1/cap, by dimension
	out    bool
	down   bool    // of out
	last   Time    // the end of what runs longest
	span   float64 // of Snug: until then
	runs   []run
	sorted bool   // runs are by end
	holds  []hold // room kept here, by start
	prof   profile
	tags   []string // of all that runs here, with repetitions
	shuns  []string // the Apart of all that runs here
}

// run is what runs on a host.
type run struct {
	end     Time // believed
	size    Size
	id      int64
	index   int32 // in Input.Running, or of the waiting job when it started in this pass
	fresh   bool  // it started in this pass, or in the simulation
	leaving bool
	tags    []string
	apart   []string
}

// hold is room kept on a host for a waiting job.
type hold struct {
	at    Time
	end   Time
	size  Size
	extra Size // what is free at its start, beside it and all else that will be there
	wait  int32
}

// fate is what a pass found for a waiting job.
type fate uint8

const (
	undecided fate = iota
	starting
	reserved
	unready  // held, not begun, depending: it is not in the queue
	hopeless // fits no host of its own, even an empty one, or they are all out
	lonely   // tags keep it off every host with room
	blocked  // it does not fit now, or may not
	unsafe   // N+1 keeps it off
	behind   // the order is strict, and somebody waits ahead
)

// waiting is one waiting job on a board. What every pass asks of it is copied
// here: jobs are large and lie apart.
type waiting struct {
	size     Size
	estimate Time
	plain    bool // any host will do, and no company matters
	alone    bool // no company matters
	job      *Job
	score    float64
	bulk     float64 // of Aged
	urgency  float64 // of Aged
	span     float64 // of Snug: until its end
	born     Time    // from when its age counts: age = now - born
	fate     fate
	firm     bool  // its promise is kept by a reservation of its own
	host     int32 // of starting and reserved
	at       Time  // of reserved
	urgent   bool  // others are put aside for it
	gone     bool  // in a simulation: it has started
}

// newWaiting makes a waiting job of j, whose age counts from born.
func (b *board) newWaiting(j *Job, born Time) waiting {
	w := waiting{job: j, born: born, size: j.Size, estimate: j.Estimate, alone: len(j.Tags)+len(j.Near)+len(j.Apart) == 0}
	w.plain = w.alone && j.Host < 0 && (j.Hosts == nil || len(j.Hosts) == len(b.hosts))
	b.tagged = b.tagged || !w.alone
	b.weigh(&w)
	return w
}

// expect is how long the job probably runs.
func (w *waiting) expect() Time {
	if w.job.Expect > 0 {
		return min(w.job.Expect, w.job.Estimate)
	}
	return w.job.Estimate
}

// eviction is one running job to be put aside for a waiting one.
type eviction struct {
	running int32
	wait    int32
}

// newBoard is a board of empty hosts.
func newBoard(p Policy, hosts []Host) *board {
	b := &board{policy: p, hosts: make([]host, len(hosts))}
	kinds := map[Size]int32{}
	for i, h := range hosts {
		b.hosts[i] = host{name: h.Name, cap: h.Capacity, free: h.Capacity, out: h.Out, down: h.Why == HostDown, sorted: true, part: parts(&h.Capacity)}
		k, ok := kinds[h.Capacity]
		if !ok {
			k = int32(len(kinds))
			kinds[h.Capacity] = k
		}
		b.hosts[i].kind = k
		if !h.Out {
			b.most.grow(&h.Capacity)
		}
	}
	b.seen = make([]int64, len(kinds))
	b.index()
	b.roomy.reset(len(hosts))
	for i, h := range hosts {
		if !h.Out {
			b.roomy.max[b.roomy.base+i] = h.Capacity
		}
	}
	b.roomy.build()
	return b
}

// parts is one unit of each dimension as a part of the whole.
func parts(s *Size) [3]float64 {
	return [3]float64{ratio(1, s.VCPU), ratio(1, s.Memory), ratio(1, s.Disk)}
}

// index builds the index of free room anew.
func (b *board) index() {
	b.free.reset(len(b.hosts))
	for i := range b.hosts {
		if h := &b.hosts[i]; !h.out {
			b.free.max[b.free.base+i] = h.free
		}
	}
	b.free.build()
}

// load puts everything that runs on its host.
func (b *board) load(running []Running) {
	b.running, b.weakest = running, math.MaxInt32
	for i := range running {
		r := &running[i]
		if r.Host < 0 || r.Host >= len(b.hosts) {
			continue
		}
		if r.Preemptible && !r.Leaving && r.Preempted < maxPreempted {
			b.weakest = min(b.weakest, r.Priority)
		}
		end := r.End
		if r.Leaving {
			end = b.now + 1
		}
		end, _ = Extend(end, b.now)
		h := &b.hosts[r.Host]
		h.runs = append(h.runs, run{end: end, size: r.Size, id: r.ID, index: int32(i), tags: r.Tags, apart: r.Apart})
		h.sorted = false
		h.last = max(h.last, end)
		h.free.sub(&r.Size)
		b.tag(h, r.Tags, r.Apart)
	}
	b.index()
}

// tag notes the tags of something that begins to run on h.
func (b *board) tag(h *host, tags, apart []string) {
	if len(tags) == 0 && len(apart) == 0 {
		return
	}
	b.tagged = true
	h.tags = append(h.tags, tags...)
	h.shuns = append(h.shuns, apart...)
}

// occupy makes a waiting job run on host at from now on.
func (b *board) occupy(wi int32, at int) {
	w := &b.waits[wi]
	h := &b.hosts[at]
	h.insert(run{end: later(b.now, w.job.Estimate), size: w.job.Size, id: w.job.ID, index: wi, fresh: true, tags: w.job.Tags, apart: w.job.Apart})
	h.free.sub(&w.job.Size)
	b.free.set(at, h.free)
	if end := later(b.now, w.job.Estimate); end > h.last {
		h.last, h.span = end, b.span(end)
	}
	b.tag(h, w.job.Tags, w.job.Apart)
	b.guard.started(at)
}

// vacate ends what runs on host at under that id.
func (b *board) vacate(at int, id int64, end Time) {
	h := &b.hosts[at]
	h.sort()
	for i := h.after(end - 1); i < len(h.runs); i++ {
		r := h.runs[i]
		if r.id != id {
			continue
		}
		h.runs = append(h.runs[:i], h.runs[i+1:]...)
		h.free.add(&r.size)
		h.last = 0
		if n := len(h.runs); n > 0 {
			h.last = h.runs[n-1].end
		}
		if len(r.tags)+len(r.apart) > 0 {
			h.retag()
		}
		break
	}
	if !h.out {
		b.free.set(at, h.free)
	}
}

// retag collects the tags of all that runs on h anew.
func (h *host) retag() {
	h.tags, h.shuns = h.tags[:0], h.shuns[:0]
	for i := range h.runs {
		h.tags = append(h.tags, h.runs[i].tags...)
		h.shuns = append(h.shuns, h.runs[i].apart...)
	}
}

// insert adds r, keeping runs by end when they are.
func (h *host) insert(r run) {
	if !h.sorted {
		h.runs = append(h.runs, r)
		return
	}
	i := h.after(r.end)
	h.runs = append(h.runs, run{})
	copy(h.runs[i+1:], h.runs[i:])
	h.runs[i] = r
}

// after is the index of the first of the sorted runs that ends after t.
func (h *host) after(t Time) int {
	lo, hi := 0, len(h.runs)
	for lo < hi {
		if m := (lo + hi) / 2; h.runs[m].end <= t {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}
