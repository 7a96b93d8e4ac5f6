package cli

import (
	"time"

	"berth/backend"
)

// jobRecord is one job in JSON. Its keys are a promise to scripts: they may be
// added to, never renamed. null means not known, or none.
type jobRecord struct {
	Job         backend.JobID   `json:"job"`
	Name        string          `json:"name"`
	UUID        string          `json:"uuid"`
	Home        string          `json:"home"`
	Owner       string          `json:"owner"`
	State       string          `json:"state"`
	Since       *string         `json:"since"`
	Position    *int            `json:"position"`
	Priority    int             `json:"priority"`
	Nice        int             `json:"nice"`
	Score       *float64        `json:"score"`
	VCPUs       int             `json:"vcpus"`
	Memory      uint64          `json:"memory_bytes"`
	Disk        uint64          `json:"disk_bytes"`
	Estimate    *float64        `json:"estimate_s"`
	Limit       *float64        `json:"limit_s"`
	Expected    *float64        `json:"expected_s"`
	Wait        *float64        `json:"wait_s"`
	Submitted   *string         `json:"submitted_at"`
	Begin       *string         `json:"begin_at"`
	Started     *string         `json:"started_at"`
	Ended       *string         `json:"ended_at"`
	Ends        *string         `json:"ends_at"`
	ETA         *string         `json:"eta"`
	ETAHost     string          `json:"eta_host"`
	Promised    *string         `json:"promised_at"`
	Host        string          `json:"host"`
	OnlyHost    string          `json:"only_host"`
	Reason      *backend.Reason `json:"reason"`
	Error       string          `json:"error"`
	After       []backend.JobID `json:"after"`
	Tags        []string        `json:"tags"`
	Near        []string        `json:"near"`
	Apart       []string        `json:"apart"`
	Held        bool            `json:"held"`
	Preemptible bool            `json:"preemptible"`
	Cancelling  bool            `json:"cancelling"`
	Preempted   int             `json:"preempted"`
	Attempts    int             `json:"attempts"`
	NextTry     *string         `json:"next_try_at"`
}

// jobHelp documents the keys, for --help.
const jobHelp = `JSON is a list of objects with these keys, which later versions may add to but
not rename. null means not known, or none. Times are RFC 3339, _s are seconds.
  job name uuid home      the job's number; its VM and the host that defines it
  owner                   who submitted it
  state since             held queued reserved starting running migrating
                          stopping preempted unknown fencing recovery; ended:
                          done timeout failed cancelled rejected; or error
  position                in the order of starting, from 1, while it waits
  priority nice score     as chosen, and what the policy makes of it
  vcpus memory_bytes disk_bytes
                          what it takes of a host
  estimate_s limit_s      as chosen; expected_s is the estimate that is used
  wait_s                  from being submitted to its first start, or till now
  submitted_at begin_at started_at ended_at ends_at
                          ends_at: when a running one is expected to end
  eta eta_host            when and where it will start, while estimates hold
  promised_at             the first start it was promised as head of the queue
  host only_host          where it runs or ran; the only host it may run on
  reason                  why it waits: code, dimension, of (a job), host, detail
  error                   what went wrong last, in libvirt's words
  after tags near apart   lists
  held preemptible cancelling
                          true or false
  preempted attempts next_try_at
                          how often it was put aside, how often its start was
                          refused, and when that is tried again`

func newJobRecord(j *backend.Job, now time.Time) jobRecord {
	rec := jobRecord{
		Job: j.ID, Name: backend.Clean(j.Name), UUID: j.VM.String(), Home: backend.Clean(j.Home), Owner: backend.Clean(j.Owner),
		State: string(j.State), Since: stamp(j.Since), Priority: j.Priority, Nice: j.Nice,
		VCPUs: j.Size.VCPU, Memory: j.Size.Memory, Disk: j.Size.Disk,
		Estimate: spanSeconds(j.Estimate), Limit: spanSeconds(j.Limit), Expected: spanSeconds(j.Expected), Wait: rounded(waited(j, now).Seconds(), 1),
		Submitted: stamp(j.Submitted), Begin: stamp(j.Begin), Started: stamp(j.Started), Ended: stamp(j.Ended), Ends: stamp(j.Ends()),
		Host: backend.Clean(j.RunsOn), OnlyHost: backend.Clean(j.Host), Error: backend.Clean(j.Words),
		After: append([]backend.JobID{}, j.After...), Tags: cleanAll(j.Tags), Near: cleanAll(j.Near), Apart: cleanAll(j.Apart),
		Held: j.Held, Preemptible: j.Preemptible, Cancelling: j.Cancel && !j.State.Ended(),
		Preempted: j.Preempted, Attempts: j.Attempts, NextTry: stamp(j.NextTry),
	}
	if j.State.Waiting() {
		rec.waiting(j)
	}
	return rec
}

func (rec *jobRecord) waiting(j *backend.Job) {
	rec.ETA, rec.ETAHost, rec.Promised = stamp(j.ETA), backend.Clean(j.ETAHost), stamp(j.Promised)
	if j.Position > 0 {
		rec.Position, rec.Score = &j.Position, rounded(j.Score, 4)
	}
	if j.Why.Code != backend.WhyNone {
		why := j.Why
		why.Host, why.Detail = backend.Clean(why.Host), backend.Clean(why.Detail)
		rec.Reason = &why
	}
}

// waited is how long a job has waited for its first start.
func waited(j *backend.Job, now time.Time) time.Duration {
	until := now
	switch {
	case !j.Started.IsZero():
		until = j.Started
	case !j.Ended.IsZero():
		until = j.Ended
	}
	return max(0, until.Sub(j.Submitted))
}

// stamp is a moment in JSON, or null.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.Format(time.RFC3339)
	return &s
}

// spanSeconds is a time in JSON, or null when there is none.
func spanSeconds(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	return rounded(d.Seconds(), 3)
}

// sizeRecord is an amount of resources in JSON.
type sizeRecord struct {
	VCPUs  int    `json:"vcpus"`
	Memory uint64 `json:"memory_bytes"`
	Disk   uint64 `json:"disk_bytes"`
}

func newSizeRecord(r backend.Resources) sizeRecord { return sizeRecord{r.VCPU, r.Memory, r.Disk} }

// queueHostRecord is what a host offers the queue, in JSON.
type queueHostRecord struct {
	Host     string     `json:"host"`
	URI      string     `json:"uri"`
	State    string     `json:"state"` // "up", "drained", "down"
	Since    *string    `json:"since"`
	Total    sizeRecord `json:"total"`
	Capacity sizeRecord `json:"capacity"`
	Outside  sizeRecord `json:"outside"`
	Used     sizeRecord `json:"used"`
	Reserved sizeRecord `json:"reserved"`
	Free     sizeRecord `json:"free"`
	Trouble  string     `json:"trouble"`
	SeenAt   *string    `json:"seen_at"`
}

func newQueueHostRecord(h *backend.QueueHost) queueHostRecord {
	return queueHostRecord{
		Host: backend.Clean(h.Name), URI: backend.Clean(h.URI), State: hostState(h), Since: stamp(h.Since),
		Total: newSizeRecord(h.Total), Capacity: newSizeRecord(h.Capacity), Outside: newSizeRecord(h.Outside),
		Used: newSizeRecord(h.Used), Reserved: newSizeRecord(h.Reserved), Free: newSizeRecord(h.Free()),
		Trouble: backend.Clean(h.Trouble), SeenAt: stamp(h.SeenAt),
	}
}

func hostState(h *backend.QueueHost) string {
	switch {
	case h.Down:
		return "down"
	case h.Drained:
		return "drained"
	}
	return "up"
}

// engineRecord is the engine's state in JSON.
type engineRecord struct {
	Running bool    `json:"running"`
	PID     int     `json:"pid"`
	Machine string  `json:"machine"`
	Since   *string `json:"since"`
	Beat    *string `json:"beat_at"`
	Lost    bool    `json:"lost"`
	Trouble string  `json:"trouble"`
}

func newEngineRecord(e backend.EngineState) engineRecord {
	return engineRecord{e.Running, e.PID, backend.Clean(e.Host), stamp(e.Since), stamp(e.Beat), e.Lost, backend.Clean(e.Trouble)}
}
