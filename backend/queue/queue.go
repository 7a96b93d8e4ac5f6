package queue

import (
	"math"

	"berth/backend"
)

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
	// Estimate is how long it runs at most, as far as anybody knows (see
	// Estimate, the function); Never when nobody knows. Reservations and
	// promises are built on it.
	Estimate Time
	// Expect is how long it will probably run, from experience (see Predict); 0:
	// as long as Estimate. It only shapes the order of the queue, so a wrong
	// guess never breaks a promise.
	Expect   Time
	Priority int // 0 to 100
	Nice     int // taken off the priority
	// Age is the waiting time that counts: without holds and dependencies.
	Age   Time
	Front int64 // above 0: before all others, the greater the earlier
	Owner string
	// Promise is what an earlier Plan promised, as Verdict.Promise had it.
	Promise Promise

	Host        int     // the only host it may use, -1 when it is free
	Hosts       []int32 // the hosts it may use, ascending; nil: all
	Held        bool
	NotReady    bool  // a dependency has not ended, or a refused start waits for its next try
	WaitsFor    int64 // the job that NotReady is about; 0: a refused start, tried again at Begin
	Preemptible bool
	Preempted   int // how often it was put aside
	Tags        []string
	Near        []string // only on a host where something with each of these tags runs
	Apart       []string // on no host where something with one of these tags runs
}

// Promise is a start that was promised to a job.
type Promise struct {
	Made bool
	At   Time // no later than this
	Host int  // where its room is kept; it may start elsewhere sooner
}

// Running is a job, or a VM outside the queue, that holds a berth.
type Running struct {
	ID          int64 // 0 for what runs outside the queue
	Host        int
	Size        Size
	Start       Time // of its latest start
	End         Time // believed; Never when open-ended. When it is past, Extend says what to believe now.
	Priority    int
	Preemptible bool
	Preempted   int
	Leaving     bool // it is being stopped or put aside: its room is free in a moment
	Tags        []string
	Apart       []string
}

// Host is where VMs run.
type Host struct {
	Name     string
	Capacity Size   // what VMs may have altogether
	Out      bool   // takes no new jobs
	Why      string // of Out: HostDown or HostDrained
}

// Why a host is out.
const (
	HostDown    = "down"
	HostDrained = "drained"
)

// Input is the whole queue at one moment: everything that a decision depends on.
type Input struct {
	Now     Time
	Policy  Policy
	Hosts   []Host
	Running []Running // in any order
	Jobs    []Job     // that wait, in any order
}

// Plan is what to do now, and what is known of the rest. Jobs, hosts and
// running jobs are given by their index in the Input.
type Plan struct {
	Starts       []Start       // now, in this order
	Preempts     []Preempt     // put these aside; the job they make room for starts in a later pass
	Reservations []Reservation // room kept for jobs that cannot start now, in the order of the queue
	Order        []int         // all waiting jobs as they come: those to start first, then by policy, those not ready last
	Jobs         []Verdict     // of each of Input.Jobs
}

// Start is a job to start on a host now.
type Start struct {
	Job  int
	Host int
}

// Preempt is a running job to put aside for a waiting one.
type Preempt struct {
	Running int
	For     int
}

// Reservation is room kept for a job.
type Reservation struct {
	Job     int
	Host    int
	At      Time
	Promise bool // it will be kept while estimates hold and no person intervenes
}

// Verdict is what a Plan says of one waiting job.
type Verdict struct {
	Position int            // from 1, in Plan.Order
	Score    float64        // its rank under the order in force: more is sooner
	Starts   bool           // it is one of Plan.Starts
	Host     int            // where it starts or has its reservation; -1: neither
	ETA      Time           // of its start or reservation; Never: not known from this pass alone, see Project
	Promise  Promise        // to be given back in Job.Promise at the next pass, and to be shown to people
	Why      backend.Reason // why it waits; Host is a host's name, Of a job's ID; Detail stays empty
}
