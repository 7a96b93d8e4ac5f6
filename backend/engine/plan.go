package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/queue"
	"berth/backend/store"
)

// plan has package queue look at what is left, starts what can start, puts
// aside what has to, and writes what it said of the rest.
func (e *Engine) plan(ctx context.Context, s *survey) error {
	b := s.book
	was := slices.Clone(b.jobs)
	for i := range b.jobs {
		if j := &b.jobs[i]; j.State.Waiting() && s.outOfSight(j, b.notes[j.ID]) {
			b.wait[j.ID] = backend.WhyHostDown
		}
	}
	o, err := b.look()
	if err != nil {
		return err
	}
	p := queue.Schedule(o.in)
	o.tell(p, queue.Project(o.in, projected))
	ds, unsure := e.starts(s, o, p, was)
	if unsure { // a plan that does not come true makes promises that hold up others
		for _, at := range o.waiting {
			b.jobs[at] = was[at]
		}
	} else {
		ds = append(ds, e.preempts(s, o, p, was)...)
		ds = append(ds, e.states(s, o, p, was)...)
		ds = append(ds, e.measure(s, was)...)
	}
	decided := map[backend.JobID]bool{}
	for i := range ds {
		decided[ds[i].was.ID] = true
	}
	rows := e.newRows(b, was, decided)
	fresh := hostNews(b.hosts, b.read)
	back := s.returned()
	if len(ds) == 0 && len(rows) == 0 && len(fresh) == 0 && len(back) == 0 {
		return nil
	}
	return e.begin(ctx, s, ds, rows, fresh, back)
}

// begin writes a plan and begins what it decided.
func (e *Engine) begin(ctx context.Context, s *survey, ds []decision, rows []backend.Job, hosts []backend.QueueHost, back []string) error {
	valid, err := e.commit(ctx, ds, func(tx *store.Tx) error {
		if err := tx.PutPlan(rows); err != nil {
			return err
		}
		for _, name := range back {
			if err := tx.SetSetting(offKey+name, ""); err != nil {
				return err
			}
		}
		return putHosts(tx, hosts)
	})
	if err != nil {
		return err
	}
	for i := range ds {
		if !valid[i] {
			continue
		}
		s.book.put(ds[i].m.job, ds[i].m.note)
		if ds[i].m.act != actNone {
			e.do(&ds[i])
		}
	}
	if len(ds) > 0 {
		e.wakeUp()
	}
	return nil
}

// returned are the hosts that answer again after they were made sure to be off.
func (s *survey) returned() (names []string) {
	for name := range s.offs {
		if s.views[name].up() {
			names = append(names, name)
		}
	}
	return names
}

// starts are the jobs that start now. It is unsure when one of them has to
// wait until more is known of its VM.
func (e *Engine) starts(s *survey, o *outlook, p queue.Plan, was []backend.Job) (ds []decision, unsure bool) {
	pending := e.pending(s.book)
	for _, start := range p.Starts {
		at := o.waiting[start.Job]
		j, n := s.book.jobs[at], s.book.notes[o.book.jobs[at].ID]
		host := o.in.Hosts[start.Host].Name
		v := s.views[host]
		_, busy := e.busy[j.ID]
		see, sure := s.sight(&was[at], n)
		before, waits := pending[host]
		if busy || !sure || !see.others || see.away != nil || !v.up() || e.givesBack(j.VM, host) || waits && before < p.Jobs[start.Job].Position {
			unsure = true
			continue
		}
		d := decision{was: was[at], m: move{job: j, note: n.resting(), wrote: true, act: actStart, event: "starting", at: s.book.now}}
		row, note := &d.m.job, &d.m.note
		row.State, row.Since, row.Launch, row.RunsOn = backend.JobStarting, s.book.now, backend.LaunchAsked, host
		row.Aged, row.AgedAt = ageOf(row, s.book.now), time.Time{}
		row.Why, row.ETA, row.ETAHost, row.Position, row.Words = backend.Reason{}, time.Time{}, "", 0, ""
		row.NextTry, row.Extended = time.Time{}, 0
		note.Asked, note.Boot = host, v.has.Boot
		if v.vms[j.VM] == nil {
			note.Copy = host
			d.copy = &copied{Job: j.ID, VM: j.VM, UUID: j.VM.String(), Name: j.Name, Host: host}
			if slices.Contains(e.copies, *d.copy) {
				d.copy = nil
			}
		}
		ds = append(ds, d)
	}
	return ds, unsure
}

// preempts are the jobs that make room.
func (e *Engine) preempts(s *survey, o *outlook, p queue.Plan, was []backend.Job) (ds []decision) {
	for _, victim := range p.Preempts {
		at := o.running[victim.Running]
		if at < 0 {
			continue
		}
		j := s.book.jobs[at]
		_, busy := e.busy[j.ID]
		v := s.views[j.RunsOn]
		if busy || j.State != backend.JobRunning || !v.up() {
			continue
		}
		d := decision{was: was[at], m: move{job: j, note: s.book.notes[j.ID], wrote: true, event: "preempted", at: s.book.now}}
		d.m.words = fmt.Sprintf("for job %d", o.in.Jobs[victim.For].ID)
		d.m.job.State, d.m.job.Since = backend.JobPreempted, s.book.now
		d.m.note.Aside, d.m.note.StopAt = asideSave, time.Time{}
		ds = append(ds, d)
	}
	return ds
}

// states are the jobs that hold a reservation now, or no longer, and those
// that will never run.
func (e *Engine) states(s *survey, o *outlook, p queue.Plan, was []backend.Job) (ds []decision) {
	reserved := map[int]bool{}
	for i, r := range p.Reservations {
		reserved[r.Job] = keeps(i, r)
	}
	starts := map[int]bool{}
	for _, start := range p.Starts {
		starts[start.Job] = true
	}
	for i, at := range o.waiting {
		j := s.book.jobs[at]
		state := backend.JobQueued
		if reserved[i] {
			state = backend.JobReserved
		}
		never := p.Jobs[i].Why.Code == backend.WhyNeverFits && j.Started.IsZero() && was[at].Position == 0 && s.neverFits(&j)
		if starts[i] || j.State == backend.JobHeld || j.State == state && !never {
			continue
		}
		d := decision{was: was[at], m: move{job: j, note: s.book.notes[j.ID], wrote: true, at: s.book.now}}
		d.m.job.State, d.m.job.Since = state, s.book.now
		if never {
			d.m.job.State, d.m.job.Ended = backend.JobRejected, s.book.now
			d.m.event, d.m.words = "rejected", "it fits no host even when that is empty"
			d.m.job.Words, d.m.job.Position = d.m.words, 0
		}
		ds = append(ds, d)
	}
	return ds
}

// neverFits reports whether the capacity of every host is known and none would
// do even when it is empty.
func (s *survey) neverFits(j *backend.Job) bool {
	for i := range s.book.hosts {
		h := &s.book.hosts[i]
		if (j.Host == "" || j.Host == h.Name) && (h.Down || h.SeenAt.IsZero() || everFits(j.Size, h)) {
			return false
		}
	}
	return len(s.book.hosts) > 0
}

// etaMoves is by how much an ETA has to move before it is written anew.
const etaMoves = 15 * time.Second

// newRows are the jobs of which the plan says something else than is written. A
// score that has only grown with time is written now and then.
func (e *Engine) newRows(b *book, was []backend.Job, decided map[backend.JobID]bool) (rows []backend.Job) {
	all := b.now.Sub(e.wrote) >= replanEvery
	for i := range b.jobs {
		j, old := &b.jobs[i], &was[i]
		if decided[j.ID] || !j.State.Waiting() {
			continue
		}
		moved := j.ETA.Sub(old.ETA).Abs() >= etaMoves || j.ETA.IsZero() != old.ETA.IsZero()
		if moved || all || j.Why != old.Why || j.ETAHost != old.ETAHost || !j.Promised.Equal(old.Promised) ||
			j.Position != old.Position || j.Expected != old.Expected {
			rows = append(rows, *j)
		}
	}
	if all && len(rows) > 0 {
		e.wrote = b.now
	}
	return rows
}

// seenEvery is how often the time of the last reading is written.
const seenEvery = time.Minute

// hostNews are the hosts that are not as they were read, in the same order.
func hostNews(hosts, was []backend.QueueHost) (rows []backend.QueueHost) {
	for i, h := range hosts {
		old := was[i]
		late := h.SeenAt.Sub(old.SeenAt) >= seenEvery
		old.SeenAt = h.SeenAt
		if late || old != h {
			rows = append(rows, h)
		}
	}
	return rows
}

// putHosts writes what was seen of hosts and leaves alone what people say of
// them.
func putHosts(tx *store.Tx, rows []backend.QueueHost) error {
	if len(rows) == 0 {
		return nil
	}
	known, err := tx.Hosts()
	if err != nil {
		return err
	}
	for _, h := range rows {
		for _, k := range known {
			if k.Name != h.Name {
				continue
			}
			if k.Drained != h.Drained {
				h.Drained, h.Since = k.Drained, k.Since
			}
			h.URI = k.URI
			if err := tx.PutHost(h); err != nil {
				return err
			}
		}
	}
	return nil
}
