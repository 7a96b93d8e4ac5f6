package libvirt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

var _ backend.Backuper = (*Host)(nil)

// jobWait bounds what changes a domain for a backup: a begin, an end, the
// deletion of a checkpoint.
const jobWait = 60 * time.Second

// BeginBackup implements backend.Backuper. It needs a connection by unix socket
// or ssh: the disks are read beside libvirt.
func (h *Host) BeginBackup(ctx context.Context, r backend.BackupRequest) (backend.BackupSession, error) {
	const op = "back up"
	name := r.Name
	if name == "" {
		name = h.label(r.VM)
	}
	if err := h.writable(op, name); err != nil {
		return nil, err
	}
	s, err := h.subject(ctx, r.VM)
	if err != nil {
		return nil, failed(op, name, err)
	}
	m, err := h.machine(ctx)
	if err != nil {
		return nil, failed(op, name, err)
	}
	var session backend.BackupSession
	if s.runs {
		session, err = s.beginLive(ctx, m, &r)
	} else {
		session, err = s.beginOff(ctx, m, &r)
	}
	if err != nil {
		return nil, failed(op, name, err)
	}
	return session, nil
}

// ResumeBackup implements backend.Backuper.
func (h *Host) ResumeBackup(ctx context.Context, u backend.UUID, text string) (backend.BackupSession, error) {
	const op = "go on with the backup of"
	if err := h.writable(op, h.label(u)); err != nil {
		return nil, err
	}
	session, err := h.resume(ctx, u, text)
	if err != nil {
		return nil, failed(op, h.label(u), err)
	}
	return session, nil
}

func (h *Host) resume(ctx context.Context, u backend.UUID, text string) (backend.BackupSession, error) {
	t, err := parseToken(text)
	if err != nil {
		return nil, err
	}
	if t.VM != u {
		return nil, fmt.Errorf("%w: the token is of another VM", backend.ErrInvalid)
	}
	s, err := h.subject(ctx, u)
	if err != nil {
		return nil, err
	}
	m, err := h.machine(ctx)
	if err != nil {
		return nil, err
	}
	if t.Running {
		return s.resumeLive(ctx, m, t)
	}
	return s.resumeOff(ctx, m, t)
}

// errJobGone is the error of a session that has ended by itself.
func errJobGone(why string) error {
	return fmt.Errorf("%w: the backup job has ended (%s)", backend.ErrNoJob, why)
}

// wanted is the disks that are backed up; without any the error wraps
// ErrUnsupported.
func wanted(disks []backend.BackupDisk) error {
	for _, d := range disks {
		if d.Skip == "" {
			return nil
		}
	}
	return fmt.Errorf("%w: it has no disk that can be backed up", backend.ErrUnsupported)
}

// point is what both kinds of sessions offer.
func (s *subject) point(ctx context.Context, m dial.Machine, t *token) (backend.BackupPoint, error) {
	p := backend.BackupPoint{
		At: t.At, Running: t.Running, Quiesced: t.Quiesced, Frozen: t.Frozen, NotQuiesced: t.NotQuiesced,
		Checkpoint: t.Checkpoint, NoCheckpoint: t.NoCheck, XML: s.text,
	}
	stored, err := s.h.xml(ctx, s.uuid(), storedXML)
	switch {
	case err == nil:
		p.Stored = stored
	case !errors.As(coded(err), new(*daemonError)):
		return p, err
	}
	p.Files, err = s.files(ctx, m)
	return p, err
}
