package queue

import (
	"cmp"
	"slices"

	"berth/backend"
)

// Schedule is one full pass over the queue: what starts now, what is put aside,
// for whom room is kept, and of every waiting job why it waits.
func Schedule(in Input) Plan {
	b := settle(in)
	p := Plan{
		Starts: make([]Start, 0, len(b.starts)),
		Order:  b.whole(),
		Jobs:   make([]Verdict, len(in.Jobs)),
	}
	for _, wi := range b.starts {
		p.Starts = append(p.Starts, Start{Job: int(wi), Host: int(b.waits[wi].host)})
	}
	for _, e := range b.evict {
		p.Preempts = append(p.Preempts, Preempt{Running: int(e.running), For: int(e.wait)})
	}
	for _, wi := range b.queue {
		if w := &b.waits[wi]; w.fate == reserved {
			p.Reservations = append(p.Reservations, Reservation{Job: int(wi), Host: int(w.host), At: w.at, Promise: b.promise(w).Made})
		}
	}
	b.ahead = b.head()
	for i := range p.Jobs {
		b.verdict(int32(i), &p.Jobs[i])
	}
	for n, i := range p.Order {
		p.Jobs[i].Position = n + 1
	}
	return p
}

// settle is a board on which a pass over in was made.
func settle(in Input) *board {
	b := setUp(in)
	b.said = map[int32]backend.Reason{}
	b.pass()
	return b
}

// setUp is a board with everything of in on it.
func setUp(in Input) *board {
	b := newBoard(in.Policy, in.Hosts)
	b.now = in.Now
	b.load(in.Running)
	b.waits = make([]waiting, len(in.Jobs))
	for i := range in.Jobs {
		j := &in.Jobs[i]
		b.waits[i] = b.newWaiting(j, in.Now-j.Age)
	}
	return b
}

// whole is all waiting jobs as they come: those that start, the rest of the
// queue, those not ready by when they may be, those that no host can take.
func (b *board) whole() []int {
	order := make([]int, 0, len(b.waits))
	var last []int
	for _, wi := range b.starts {
		order = append(order, int(wi))
	}
	for _, wi := range b.queue {
		switch b.waits[wi].fate {
		case starting:
		case hopeless:
			last = append(last, int(wi))
		default:
			order = append(order, int(wi))
		}
	}
	n := len(order)
	for i := range b.waits {
		if b.waits[i].fate == unready {
			order = append(order, i)
		}
	}
	slices.SortFunc(order[n:], func(x, y int) int {
		j, k := b.waits[x].job, b.waits[y].job
		if j.Held != k.Held {
			return sign(k.Held)
		}
		return cmp.Or(cmp.Compare(max(j.Begin, b.now), max(k.Begin, b.now)), cmp.Compare(j.Submit, k.Submit), cmp.Compare(j.ID, k.ID))
	})
	return append(order, last...)
}

// verdict writes into v what the pass says of one job.
func (b *board) verdict(wi int32, v *Verdict) {
	w := &b.waits[wi]
	v.Score, v.Host, v.ETA = w.score, int(w.host), Never
	switch w.fate {
	case starting:
		v.Starts, v.ETA = true, b.now
	case reserved:
		v.ETA, v.Promise = w.at, b.promise(w)
	}
	v.Why = b.why(wi)
}

// why is the reason for which a job waits.
func (b *board) why(wi int32) backend.Reason {
	w := &b.waits[wi]
	switch w.fate {
	case starting:
		return backend.Reason{}
	case unready:
		return b.whyUnready(w.job)
	case hopeless:
		return b.whyHopeless(w.job)
	case lonely:
		return backend.Reason{Code: backend.WhyAffinity}
	case behind:
		return backend.Reason{Code: backend.WhyPriority, Of: b.ahead}
	}
	return b.whyBlocked(wi)
}

// head is the first job in the queue that does not start.
func (b *board) head() backend.JobID {
	for _, wi := range b.queue {
		if w := &b.waits[wi]; w.fate == reserved || w.fate == blocked || w.fate == unsafe {
			return backend.JobID(w.job.ID)
		}
	}
	return 0
}

func (b *board) whyUnready(j *Job) backend.Reason {
	switch {
	case j.Held:
		return backend.Reason{Code: backend.WhyHeld}
	case j.NotReady && j.WaitsFor != 0:
		return backend.Reason{Code: backend.WhyDependency, Of: backend.JobID(j.WaitsFor)}
	case j.NotReady:
		return backend.Reason{Code: backend.WhyRetry}
	}
	return backend.Reason{Code: backend.WhyBeginTime}
}

// whyHopeless tells a job that is too big from one whose hosts are out.
func (b *board) whyHopeless(j *Job) backend.Reason {
	why := backend.Reason{Code: backend.WhyNeverFits}
	for i := range b.hosts {
		h := &b.hosts[i]
		if !h.out || !j.Size.fits(&h.cap) || !j.allowed(i) {
			continue
		}
		if !h.down { // the milder reason: somebody will end it
			return backend.Reason{Code: backend.WhyMaintenance, Host: h.name}
		}
		if why.Code == backend.WhyNeverFits {
			why = backend.Reason{Code: backend.WhyHostDown, Host: h.name}
		}
	}
	if j.Host >= 0 && j.Host < len(b.hosts) {
		why.Host = b.hosts[j.Host].name
	}
	return why
}

// whyBlocked is the reason of a job that is ready and did not start.
func (b *board) whyBlocked(wi int32) backend.Reason {
	if why, ok := b.said[wi]; ok {
		return why
	}
	if !b.room(wi) {
		if by := b.tookFrom(wi); by != 0 {
			return backend.Reason{Code: backend.WhyPriority, Of: by}
		}
		return backend.Reason{Code: backend.WhyResources, Dimension: b.short(wi)}
	}
	return b.whyBarred(wi)
}

// whyBarred is the reason of a job for which there is room that it may not have.
func (b *board) whyBarred(wi int32) backend.Reason {
	j := b.waits[wi].job
	why := backend.Reason{Code: backend.WhyAffinity}
	for i := b.next(j, 0); i >= 0; i = b.next(j, i+1) {
		h := &b.hosts[i]
		if b.tagged && !h.welcomes(j) {
			continue
		}
		if of := b.keeper(wi, h); of != 0 {
			if why.Code == backend.WhyAffinity {
				why = backend.Reason{Code: backend.WhyReservation, Of: of}
			}
			continue
		}
		if !b.guard.allows(i, &j.Size) {
			return backend.Reason{Code: backend.WhyNPlus1, Host: h.name}
		}
		return backend.Reason{Code: backend.WhyPriority, Of: b.ahead}
	}
	return why
}

// keeper is the job whose room on h forbids the start of another there, or 0.
func (b *board) keeper(wi int32, h *host) backend.JobID {
	j := b.waits[wi].job
	end := later(b.now, j.Estimate)
	for i := range h.holds {
		k := &h.holds[i]
		if k.at >= end {
			break
		}
		if k.wait != wi && (!j.Size.fits(&k.extra) || clash(j, b.waits[k.wait].job)) {
			return backend.JobID(b.waits[k.wait].job.ID)
		}
	}
	return 0
}

// tookFrom is the job that started in this pass on a host that had room for
// another before, or 0.
func (b *board) tookFrom(wi int32) backend.JobID {
	if len(b.starts) == 0 {
		return 0
	}
	w := &b.waits[wi]
	if w.plain {
		if b.tight.cover(&w.size) {
			return 0
		}
		if b.before.next(0, &w.size) < 0 {
			b.tight.learn(&w.size)
			return 0
		}
	}
	for i := b.before.nextOf(w.job, 0); i >= 0; i = b.before.nextOf(w.job, i+1) {
		if first := b.hosts[i].took; first >= 0 {
			return backend.JobID(b.waits[first].job.ID)
		}
	}
	return 0
}

// short is the dimension that keeps a job off the hosts it may use.
func (b *board) short(wi int32) string {
	w := &b.waits[wi]
	if !w.plain && w.job.Host >= 0 && w.job.Host < len(b.hosts) {
		h := &b.hosts[w.job.Host]
		d, _ := lack(&w.size, &h.free, &h.cap)
		return d
	}
	if d, _ := lack(&w.size, &b.free.max[1], &b.most); d != "" {
		return d
	}
	return b.shortOnMost(&w.size)
}

// lack is the dimension in which size exceeds free by the most, as a part of
// whole, and that part; "" when it does not.
func lack(size, free, whole *Size) (string, float64) {
	name, worst := "", 0.0
	for _, d := range [...]struct {
		name              string
		need, free, whole int64
	}{
		{cpu, size.VCPU, free.VCPU, whole.VCPU},
		{mem, size.Memory, free.Memory, whole.Memory},
		{disk, size.Disk, free.Disk, whole.Disk},
	} {
		if d.need <= d.free {
			continue
		}
		if l := ratio(d.need-max(d.free, 0), max(d.whole, 1)); l > worst {
			name, worst = d.name, l
		}
	}
	return name, worst
}

// shortOnMost is the dimension in which the fewest hosts have enough, for a size
// to which no single dimension is short everywhere.
func (b *board) shortOnMost(s *Size) string {
	if b.sorted[0] == nil {
		b.sortFree()
	}
	has := func(d int, need int64) int {
		i, _ := slices.BinarySearch(b.sorted[d], need)
		return len(b.sorted[d]) - i
	}
	c, m, d := has(0, s.VCPU), has(1, s.Memory), has(2, s.Disk)
	switch least := min(c, m, d); least {
	case m: // before CPU: memory cannot be shared
		return mem
	case c:
		return cpu
	}
	return disk
}

// sortFree sorts what is free on all hosts, by dimension.
func (b *board) sortFree() {
	for d := range b.sorted {
		b.sorted[d] = make([]int64, 0, len(b.hosts))
	}
	for i := range b.hosts {
		if h := &b.hosts[i]; !h.out {
			b.sorted[0] = append(b.sorted[0], h.free.VCPU)
			b.sorted[1] = append(b.sorted[1], h.free.Memory)
			b.sorted[2] = append(b.sorted[2], h.free.Disk)
		}
	}
	for d := range b.sorted {
		slices.Sort(b.sorted[d])
	}
}
