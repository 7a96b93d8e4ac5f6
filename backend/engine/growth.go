package engine

import (
	"context"
	"time"

	"berth/backend"
)

const (
	// growthEvery is how often a running VM's disks are looked at: what they
	// have grown by is gone from what their host has free, and must not be
	// counted as still to come.
	growthEvery = 10 * time.Minute
	// growthStep is the least change that is written.
	growthStep = 256 << 20
)

// growth is what the writable images of a VM may still grow by, in bytes.
func growth(d *backend.Detail) (sum uint64) {
	for i := range d.Disks {
		disk := &d.Disks[i]
		if has := max(disk.Allocation, disk.Physical); !disk.ReadOnly && disk.Device != "cdrom" && disk.Capacity > has {
			sum += disk.Capacity - has
		}
	}
	return sum
}

// measured is what a running VM's disks may still grow by.
type measured struct {
	at   time.Time // zero while it is being asked
	left uint64
}

// measure has the disks of running VMs looked at, each now and then, and
// returns the jobs whose size is another by now.
func (e *Engine) measure(s *survey, was []backend.Job) (ds []decision) {
	for id := range e.sizes {
		if !s.book.active[id] {
			delete(e.sizes, id)
		}
	}
	for i := range s.book.jobs {
		j := &s.book.jobs[i]
		_, busy := e.busy[j.ID]
		if j.State != backend.JobRunning || j.Size.Disk == 0 || busy || !s.views[j.RunsOn].up() {
			continue
		}
		m, known := e.sizes[j.ID]
		if known && !m.at.IsZero() && max(m.left, j.Size.Disk)-min(m.left, j.Size.Disk) >= growthStep {
			d := decision{was: was[i], m: move{job: *j, note: s.book.notes[j.ID], wrote: true, at: s.book.now}}
			d.m.job.Size.Disk = m.left
			ds = append(ds, d)
		}
		if !known || !m.at.IsZero() && s.book.now.Sub(m.at) >= growthEvery {
			e.sizeUp(j)
		}
	}
	return ds
}

// sizeUp looks at one VM's disks. What cannot be read stays as it was believed.
func (e *Engine) sizeUp(j *backend.Job) {
	id, vm, left, a := j.ID, j.VM, j.Size.Disk, e.agents[j.RunsOn]
	e.sizes[id] = measured{left: left}
	e.spawn(func() {
		ctx, cancel := context.WithTimeout(e.acts, actDeadline)
		defer cancel()
		if detail, err := a.host.Detail(ctx, vm); err == nil {
			left = growth(&detail)
		}
		e.post(func() { e.sizes[id] = measured{at: e.o.Clock.Now(), left: left} })
	})
}
