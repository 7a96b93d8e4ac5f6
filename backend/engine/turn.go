package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// decision is a move of one job, with the row that it was made from.
type decision struct {
	was  backend.Job
	m    move
	host string // where its act happens
	copy *copied
}

// step names the decision for tests.
func (d *decision) step() string {
	s := "note " + string(d.m.job.State)
	if d.m.job.State == backend.JobStarting {
		s += " " + string(d.m.job.Launch)
	}
	return s
}

// turn does all that can be done now, and says when to look again.
func (e *Engine) turn(ctx context.Context) (wake time.Time, err error) {
	e.takeIn()
	if err := e.heedClock(ctx); err != nil {
		return wake, err
	}
	now := e.o.Clock.Now()
	b, offs, err := e.read(ctx, now)
	if err != nil {
		return wake, err
	}
	e.keepAgents(ctx, b)
	s := e.survey(b, offs)
	decisions, wake := e.decide(s)
	if err := e.carryOut(ctx, s, decisions); err != nil {
		return wake, err
	}
	if err := e.plan(ctx, s); err != nil {
		return wake, err
	}
	e.tidyCopies(s)
	if err := e.prune(ctx, now); err != nil {
		return wake, err
	}
	e.trouble = ""
	e.note(b, now)
	if slices.ContainsFunc(b.jobs, func(j backend.Job) bool { return j.State.Waiting() }) {
		wake = earlier(wake, now.Add(replanEvery))
	}
	return wake, nil
}

// note sees whether anything is left to be done at all.
func (e *Engine) note(b *book, now time.Time) {
	busy := e.o.Beside != nil && e.o.Beside.Busy() || len(e.busy) > 0 || len(e.copies) > 0 || slices.ContainsFunc(b.jobs, func(j backend.Job) bool {
		return needsEngine(j.State)
	})
	switch {
	case busy:
		e.lazy = time.Time{}
	case e.lazy.IsZero():
		e.lazy = now
	}
}

// read reads the book, and which hosts were made sure to be off.
func (e *Engine) read(ctx context.Context, now time.Time) (b *book, offs map[string]time.Time, err error) {
	err = e.o.Store.View(ctx, func(tx *store.Tx) error {
		if err := tx.CheckLease(e.epoch); err != nil {
			return err
		}
		if b, err = readBook(tx, now, e.o.Policy, e.cache); err != nil {
			return err
		}
		offs = map[string]time.Time{}
		for _, h := range b.hosts {
			at, err := offSince(tx, h.Name)
			if err != nil {
				return err
			}
			if !at.IsZero() {
				offs[h.Name] = at
			}
		}
		return nil
	})
	return b, offs, err
}

// offSince is when a host was made sure to be off; zero when it was not.
func offSince(tx *store.Tx, host string) (at time.Time, err error) {
	text, err := tx.Setting(offKey + host)
	if err != nil || text == "" {
		return at, err
	}
	return time.Parse(time.RFC3339Nano, text)
}

// keepAgents has an agent for every host of the queue.
func (e *Engine) keepAgents(ctx context.Context, b *book) {
	for i := range b.hosts {
		spec := HostSpec{b.hosts[i].Name, b.hosts[i].URI}
		a := e.agents[spec.Name]
		if a != nil && a.spec == spec {
			continue
		}
		e.dismiss(spec.Name)
		host, err := e.o.Connect(spec.Name, spec.URI)
		if err != nil {
			e.miss(spec.Name, b.now, err)
			continue
		}
		delete(e.missing, spec.Name)
		e.employ(ctx, newAgent(spec, host, e.o.Clock, e.wakeUp))
	}
	known := func(name string) bool {
		return slices.ContainsFunc(b.hosts, func(h backend.QueueHost) bool { return h.Name == name })
	}
	for name := range e.agents {
		if !known(name) {
			e.dismiss(name)
		}
	}
	maps.DeleteFunc(e.missing, func(name string, _ *view) bool { return !known(name) })
}

// miss notes that no connection to a host could be made, which says nothing of
// the host: it counts as one that does not answer, from then on.
func (e *Engine) miss(host string, now time.Time, err error) {
	v := view{down: now}
	if old := e.missing[host]; old != nil {
		v = *old
	}
	v.why = backend.Clean(err.Error())
	e.missing[host] = &v
}

// dismiss ends a host's agent. What was asked of it is known by the numbers of
// readings, so the next one counts on.
func (e *Engine) dismiss(host string) {
	a := e.agents[host]
	if a == nil {
		return
	}
	a.retire()
	delete(e.agents, host)
	a.mu.Lock()
	defer a.mu.Unlock()
	e.readings[host] = a.begun
}

// employ starts an agent.
func (e *Engine) employ(ctx context.Context, a *agent) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	a.retire = func() {
		cancel()
		e.work.Go(func() {
			<-ended
			if !e.o.KeepOpen {
				a.host.Close() //nolint:errcheck // nobody waits for it
			}
		})
	}
	a.begun = e.readings[a.spec.Name]
	e.agents[a.spec.Name] = a
	e.tend(func() {
		defer close(ended)
		a.run(ctx)
	})
}

// decide asks of every job what follows, and when to look again.
func (e *Engine) decide(s *survey) (ds []decision, wake time.Time) {
	for i := range s.book.jobs {
		j := &s.book.jobs[i]
		if _, busy := e.busy[j.ID]; busy {
			continue
		}
		n := s.book.notes[j.ID]
		see, ok := s.sight(j, n)
		if !ok {
			continue
		}
		m := next(*j, n, see, e.rules, s.book.now)
		wake = earlier(wake, m.wake)
		if !m.wrote && m.act == actNone {
			if see.fresh {
				delete(e.done, j.ID) // it had its say
			}
			continue
		}
		ds = append(ds, decision{was: *j, m: m, host: j.RunsOn})
	}
	return ds, wake
}

// carryOut makes decisions last and then does what follows from them.
func (e *Engine) carryOut(ctx context.Context, s *survey, ds []decision) error {
	if len(ds) == 0 {
		return nil
	}
	valid, err := e.commit(ctx, ds, nil)
	if err != nil {
		return err
	}
	for i := range ds {
		d := &ds[i]
		if !valid[i] {
			continue
		}
		delete(e.done, d.was.ID)
		s.book.put(d.m.job, d.m.note)
		if d.m.act != actNone {
			e.do(d)
		}
	}
	if slices.ContainsFunc(ds, func(d decision) bool { return d.m.wrote }) {
		s.recount()
		e.wakeUp() // what follows from the new rows
	}
	return nil
}

// put replaces a job of the book.
func (b *book) put(j backend.Job, n note) {
	if i, ok := slices.BinarySearchFunc(b.jobs, j.ID, func(j backend.Job, id backend.JobID) int { return cmp.Compare(j.ID, id) }); ok {
		b.jobs[i], b.notes[j.ID] = j, n
	}
	if j.State.Ended() {
		b.active[j.ID] = false
		b.ends[j.ID] = j.State
	}
}

// commit writes decisions, but for those on jobs that somebody else has
// changed since they were read; valid tells which were good. more is done in
// the same transaction.
func (e *Engine) commit(ctx context.Context, ds []decision, more func(*store.Tx) error) (valid []bool, err error) {
	if err := e.atAll(ds, "before"); err != nil {
		return nil, err
	}
	err = e.o.Store.Update(ctx, func(tx *store.Tx) error {
		valid = make([]bool, len(ds))
		if err := tx.CheckLease(e.epoch); err != nil {
			return err
		}
		for i := range ds {
			ok, err := e.write(tx, &ds[i])
			if err != nil {
				return err
			}
			valid[i] = ok
		}
		if more != nil {
			return more(tx)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range ds {
		if valid[i] && ds[i].m.wrote {
			e.keep(&ds[i])
		}
	}
	return valid, e.atAll(ds, "done")
}

// keep remembers what was written.
func (e *Engine) keep(d *decision) {
	e.cache.notes[d.was.ID] = d.m.note
	if d.copy != nil {
		e.copies = append(e.copies, *d.copy)
	}
}

// write writes one decision if the job is still as it was read.
func (e *Engine) write(tx *store.Tx, d *decision) (ok bool, err error) {
	now, err := tx.Job(d.was.ID)
	if err != nil {
		return false, err
	}
	if !reflect.DeepEqual(now, d.was) {
		return false, nil
	}
	if !d.m.wrote {
		return true, nil
	}
	d.m.job.Words, d.m.words = backend.Clean(d.m.job.Words), backend.Clean(d.m.words)
	d.m.job.Name, d.m.job.Why.Detail = backend.Clean(d.m.job.Name), backend.Clean(d.m.job.Why.Detail)
	if err := tx.PutJob(d.m.job); err != nil {
		return false, err
	}
	if d.m.job.State.Ended() {
		err = tx.SetSetting(noteSetting(d.was.ID), "")
	} else {
		err = putNote(tx, d.was.ID, d.m.note)
	}
	if err == nil && d.copy != nil {
		err = putCopies(tx, append(slices.Clone(e.copies), *d.copy))
	}
	if err != nil || d.m.event == "" {
		return err == nil, err
	}
	return true, tx.AddEvent(backend.JobEvent{
		At: d.m.at, Job: d.was.ID, Name: d.m.job.Name, What: d.m.event, Host: d.m.job.RunsOn, Who: "engine", Detail: d.m.words,
	})
}

// atAll is at, for every decision that is written.
func (e *Engine) atAll(ds []decision, when string) error {
	for i := range ds {
		if !ds[i].m.wrote {
			continue
		}
		if err := e.at(ds[i].step() + "/" + when); err != nil {
			return err
		}
	}
	return nil
}

// at is where tests make the engine die.
func (e *Engine) at(step string) error {
	if e.o.Fault == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fault == nil {
		if err := e.o.Fault(step); err != nil {
			e.fault = fmt.Errorf("at %s: %w", step, err)
		}
	}
	return e.fault
}

// prune drops what ended long ago.
func (e *Engine) prune(ctx context.Context, now time.Time) error {
	if e.o.Keep <= 0 || now.Sub(e.pruned) < pruneEvery {
		return nil
	}
	e.pruned = now
	maps.DeleteFunc(e.reaches, func(_ reachKey, r *reached) bool { return !r.at.IsZero() && now.Sub(r.at) >= reachAgain })
	return e.o.Store.Update(ctx, func(tx *store.Tx) error { return tx.Prune(now.Add(-e.o.Keep)) })
}
