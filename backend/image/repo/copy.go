package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"berth/backend"
	"berth/backend/image/disk"
)

// CopyOptions say how to copy points to another repository.
type CopyOptions struct {
	Limit    *rate.Limiter // bytes read a second; nil: none
	Gate     func(ctx context.Context) error
	Progress func(CopyProgress)
}

// CopyProgress is how far CopyTo is.
type CopyProgress struct {
	Point       string
	Done, Total int64 // bytes of chunks
	New         int64 // bytes that the other repository did not have
}

// CopyReport is what CopyTo did.
type CopyReport struct {
	Copied  []string // IDs there, in the order of what was asked for
	Skipped []string // those that were there already
	New     int64    // bytes that the other repository did not have
	Stored  int64    // bytes that those take
}

// CopyTo copies points, by their whole IDs (none: all), to another
// repository, whatever the keys of both: each chunk is read back, verified,
// encrypted anew, and what was copied is read back there. Points of a VM go
// oldest first, so that only what differs from one to the next is read. Chunks
// and points that are there already are not copied again; begun again after it
// broke off it goes on from where it was. Checkpoints belong to the repository
// that they were made for, and are not copied.
func (r *Repo) CopyTo(ctx context.Context, dst *Repo, ids []string, o CopyOptions) (CopyReport, error) {
	var rep CopyReport
	if dst.ID() == r.ID() {
		return rep, &backend.OpError{Op: "copy backups to", Target: dst.place.URL(), Err: fmt.Errorf("%w: it is the same repository", backend.ErrInvalid)}
	}
	l, err := r.lockReading(ctx, "copy")
	if err != nil {
		return rep, err
	}
	ctx, cancel := l.context(ctx)
	defer cancel()
	c := &copying{from: r, to: dst, o: o, rep: &rep, latest: map[backend.UUID]pair{}}
	err = c.run(ctx, ids)
	if err = errors.Join(err, l.release(context.WithoutCancel(ctx))); err != nil {
		return rep, &backend.OpError{Op: "copy backups to", Target: dst.place.URL(), Err: err, Hint: "run it again: what is there already is not copied again"}
	}
	return rep, nil
}

// copying is one CopyTo at work.
type copying struct {
	from, to *Repo
	o        CopyOptions
	rep      *CopyReport
	there    []Manifest // points of to
	latest   map[backend.UUID]pair
	total    int64
	done     int64
}

// pair is a point in both repositories.
type pair struct{ from, to Manifest }

func (c *copying) run(ctx context.Context, ids []string) error {
	points, err := c.points(ctx, ids)
	if err != nil {
		return err
	}
	if c.there, err = c.to.Points(ctx); err != nil {
		return err
	}
	for i := range points {
		for _, d := range points[i].Disks {
			c.total += d.Data
		}
	}
	for i := range points {
		m := &points[i]
		if to := c.find(m); to != nil {
			c.rep.Skipped = append(c.rep.Skipped, to.ID)
			c.latest[m.VM] = pair{*m, *to}
			for _, d := range m.Disks {
				c.done += d.Data
			}
			continue
		}
		to, err := c.point(ctx, m)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", m.Name, m.At.Format(time.DateTime), err)
		}
		c.latest[m.VM] = pair{*m, to}
		c.rep.Copied = append(c.rep.Copied, to.ID)
	}
	if len(c.rep.Copied) == 0 {
		return nil
	}
	found, err := c.to.Verify(ctx, VerifyOptions{Points: c.rep.Copied, Limit: c.o.Limit, Gate: c.o.Gate})
	if err != nil {
		return err
	}
	if !found.OK() {
		return fmt.Errorf("%w: %s", backend.ErrDamaged, found.Damages[0])
	}
	return nil
}

// points returns the points to be copied, the oldest first.
func (c *copying) points(ctx context.Context, ids []string) ([]Manifest, error) {
	var points []Manifest
	var err error
	if len(ids) == 0 {
		points, err = c.from.Points(ctx)
	}
	for _, id := range ids {
		m, fault := c.from.Point(ctx, id)
		err = errors.Join(err, fault)
		points = append(points, m)
	}
	slices.SortStableFunc(points, func(a, b Manifest) int { return a.At.Compare(b.At) })
	return points, err
}

// find returns the copy of a point that is there: no two points of one VM are
// of the same moment.
func (c *copying) find(m *Manifest) *Manifest {
	for i := range c.there {
		if t := &c.there[i]; t.VM == m.VM && t.At.Equal(m.At) && len(t.Disks) == len(m.Disks) {
			return t
		}
	}
	return nil
}

func (c *copying) point(ctx context.Context, m *Manifest) (to Manifest, err error) {
	o := WriteOptions{Job: "copy " + c.from.ID() + " " + m.ID, Limit: c.o.Limit, Gate: c.o.Gate}
	before, incremental := c.latest[m.VM]
	if incremental {
		o.Base = &before.to
	}
	began := c.done
	o.Progress = func(p WriteProgress) { c.tell(m, began+p.Done, p.New) }
	w, err := c.to.Begin(ctx, o)
	if err != nil {
		return to, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, d := range m.Disks {
		if err := c.disk(ctx, w, m, d, before, incremental); err != nil {
			return to, err
		}
		began += d.Data
	}
	for _, f := range m.Files {
		content, err := c.from.ReadFile(ctx, m, f)
		if err != nil {
			return to, err
		}
		if err := w.AddFile(ctx, f.Kind, f.Path, content); err != nil {
			return to, err
		}
	}
	to = *m
	to.Checkpoint, to.Base = "", o.base()
	if to, err = w.Commit(ctx, to); err != nil {
		return to, err
	}
	c.done = began
	c.rep.New += to.New
	c.rep.Stored += to.Stored
	return to, nil
}

// base is the ID of the point that a backup goes on from.
func (o *WriteOptions) base() string {
	if o.Base == nil {
		return ""
	}
	return o.Base.ID
}

func (c *copying) disk(ctx context.Context, w *Writer, m *Manifest, d Disk, before pair, incremental bool) (err error) {
	src, err := c.from.OpenDisk(ctx, m, d.Target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if incremental {
		if _, lacks := before.from.Disk(d.Target); lacks != nil {
			incremental = false
		}
	}
	if incremental {
		differ, err := c.from.Diff(ctx, &before.from, m, d.Target)
		if err != nil {
			return err
		}
		src = &changed{Reader: src, differ: differ}
	}
	_, err = w.AddDisk(ctx, Disk{Target: d.Target, Path: d.Path, Format: d.Format, Why: d.Why}, src, incremental)
	return err
}

func (c *copying) tell(m *Manifest, done, fresh int64) {
	if c.o.Progress != nil {
		c.o.Progress(CopyProgress{Point: m.ID, Done: min(done, c.total), Total: c.total, New: c.rep.New + fresh})
	}
}

// changed is a disk that knows where it differs from an older point.
type changed struct {
	disk.Reader
	differ []backend.Extent // in order
}

// Extents says that what does not differ is clean.
func (c *changed) Extents(_ context.Context, offset, length int64) ([]backend.Extent, error) {
	end := min(offset+length, c.Size())
	i, _ := slices.BinarySearchFunc(c.differ, offset, func(e backend.Extent, at int64) int {
		if e.Offset+e.Length <= at {
			return -1
		}
		return 1
	})
	var all []backend.Extent
	for ; offset < end; i++ {
		next := end
		if i < len(c.differ) {
			next = min(end, c.differ[i].Offset)
		}
		if next > offset {
			all = append(all, backend.Extent{Offset: offset, Length: next - offset, Kind: backend.ExtentClean})
			offset = next
		}
		if i >= len(c.differ) || offset >= end {
			break
		}
		stop := min(end, c.differ[i].Offset+c.differ[i].Length)
		all = append(all, backend.Extent{Offset: offset, Length: stop - offset, Kind: c.differ[i].Kind})
		offset = stop
	}
	return all, nil
}
