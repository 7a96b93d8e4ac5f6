// Package queue decides which VMs start, where and when: values in, decisions
// out. It has no clock, does no I/O, keeps nothing between two calls, and
// gives the same answer to the same question.
package queue

import "math"

// Time is in whole seconds since an epoch of the caller's choice, the same for
// every value of one call.
type Time int64

// Never is later than everything: the end of an open-ended job.
const Never Time = math.MaxInt64 / 4

// Size is what a job needs and a host has. The units of memory and disk are
// the caller's (the engine counts MiB), the same for every value of one call.
type Size struct {
	VCPU   int64
	Memory int64
	Disk   int64
}

// Job waits for a berth.
type Job struct {
	ID     int64
	Submit Time
	Begin  Time // not before
	Size   Size
	// Estimate is how long it is believed to run; Never when nobody knows.
	Estimate Time
	Priority int  // 0 to 100
	Nice     int  // taken off the priority
	Age      Time // waiting time that counts: without holds and dependencies
	Front    int64
	Owner    string

	Host        int     // the only host it may use, -1 when it is free
	Hosts       []int32 // the hosts it may use; nil: all
	Held        bool
	NotReady    bool  // a dependency has not ended, or a refused start waits for its next try
	WaitsFor    int64 // the job that NotReady is about, or 0
	Preemptible bool
	Preempted   int // how often it was put aside
	Tags        []string
	Near        []string
	Apart       []string
}

// Running is a job, or a VM outside the queue, that holds a berth.
type Running struct {
	ID          int64 // 0 for what runs outside the queue
	Host        int
	Size        Size
	Start       Time // of its latest start
	End         Time // believed; Never when open-ended. Before now it is extended by Extend.
	Priority    int
	Preemptible bool
	Preempted   int
	Tags        []string
	Apart       []string
}

// Host is where VMs run.
type Host struct {
	Name     string
	Capacity Size   // what VMs may have altogether
	Out      bool   // takes no new jobs
	Why      string // of Out: "down", "drained"
}
