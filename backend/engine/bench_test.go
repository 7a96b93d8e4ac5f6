package engine

import (
	"fmt"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// BenchmarkTurn is a turn over 10,000 waiting jobs on 100 hosts when nothing
// has changed: reading the rows, looking at every job, planning.
func BenchmarkTurn(b *testing.B) {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("hv%03d", i))
	}
	r := newRig(b, names...)
	err := r.store.Update(b.Context(), func(tx *store.Tx) error {
		for i := range 10_000 {
			host := names[i%len(names)]
			g := r.hosts[host].add(fmt.Sprintf("vm%05d", i), 4, 4, 0)
			j := backend.Job{VM: g.vm.UUID, Name: g.vm.Name, Home: host, Owner: fmt.Sprint("user", i%50), State: backend.JobQueued,
				Size: backend.Resources{VCPU: 4, Memory: 4 << 30}, Priority: 50, Estimate: time.Duration(i%600+1) * time.Minute,
				Submitted: dawn.Add(time.Duration(i) * time.Second), Since: dawn}
			if _, err := tx.AddJob(j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	r.clock.advance(4 * time.Hour)
	for range 8 {
		if _, err := r.e.turn(b.Context()); err != nil {
			b.Fatal(err)
		}
		for _, a := range r.e.agents {
			if err := a.read(b.Context(), true); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		if _, err := r.e.turn(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	s, err := r.c.State(b.Context())
	if err != nil || len(s.Jobs) != 10_000 || s.Jobs[0].State != backend.JobRunning {
		b.Fatalf("%v: %d jobs, the first %s", err, len(s.Jobs), s.Jobs[0].State)
	}
}
