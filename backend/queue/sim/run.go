package sim

import (
	"context"
	"fmt"
	"math"
	"slices"

	"berth/backend"
	"berth/backend/queue"
)

// Run plays the workload. It ends early with ctx's error.
func Run(ctx context.Context, c Config, w Workload) (Metrics, []Row, error) {
	p := newPlay(c, w)
	for n := 0; p.step(); n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return Metrics{}, nil, ctx.Err()
		}
	}
	return p.metrics(), p.rows, nil
}

// play is a run under way.
type play struct {
	c     Config
	w     Workload
	m     *queue.Machine
	jobs  []queue.Job // as the queue knows them, by index in w.Jobs
	rows  []Row
	hosts []int32 // on which each runs
	fits  []bool
	next  int // the next job to arrive
	ends  ends
	never []string
	past  map[string]*past
}

// past is the last two runs of jobs of one kind, the latest first.
type past struct {
	last [2]queue.Time
	n    int
}

func newPlay(c Config, w Workload) *play {
	p := &play{
		c: c, w: w, m: queue.NewMachine(c.Policy, c.Hosts),
		jobs: make([]queue.Job, len(w.Jobs)), rows: make([]Row, len(w.Jobs)),
		hosts: make([]int32, len(w.Jobs)), fits: make([]bool, len(w.Jobs)), past: map[string]*past{},
	}
	for i := range w.Jobs {
		j := &w.Jobs[i]
		q := queue.Job{ID: int64(i), Submit: j.Submit, Size: j.Size, Estimate: j.Estimate, Owner: j.Owner, Host: -1, Priority: backend.DefaultPriority}
		if c.PerfectEstimates {
			q.Estimate = min(j.Run, j.Estimate)
		}
		p.jobs[i] = q
		p.rows[i] = Row{ID: j.ID, Submit: j.Submit}
	}
	return p
}

// step plays the next instant: ends, then arrivals, then one pass. It reports
// false when nothing is left.
func (p *play) step() bool {
	now := queue.Never
	if p.next < len(p.jobs) {
		now = p.jobs[p.next].Submit
	}
	if len(p.ends) > 0 {
		now = min(now, p.ends[0].at)
	}
	if now == queue.Never {
		return false
	}
	for len(p.ends) > 0 && p.ends[0].at == now {
		i := p.ends.pop().job
		p.m.End(int(p.hosts[i]), int64(i), p.rows[i].Start+p.jobs[i].Estimate)
		p.learn(int(i))
	}
	for p.next < len(p.jobs) && p.jobs[p.next].Submit == now {
		p.arrive(p.next)
		p.next++
	}
	p.m.Pass(now, func(j *queue.Job, host int) {
		i := int(j.ID)
		w := &p.w.Jobs[i]
		r := &p.rows[i]
		p.hosts[i] = int32(host)
		r.Start, r.End, r.Host = now, now+min(w.Run, w.Estimate), p.c.Hosts[host].Name
		p.ends.push(end{r.End, int32(i)})
	}, func(j *queue.Job) {
		r := &p.rows[j.ID]
		if !r.Promise {
			r.Promise, r.Promised = true, j.Promise.At
		}
	})
	return true
}

// arrive submits a job, or leaves it out when it fits nowhere.
func (p *play) arrive(i int) {
	j := &p.jobs[i]
	if !p.m.Fits(j) {
		p.never = append(p.never, p.w.Jobs[i].ID)
		return
	}
	p.fits[i] = true
	if e := p.past[p.kind(i)]; e != nil {
		j.Expect = queue.Predict(e.last[:e.n])
	}
	p.m.Submit(j)
}

// kind says which jobs are alike: those of one owner, else those of one size and estimate.
func (p *play) kind(i int) string {
	j := &p.w.Jobs[i]
	if j.Owner != "" {
		return j.Owner
	}
	return fmt.Sprint(j.Size, j.Estimate)
}

// learn notes the run of a job that ended.
func (p *play) learn(i int) {
	k := p.kind(i)
	e := p.past[k]
	if e == nil {
		e = &past{}
		p.past[k] = e
	}
	e.last[1], e.last[0] = e.last[0], p.rows[i].End-p.rows[i].Start
	e.n = min(e.n+1, 2)
}

// metrics are the figures of what was played.
func (p *play) metrics() Metrics {
	m := Metrics{NeverFit: len(p.never), NeverFits: p.never, Decisions: p.m.Looked()}
	var waits []float64
	var cpu, mem float64
	first, last := queue.Never, queue.Time(0)
	for i := range p.rows {
		if !p.fits[i] {
			continue
		}
		r := &p.rows[i]
		wait, run := float64(r.Start-r.Submit), float64(r.End-r.Start)
		waits = append(waits, wait)
		m.MeanWait += wait
		m.MeanFlow += wait + run
		b := max(1, (wait+run)/max(10, run))
		m.MeanBSLD += b
		m.MaxBSLD = max(m.MaxBSLD, b)
		m.MaxWait = max(m.MaxWait, wait)
		first, last = min(first, r.Submit), max(last, r.End)
		cpu += float64(p.jobs[i].Size.VCPU) * run
		mem += float64(p.jobs[i].Size.Memory) * run
	}
	m.Jobs = len(waits)
	if m.Jobs == 0 {
		return m
	}
	n := float64(m.Jobs)
	m.MeanWait, m.MeanFlow, m.MeanBSLD = m.MeanWait/n, m.MeanFlow/n, m.MeanBSLD/n
	slices.Sort(waits)
	m.P95Wait = waits[min(len(waits)-1, int(math.Ceil(0.95*n))-1)]
	m.Makespan = float64(last - first)
	var capacity queue.Size
	for _, h := range p.c.Hosts {
		capacity.VCPU += h.Capacity.VCPU
		capacity.Memory += h.Capacity.Memory
	}
	if m.Makespan > 0 {
		m.UtilizationVCPU = over(cpu, float64(capacity.VCPU)*m.Makespan)
		m.UtilizationMemory = over(mem, float64(capacity.Memory)*m.Makespan)
	}
	return m
}

// over is a/b, 0 when there is nothing to divide by.
func over(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}

// end is when a running job ends.
type end struct {
	at  queue.Time
	job int32
}

// ends is a heap, the next end first; ties go to the lower job.
type ends []end

func (e end) before(f end) bool { return e.at < f.at || e.at == f.at && e.job < f.job }

func (h *ends) push(e end) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(s[up]) {
			break
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *ends) pop() end {
	s := *h
	top := s[0]
	n := len(s) - 1
	s[0] = s[n]
	s = s[:n]
	*h = s
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && s[c+1].before(s[c]) {
			c++
		}
		if !s[c].before(s[i]) {
			break
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
	return top
}
