// Package queue decides which VMs start, where and when: values in, decisions
// out. It has no clock, does no I/O, keeps nothing between two calls, and
// gives the same answer to the same question.
//
// One pass over the queue:
//
//	plan := queue.Schedule(queue.Input{Now: now, Policy: queue.Default(), Hosts: hosts, Running: running, Jobs: waiting})
//	for _, s := range plan.Starts { … start waiting[s.Job] on hosts[s.Host] … }
//	for i, v := range plan.Jobs { … note v.Position, v.Why; keep v.Promise for the next pass … }
//	for i, f := range queue.Project(input, 500) { … show f.At as the ETA of waiting[i] … }
package queue
