package queue

import "slices"

// Forecast is when and where a job is expected to start; At is Never when that
// cannot be told.
type Forecast struct {
	At   Time
	Host int // -1: not known
}

// maxLooks bounds the work of one Project: jobs looked at, over all its passes.
const maxLooks = 4_000_000

// Project plays the policy forward over the believed ends of what runs and the
// estimates of what waits, and says when each of in.Jobs would start. Unlike a
// promise it changes when new jobs come, and it shows nothing sooner than the
// estimates say, though most jobs end earlier. It knows only of the first limit
// jobs in the queue's order (0: all), and gives up after some millions of
// decisions, nearest starts first: the forecasts of the others stay Never.
// Nobody is put aside in a projection.
func Project(in Input, limit int) []Forecast {
	chosen := first(in, limit)
	if chosen == nil {
		return newProjection(in, -1).run()
	}
	out := make([]Forecast, len(in.Jobs))
	for i := range out {
		out[i] = Forecast{At: Never, Host: -1}
	}
	all := in.Jobs
	in.Jobs = make([]Job, len(chosen))
	for n, i := range chosen {
		in.Jobs[n] = all[i]
	}
	for n, f := range newProjection(in, -1).run() {
		out[chosen[n]] = f
	}
	return out
}

// first is the first limit jobs of the queue's order, or nil for all.
func first(in Input, limit int) []int32 {
	if limit <= 0 || limit >= len(in.Jobs) {
		return nil
	}
	in.Running = nil
	b := setUp(in)
	b.line()
	chosen := slices.Clone(b.queue[:min(limit, len(b.queue))])
	for i := range b.waits {
		if b.waits[i].fate == unready && len(chosen) < limit {
			chosen = append(chosen, int32(i))
		}
	}
	return chosen
}

// projection is a Project under way.
type projection struct {
	m      *Machine
	jobs   []Job // copies, by index of Input.Jobs
	out    []Forecast
	only   int // stop when this one has started; -1: go on
	events events
	waits  map[int64][]int // jobs by the one they depend on
	index  map[int64]int   // of jobs by ID
}

// newProjection sets up a Project that ends when job only has started.
func newProjection(in Input, only int) *projection {
	in.Policy.Preempt = false
	p := &projection{
		jobs: slices.Clone(in.Jobs), out: make([]Forecast, len(in.Jobs)), only: only,
		waits: map[int64][]int{}, index: make(map[int64]int, len(in.Jobs)),
	}
	in.Jobs = p.jobs
	b := setUp(in)
	p.m = &Machine{b}
	for i := range p.jobs {
		j := &p.jobs[i]
		p.out[i] = Forecast{At: Never, Host: -1}
		p.index[j.ID] = i
		if j.NotReady && j.WaitsFor != 0 {
			p.waits[j.WaitsFor] = append(p.waits[j.WaitsFor], i)
		}
		if j.Begin > in.Now {
			p.events.push(event{at: j.Begin, host: -1})
			j.NotReady = j.NotReady && j.WaitsFor != 0 // the next try after a refusal
		}
	}
	for h := range b.hosts {
		for _, r := range b.hosts[h].runs {
			if r.end < Never {
				p.events.push(event{at: r.end, host: h, id: r.id, end: r.end})
			}
		}
	}
	return p
}

// run plays until nothing more happens.
func (p *projection) run() []Forecast {
	now := p.m.b.now
	for {
		p.m.Pass(now, func(j *Job, host int) { p.started(j, host, now) }, nil)
		if p.m.Waiting() == 0 || len(p.events) == 0 || p.m.Looked() > maxLooks {
			return p.out
		}
		if p.only >= 0 && p.out[p.only].Host >= 0 {
			return p.out
		}
		now = p.events[0].at
		for len(p.events) > 0 && p.events[0].at == now {
			p.happen(p.events.pop())
		}
	}
}

// started notes the start of a job and when it will end.
func (p *projection) started(j *Job, host int, now Time) {
	p.out[p.index[j.ID]] = Forecast{At: now, Host: host}
	if end := later(now, j.Estimate); end < Never {
		p.events.push(event{at: end, host: host, id: j.ID, end: end})
	}
}

// happen ends what ran, and lets go those that waited for it.
func (p *projection) happen(e event) {
	if e.host < 0 {
		return // a begin time: the next pass sees it
	}
	p.m.End(e.host, e.id, e.end)
	for _, i := range p.waits[e.id] {
		p.jobs[i].NotReady = false
	}
}

// event is a believed end, or a begin time when host is -1.
type event struct {
	at   Time
	host int
	id   int64
	end  Time
}

// events is a heap, the next first; ties go to the lower host, then ID.
type events []event

func (e *event) before(f *event) bool {
	if e.at != f.at {
		return e.at < f.at
	}
	if e.host != f.host {
		return e.host < f.host
	}
	return e.id < f.id
}

func (h *events) push(e event) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(&s[up]) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *events) pop() event {
	s := *h
	top, n := s[0], len(s)-1
	s[0] = s[n]
	s = s[:n]
	*h = s
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			return top
		}
		if c+1 < n && s[c+1].before(&s[c]) {
			c++
		}
		if !s[c].before(&s[i]) {
			return top
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
}
