// Package sim plays a workload through package queue: the same code that runs
// the real queue, over a clock that jumps from event to event.
package sim

import (
	"encoding/csv"
	"io"
	"strconv"

	"berth/backend/queue"
)

// Job is one job of a workload, with the run time that the queue is not told.
type Job struct {
	ID       string
	Submit   queue.Time
	Run      queue.Time // it ends after this, or at its estimate if that is sooner
	Estimate queue.Time
	Size     queue.Size
	Owner    string
}

// Workload is what a trace file holds.
type Workload struct {
	Jobs    []Job // in order of submit time, then of the file
	LeftOut int   // jobs of an SWF file without size, run time or estimate
	Procs   int64 // an SWF header's MaxProcs, 0 when it has none
}

// Config is what to play.
type Config struct {
	Policy           queue.Policy
	Hosts            []queue.Host
	PerfectEstimates bool // the queue is told the run times
}

// Row is how one job went.
type Row struct {
	ID       string
	Submit   queue.Time
	Start    queue.Time
	End      queue.Time
	Host     string
	Promise  bool       // whether it was ever promised a start
	Promised queue.Time // the first one
}

// Metrics are the figures of a run. Jobs that never fit count in NeverFit only.
type Metrics struct {
	Jobs              int      `json:"jobs"`
	NeverFit          int      `json:"never_fit"`
	MeanWait          float64  `json:"mean_wait_s"`
	P95Wait           float64  `json:"p95_wait_s"`
	MaxWait           float64  `json:"max_wait_s"`
	MeanFlow          float64  `json:"mean_flow_s"`
	MeanBSLD          float64  `json:"mean_bsld"`
	MaxBSLD           float64  `json:"max_bsld"`
	UtilizationVCPU   float64  `json:"utilization_vcpu"`
	UtilizationMemory float64  `json:"utilization_mem"`
	Makespan          float64  `json:"makespan_s"`
	DecisionsPerS     float64  `json:"decisions_per_s"` // set by the caller, who has a clock: Decisions / seconds
	NeverFits         []string `json:"never_fits,omitempty"`
	Decisions         int64    `json:"-"` // jobs looked at, over all passes
}

// WriteSchedule writes rows as CSV: id,submit,start,end,host,promised_start.
func WriteSchedule(w io.Writer, rows []Row) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"id", "submit", "start", "end", "host", "promised_start"}) // Error below tells
	for i := range rows {
		r := &rows[i]
		if r.Host == "" {
			continue // never fits
		}
		promised := ""
		if r.Promise {
			promised = whole(r.Promised)
		}
		_ = out.Write([]string{r.ID, whole(r.Submit), whole(r.Start), whole(r.End), r.Host, promised})
	}
	out.Flush()
	return out.Error()
}

func whole(t queue.Time) string { return strconv.FormatInt(int64(t), 10) }

// One is a single host of n processors, for traces of parallel machines.
func One(n int64) []queue.Host {
	return []queue.Host{{Name: "host-1", Capacity: queue.Size{VCPU: n}}}
}
