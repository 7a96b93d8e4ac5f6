package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

// offSession reads the images of a domain that is off. Nothing keeps it from
// being started; that is found out.
type offSession struct {
	s *subject
	m dial.Machine
	t *token
	p backend.BackupPoint

	mu   sync.Mutex
	open []*openImage
	over bool
}

// beginOff opens the images of a domain that is off.
func (s *subject) beginOff(ctx context.Context, m dial.Machine, r *backend.BackupRequest) (*offSession, error) {
	disks, err := s.disks(ctx)
	if err == nil {
		err = wanted(disks)
	}
	if err != nil {
		return nil, err
	}
	o := &offSession{s: s, m: m, t: &token{VM: s.uuid(), Since: r.Since, Drop: r.Drop, At: s.h.now()}}
	if o.t.Log, err = s.logTime(ctx, m); err != nil {
		return nil, err
	}
	for _, d := range disks {
		t, err := o.disk(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("disk %s: %w", d.Target, err)
		}
		o.t.Disks = append(o.t.Disks, t)
	}
	o.keepChain()
	return o.begun(ctx)
}

// keepChain has the next backup go on from the same checkpoint as this one:
// a domain that is off cannot have a new one, and what it wrote since the old
// one is recorded still.
func (o *offSession) keepChain() {
	for _, d := range o.t.Disks {
		if d.Incremental {
			o.t.Checkpoint = o.t.Since
			return
		}
	}
	o.t.NoCheck = "the VM is off: libvirt makes checkpoints of running ones only"
}

// begun opens the images and makes sure that nobody wrote meanwhile.
func (o *offSession) begun(ctx context.Context) (*offSession, error) {
	var err error
	if o.p, err = o.s.point(ctx, o.m, o.t); err == nil {
		err = o.offer(ctx)
	}
	if err == nil {
		err = o.unchanged(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// disk says how an image is read.
func (o *offSession) disk(ctx context.Context, d backend.BackupDisk) (tokenDisk, error) {
	t := tokenDisk{Target: d.Target, Path: d.Path, Format: d.Format, Size: d.Size, Skip: d.Skip}
	if d.Skip != "" {
		return t, nil
	}
	var err error
	if t.Modified, err = modified(ctx, o.m, d.Path); err != nil {
		return t, absentFile(d.Path, err)
	}
	if d.Format != "qcow2" {
		t.WhyFull = "a " + d.Format + " image keeps no record of what changes"
		return t, nil
	}
	i, err := inspectUnwritten(ctx, o.m, d.Path, d.Format) // the VM may run on another host
	if err != nil {
		return t, err
	}
	if o.t.Since != "" {
		t.WhyFull = i.usable(o.t.Since)
		t.Incremental = t.WhyFull == ""
	}
	return t, nil
}

// offer opens each image.
func (o *offSession) offer(ctx context.Context) error {
	for _, d := range o.t.Disks {
		if d.Skip != "" {
			continue
		}
		bitmap := ""
		if d.Incremental {
			bitmap = o.t.Since
		}
		i, err := openOn(ctx, o.m, served{path: d.Path, format: d.Format, bitmap: bitmap})
		if err != nil {
			return fmt.Errorf("disk %s: %w", d.Target, err)
		}
		o.open = append(o.open, i)
		o.p.Disks = append(o.p.Disks, backend.PointAccess{BackupDisk: d.disk(), Access: i.at, Incremental: d.Incremental, WhyFull: d.WhyFull})
	}
	return nil
}

// logTime is when libvirt last wrote the domain's log, as it does at each
// start; zero where that cannot be told.
func (s *subject) logTime(ctx context.Context, m dial.Machine) (time.Time, error) {
	if s.h.target.Driver() != "qemu:///system" || path.Base(s.name) != s.name {
		return time.Time{}, nil
	}
	t, err := modified(ctx, m, "/var/log/libvirt/qemu/"+s.name+".log")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return time.Time{}, nil
	}
	return t, err
}

// resumeOff takes up what another process read.
func (s *subject) resumeOff(ctx context.Context, m dial.Machine, t *token) (*offSession, error) {
	if s.runs {
		return nil, errJobGone("the VM was started")
	}
	o := &offSession{s: s, m: m, t: t}
	if err := o.unchanged(ctx); err != nil {
		if errors.Is(err, backend.ErrState) {
			err = fmt.Errorf("%w (%w)", errJobGone("its images are of another moment"), err)
		}
		return nil, err
	}
	return o.begun(ctx)
}

// unchanged reports whether the images are as they were when the session began.
func (o *offSession) unchanged(ctx context.Context) error {
	state, _, err := o.s.stateNow(ctx)
	if err != nil {
		return err
	}
	if stateOf(state).Active() {
		return fmt.Errorf("%w: the VM was started meanwhile, what was read is of no one moment", backend.ErrState)
	}
	log, err := o.s.logTime(ctx, o.m)
	if err != nil {
		return onFile(err)
	}
	if !log.Equal(o.t.Log) && !o.t.Log.IsZero() {
		return fmt.Errorf("%w: the VM was started and stopped meanwhile, what was read is of no one moment", backend.ErrState)
	}
	for _, d := range o.t.Disks {
		if d.Skip != "" {
			continue
		}
		at, err := modified(ctx, o.m, d.Path)
		if err != nil {
			return absentFile(d.Path, err)
		}
		if !at.Equal(d.Modified) {
			return fmt.Errorf("%w: somebody wrote to %s meanwhile, what was read is of no one moment", backend.ErrState, backend.Clean(d.Path))
		}
	}
	return nil
}

// Token implements backend.BackupSession.
func (o *offSession) Token() string { return o.t.String() }

// Point implements backend.BackupSession.
func (o *offSession) Point() backend.BackupPoint { return o.p }

// Watch implements backend.BackupSession.
func (o *offSession) Watch(ctx context.Context) error {
	return failed("back up", o.s.name, o.unchanged(ctx))
}

// Commit implements backend.BackupSession.
func (o *offSession) Commit(ctx context.Context) error {
	const op = "end the backup of"
	if !o.ends() {
		return nil
	}
	err := o.unchanged(ctx)
	if err != nil {
		return failed(op, o.s.name, errors.Join(err, o.closeImages()))
	}
	err = o.closeImages()
	for _, name := range o.t.Drop {
		if name != o.t.Checkpoint && name != "" {
			err = errors.Join(err, o.s.deleteCheckpoint(ctx, name))
		}
	}
	return failed(op, o.s.name, err)
}

// Abort implements backend.BackupSession.
func (o *offSession) Abort(context.Context) error {
	if !o.ends() {
		return nil
	}
	return failed("give up the backup of", o.s.name, o.closeImages())
}

// Close implements backend.BackupSession.
func (o *offSession) Close() error { return o.closeImages() }

// ends is true for the first caller.
func (o *offSession) ends() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := !o.over
	o.over = true
	return first
}

func (o *offSession) closeImages() error {
	o.mu.Lock()
	open := o.open
	o.open = nil
	o.mu.Unlock()
	var errs []error
	for _, i := range open {
		errs = append(errs, i.Close())
	}
	return errors.Join(errs...)
}
