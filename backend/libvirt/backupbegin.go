package libvirt

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

// begin is a backup of a running domain that is about to begin.
type begin struct {
	s     *subject
	m     dial.Machine
	r     *backend.BackupRequest
	t     *token
	dir   string      // where the socket and the note go
	since *checkpoint // nil: everything is read
	// records are the disks whose images keep a record of what changes.
	records map[string]bool
}

// beginLive takes a point in time of a running domain.
func (s *subject) beginLive(ctx context.Context, m dial.Machine, r *backend.BackupRequest) (*liveSession, error) {
	if err := s.mustBeFree(ctx); err != nil {
		return nil, err
	}
	b := &begin{s: s, m: m, r: r, records: map[string]bool{}, t: &token{VM: s.uuid(), Running: true, Checkpoint: r.Checkpoint, Since: r.Since, Drop: r.Drop, IOPaused: s.ioPaused()}}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	if err := b.run(ctx); err != nil {
		return nil, err
	}
	l := &liveSession{s: s, m: m, t: b.t}
	var err error
	if l.p, err = s.point(ctx, m, b.t); err == nil {
		l.offer()
		err = l.reach(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, l.Abort(context.WithoutCancel(ctx)))
	}
	return l, nil
}

// mustBeFree refuses a domain that has a job: libvirt would let the backup wait
// for 30 s, and then fail.
func (s *subject) mustBeFree(ctx context.Context) error {
	j, err := s.backupJob(ctx)
	if err != nil {
		return err
	}
	hint := "wait for it to end, or end it: virsh domjobabort " + s.uuid().String()
	if j != nil {
		if j.mine() {
			hint = "wait for it to end; should its berth be gone, clean it up (berth backup, leftovers)"
		}
		return &backend.OpError{Op: "begin", Err: fmt.Errorf("%w: %s is under way", backend.ErrBusy, j.words()), Hint: hint}
	}
	words, err := s.job(ctx)
	if err == nil && words != "" {
		err = &backend.OpError{Op: "begin", Err: fmt.Errorf("%w: %s is under way", backend.ErrBusy, words), Hint: hint}
	}
	return err
}

// prepare chooses what is read how, and where things go.
func (b *begin) prepare(ctx context.Context) error {
	disks, err := b.s.disks(ctx)
	if err == nil {
		err = wanted(disks)
	}
	if err != nil {
		return err
	}
	if b.r.Since != "" {
		if b.since, err = b.s.checkpoint(ctx, b.r.Since); err == nil && b.since == nil {
			if b.since, err = b.s.regain(ctx, b.r.Since); isDaemons(err) {
				err = fmt.Errorf("%w: there is no checkpoint %s any more: %w", backend.ErrBitmap, backend.Clean(b.r.Since), coded(err))
			}
		}
		if err != nil {
			return err
		}
	}
	for _, d := range disks {
		b.t.Disks = append(b.t.Disks, b.disk(ctx, d))
	}
	b.checkpointable()
	if b.dir, err = b.s.runDir(ctx, b.m); err != nil {
		return err
	}
	id := freshName()
	b.t.Socket = path.Join(b.dir, socketPrefix+id)
	if len(b.t.Socket) > socketMost {
		return fmt.Errorf("%w: the path of a socket there would be too long: %s", backend.ErrUnsupported, b.t.Socket)
	}
	return b.placeScratch(ctx, id)
}

// disk says how a disk is read.
func (b *begin) disk(ctx context.Context, d backend.BackupDisk) tokenDisk {
	t := tokenDisk{Target: d.Target, Path: d.Path, Format: d.Format, Size: d.Size, Skip: d.Skip}
	if d.Skip != "" {
		return t
	}
	t.WhyFull = b.noRecord(ctx, &d)
	b.records[d.Target] = t.WhyFull == ""
	switch {
	case t.WhyFull != "" || b.since == nil: // of which the engine knows why
	case !b.since.records(d.Target):
		t.WhyFull = "the checkpoint " + b.since.Name + " does not have this disk"
	default:
		t.Incremental = true
	}
	return t
}

// noRecord says why an image keeps no record of what changes, or nothing. That
// of another machine's storage is libvirt's to refuse.
func (b *begin) noRecord(ctx context.Context, d *backend.BackupDisk) string {
	if d.Format != "qcow2" {
		return "a " + d.Format + " image keeps no record of what changes"
	}
	q, err := readQcow2(ctx, b.m, d.Path)
	if err == nil && q != nil && q.version < 3 {
		return "a qcow2 image of version 2 keeps no record of what changes (while the VM is off, qemu-img amend -f qcow2 -o compat=1.1 makes it one of version 3)"
	}
	return ""
}

// checkpointable drops the new checkpoint where no disk can have one.
func (b *begin) checkpointable() {
	if b.t.Checkpoint == "" {
		b.t.NoCheck = "none was asked for"
		return
	}
	for _, does := range b.records {
		if does {
			return
		}
	}
	b.t.Checkpoint, b.t.NoCheck = "", "none of its disks keeps a record of what changes: only qcow2 images of version 3 do"
}

// run freezes, begins, thaws.
func (b *begin) run(ctx context.Context) error {
	var f *freezer
	if b.r.Quiesce {
		var err error
		if f, err = b.s.freeze(ctx, b.m, b.dir); err != nil {
			if ctx.Err() != nil {
				return err
			}
			b.t.NotQuiesced = coded(err).Error()
		}
	}
	if f == nil {
		return b.beginOr(ctx)
	}
	b.t.Quiesced = true
	if b.s.h.frozen != nil {
		b.s.h.frozen()
	}
	done := make(chan struct{})
	thawed := make(chan struct{})
	go func() { // also when what follows never returns
		defer close(thawed)
		late := time.NewTimer(frozenMost)
		defer late.Stop()
		hurried := false
		select {
		case <-done:
		case <-late.C:
			hurried = true
		}
		var err error
		if b.t.Frozen, err = f.thaw(ctx); err != nil {
			b.t.NotQuiesced = "its guest agent did not thaw it (berth goes on trying): " + err.Error()
		}
		if hurried {
			b.t.Quiesced = false
			b.t.NotQuiesced = fmt.Sprintf("the job did not begin within %v, so that the guest was thawed before", frozenMost)
		}
	}()
	err := func() error { // a panic of go-libvirt's comes back as an error, see guarded
		defer close(done)
		return b.beginOr(ctx)
	}()
	<-thawed
	return err
}

// beginOr begins the job, without a checkpoint where libvirt makes none.
func (b *begin) beginOr(ctx context.Context) error {
	err := b.begin(ctx)
	for tries := 1; err != nil && tries < 3 && untimely(err); tries++ {
		err = b.begin(ctx)
	}
	if err == nil || b.t.Checkpoint == "" || !b.noCheckpoints(err) {
		return err
	}
	b.t.NoCheck, b.t.Checkpoint = "libvirt makes none: "+coded(err).Error(), ""
	return b.begin(ctx)
}

// untimely reports whether QEMU could not time its key derivation for an
// encrypted scratch file, as happens on a busy machine (before QEMU 9.1).
func untimely(err error) bool { return strings.Contains(coded(err).Error(), "accurate CPU usage") }

// noCheckpoints reports whether a begin failed for its checkpoint alone, as
// with an image of qcow2's first version or a domain with snapshots.
func (b *begin) noCheckpoints(err error) bool {
	text := coded(err).Error()
	return !errors.Is(err, backend.ErrBitmap) && (unsupported(err) && strings.Contains(text, "checkpoint") ||
		strings.Contains(text, "qcow2 v2") || strings.Contains(text, "bitmap"))
}

// begin begins the job, or leaves nothing behind.
func (b *begin) begin(ctx context.Context) error {
	job, point := b.describe()
	bctx, cancel := context.WithTimeout(ctx, jobWait)
	defer cancel()
	_, err := tell(bctx, b.s.h.backup, func(lv *libvirt.Libvirt) (struct{}, error) {
		return struct{}{}, lv.DomainBackupBegin(b.s.dom, job, point, 0)
	})
	b.t.At = b.s.h.now()
	if err == nil {
		return nil
	}
	if b.since != nil && brokenBitmap(err) {
		err = fmt.Errorf("%w: %w", backend.ErrBitmap, coded(err))
	}
	return errors.Join(err, b.undo(ctx, err))
}

// brokenBitmap reports whether libvirt refuses a checkpoint as a base.
func brokenBitmap(err error) bool {
	if hasCode(err, libvirt.ErrCheckpointInconsistent) || hasCode(err, libvirt.ErrNoDomainCheckpoint) {
		return true
	}
	text := coded(err).Error()
	return strings.Contains(text, "missing or broken bitmap") || strings.Contains(text, "bitmap") && strings.Contains(text, "inconsistent")
}

// undo removes what a begin that failed may have left. When nobody can tell
// whether it did, that goes on in the background: the job may yet begin.
func (b *begin) undo(ctx context.Context, err error) error {
	l := &liveSession{s: b.s, m: b.m, t: b.t}
	ctx = context.WithoutCancel(ctx)
	if errors.As(coded(err), new(*daemonError)) {
		return l.clean(ctx)
	}
	b.s.h.spawn(func() {
		tick := time.NewTicker(thawEvery)
		defer tick.Stop()
		for until := b.s.h.now().Add(jobWait); b.s.h.now().Before(until); {
			_ = l.end(ctx) // tried again, and leftovers are found later
			select {
			case <-tick.C:
			case <-b.s.h.life.Done():
				return
			}
		}
		_ = l.clean(ctx) // likewise
	})
	return nil
}

// describe writes the job and its checkpoint.
func (b *begin) describe() (job string, point libvirt.OptString) {
	x := backupXML{Mode: "pull", Server: &backupServerXML{Transport: "unix", Socket: b.t.Socket}}
	c := newCheckpointXML{Name: b.t.Checkpoint, Description: b.t.begun()}
	incremental := slices.ContainsFunc(b.t.Disks, func(d tokenDisk) bool { return d.Incremental })
	if incremental {
		x.Incremental = b.since.Name
	}
	for i, d := range b.t.Disks {
		name := b.s.xml.Devices.Disks[i].Target.Dev
		if d.Skip != "" {
			x.Disks = append(x.Disks, backupDiskXML{Name: name, Backup: "no"})
			c.Disks = append(c.Disks, checkpointDiskXML{name, "no"})
			continue
		}
		disk := backupDiskXML{Name: name, Backup: "yes", Type: "file", ExportName: name,
			Scratch: &scratchXML{File: b.t.Scratch[i], Encryption: b.s.xml.Devices.Disks[i].luks()}}
		switch {
		case d.Incremental:
			disk.ExportBitmap = dirtyBitmap(d.Target)
		case incremental:
			disk.Mode = "full"
		}
		x.Disks = append(x.Disks, disk)
		kind := "no"
		if b.records[d.Target] {
			kind = "bitmap"
		}
		c.Disks = append(c.Disks, checkpointDiskXML{name, kind})
	}
	if b.t.Checkpoint != "" {
		point = libvirt.OptString{marshal(c)}
	}
	return marshal(x), point
}

// dirtyBitmap is the name under which a disk's changes are exported.
func dirtyBitmap(target string) string { return "dirty-" + target }
