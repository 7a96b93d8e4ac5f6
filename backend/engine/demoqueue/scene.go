package demoqueue

import (
	"slices"
	"time"

	"berth/backend"
)

// scene is the queue as the demo finds it.
type scene struct {
	now    time.Time
	dice   dice
	cast   []*member
	drafts []*draft
	taken  map[*member]bool // has a job that has not ended
}

// newcomer submits for the first time, so that nobody knows how long her runs
// take.
const newcomer = "margaret"

// past is a day's ended jobs, from which the runs to come are estimated.
func (s *scene) past() {
	s.taken = map[*member]bool{}
	trains := 0
	for _, m := range s.cast {
		before := s.now
		if m.atWork() && !m.vm.StartedAt.IsZero() {
			before = m.vm.StartedAt
		}
		if m.kind.tag == "train" && !m.atWork() {
			if trains++; trains == 2 {
				continue // the newcomer's: it has never run
			}
		}
		for range 1 + s.dice.IntN(3) {
			d := s.ended(m, before.Add(-s.dice.between(2*time.Minute, 5*time.Hour)))
			s.drafts = append(s.drafts, d)
			before = d.Submitted
		}
	}
}

// ended is a run of m's that ended then, mostly well.
func (s *scene) ended(m *member, at time.Time) *draft {
	ran, waited := s.dice.run(m.kind), s.dice.between(time.Second, 20*time.Minute)
	owner := m.kind.owners[0]
	d := m.draft(owner, at.Add(-ran-waited))
	d.Priority, d.Estimate = pick(s.dice, m.kind.prio), s.dice.guess(m.kind)
	d.Started, d.LastStart, d.Launch, d.RunsOn = at.Add(-ran), at.Add(-ran), backend.LaunchResumed, m.host.Name()
	d.State, d.Ended, d.Since, d.Expected, d.Aged, d.AgedAt = backend.JobDone, at, at, d.Estimate, waited, time.Time{}
	switch s.dice.IntN(24) {
	case 0:
		d.State, d.Words = backend.JobFailed, "its QEMU ended by itself: libvirt says crashed"
	case 1:
		d.State, d.Limit = backend.JobTimeout, ran
	case 2:
		d.State = backend.JobCancelled
	}
	return d
}

// underWay are the jobs of the VMs that are at work: started when they were.
func (s *scene) underWay() {
	for i, m := range s.cast {
		if !m.atWork() {
			continue
		}
		started := m.vm.StartedAt
		if started.IsZero() || started.After(s.now) {
			started = s.now
		}
		d := m.draft(m.kind.owners[0], started.Add(-s.dice.between(5*time.Second, 8*time.Minute)))
		d.Priority = pick(s.dice, m.kind.prio)
		d.State, d.Since, d.Started, d.LastStart = backend.JobRunning, started, started, started
		d.Launch, d.RunsOn, d.AgedAt = backend.LaunchResumed, m.host.Name(), time.Time{}
		d.Aged = started.Sub(d.Submitted)
		d.Estimate = max(s.dice.guess(m.kind), s.now.Sub(started).Round(time.Minute)+time.Minute)
		if i%3 == 1 { // one that outlives what its owner believed
			d.Estimate = max(s.now.Sub(started)+20*time.Second, 30*time.Second).Round(time.Second)
		}
		d.Expected = d.Estimate
		if m.kind.tag == "suite" {
			d.Tags = append(d.Tags, licence)
		}
		d.Preemptible = m.kind.tag == "render"
		s.add(m, d)
	}
}

func (s *scene) add(m *member, d *draft) {
	s.taken[m] = true
	s.drafts = append(s.drafts, d)
}

// idle is the first VM of a kind that has nothing to do, or nil.
func (s *scene) idle(tag string) *member {
	for _, m := range s.cast {
		if m.kind.tag == tag && !m.atWork() && !s.taken[m] {
			return m
		}
	}
	return nil
}

// wait has an idle VM of a kind wait since so long, as change says; without
// such a VM it does nothing and returns nil.
func (s *scene) wait(tag, owner string, since time.Duration, change func(*member, *draft)) *draft {
	m := s.idle(tag)
	if m == nil {
		return nil
	}
	d := m.draft(owner, s.now.Add(-since))
	d.Estimate = s.dice.guess(m.kind)
	change(m, d)
	s.add(m, d)
	return d
}

// waiting are jobs that wait each for another reason: for room, for a
// reservation's sake, for a person, a time, another job, or other company.
func (s *scene) waiting() {
	s.wait("train", "ada", 11*time.Minute, func(_ *member, d *draft) { // the big one that all others may not delay
		d.Priority, d.Estimate = 60, 45*time.Minute
	})
	s.wait("train", newcomer, 9*time.Minute, func(_ *member, d *draft) { // nobody knows how long it will run
		d.Priority, d.Estimate, d.Preemptible = 30, 0, true
	})
	first := s.wait("render", "ken", 6*time.Minute, func(_ *member, d *draft) { d.Priority = 55 })
	s.wait("render", "ken", 6*time.Minute-4*time.Second, func(_ *member, d *draft) {
		d.Preemptible, d.after = true, first
		if first != nil {
			d.AgedAt = time.Time{}
		}
	})
	s.wait("etl", "barbara", 50*time.Minute, func(_ *member, d *draft) {
		d.Begin, d.AgedAt = s.now.Add(3*time.Minute).Truncate(time.Minute), time.Time{}
	})
	s.wait("suite", "linus", 32*time.Minute, func(_ *member, d *draft) {
		d.Held, d.State, d.Since, d.AgedAt = true, backend.JobHeld, s.now.Add(-31*time.Minute), time.Time{}
	})
	s.wait("suite", "grace", 2*time.Minute, func(_ *member, d *draft) {
		d.Apart, d.Tags = []string{licence}, append(d.Tags, licence)
		d.Host = s.licensed()
	})
	s.wait("runner", "ci", 100*time.Second, func(m *member, d *draft) { d.Host = m.host.Name() })
	s.wait("runner", "ci", 15*time.Second, func(_ *member, d *draft) { d.Priority, d.Limit = 65, 2*time.Minute })
	s.wait("suite", "grace", 8*time.Second, func(*member, *draft) {})
}

// licence is the tag of jobs of which a host may run one at a time.
const licence = "licence"

// licensed is the host of a job with that tag, or empty.
func (s *scene) licensed() string {
	for _, d := range s.drafts {
		if d.State == backend.JobRunning && slices.Contains(d.Tags, licence) {
			return d.RunsOn
		}
	}
	return ""
}
