package engine

import (
	"slices"
	"time"

	"berth/backend"
	"berth/backend/queue"
)

// projected is how many waiting jobs get an ETA that is more than a
// reservation: of those further back it would be a guess.
const projected = 500

// patience is how many refusals by one host make others preferred to it.
const patience = 3

// outlook is a book in the scheduler's terms, with the way back.
type outlook struct {
	book    *book
	in      queue.Input
	waiting []int // of in.Jobs: index in book.jobs
	running []int // of in.Running: index in book.jobs, -1 for what runs outside
}

// look puts a book into the scheduler's terms.
func (b *book) look() (*outlook, error) {
	policy, err := queue.Parse(b.policy)
	if err != nil {
		return nil, err
	}
	o := &outlook{book: b, in: queue.Input{Now: seconds(b.now), Policy: policy}}
	index := map[string]int{}
	for i := range b.hosts {
		h := &b.hosts[i]
		index[h.Name] = i
		host := queue.Host{Name: h.Name, Capacity: room(h)}
		switch {
		case h.Down || h.SeenAt.IsZero():
			host.Out, host.Why = true, queue.HostDown
		case h.Drained:
			host.Out, host.Why = true, queue.HostDrained
		}
		o.in.Hosts = append(o.in.Hosts, host)
		if h.Outside != (backend.Resources{}) {
			o.in.Running = append(o.in.Running, queue.Running{Host: i, Size: need(h.Outside), End: queue.Never})
			o.running = append(o.running, -1)
		}
	}
	for i := range b.jobs {
		j := &b.jobs[i]
		switch {
		case j.State.Waiting():
			o.in.Jobs = append(o.in.Jobs, o.queued(j, index))
			o.waiting = append(o.waiting, i)
		case j.State.Holds():
			if host, ok := index[j.RunsOn]; ok {
				o.in.Running = append(o.in.Running, o.runs(j, host))
				o.running = append(o.running, i)
			}
		}
	}
	return o, nil
}

// runs is a job with a berth.
func (o *outlook) runs(j *backend.Job, host int) queue.Running {
	n := o.book.notes[j.ID]
	r := queue.Running{
		ID: int64(j.ID), Host: host, Size: need(j.Size), Start: seconds(j.LastStart), End: queue.Never,
		Priority: j.Priority, Preempted: j.Preempted, Tags: j.Tags, Apart: j.Apart,
		Preemptible: j.Preemptible && j.State == backend.JobRunning && !j.Cancel && !n.Stays.After(o.book.now),
		Leaving:     j.State == backend.JobStopping || j.State == backend.JobPreempted,
	}
	if j.LastStart.IsZero() {
		r.Start = seconds(o.book.now)
	}
	if j.Expected > 0 {
		r.End = r.Start + max(span(j.Expected-j.Ran), 1)
	}
	return r
}

// queued is a job that waits.
func (o *outlook) queued(j *backend.Job, index map[string]int) queue.Job {
	b := o.book
	runs := make([]queue.Time, len(b.runs[j.ID]))
	for i, d := range b.runs[j.ID] {
		runs[i] = span(d)
	}
	q := queue.Job{
		ID: int64(j.ID), Submit: seconds(j.Submitted), Begin: seconds(j.Begin), Size: need(j.Size),
		Estimate: queue.Estimate(span(j.Estimate), span(j.Limit), runs), Expect: queue.Predict(runs),
		Priority: j.Priority, Nice: j.Nice, Age: span(ageOf(j, b.now)), Front: j.Front, Owner: j.Owner,
		Host: -1, Held: j.Held, Preemptible: j.Preemptible, Preempted: j.Preempted,
		Tags: j.Tags, Near: j.Near, Apart: j.Apart,
	}
	if q.Estimate < queue.Never { // what it ran already is behind it
		q.Estimate = max(q.Estimate-span(j.Ran), 1)
	}
	if q.Expect > 0 {
		q.Expect = max(q.Expect-span(j.Ran), 1)
	}
	if !j.Promised.IsZero() {
		host, ok := index[j.ETAHost]
		if ok {
			q.Promise = queue.Promise{Made: true, At: seconds(j.Promised), Host: host}
		}
	}
	ready, on, _, _ := b.depends(j)
	if !ready {
		q.NotReady, q.WaitsFor = true, int64(on)
	}
	if j.NextTry.After(b.now) || b.wait[j.ID] != "" {
		q.NotReady = true
	}
	o.places(&q, j, index)
	return q
}

// places fills in the hosts that the job may use.
func (o *outlook) places(q *queue.Job, j *backend.Job, index map[string]int) {
	n := o.book.notes[j.ID]
	fits := n.Fits
	if len(fits) == 0 {
		fits = []string{j.Home}
	}
	if j.Host != "" {
		if host, ok := index[j.Host]; ok && (n.Saved == "" || n.Saved == j.Host) {
			q.Host = host
			return
		}
		q.Hosts = []int32{}
		return
	}
	may := func(tired bool) (list []int32) {
		list = []int32{}
		for _, name := range fits {
			if i, ok := index[name]; ok && !n.Barred[name] && (tired || n.Refused[name] < patience) {
				list = append(list, int32(i))
			}
		}
		return list
	}
	if q.Hosts = may(false); len(q.Hosts) == 0 {
		q.Hosts = may(true)
	}
	slices.Sort(q.Hosts)
}

// ageOf is how long a job has waited that counts.
func ageOf(j *backend.Job, now time.Time) time.Duration {
	age := j.Aged
	if !j.AgedAt.IsZero() && now.After(j.AgedAt) {
		age += now.Sub(j.AgedAt)
	}
	return age
}

// tell writes into the book's jobs and hosts what a plan and a projection say.
// ahead may be nil: the ETAs are then those of reservations alone.
func (o *outlook) tell(p queue.Plan, ahead []queue.Forecast) {
	b := o.book
	for i, v := range p.Jobs {
		j := &b.jobs[o.waiting[i]]
		q := &o.in.Jobs[i]
		j.Expected = 0
		if q.Estimate < queue.Never {
			j.Expected = j.Ran + time.Duration(q.Estimate)*time.Second
		}
		j.Position, j.Score = v.Position, v.Score
		j.Why = o.why(j, v.Why)
		o.eta(j, v, i, ahead)
	}
	for i := range b.hosts {
		b.hosts[i].Used, b.hosts[i].Reserved = backend.Resources{}, backend.Resources{}
	}
	for i, at := range o.running {
		if at >= 0 {
			h := &b.hosts[o.in.Running[i].Host]
			h.Used = h.Used.Plus(b.jobs[at].Size)
		}
	}
	for i, r := range p.Reservations {
		if keeps(i, r) && r.Host >= 0 {
			h := &b.hosts[r.Host]
			h.Reserved = h.Reserved.Plus(b.jobs[o.waiting[r.Job]].Size)
		}
	}
}

// keeps reports whether the i-th reservation makes its job RESERVED: that of
// the head of the queue, and those that were promised.
func keeps(i int, r queue.Reservation) bool { return i == 0 || r.Promise }

// eta fills in when and where the job will start, and what was promised.
func (o *outlook) eta(j *backend.Job, v queue.Verdict, i int, ahead []queue.Forecast) {
	j.Promised, j.ETA, j.ETAHost = time.Time{}, time.Time{}, ""
	at, host := v.ETA, v.Host
	if v.Promise.Made {
		j.Promised = moment(v.Promise.At)
		host = v.Promise.Host
	}
	if i < len(ahead) && ahead[i].At < queue.Never {
		at = ahead[i].At
		if !v.Promise.Made {
			host = ahead[i].Host
		}
	}
	if v.Starts {
		at, host = o.in.Now, v.Host
	}
	j.ETA = moment(at)
	if host >= 0 && host < len(o.in.Hosts) {
		j.ETAHost = o.in.Hosts[host].Name
	}
}

// why is why a job waits: what only the engine knows comes before what the
// scheduler says.
func (o *outlook) why(j *backend.Job, said backend.Reason) backend.Reason {
	n := o.book.notes[j.ID]
	ready, on, _, _ := o.book.depends(j)
	switch {
	case j.Held:
		return backend.Reason{Code: backend.WhyHeld, Detail: j.Words}
	case !ready:
		return backend.Reason{Code: backend.WhyDependency, Of: on}
	case j.NextTry.After(o.book.now) && n.Why.Code != "":
		return n.Why
	case o.book.wait[j.ID] != "":
		return backend.Reason{Code: o.book.wait[j.ID], Host: j.Home, Detail: "its VM may run on a host that cannot be asked"}
	}
	return said
}
