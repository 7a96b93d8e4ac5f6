package cli

import (
	"time"

	"berth/backend"
)

// pointRecord is one point in JSON. Its keys are a promise to scripts: they
// may be added to, never renamed. null means not known, or none.
type pointRecord struct {
	Point    string            `json:"point"`
	Repo     string            `json:"repo"`
	Name     string            `json:"name"`
	UUID     string            `json:"uuid"`
	Host     string            `json:"host"`
	Owner    string            `json:"owner"`
	At       *string           `json:"at"`
	Took     *float64          `json:"took_s"`
	Full     bool              `json:"full"`
	Why      string            `json:"why"`
	Running  bool              `json:"running"`
	Quiesced bool              `json:"quiesced"`
	Tags     []string          `json:"tags"`
	Size     int64             `json:"size_bytes"`
	Data     int64             `json:"data_bytes"`
	Read     int64             `json:"read_bytes"`
	New      int64             `json:"new_bytes"`
	Stored   int64             `json:"stored_bytes"`
	Verified *string           `json:"verified_at"`
	Damaged  string            `json:"damaged"`
	Disks    []pointDiskRecord `json:"disks"`
}

// pointDiskRecord is one disk of a point in JSON.
type pointDiskRecord struct {
	Disk   string `json:"disk"`
	Path   string `json:"path"`
	Format string `json:"format"`
	Size   int64  `json:"size_bytes"`
	Data   int64  `json:"data_bytes"`
	Read   int64  `json:"read_bytes"`
	Full   bool   `json:"full"`
	Why    string `json:"why"`
}

// pointRecordHelp documents the keys, for --help.
const pointRecordHelp = `JSON has these keys, which later versions may add to but not rename. null means
not known, or none. Times are RFC 3339, _s are seconds.
  point repo              the point's ID, and the repository
  name uuid host owner    the VM, where it was, and who backed it up
  at took_s               the moment that its disks are of; how long it took
  full why                whether all was read, and why; else what had changed
  running quiesced        whether the VM ran, and its file systems were frozen
  tags                    list
  size_bytes data_bytes   what the guest sees; what of it is not zero
  read_bytes new_bytes stored_bytes
                          what was read; what of it the repository did not have;
                          what that takes, compressed
  verified_at damaged     when it was last read back and found right; what is
                          wrong with it
  disks                   list: disk path format, and of the above size_bytes
                          data_bytes read_bytes full why`

func newPointRecord(p *backend.Point) pointRecord {
	rec := pointRecord{
		Point: p.ID, Repo: backend.Clean(p.Repo), Name: backend.Clean(p.Name), UUID: p.VM.String(), Host: backend.Clean(p.Host), Owner: backend.Clean(p.Owner),
		At: stamp(p.At), Took: spanSeconds(p.Took), Full: p.Full, Why: backend.Clean(p.Why), Running: p.Running, Quiesced: p.Quiesced, Tags: cleanAll(p.Tags),
		Size: p.Size, Data: p.Data, Read: p.Read, New: p.New, Stored: p.Stored, Verified: stamp(p.Verified), Damaged: backend.Clean(p.Damaged),
		Disks: make([]pointDiskRecord, len(p.Disks)),
	}
	for i, d := range p.Disks {
		rec.Disks[i] = pointDiskRecord{backend.Clean(d.Target), backend.Clean(d.Path), backend.Clean(d.Format), d.Size, d.Data, d.Read, d.Full, backend.Clean(d.Why)}
	}
	return rec
}

// transferRecord is one transfer in JSON; the same promise holds.
type transferRecord struct {
	Transfer backend.TransferID `json:"transfer"`
	Kind     string             `json:"kind"`
	Name     string             `json:"name"`
	UUID     string             `json:"uuid"`
	Host     string             `json:"host"`
	Repo     string             `json:"repo"`
	Owner    string             `json:"owner"`
	Schedule int64              `json:"schedule"`
	State    string             `json:"state"`
	Since    *string            `json:"since"`
	Ordered  *string            `json:"ordered_at"`
	Started  *string            `json:"started_at"`
	Ended    *string            `json:"ended_at"`
	NextTry  *string            `json:"next_try_at"`
	Attempts int                `json:"attempts"`
	Limit    *int64             `json:"limit_bps"`
	Phase    string             `json:"phase"`
	Disk     string             `json:"disk"`
	Done     int64              `json:"done_bytes"`
	Total    *int64             `json:"total_bytes"`
	New      int64              `json:"new_bytes"`
	Stored   int64              `json:"stored_bytes"`
	Rate     int64              `json:"rate_bps"`
	Mean     int64              `json:"mean_bps"`
	ETA      *float64           `json:"eta_s"`
	Waits    string             `json:"waits"`
	Why      string             `json:"why"`
	Point    string             `json:"point"`
	Words    string             `json:"words"`
}

// transferRecordHelp documents the keys, for --help.
const transferRecordHelp = `JSON has these keys, which later versions may add to but not rename. null means
not known, or none. Times are RFC 3339, _s are seconds, _bps bytes a second.
  transfer kind           its number; backup restore verify forget copy convert
  name uuid host          the VM and its host
  repo owner schedule     the repository, who ordered it, by which schedule (0: none)
  state since             queued running paused waiting; ended: done failed
                          cancelled
  ordered_at started_at ended_at next_try_at attempts
  limit_bps               how fast it may go
  phase disk              waiting preparing freezing reading verifying writing
                          finishing, and the disk at work
  done_bytes total_bytes  of what is really to be done, never virtual sizes
  new_bytes stored_bytes  what the repository did not have, and what that takes
  rate_bps mean_bps eta_s over the last seconds, since the start, and what is left
  waits                   the stage that the others wait for
  why                     why a backup is full
  point                   the point that a backup made
  words                   why it waits, failed or was cancelled`

func newTransferRecord(t *backend.Transfer) transferRecord {
	s, p := &t.Spec, &t.Progress
	rec := transferRecord{
		Transfer: t.ID, Kind: string(s.Kind), Name: backend.Clean(s.Name), UUID: s.VM.UUID.String(), Host: backend.Clean(s.VM.Host), Repo: backend.Clean(s.Repo.URL),
		Owner: backend.Clean(t.Owner), Schedule: s.Schedule, State: string(t.State), Since: stamp(t.Since), Ordered: stamp(t.Ordered), Started: stamp(t.Started),
		Ended: stamp(t.Ended), NextTry: stamp(t.NextTry), Attempts: t.Attempts, Phase: string(p.Phase), Disk: backend.Clean(p.Disk),
		Done: p.Done, New: p.New, Stored: p.Out, Rate: p.Rate, Mean: p.Mean, ETA: spanSeconds(p.ETA.Round(time.Second)), Waits: p.Waits, Why: backend.Clean(p.Why),
		Point: t.Point, Words: backend.Clean(t.Words),
	}
	if s.Limit > 0 {
		rec.Limit = &s.Limit
	}
	if p.Total > 0 {
		rec.Total = &p.Total
	}
	return rec
}
