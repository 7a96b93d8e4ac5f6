package backend

import (
	"context"
	"errors"
	"time"
)

// The sentinels of the queue; see also errors.go.
var (
	// ErrNoJob: no job has that number.
	ErrNoJob = errors.New("no such job")
	// ErrNeverFits: the VM fits no host even when that is empty.
	ErrNeverFits = errors.New("fits no host")
	// ErrEngine: the engine that starts queued VMs could not be started.
	ErrEngine = errors.New("the queue's engine does not run")
)

// Queue is where VMs wait for a berth. It may be used by several processes at
// once; what one changes the others see. All methods may be called from
// several goroutines and honour their context.
type Queue interface {
	// State is the queue as it is now: what runs, what waits in the order in
	// which it would start, and what ended lately.
	State(ctx context.Context) (QueueState, error)
	// Wait returns when the queue has changed since the State of that revision,
	// or when ctx ends.
	Wait(ctx context.Context, revision int64) error
	// Explain says why a job waits or what became of it. It wraps ErrNoJob.
	Explain(ctx context.Context, id JobID) (Explanation, error)
	// WhatIf is the State that would follow if h came true, without doing it.
	WhatIf(ctx context.Context, h Hypothesis) (QueueState, error)
	// Log returns what happened, oldest first.
	Log(ctx context.Context, q LogQuery) ([]JobEvent, error)

	// Submit puts jobs in the queue, all or none, and sees to it that an engine
	// runs. It wraps ErrState for a VM that is queued or runs already,
	// ErrNeverFits, ErrNoDomain, ErrInvalid.
	Submit(ctx context.Context, specs []JobSpec) ([]JobID, error)
	// Change does the same to every job named, all or none. It wraps ErrNoJob
	// and ErrState.
	Change(ctx context.Context, ids []JobID, c JobChange) error
	// SetPolicy changes the policy of the whole queue.
	SetPolicy(ctx context.Context, p QueuePolicy) error
	// Drain keeps new jobs off a host (on), or lets them there again.
	Drain(ctx context.Context, host string, on bool) error
	Close() error
}

// JobSpec is what a person asks for. The zero values are the usual ones.
type JobSpec struct {
	VM          Key
	Name        string // the domain's name, for messages
	Priority    int    // 0 to 100; DefaultPriority unless told
	Nice        int
	Estimate    time.Duration
	Limit       time.Duration
	Host        string
	After       []JobID
	Begin       time.Time
	Hold        bool
	Preemptible bool
	Tags        []string
	Near        []string
	Apart       []string
}

// DefaultPriority is that of a job whose owner did not choose one.
const DefaultPriority = 50

// JobChange is what to do to jobs; the parts that are set are done together.
type JobChange struct {
	Hold        bool
	Release     bool
	Cancel      bool // a job that runs has its guest shut down
	Force       bool // with Cancel: by the power cord
	Top         bool
	Retry       bool // a job in error, failed or waiting after a refusal is queued again
	Priority    *int
	Nice        *int
	Estimate    *time.Duration
	Limit       *time.Duration
	Host        *string
	Begin       *time.Time
	Preemptible *bool
	Tags        *[]string
}

// QueuePolicy says in which order jobs start, who may overtake, and where
// they are placed. The words are those of package queue.
type QueuePolicy struct {
	Order     string `json:"order"`     // "fcfs", "sjf", "hrrn", "priority", ...
	Backfill  string `json:"backfill"`  // "none", "easy", "sjbf", "conservative"
	Placement string `json:"placement"` // "first", "best", "worst", "dot", ...
	Preempt   bool   `json:"preempt"`   // whether important jobs put preemptible ones aside
	NPlus1    bool   `json:"nplus1"`    // keep enough free to take up the loss of any one host
}

// QueueState is the queue at one moment.
type QueueState struct {
	At       time.Time
	Revision int64
	Engine   EngineState
	Policy   QueuePolicy
	Hosts    []QueueHost
	// Jobs: those that hold a berth, by their expected end; then those that
	// wait, in the order in which they would start; then those that ended, the
	// latest first.
	Jobs []Job
}

// EngineState tells of the process that starts queued VMs.
type EngineState struct {
	Running bool
	PID     int
	Host    string // the machine it runs on
	Since   time.Time
	Beat    time.Time // of its last sign of life
	Lost    bool      // it does not run and never said that it would end: killed, or its machine was
	Trouble string    // what it cannot do now, or why it does not run
}

// QueueHost is what a host offers the queue.
type QueueHost struct {
	Name     string
	URI      string
	Total    Resources // what it has
	Capacity Resources // what it may give to VMs: Total by overcommit ratios, less reserves
	Outside  Resources // taken by VMs that run outside the queue
	Used     Resources // taken by jobs
	Reserved Resources // promised to the job at the head of the queue
	Drained  bool
	Down     bool
	Since    time.Time // of Down or Drained
	Trouble  string
	SeenAt   time.Time // when these figures were read
}

// Free is what new jobs could take now, the reservation aside.
func (h *QueueHost) Free() Resources { return h.Capacity.Minus(h.Outside).Minus(h.Used) }

// Explanation is everything about one job.
type Explanation struct {
	Job     Job
	Factors []Factor  // of its place in the queue, under the policy in force
	Hosts   []HostFit // in the order of QueueState.Hosts
	Ahead   []Job     // that would start before it
	Blocks  []JobID   // that wait for it by dependency
	Sooner  []Remedy  // what would start it sooner, best first
	Events  []JobEvent
}

// Factor is one term of a job's place in the queue.
type Factor struct {
	Name  string  // "priority", "age", "size", "nice", "ratio"
	Value float64 // what it adds to the score
	Text  string  // how it came about: "waited 2h of 7d"
}

// HostFit is whether a job fits a host now.
type HostFit struct {
	Host  string
	Fits  bool
	Short []Shortage
	Why   Reason    // what else keeps it off this host
	At    time.Time // the earliest start there by estimated ends; zero: never, or not known
}

// Shortage is how much of one dimension a host lacks for a job.
type Shortage struct {
	Dimension string // "cpu", "mem", "disk"
	Need      uint64 // vCPUs or bytes
	Free      uint64
}

// Remedy is one thing a person could do, and what it would bring.
type Remedy struct {
	Text string // "move it to the top", "end job 12"
	ETA  time.Time
}

// Hypothesis is a change to think through; the zero parts are left as they are.
type Hypothesis struct {
	Policy  *QueuePolicy
	Jobs    []JobID // to which Change would happen
	Change  JobChange
	HostOut []string  // these hosts drained
	HostIn  []string  // these no longer drained
	Submit  []JobSpec // these submitted
}

// LogQuery selects events.
type LogQuery struct {
	Job   JobID     // 0: of all
	Since time.Time // zero: from the beginning
	After int64     // only events with a greater ID
	Limit int       // the latest so many; 0: all
	// Backups: only events of transfers and schedules.
	Backups bool
}

// EngineStarter is a Queue whose engine can be started without submitting
// anything.
type EngineStarter interface {
	// StartEngine sees to it that an engine runs; one that runs is left alone. It
	// wraps ErrEngine.
	StartEngine(ctx context.Context) error
}

// What follows are abilities of hosts that the queue's engine asks for.

// Tuner sets how a running domain shares the host with others.
type Tuner interface {
	// Shares reads the domain's CPU shares and I/O weight; what cannot be had is zero.
	Shares(ctx context.Context, uuid UUID) (Shares, error)
	// SetShares sets those of the running domain that are not zero; its stored definition stays as it is.
	SetShares(ctx context.Context, uuid UUID, s Shares) error
}

// Shares is a domain's weight against others (libvirt's cpu_shares and blkio
// weight).
type Shares struct {
	CPU uint64
	IO  uint64
}

// Capacitor tells what a host has room for.
type Capacitor interface {
	// Capacity is what the host has: logical CPUs, memory, and the free and
	// total space of the storage that its domains' disks live on.
	Capacity(ctx context.Context) (HostCapacity, error)
}

// HostCapacity is what a host has, and which boot of it this is.
type HostCapacity struct {
	At    time.Time
	Total Resources // Disk is the capacity of its storage pools; 0 where libvirt knows none
	Disk  uint64    // bytes free there
	// Boot changes whenever the host is booted, and never otherwise; empty when
	// it cannot be known.
	Boot string
}

// Reacher knows whether a domain defined elsewhere could run on a host.
type Reacher interface {
	// Reach says why a domain of this definition cannot run here: disks that
	// this host does not see (ErrNoStorage), a feature it lacks
	// (ErrUnsupported). Nil when nothing speaks against it.
	Reach(ctx context.Context, xml string) error
}

// ErrNoStorage: a disk image is not where the definition says, on that host.
var ErrNoStorage = errors.New("disk image not found")

// ErrLocked: another process holds the lock of a disk image.
var ErrLocked = errors.New("disk image locked")

// ErrNoMemory: the host could not give the memory the domain asks for.
var ErrNoMemory = errors.New("not enough memory")
