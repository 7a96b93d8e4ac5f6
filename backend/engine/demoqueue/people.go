package demoqueue

import (
	"context"
	"time"

	"berth/backend"
	"berth/backend/store"
)

const (
	// enough jobs wait: people see that and come back later.
	enough = 9
	// few jobs wait: somebody has time for another.
	few = 3
)

// people submit VMs as time goes on.
type people struct {
	q    *Queue
	cast []*member
	dice dice
}

// submit has one after the other submitted until ctx ends.
func (p *people) submit(ctx context.Context) {
	if len(p.cast) == 0 {
		return
	}
	for {
		waiting, _ := p.look(ctx)
		pause := p.dice.between(12*time.Second, 45*time.Second)
		if waiting < few {
			pause = p.dice.between(3*time.Second, 9*time.Second)
		}
		timer, stop := p.q.o.Clock.Timer(pause)
		select {
		case <-timer:
		case <-ctx.Done():
			stop()
			return
		}
		if waiting, idle := p.look(ctx); waiting < enough && len(idle) > 0 {
			m := idle[p.dice.IntN(len(idle))]
			spec, owner := p.wish(m)
			// Somebody else may have started or deleted it meanwhile: then so be
			// it, and the next one's turn comes soon.
			_, _ = p.q.client(owner, p.q.hosts).Submit(ctx, []backend.JobSpec{spec})
		}
	}
}

// look counts the jobs that wait and finds the VMs without one.
func (p *people) look(ctx context.Context) (waiting int, idle []*member) {
	busy := map[backend.UUID]bool{}
	err := p.q.store.View(ctx, func(tx *store.Tx) error {
		jobs, err := tx.Jobs(store.Filter{Active: true})
		for i := range jobs {
			busy[jobs[i].VM] = true
			if jobs[i].State.Waiting() {
				waiting++
			}
		}
		return err
	})
	if err != nil {
		return enough, nil
	}
	for _, m := range p.cast {
		if !busy[m.vm.UUID] {
			idle = append(idle, m)
		}
	}
	return waiting, idle
}

// wish is what the owner of a VM asks for today.
func (p *people) wish(m *member) (spec backend.JobSpec, owner string) {
	d := p.dice
	spec = backend.JobSpec{
		VM: m.vm.Key(), Name: m.vm.Name, Priority: pick(d, m.kind.prio), Estimate: d.guess(m.kind), Tags: []string{m.kind.tag},
	}
	switch d.IntN(12) {
	case 0, 1:
		spec.Estimate = 0 // the last runs must do
	case 2:
		spec.Limit = spec.Estimate
	case 3:
		spec.Priority = 85
	case 4:
		spec.Nice = 50
	case 5:
		spec.Begin = p.q.o.Clock.Now().Add(d.between(time.Minute, 4*time.Minute)).Truncate(time.Second)
	}
	spec.Preemptible = m.kind.typical > 10*time.Minute && d.IntN(2) == 0
	return spec, pick(d, m.kind.owners)
}
