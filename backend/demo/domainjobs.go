package demo

import (
	"context"
	"fmt"
	"time"

	"berth/backend"
)

var _ backend.JobWatcher = (*host)(nil)

// foreign is a job that somebody else has a machine under, again and again:
// how far it is follows from the story's time alone.
type foreign struct {
	role         string
	kind         string
	disk         string
	first, every storyTime
	lasts        storyTime
	rate         float64 // bytes a second
	ready        bool    // a copy that then waits
	never        bool    // it never gets to its end, and is given up
}

var foreignJobs = []foreign{
	// The guest writes to its memory faster than the wire takes it away.
	{role: "cache", kind: "migration", first: 35 * time.Second, every: 11 * time.Minute, lasts: 4 * time.Minute, rate: 118 * mib, never: true},
	{role: "monitor", kind: "block-copy", disk: "vda", first: 20 * time.Second, every: 17 * time.Minute, lasts: 6 * time.Minute, rate: 210 * mib, ready: true},
}

// foreignJob is what somebody else does to the machine now, or nil.
func (v *vm) foreignJob() *backend.DomainJob {
	f := v.fleet()
	if f.opts.Calm || v.row.State != backend.Running || v.stuck || v.backup != nil {
		return nil
	}
	for i := range foreignJobs {
		j := &foreignJobs[i]
		if v.role.key != j.role || !v.first() || f.now < j.first {
			continue
		}
		round := (f.now - j.first) / j.every
		began := j.first + round*j.every
		if f.now >= began+j.lasts || began < v.upSince-v.upBefore || began <= v.aborted {
			return nil
		}
		return v.showForeign(j, began)
	}
	return nil
}

// first reports whether the machine is the fleet's first of its role.
func (v *vm) first() bool {
	for _, h := range v.fleet().hosts {
		for _, o := range h.vms {
			if o.role == v.role {
				return o == v
			}
		}
	}
	return false
}

func (v *vm) showForeign(j *foreign, began storyTime) *backend.DomainJob {
	f := v.fleet()
	d := &backend.DomainJob{Host: v.host.name, VM: v.row.UUID, Name: v.row.Name, Kind: j.kind, Disk: j.disk,
		Since: f.shown(began), At: f.shown(f.now), Rate: uint64(j.rate)}
	done := j.rate * (f.now - began).Seconds()
	total := v.draw.used
	if j.disk != "" {
		m := v.at(f.now)
		for i := range v.live.disks {
			if k := &v.live.disks[i]; k.target == j.disk {
				total = float64(v.allocated(k, &m))
			}
		}
	}
	switch {
	case j.never: // what was sent is written to again
		total = max(total, done/0.97)
	case done >= total:
		done, d.Ready, d.Rate = total, j.ready, 0
	}
	d.Done, d.Total = uint64(done), uint64(total)
	return d
}

// DomainJobs returns the jobs under way on the host's machines.
func (h *host) DomainJobs(ctx context.Context) ([]backend.DomainJob, error) {
	if err := h.enter(ctx, "read the jobs of"); err != nil {
		return nil, err
	}
	defer h.leave()
	f := h.fleet
	var list []backend.DomainJob
	for _, v := range h.byName() {
		row := backend.DomainJob{Host: h.name, VM: v.row.UUID, Name: v.row.Name, At: f.shown(f.now)}
		switch {
		case v.backup != nil && v.backup.running:
			row.Kind, row.Mine, row.Since = "backup", true, f.shown(v.backup.began)
			row.Done = uint64(v.backup.scratch())
			list = append(list, row)
		case v.job != nil && v.job.verb == backend.VerbSave:
			left := f.shownFor(v.job.due - f.now)
			row.Kind, row.Total, row.Rate = "save", uint64(v.draw.used), uint64(0.6*h.diskSpeed)
			row.Done = row.Total - min(row.Total, uint64(left.Seconds()*0.6*h.diskSpeed))
			row.Since = row.At.Add(-time.Duration(float64(row.Done) / (0.6 * h.diskSpeed) * float64(time.Second)))
			list = append(list, row)
		default:
			if j := v.foreignJob(); j != nil {
				list = append(list, *j)
			}
		}
	}
	return list, nil
}

// AbortDomainJob ends one.
func (h *host) AbortDomainJob(ctx context.Context, j backend.DomainJob) error {
	if err := h.writable(opAbort(j), j.Name); err != nil {
		return err
	}
	return h.abortDomainJob(ctx, j)
}

func opAbort(j backend.DomainJob) string { return "end the " + j.Kind + " of" }

func (h *host) abortDomainJob(ctx context.Context, j backend.DomainJob) error {
	v, err := h.find(ctx, opAbort(j), j.VM)
	if err != nil {
		return err
	}
	if s := v.backup; s != nil && j.Kind == "backup" {
		h.leave()
		return s.Abort(ctx)
	}
	defer h.leave()
	if now := v.foreignJob(); now != nil && now.Kind == j.Kind {
		v.aborted = h.fleet.now
		h.tell(v, backend.EventJob, "cancelled", j.Kind)
		return nil
	}
	return failed(opAbort(j), j.Name, fmt.Errorf("%w: it has ended", backend.ErrNoJob), "")
}
