package cli

import (
	"math"
	"time"

	"berth/backend"
	"berth/model"
)

// record is one VM in JSON, YAML and CSV. Its keys are a promise to scripts:
// they may be added to, never renamed. null means not known.
type record struct {
	Host          string   `json:"host"`
	Name          string   `json:"name"`
	UUID          string   `json:"uuid"`
	ID            *int32   `json:"id"`
	State         string   `json:"state"`
	Reason        string   `json:"reason"`
	Title         string   `json:"title"`
	OS            string   `json:"os"`
	Tags          []string `json:"tags"`
	VCPUs         *float64 `json:"vcpus"`
	CPUPercent    *float64 `json:"cpu_percent"`
	CPUOwnPercent *float64 `json:"cpu_own_percent"`
	Memory        *float64 `json:"memory_bytes"`
	MemoryMax     *float64 `json:"memory_max_bytes"`
	DiskRead      *float64 `json:"disk_read_bps"`
	DiskWrite     *float64 `json:"disk_write_bps"`
	DiskOps       *float64 `json:"disk_iops"`
	NetRx         *float64 `json:"net_rx_bps"`
	NetTx         *float64 `json:"net_tx_bps"`
	Addresses     []string `json:"addresses"`
	Autostart     bool     `json:"autostart"`
	Persistent    bool     `json:"persistent"`
	Saved         bool     `json:"saved"`
	Snapshots     *float64 `json:"snapshots"`
	StartedAt     *string  `json:"started_at"`
	Uptime        *float64 `json:"uptime_s"`
	Stale         *float64 `json:"stale_s"`
	Stuck         *float64 `json:"stuck_s"`
	Note          string   `json:"note"`
	MemorySource  *string  `json:"memory_source"`
	Queue         string   `json:"queue"`
	Backup        *string  `json:"backup_at"`
}

// recordHelp documents the keys, for --help.
const recordHelp = `JSON is a list of objects with these keys, which later versions may add to but
not rename. null means not known.
  host name uuid          where it is and what it is called; strings
  id                      libvirt's number while it runs, else null
  state                   running idle paused shutdown (in shutdown) shutoff
                          crashed pmsuspended nostate
  reason                  why it is in that state, in virsh's words
  title os tags           from its definition; tags is a list
  vcpus                   virtual CPUs
  cpu_percent             of one core: 400 is four cores busy
  cpu_own_percent         of its own vCPUs: 100 is all of them busy
  memory_bytes            used; null while it is off, or not known
  memory_max_bytes        the most it may have
  disk_read_bps disk_write_bps net_rx_bps net_tx_bps
                          bytes a second; null while it is off
  disk_iops               disk requests a second
  addresses               list of IP addresses, IPv4 first
  autostart persistent    true or false
  saved                   whether a saved state waits
  snapshots               how many
  started_at uptime_s     RFC 3339 and seconds; null while it is off
  stale_s                 age of the oldest figure in seconds
  stuck_s                 for how long its QEMU has not answered, or null
  note                    what is odd about it, in a sentence
  memory_source           who tells memory_bytes: "guest", its balloon driver, or
                          "host", the resident size of its QEMU, which may exceed
                          memory_max_bytes; null when that is not known
  queue                   its job in the queue, as "queued #3", or empty
  backup_at               the moment that its last good backup is of, as berth knows
                          it, or null`

func newRecord(r *model.Row, now time.Time) record {
	rec := record{
		Host: backend.Clean(r.Host), Name: backend.Clean(r.Name), UUID: r.UUID.String(),
		State: r.State.Word(), Reason: backend.Clean(r.Reason),
		Title: backend.Clean(r.Title), OS: backend.Clean(r.OS), Tags: cleanAll(r.Tags), Note: backend.Clean(r.Note),
		Queue: backend.Clean(r.Queued), Backup: stamp(r.Backup.Good),
		CPUPercent: rounded(r.Rates.CPU, 2), CPUOwnPercent: rounded(r.CPUOfOwn(), 2),
		DiskRead: rounded(r.Rates.DiskRead, 0), DiskWrite: rounded(r.Rates.DiskWrite, 0),
		DiskOps: rounded(r.Rates.DiskReadOps+r.Rates.DiskWriteOps, 1),
		NetRx:   rounded(r.Rates.NetRx, 0), NetTx: rounded(r.Rates.NetTx, 0),
		Addresses: cleanAll(r.Addresses), Autostart: r.Autostart, Persistent: r.Persistent, Saved: r.ManagedSave,
		Stale: age(now, model.OldestFigure(r)), Stuck: age(now, r.StuckSince),
	}
	rec.facts(r)
	if r.State.Active() {
		rec.running(r, now)
	}
	return rec
}

func (rec *record) facts(r *model.Row) {
	if r.FactsAt.IsZero() {
		return
	}
	rec.VCPUs = rounded(float64(r.VCPUs), 0)
	rec.MemoryMax = rounded(float64(r.MemoryMax), 0)
	if r.Snapshots >= 0 {
		rec.Snapshots = rounded(float64(r.Snapshots), 0)
	}
}

func (rec *record) running(r *model.Row, now time.Time) {
	if r.ID >= 0 {
		rec.ID = &r.ID
	}
	if !r.Mem.At.IsZero() {
		rec.Memory, rec.MemorySource = rounded(float64(r.Mem.Used), 0), memorySource(r.Mem.Source)
	}
	if !r.StartedAt.IsZero() {
		at := r.StartedAt.Format(time.RFC3339)
		rec.StartedAt, rec.Uptime = &at, rounded(since(now, r.StartedAt), 0)
	}
}

func memorySource(s backend.MemorySource) *string {
	word := map[backend.MemorySource]string{backend.MemoryGuest: "guest", backend.MemoryResident: "host"}[s]
	if word == "" {
		return nil
	}
	return &word
}

// rounded is v to so many digits after the point, or nil when not known.
func rounded(v float64, digits int) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	scale := math.Pow10(digits)
	v = math.Round(v*scale) / scale
	return &v
}

// age is how long ago at was, in seconds, or nil when it is not known.
func age(now, at time.Time) *float64 {
	if at.IsZero() {
		return nil
	}
	return rounded(since(now, at), 1)
}

// cleanAll never returns nil, so that JSON has [] rather than null.
func cleanAll(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = backend.Clean(s)
	}
	return out
}
