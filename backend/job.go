package backend

import (
	"fmt"
	"strings"
	"time"
)

// JobID numbers a job of the queue within one store, from 1.
type JobID int64

// JobState is where a job is in its life.
type JobState string

// The states of a job. Those after JobStopping and before JobDone happen only
// when something goes wrong or is in the way.
const (
	JobHeld      JobState = "held"      // a person keeps it back
	JobQueued    JobState = "queued"    // it waits for a berth
	JobReserved  JobState = "reserved"  // it waits, and host and start are promised
	JobStarting  JobState = "starting"  // its domain is being started; it may stand paused already
	JobRunning   JobState = "running"   // its domain runs
	JobMigrating JobState = "migrating" // its domain moves to another host
	JobStopping  JobState = "stopping"  // its domain is being shut down: limit, cancel
	JobPreempted JobState = "preempted" // it is being put aside for a more important one, and will be queued again
	JobUnknown   JobState = "unknown"   // its host is lost: nobody knows whether it runs
	JobFencing   JobState = "fencing"   // its host is being made sure to be off
	JobRecovery  JobState = "recovery"  // its host is known to be off; it goes to the front of the queue

	JobDone      JobState = "done"      // its guest shut off
	JobTimeout   JobState = "timeout"   // stopped at its limit
	JobFailed    JobState = "failed"    // its start was refused for good, or its guest crashed
	JobCancelled JobState = "cancelled" // by a person
	JobRejected  JobState = "rejected"  // fits no host even when that is empty
	JobError     JobState = "error"     // a person has to look
)

// JobStates returns every state, in the order of a job's life.
func JobStates() []JobState {
	return []JobState{
		JobHeld, JobQueued, JobReserved, JobStarting, JobRunning, JobMigrating, JobStopping, JobPreempted, JobUnknown,
		JobFencing, JobRecovery, JobDone, JobTimeout, JobFailed, JobCancelled, JobRejected, JobError,
	}
}

// Waiting reports whether the job waits for a berth.
func (s JobState) Waiting() bool { return s == JobHeld || s == JobQueued || s == JobReserved }

// Ended reports whether the job's life is over.
func (s JobState) Ended() bool {
	switch s {
	case JobDone, JobTimeout, JobFailed, JobCancelled, JobRejected:
		return true
	}
	return false
}

// Holds reports whether the job holds a berth: its resources are taken on Job.RunsOn.
func (s JobState) Holds() bool {
	return !s.Waiting() && !s.Ended() && s != JobRecovery && s != JobError
}

// Resources is an amount of what VMs need and hosts have.
type Resources struct {
	VCPU   int    `json:"vcpu"`
	Memory uint64 `json:"memory"` // bytes
	Disk   uint64 `json:"disk"`   // bytes
}

// Plus is the sum of both.
func (r Resources) Plus(s Resources) Resources {
	return Resources{r.VCPU + s.VCPU, r.Memory + s.Memory, r.Disk + s.Disk}
}

// Minus takes s away; what would be negative is zero.
func (r Resources) Minus(s Resources) Resources {
	out := Resources{VCPU: max(r.VCPU-s.VCPU, 0)}
	if r.Memory > s.Memory {
		out.Memory = r.Memory - s.Memory
	}
	if r.Disk > s.Disk {
		out.Disk = r.Disk - s.Disk
	}
	return out
}

// Fits reports whether r fits into free.
func (r Resources) Fits(free Resources) bool {
	return r.VCPU <= free.VCPU && r.Memory <= free.Memory && r.Disk <= free.Disk
}

// Job asks for one VM to run. What a person chooses stands first; what the
// engine keeps of its life follows. Names and tags are Clean.
type Job struct {
	ID    JobID
	VM    UUID
	Name  string // the domain's name
	Home  string // the host on which it was defined when it was submitted
	Owner string // who submitted it
	Size  Resources

	Priority    int           // 0 to 100, more is sooner
	Nice        int           // taken off the priority, as in Slurm
	Estimate    time.Duration // how long it will run, as the owner believes; 0: not told
	Limit       time.Duration // after which it is stopped; 0: never
	Host        string        // run only there; empty: wherever it can
	After       []JobID       // these must have ended well first
	Begin       time.Time     // not before; zero: at once
	Held        bool          // a person keeps it back
	Preemptible bool          // may be put aside for a much more important one
	Tags        []string
	Near        []string // only on a host where a job with each of these tags runs
	Apart       []string // on no host where a job with one of these tags runs

	State     JobState
	Since     time.Time // of State
	Submitted time.Time
	Started   time.Time // of the first start
	Ended     time.Time
	RunsOn    string    // the host whose berth it holds or held last
	LastStart time.Time // of the latest start
	Launch    Launch
	Ran       time.Duration // in earlier starts, before it was put aside
	Preempted int           // how often it was put aside
	Attempts  int           // starts that were refused since the last that was not
	NextTry   time.Time     // after a refused start; zero: at once
	Extended  int           // how often it outlived its estimate
	Front     int64         // above 0: before all others, the greater the earlier (top, recovery)
	Aged      time.Duration // waiting time that counts for its age, without holds and dependencies, up to AgedAt
	AgedAt    time.Time     // up to when Aged counts; zero while its age stands still
	Cancel    bool          // a person wants it ended
	Force     bool          // Cancel by the power cord
	Words     string        // what went wrong last, in libvirt's own words

	// What the last pass over the queue said of it.
	Expected time.Duration // the estimate that was used; 0: open-ended
	Why      Reason
	ETA      time.Time // when it will start; zero: not known
	ETAHost  string
	Promised time.Time // the first start it was promised as head of the queue; zero: never was
	Position int       // from 1 among those that wait; 0: does not wait
	Score    float64   // the effective priority under the policy in force
}

// Launch is how far a job's latest start had come, so that no interruption can
// start it twice. A domain is always started paused and let run in a second
// step: while it is paused its guest cannot have run, so it cannot have ended.
type Launch string

// The steps of a start, in order.
const (
	LaunchNone    Launch = ""        // nothing was asked of libvirt
	LaunchAsked   Launch = "asked"   // libvirt is being asked to start it paused
	LaunchPaused  Launch = "paused"  // it was seen paused: the guest has not run yet
	LaunchResumed Launch = "resumed" // it is being let run, or runs: off means it has ended
)

// Ends is when a running job is expected to end, or zero when it is
// open-ended or does not run.
func (j *Job) Ends() time.Time {
	if !j.State.Holds() || j.Expected == 0 || j.LastStart.IsZero() {
		return time.Time{}
	}
	return j.LastStart.Add(max(j.Expected-j.Ran, 0))
}

// ReasonCode says in one word why a job waits.
type ReasonCode string

// The reasons for which a job waits.
const (
	WhyNone        ReasonCode = ""
	WhyPriority    ReasonCode = "Priority"    // others come first
	WhyResources   ReasonCode = "Resources"   // Dimension is short
	WhyReservation ReasonCode = "Reservation" // it would delay job Of
	WhyNPlus1      ReasonCode = "N+1"         // kept free for the loss of a host
	WhyAffinity    ReasonCode = "Affinity"    // tags: no host has, or all have, the wrong company
	WhyHeld        ReasonCode = "Held"
	WhyBeginTime   ReasonCode = "BeginTime"
	WhyDependency  ReasonCode = "Dependency" // on job Of
	WhyHostDown    ReasonCode = "HostDown"
	WhyMaintenance ReasonCode = "Maintenance" // the host is drained
	WhyDiskLocked  ReasonCode = "DiskLocked"
	WhyNeverFits   ReasonCode = "NeverFits"
	WhyQuota       ReasonCode = "Quota"
	WhyRetry       ReasonCode = "Retry"  // libvirt refused the start; tried again at NextTry
	WhyEngine      ReasonCode = "Engine" // no engine runs
)

// Reason is why a job waits, and on what.
type Reason struct {
	Code      ReasonCode `json:"code"`
	Dimension string     `json:"dimension,omitempty"` // "cpu", "mem", "disk": what is short
	Of        JobID      `json:"of,omitempty"`        // the job it waits for
	Host      string     `json:"host,omitempty"`
	Detail    string     `json:"detail,omitempty"` // more, in a short sentence
}

// String is the reason as lists show it: "Resources(mem)", "Reservation(of 12)".
func (r Reason) String() string {
	var in []string
	if r.Dimension != "" {
		in = append(in, r.Dimension)
	}
	if r.Of != 0 {
		in = append(in, fmt.Sprintf("of %d", r.Of))
	}
	if len(in) == 0 && r.Host != "" {
		in = append(in, r.Host)
	}
	if len(in) == 0 {
		return string(r.Code)
	}
	return string(r.Code) + "(" + strings.Join(in, " ") + ")"
}

// JobEvent is one thing that happened to a job, or to the queue when Job is 0.
type JobEvent struct {
	ID     int64 // rises with time
	At     time.Time
	Job    JobID
	Name   string // the domain's name
	What   string // "submitted", "started", "done", "held", "policy", ...
	Host   string
	Who    string // a person, or "engine"
	Detail string
}
