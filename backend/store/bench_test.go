package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"berth/backend"
)

// crowd is a store in a file with so many jobs that wait, as a busy site's.
func crowd(b *testing.B, n int) (*Store, []backend.Job) {
	b.Helper()
	s := opened(b, filepath.Join(b.TempDir(), "berth.db"))
	update(b, s, func(tx *Tx) error {
		for i := range n {
			_, err := tx.AddJob(backend.Job{
				VM: vm(i + 1), Name: fmt.Sprintf("web-%05d", i), Home: "host1", Owner: "ann", State: backend.JobQueued,
				Size: backend.Resources{VCPU: 2, Memory: 4 << 30, Disk: 20 << 30}, Priority: 50,
				Estimate: time.Hour, Submitted: time.Unix(1700000000, 0), Tags: []string{"web"},
				Position: i + 1, Why: backend.Reason{Code: backend.WhyPriority},
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	var jobs []backend.Job
	view(b, s, func(tx *Tx) (err error) {
		jobs, err = tx.Jobs(Filter{})
		return err
	})
	return s, jobs
}

// A pass over the queue that has changed every ETA, and one that has not.
func BenchmarkPutPlan(b *testing.B) {
	s, jobs := crowd(b, 10_000)
	for _, moved := range []bool{true, false} {
		b.Run(fmt.Sprintf("moved=%v", moved), func(b *testing.B) {
			for i := range b.N {
				if moved {
					for k := range jobs {
						jobs[k].ETA = time.Unix(1700000000+int64(i*k), 0)
					}
				}
				update(b, s, func(tx *Tx) error { return tx.PutPlan(jobs) })
			}
		})
	}
}

func BenchmarkState(b *testing.B) {
	s, _ := crowd(b, 10_000)
	for b.Loop() {
		view(b, s, func(tx *Tx) error {
			jobs, err := tx.Jobs(Filter{Active: true})
			if len(jobs) != 10_000 {
				b.Fatal(len(jobs))
			}
			return err
		})
	}
}

// What one look of Wait at other processes' changes costs.
func BenchmarkRevision(b *testing.B) {
	s, _ := crowd(b, 1)
	for b.Loop() {
		revision(b, s)
	}
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "berth.db")
	opened(b, path)
	for b.Loop() {
		s, err := Open(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// One person's request: read a job, change it, note it, durably.
func BenchmarkChange(b *testing.B) {
	s, jobs := crowd(b, 100)
	for b.Loop() {
		update(b, s, func(tx *Tx) error {
			j, err := tx.Job(jobs[7].ID)
			if err != nil {
				return err
			}
			j.Priority = (j.Priority + 1) % 100
			if err := tx.PutJob(j); err != nil {
				return err
			}
			return tx.AddEvent(backend.JobEvent{At: time.Now(), Job: j.ID, Name: j.Name, What: "priority"})
		})
	}
}
