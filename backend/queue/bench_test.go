package queue

import (
	"fmt"
	"math/rand"
	"testing"
)

// crowd is a queue of n jobs before h hosts, each of which is full to that part.
func crowd(n, h int, full float64, p Policy) Input {
	r := rand.New(rand.NewSource(1))
	in := Input{Now: 1_000_000, Policy: p}
	for i := range h {
		c := Size{VCPU: 64 + 32*int64(i%3), Memory: 256<<10 + 128<<10*int64(i%2), Disk: 4 << 20}
		in.Hosts = append(in.Hosts, Host{Name: fmt.Sprintf("host-%04d", i), Capacity: c})
		for free, k := c, 0; float64(free.VCPU) > (1-full)*float64(c.VCPU); k++ {
			s := Size{VCPU: 1 + r.Int63n(8), Memory: (1 + r.Int63n(16)) << 10, Disk: (10 + r.Int63n(100)) << 10}
			if !s.fits(&free) {
				break
			}
			free.sub(&s)
			in.Running = append(in.Running, Running{ID: int64(len(in.Running) + 1), Host: i, Size: s, Start: in.Now - 3600, End: in.Now + Time(60+r.Intn(1e6))})
		}
	}
	for i := range n {
		e := Time(60 + r.Intn(1e6))
		if i%10 == 0 {
			e = Never
		}
		in.Jobs = append(in.Jobs, Job{
			ID: int64(1e6 + i), Submit: Time(r.Intn(1e6)), Age: Time(r.Intn(1e5)), Host: -1, Priority: r.Intn(101), Estimate: e,
			Size: Size{VCPU: 1 + r.Int63n(32), Memory: (1 + r.Int63n(64)) << 10, Disk: (10 + r.Int63n(200)) << 10},
		})
	}
	return in
}

// BenchmarkSchedule is a full pass over 100,000 jobs and 1,000 hosts, with all reasons.
func BenchmarkSchedule(b *testing.B) {
	for _, c := range []struct {
		name string
		full float64
	}{{"full", 1}, {"half", 0.5}, {"empty", 0}} {
		for _, p := range []Policy{Default(), {Order: HRRN, Backfill: EASY, Placement: FirstFit, Firm: true}, {Order: FCFS, Backfill: NoBackfill, Placement: BestFit}, {Order: Priority, Backfill: EASY, Placement: DotFit, Firm: true}} {
			in := crowd(100_000, 1000, c.full, p)
			b.Run(c.name+"/"+string(p.Order)+"-"+string(p.Backfill)+"-"+string(p.Placement), func(b *testing.B) {
				b.ReportAllocs()
				var started int
				for b.Loop() {
					started = len(Schedule(in).Starts)
				}
				b.ReportMetric(float64(started), "starts")
			})
		}
	}
}
