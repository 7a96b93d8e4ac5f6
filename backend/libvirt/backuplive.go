package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

// scratchSuffix ends the names of scratch files.
const scratchSuffix = ".scratch"

// liveSession is a backup job of a running domain.
type liveSession struct {
	s *subject
	m dial.Machine
	t *token
	p backend.BackupPoint

	mu   sync.Mutex
	over bool
	said time.Time         // when it was said last that somebody minds it
	room map[string]uint64 // free space when it was looked at last, by folder
}

// Token implements backend.BackupSession.
func (l *liveSession) Token() string { return l.t.String() }

// Point implements backend.BackupSession.
func (l *liveSession) Point() backend.BackupPoint { return l.p }

// offer makes the point's accesses.
func (l *liveSession) offer() {
	for _, d := range l.t.Disks {
		if d.Skip != "" {
			continue
		}
		a := backend.DiskAccess{Size: d.Size, Dial: l.dial, Export: d.Target}
		if d.Incremental {
			a.Bitmap = dirtyBitmap(d.Target)
		}
		l.p.Disks = append(l.p.Disks, backend.PointAccess{BackupDisk: d.disk(), Access: a, Incremental: d.Incremental, WhyFull: d.WhyFull})
	}
}

func (l *liveSession) dial(ctx context.Context) (net.Conn, error) {
	return l.m.DialUnix(ctx, l.t.Socket)
}

// reach makes sure that the socket can be used before anybody counts on it.
func (l *liveSession) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	c, err := l.dial(ctx)
	if err != nil {
		return fmt.Errorf("the backup's NBD server cannot be reached: %w", onFile(err))
	}
	return c.Close()
}

// resumeLive takes up a job that another process began.
func (s *subject) resumeLive(ctx context.Context, m dial.Machine, t *token) (*liveSession, error) {
	l := &liveSession{s: s, m: m, t: t}
	if err := l.alive(ctx); err != nil {
		return nil, err
	}
	var err error
	if l.p, err = s.point(ctx, m, t); err != nil {
		return nil, err
	}
	l.offer()
	return l, l.reach(ctx)
}

// alive tells whether the job is this session's still.
func (l *liveSession) alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	j, err := l.s.backupJob(ctx)
	switch {
	case gone(err):
		return errJobGone("the VM is gone")
	case err != nil:
		return err
	case j == nil:
		return errJobGone("the VM stopped, or somebody ended it")
	case j.Server == nil || j.Server.Socket != l.t.Socket:
		return errJobGone("another has begun")
	}
	return nil
}

// Watch implements backend.BackupSession. None of it reaches the QEMU.
func (l *liveSession) Watch(ctx context.Context) error {
	err := l.alive(ctx)
	if err == nil {
		err = l.unpaused(ctx)
	}
	if err == nil {
		err = l.roomy(ctx)
	}
	if err == nil {
		l.sayAlive(ctx)
	}
	return failed("back up", l.s.name, err)
}

// unpaused looks whether the scratch file's disk filled up faster than anybody saw.
func (l *liveSession) unpaused(ctx context.Context) error {
	state, reason, err := l.s.stateNow(ctx)
	if err != nil {
		return err
	}
	if stateOf(state) == backend.Paused && reason == int32(libvirt.DomainPausedIoerror) && !l.t.IOPaused {
		return fmt.Errorf("%w: the guest was paused by an I/O error, as when the scratch files' disk is full", backend.ErrNoRoom)
	}
	return nil
}

// ioPaused reports whether it was paused by an I/O error when it was looked at first.
func (s *subject) ioPaused() bool {
	return stateOf(s.state) == backend.Paused && s.reason == int32(libvirt.DomainPausedIoerror)
}

func (s *subject) stateNow(ctx context.Context) (state, reason int32, err error) {
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	type both struct{ state, reason int32 }
	b, err := ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) (b both, err error) {
		b.state, b.reason, err = lv.DomainGetState(s.dom, 0)
		return b, err
	})
	return b.state, b.reason, err
}

// roomy compares the room beside the scratch files with what may be needed
// before the next look: three times what went since the last, and a reserve.
// A scratch file grows no larger than its disk.
func (l *liveSession) roomy(ctx context.Context) error {
	grow := map[string]uint64{}
	for i, d := range l.t.Disks {
		if i < len(l.t.Scratch) && l.t.Scratch[i] != "" {
			grow[path.Dir(l.t.Scratch[i])] += uint64(d.Size)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room == nil {
		l.room = map[string]uint64{}
	}
	for dir, most := range grow {
		free, size, err := l.m.Room(ctx, dir)
		if err != nil {
			return onFile(err)
		}
		reserve := max(reserveLeast, min(size/100, 256<<20))
		if before := l.room[dir]; before > free {
			reserve += 3 * (before - free)
		}
		l.room[dir] = free
		if free < min(reserve, most) {
			return &backend.OpError{Op: "keep scratch files in", Target: backend.Clean(dir), Hint: "free space there, or name another folder for scratch files",
				Err: fmt.Errorf("%w: %d MiB are left", backend.ErrNoRoom, free>>20)}
		}
	}
	return nil
}

// Commit implements backend.BackupSession.
func (l *liveSession) Commit(ctx context.Context) error {
	if !l.finish() {
		return nil
	}
	err := l.end(ctx)
	if err == nil && l.t.Checkpoint != "" {
		err = l.s.markSafe(ctx, l.t.Checkpoint)
	}
	for _, name := range l.t.Drop {
		if err == nil && name != l.t.Checkpoint && name != "" { // else the older ones are all there is
			err = errors.Join(err, l.s.deleteCheckpoint(ctx, name))
		}
	}
	err = errors.Join(err, l.sweep(ctx), l.resumeGuest(ctx))
	if gone(err) { // the VM was deleted; the backup of it is as good
		err = nil
	}
	return failed("end the backup of", l.s.name, l.unless(err))
}

// Abort implements backend.BackupSession.
func (l *liveSession) Abort(ctx context.Context) error {
	if !l.finish() {
		return nil
	}
	return failed("give up the backup of", l.s.name, l.unless(l.clean(ctx)))
}

// Close implements backend.BackupSession. The job is libvirt's.
func (l *liveSession) Close() error { return nil }

// finish is true for the first caller.
func (l *liveSession) finish() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !l.over
	l.over = true
	return first
}

// unless lets the session be ended again when that failed.
func (l *liveSession) unless(err error) error {
	if err != nil {
		l.mu.Lock()
		l.over = false
		l.mu.Unlock()
	}
	return err
}

// clean removes everything that the session made.
func (l *liveSession) clean(ctx context.Context) error {
	err := l.end(ctx)
	if l.t.Checkpoint != "" {
		err = errors.Join(err, l.s.dropBegun(ctx, l.t))
	}
	err = errors.Join(err, l.sweep(ctx), l.resumeGuest(ctx))
	if gone(err) {
		return nil
	}
	return err
}

// end ends the job and waits until it has ended. Somebody else's is left alone.
func (l *liveSession) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, jobWait)
	defer cancel()
	wait := 5 * time.Millisecond
	var refused error
	for first := true; ; first = false {
		err := l.alive(ctx)
		if errors.Is(err, backend.ErrNoJob) {
			return nil
		}
		if err != nil {
			return err
		}
		if first {
			_, err = ask(ctx, l.s.h.backup, func(lv *libvirt.Libvirt) (struct{}, error) { return struct{}{}, lv.DomainAbortJob(l.s.dom) })
			if err != nil && !isDaemons(err) {
				return err
			}
			// It has just ended, or ends with its QEMU: libvirt takes half a minute
			// to notice that one is gone during a job.
			refused = coded(err)
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, 250*time.Millisecond)
		case <-ctx.Done():
			return fmt.Errorf("the job does not end: %w", errors.Join(ended(ctx), refused))
		}
	}
}

// sweep removes scratch files, which libvirt does as a rule.
func (l *liveSession) sweep(ctx context.Context) error {
	var errs []error
	for _, f := range l.t.Scratch {
		if f == "" {
			continue
		}
		if err := l.m.Remove(ctx, f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, onFile(err))
		}
	}
	return errors.Join(append(errs, l.sayNoMore(ctx))...)
}

// resumeGuest lets a guest go on that a full scratch file paused.
func (l *liveSession) resumeGuest(ctx context.Context) error {
	if l.t.IOPaused {
		return nil
	}
	state, reason, err := l.s.stateNow(ctx)
	if err != nil || stateOf(state) != backend.Paused || reason != int32(libvirt.DomainPausedIoerror) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, jobWait)
	defer cancel()
	_, err = ask(ctx, l.s.h.backup, func(lv *libvirt.Libvirt) (struct{}, error) { return struct{}{}, lv.DomainResume(l.s.dom) })
	return err
}
