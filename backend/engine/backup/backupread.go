package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/repo"
)

const (
	// watchEvery is how often a session is asked whether all is well.
	watchEvery = time.Second
	// watchDeadline is how long it may take to answer.
	watchDeadline = 10 * time.Second
)

// read reads the session's disks into the repository and commits the manifest.
// While it does, and while it waits for a connection, the session is watched.
func (w *work) read(ctx context.Context) (m repo.Manifest, err error) {
	w.meter.with(func(p *backend.Progress) { p.Why = w.n.Why })
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	watched := make(chan struct{})
	sessions := make(chan backend.BackupSession, 1)
	sessions <- w.session
	go func() { defer close(watched); w.watch(ctx, end, sessions) }()
	defer func() { end(nil); <-watched }()
	err = w.briefly(ctx, func() (err error) {
		m, err = w.pump(ctx)
		return err
	}, func(error) error {
		<-sessions // the watcher must not ask one that is being replaced
		defer func() { sessions <- w.session }()
		return w.rejoin(ctx)
	})
	if cause := context.Cause(ctx); err != nil && cause != nil && stopped(ctx) != nil && !errors.Is(cause, context.Canceled) {
		err = cause // why it was made to end, rather than what that broke
	}
	return m, err
}

// watch asks the session each second whether all is well, and ends the work
// when it is not. A host that does not answer may be back in time.
func (w *work) watch(ctx context.Context, end context.CancelCauseFunc, sessions chan backend.BackupSession) {
	for w.o.pause(ctx, w.every) == nil {
		var s backend.BackupSession
		select {
		case s = <-sessions:
		case <-ctx.Done():
			return
		}
		ask, cancel := context.WithTimeout(ctx, watchDeadline)
		err := s.Watch(ask)
		cancel()
		sessions <- s
		if err == nil || lost(err) || ctx.Err() != nil {
			continue
		}
		if errors.Is(err, backend.ErrNoJob) {
			err = fmt.Errorf("%w: %w", errGone, err)
		}
		end(err)
		return
	}
}

// pump is one pass over the disks.
func (w *work) pump(ctx context.Context) (m repo.Manifest, err error) {
	p, err := w.repo.begin(ctx, repo.WriteOptions{Job: w.n.Journal, Base: w.base, Limit: w.limit, Gate: w.gate.wait, Progress: w.progress})
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	disks, done, err := w.openDisks(ctx)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, closeDisks(disks)) }()
	w.meter.disks(done)
	w.meter.phase(backend.PhaseReading)
	if err := w.at("read"); err != nil {
		return m, err
	}
	var full []string
	for i := range disks {
		d := &disks[i]
		out, err := p.AddDisk(ctx, repo.Disk{Target: d.Target, Path: d.Path, Format: d.Format, Why: d.why}, d.reader, d.incremental)
		if err != nil {
			return m, fmt.Errorf("%s: %w", d.Target, err)
		}
		w.meter.disk(d.Target, out.Read, out.Read)
		if !d.incremental && d.why != "" {
			full = append(full, d.Target+": "+d.why)
		}
		if err := w.at("disk"); err != nil {
			return m, err
		}
	}
	w.meter.phase(backend.PhaseFinishing)
	if err := w.addFiles(ctx, p); err != nil {
		return m, err
	}
	// The last moment to find that what was read is not of one moment.
	if err := w.session.Watch(ctx); err != nil {
		return m, err
	}
	return w.commit(ctx, p, len(full) == len(disks), full)
}

// commit makes the manifest last.
func (w *work) commit(ctx context.Context, p pen, full bool, whys []string) (m repo.Manifest, err error) {
	s := &w.x.Spec
	m = repo.Manifest{
		VM: s.VM.UUID, Name: s.Name, Host: s.VM.Host, Owner: w.x.Owner, At: w.point.At, Running: w.point.Running, Quiesced: w.point.Quiesced,
		Full: full, Checkpoint: w.point.Checkpoint, Tags: s.Backup.Tags,
	}
	if w.base != nil {
		m.Base = w.base.ID
	}
	if full {
		m.Why = w.n.Why
		if m.Why == "" {
			m.Why = strings.Join(whys, "; ")
		}
		w.meter.with(func(p *backend.Progress) { p.Why = m.Why })
	}
	if err := w.at("commit/before"); err != nil {
		return m, err
	}
	if m, err = p.Commit(ctx, m); err != nil {
		return m, err
	}
	if err := w.at("commit/done"); err != nil {
		return m, err
	}
	w.n.Manifest = m.ID
	return m, w.save(ctx, "committed")
}

// addFiles keeps what belongs to the VM besides its disks.
func (w *work) addFiles(ctx context.Context, p pen) error {
	files := []backend.PointFile{{Kind: "xml", Content: []byte(w.point.XML)}, {Kind: "stored-xml", Content: []byte(w.point.Stored)}}
	for _, f := range append(files, w.point.Files...) {
		if len(f.Content) == 0 && f.Path == "" {
			continue
		}
		if err := p.AddFile(ctx, f.Kind, f.Path, f.Content); err != nil {
			return fmt.Errorf("%s %s: %w", f.Kind, f.Path, err)
		}
	}
	return nil
}

// source is one disk that is being read.
type source struct {
	backend.BackupDisk
	reader      disk.Reader
	incremental bool
	why         string // why it is read in full
}

// openDisks opens the session's disks and counts what is to be read of each.
func (w *work) openDisks(ctx context.Context) (list []source, done []backend.DiskDone, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeDisks(list))
			list = nil
		}
	}()
	for _, a := range w.point.Disks {
		if a.Skip != "" {
			continue
		}
		r, err := w.o.openDisk(ctx, a.Access)
		if err != nil {
			return list, nil, fmt.Errorf("%s: %w", a.Target, err)
		}
		d := source{BackupDisk: a.BackupDisk, reader: r, incremental: a.Incremental, why: a.WhyFull}
		if d.incremental && !has(w.base, a.Target) {
			d.incremental, d.why = false, "the last backup does not have it"
		}
		if !d.incremental && d.why == "" {
			d.why = w.n.Why
		}
		list = append(list, d)
		n, err := toRead(ctx, r, d.incremental)
		if err != nil {
			return list, nil, fmt.Errorf("%s: %w", a.Target, err)
		}
		done = append(done, backend.DiskDone{Disk: a.Target, Total: n})
	}
	if len(list) == 0 {
		return nil, nil, fmt.Errorf("%w: %s has no disk that can be backed up", backend.ErrUnsupported, w.x.Spec.Name)
	}
	return list, done, nil
}

func has(m *repo.Manifest, target string) bool {
	if m == nil {
		return false
	}
	for i := range m.Disks {
		if m.Disks[i].Target == target {
			return true
		}
	}
	return false
}

func closeDisks(list []source) error {
	var errs []error
	for _, d := range list {
		if err := d.reader.Close(); err != nil && !lost(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// toRead is how much of a disk has to be read: all but zeroes, or the chunks that
// hold a change, of which what is zero is left out only when the time comes.
func toRead(ctx context.Context, r disk.Reader, incremental bool) (sum int64, err error) {
	const chunk = repo.ChunkSize
	counted := int64(0) // up to where chunks are counted
	for at := int64(0); at < r.Size(); {
		list, err := r.Extents(ctx, at, r.Size()-at)
		if err != nil {
			return 0, err
		}
		for _, e := range list {
			at = e.Offset + e.Length
			switch {
			case !incremental && e.Kind != backend.ExtentZero:
				sum += e.Length
			case incremental && e.Kind == backend.ExtentData:
				from, to := max(e.Offset/chunk*chunk, counted), min((at+chunk-1)/chunk*chunk, r.Size())
				sum += max(to-from, 0)
				counted = max(counted, to)
			}
		}
		if len(list) == 0 {
			return 0, fmt.Errorf("%w: a disk that does not tell what it holds", backend.ErrInvalid)
		}
	}
	return sum, nil
}

// progress hands on what the repository's writer tells.
func (w *work) progress(p repo.WriteProgress) {
	w.meter.disk(p.Disk, p.Done, p.Total)
	w.meter.with(func(x *backend.Progress) { x.New, x.Out, x.Waits = p.New, p.Out, p.Waits })
}
