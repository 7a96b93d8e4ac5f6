package queue

import "berth/backend"

// Why is everything about one waiting job.
type Why struct {
	Verdict  Verdict
	Forecast Forecast
	Factors  []backend.Factor // the terms of its score
	Hosts    []Fit            // of each of Input.Hosts
	Ahead    []int            // waiting jobs that come before it, in order
	Sooner   []Remedy         // what would start it sooner, best first
}

// Fit is whether a job fits a host now.
type Fit struct {
	Fits  bool
	Short []Short        // the dimensions that lack room now
	Why   backend.Reason // what else keeps it off: tags, the host out, a reservation, N+1, not one of its hosts
	At    Time           // the earliest start there by believed ends and reservations; Never: not by those
}

// Short is how much of one dimension a host lacks, in the caller's units.
type Short struct {
	Dimension  string // "cpu", "mem", "disk"
	Need, Free int64
}

// Remedy is one thing a person could do for a job, and the start it would
// bring, found by playing it through.
type Remedy struct {
	Kind string // "top", "end", "size", "host", "release", "estimate"
	Text string // "move it to the top", "end job 12"
	Job  int64  // of "end": the running job
	Host int    // of "host": the other host; else -1
	Size Size   // of "size"
	At   Time
}

// Explain says all about in.Jobs[job]. Playing remedies through takes up to
// some tens of milliseconds; it is for one job that a person looks at.
func Explain(in Input, job int) Why { return Why{} }
