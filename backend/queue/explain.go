package queue

import (
	"cmp"
	"math"
	"slices"

	"berth/backend"
)

// Why is everything about one waiting job.
type Why struct {
	Verdict  Verdict
	Forecast Forecast
	Factors  []backend.Factor // the terms of its score
	Hosts    []Fit            // of each of Input.Hosts
	Ahead    []int            // waiting jobs that come before it, in order
	Sooner   []Remedy         // what would start it sooner, best first
}

// Fit is whether a job fits a host now.
type Fit struct {
	Fits  bool
	Short []Short        // the dimensions that lack room now
	Why   backend.Reason // what else keeps it off: tags, the host out, a reservation, N+1, not one of its hosts
	At    Time           // the earliest start there by believed ends and reservations; Never: not by those
}

// Short is how much of one dimension a host lacks, in the caller's units.
type Short struct {
	Dimension  string // "cpu", "mem", "disk"
	Need, Free int64
}

// nearby is how many jobs of the queue an explanation plays through.
const nearby = 1000

// Explain says all about in.Jobs[job]. Playing remedies through takes up to
// some tens of milliseconds; it is for one job that a person looks at. Of a
// long queue it plays through the first thousand jobs and this one.
func Explain(in Input, job int) Why {
	b := settle(in)
	b.ahead = b.head()
	order := b.whole()
	w := Why{Factors: b.factors(int32(job)), Hosts: make([]Fit, len(b.hosts))}
	b.verdict(int32(job), &w.Verdict)
	w.Verdict.Position = slices.Index(order, job) + 1
	w.Ahead = order[:w.Verdict.Position-1]
	b.unhold(int32(job))
	for i := range b.hosts {
		w.Hosts[i] = b.fit(int32(job), i)
	}
	near := order[:min(len(order), nearby)]
	if !slices.Contains(near, job) {
		near = append(slices.Clone(near), job)
	}
	s := scene{in: in, job: slices.Index(near, job)}
	s.in.Jobs = make([]Job, len(near))
	for n, i := range near {
		s.in.Jobs[n] = in.Jobs[i]
	}
	w.Forecast = s.play(s.in)
	w.Sooner = s.remedies(b, w)
	return w
}

// factors are the terms of a job's place in the queue.
func (b *board) factors(wi int32) []backend.Factor {
	w := &b.waits[wi]
	j := w.job
	w.score = b.score(w) // of one that is not ready, too
	age := span(b.age(w))
	var f []backend.Factor
	add := func(name string, value float64, text string) {
		f = append(f, backend.Factor{Name: name, Value: value, Text: text})
	}
	if j.Front > 0 {
		add("top", float64(j.Front), "put before all others")
	}
	if j.Promise.Made && b.policy.Firm {
		add("promise", 0, "a start was promised: nobody passes it")
	}
	switch b.policy.Order {
	case SJF:
		add("estimate", w.score, "runs "+span(j.Estimate)+", as far as is known")
	case HRRN:
		add("ratio", w.score, "(waited "+age+" + runs "+span(j.Estimate)+") / "+span(j.Estimate))
	case Priority:
		p, a, s := b.multifactor(w)
		add("priority", p, "priority "+whole(int64(j.Priority))+" of 100")
		add("age", a, "waited "+age+" of "+span(maxAge))
		add("size", s, "takes "+percent(b.share(&j.Size))+" of the largest host")
		add("nice", -float64(j.Nice), "nice "+whole(int64(j.Nice)))
	case Aged:
		ratio := b.bulkRatio(w)
		add("ratio", ratio, "waited "+age+"; runs "+span(j.Estimate)+", probably "+span(w.expect())+
			", on "+percent(b.share(&j.Size))+" of the largest host")
		if w.urgency != 1 {
			add("priority", (w.urgency-1)*ratio, "priority "+whole(int64(j.Priority))+", nice "+whole(int64(j.Nice))+": counts ×"+times(w.urgency))
		}
	default:
		add("age", w.score, "waited "+age)
	}
	return f
}

// fit is whether a job, which has no room kept, fits host i now.
func (b *board) fit(wi int32, i int) Fit {
	w, h := &b.waits[wi], &b.hosts[i]
	j := w.job
	if w.fate == starting && int(w.host) == i {
		return Fit{Fits: true, At: b.now}
	}
	f := Fit{At: Never}
	for _, s := range [...]Short{
		{cpu, j.Size.VCPU, h.free.VCPU}, {mem, j.Size.Memory, h.free.Memory}, {disk, j.Size.Disk, h.free.Disk},
	} {
		if s.Need > s.Free {
			s.Free = max(s.Free, 0)
			f.Short = append(f.Short, s)
		}
	}
	f.Why = b.keepsOff(wi, i)
	f.Fits = len(f.Short) == 0 && f.Why.Code == backend.WhyNone
	switch {
	case f.Fits && w.fate != unready:
		f.At = b.now
	case h.couldTake(j, i) && w.fate != starting:
		f.At = b.earliestOn(wi, i, max(b.now, j.Begin), Never)
	}
	return f
}

// keepsOff is what keeps a job off host i beside a lack of room.
func (b *board) keepsOff(wi int32, i int) backend.Reason {
	j, h := b.waits[wi].job, &b.hosts[i]
	switch {
	case !j.allowed(i):
		return backend.Reason{Code: backend.WhyAffinity, Detail: "it may not use this host"}
	case !j.Size.fits(&h.cap):
		d, _ := lack(&j.Size, &h.cap, &h.cap)
		return backend.Reason{Code: backend.WhyNeverFits, Dimension: d}
	case h.out && h.down:
		return backend.Reason{Code: backend.WhyHostDown}
	case h.out:
		return backend.Reason{Code: backend.WhyMaintenance}
	case !h.near(j):
		return backend.Reason{Code: backend.WhyAffinity, Detail: "the company it needs does not run here"}
	case !h.welcomes(j):
		return backend.Reason{Code: backend.WhyAffinity, Detail: "company it must not have runs here"}
	}
	if of := b.keeper(wi, h); of != 0 {
		return backend.Reason{Code: backend.WhyReservation, Of: of}
	}
	if j.Size.fits(&h.free) && !b.guard.allows(i, &j.Size) {
		return backend.Reason{Code: backend.WhyNPlus1}
	}
	return backend.Reason{}
}

// scene is a queue in which one job is played through under changes.
type scene struct {
	in  Input
	job int
}

// play is when the job starts in a queue that is like the scene's.
func (s *scene) play(in Input) Forecast { return newProjection(in, s.job).run()[s.job] }

// change is a copy of the scene's queue in which the job is changed.
func (s *scene) change(do func(j *Job)) Input {
	in := s.in
	in.Jobs = slices.Clone(in.Jobs)
	do(&in.Jobs[s.job])
	return in
}

// Remedy is one thing a person could do for a job, and the start it would
// bring, found by playing it through.
type Remedy struct {
	Kind     string // "release", "top", "host", "end", "size", "estimate"
	Text     string // "move it to the top", "end job 12"
	Job      int64  // of "end": the running job
	Host     int    // where it would start
	Size     Size   // of "size"
	Estimate Time   // of "estimate"
	At       Time
}

// remedies plays through what could start the job sooner, and returns what
// does, the soonest first.
func (s *scene) remedies(b *board, w Why) []Remedy {
	if w.Verdict.Starts {
		return nil
	}
	var found []Remedy
	try := func(r Remedy, in Input) {
		f := s.play(in)
		if f.Host >= 0 && f.At < w.Forecast.At {
			r.At, r.Host = f.At, f.Host
			found = append(found, r)
		}
	}
	j := s.in.Jobs[s.job]
	if j.Held {
		try(Remedy{Kind: "release", Text: "release it"}, s.change(func(j *Job) { j.Held = false }))
	}
	if !j.Held && !j.NotReady && j.Begin <= s.in.Now && w.Verdict.Position > 1 {
		try(Remedy{Kind: "top", Text: "move it to the top"}, s.change(func(j *Job) { j.Front = math.MaxInt64 }))
	}
	if j.Host >= 0 {
		try(Remedy{Kind: "host", Text: "let it run on any host"}, s.change(func(j *Job) { j.Host = -1 }))
	}
	if size, ok := smaller(b, &j); ok {
		try(Remedy{Kind: "size", Text: shrink(&j.Size, &size), Size: size}, s.change(func(j *Job) { j.Size = size }))
	}
	if e := shorter(b, &j, w); e > 0 {
		try(Remedy{Kind: "estimate", Text: "give it an estimate of at most " + span(e), Estimate: e},
			s.change(func(j *Job) { j.Estimate, j.Expect = e, min(e, j.Expect) }))
	}
	for _, i := range ending(b, &j) {
		in := s.in
		in.Running = slices.Delete(slices.Clone(in.Running), i, i+1)
		id := s.in.Running[i].ID
		try(Remedy{Kind: "end", Text: "end job " + whole(id), Job: id}, in)
	}
	slices.SortStableFunc(found, func(x, y Remedy) int { return cmp.Compare(x.At, y.At) })
	return found
}

// leastPart is how much of each dimension a smaller size must leave.
const leastPart = 0.25

// smaller is the size nearest to j's that would fit one of its hosts now.
func smaller(b *board, j *Job) (Size, bool) {
	best, cost := Size{}, math.Inf(1)
	for i := range b.hosts {
		h := &b.hosts[i]
		if h.out || !j.allowed(i) || !h.welcomes(j) {
			continue
		}
		s := Size{min(j.Size.VCPU, h.free.VCPU), min(j.Size.Memory, h.free.Memory), min(j.Size.Disk, h.free.Disk)}
		if s == j.Size || s.Disk < j.Size.Disk || s.VCPU < 1 ||
			ratio(s.VCPU, j.Size.VCPU) < leastPart || j.Size.Memory > 0 && ratio(s.Memory, j.Size.Memory) < leastPart {
			continue // a disk does not shrink
		}
		if c := 2 - ratio(s.VCPU, j.Size.VCPU) - ratio(s.Memory, max(j.Size.Memory, 1)); c < cost {
			best, cost = s, c
		}
	}
	return best, !math.IsInf(cost, 1)
}

// shorter is the longest estimate with which j would end before the room that
// is kept for others, on a host with room for it; 0 when there is none.
func shorter(b *board, j *Job, w Why) Time {
	best := Time(0)
	for i, f := range w.Hosts {
		if f.Why.Code != backend.WhyReservation || len(f.Short) > 0 {
			continue
		}
		for _, k := range b.hosts[i].holds {
			if !j.Size.fits(&k.extra) {
				best = max(best, k.at-b.now)
				break
			}
		}
	}
	if best < minute || best >= j.Estimate {
		return 0
	}
	return best
}

// maxEnding is how many running jobs are tried out whose end could help.
const maxEnding = 4

// ending are the jobs, as indexes of Input.Running, whose end alone would make
// room for j, at most maxEnding: the least important first, then the youngest.
func ending(b *board, j *Job) []int {
	var found []int
	for i := range b.hosts {
		h := &b.hosts[i]
		if !h.couldTake(j, i) {
			continue
		}
		for _, r := range h.runs {
			free := h.free
			free.add(&r.size)
			if !r.fresh && r.id != 0 && j.Size.fits(&free) {
				found = append(found, int(r.index))
			}
		}
	}
	slices.SortFunc(found, func(x, y int) int {
		r, s := &b.running[x], &b.running[y]
		return cmp.Or(cmp.Compare(r.Priority, s.Priority), cmp.Compare(s.Start, r.Start), cmp.Compare(r.ID, s.ID))
	})
	return found[:min(len(found), maxEnding)]
}
