package demo

import (
	"context"
	"fmt"

	"berth/backend"
)

// Token is what ResumeBackup needs.
func (s *session) Token() string { return s.token }

// Point describes the point in time.
func (s *session) Point() backend.BackupPoint { return s.point }

// ResumeBackup takes up a session that was closed.
func (h *host) ResumeBackup(ctx context.Context, id backend.UUID, token string) (backend.BackupSession, error) {
	const op = "go on with the backup of"
	if err := h.enter(ctx, op); err != nil {
		return nil, err
	}
	defer h.leave()
	s := h.fleet.stock.sessions[token]
	if s == nil || s.h != h || s.v.row.UUID != id {
		return nil, failed(op, id.String(), fmt.Errorf("%w: its backup has ended", backend.ErrNoJob), "begin a new one")
	}
	if err := s.ended(); err != nil {
		return nil, failed(op, s.v.row.Name, fmt.Errorf("%w: %w", backend.ErrNoJob, err), "begin a new one")
	}
	return s, nil
}

// Watch says why the session must end at once, or nil.
func (s *session) Watch(ctx context.Context) error {
	if err := s.h.enter(ctx, opBackup); err != nil {
		return err
	}
	defer s.h.leave()
	err := s.ended()
	if err == nil && s.running {
		err = s.fills()
	}
	if err != nil {
		return failed(opBackup, s.v.row.Name, err, hintBackup(err))
	}
	return nil
}

// ended says that the session is over or its domain is not as it was.
func (s *session) ended() error {
	switch {
	case s.past && !s.over:
		return nil
	case s.over:
		return fmt.Errorf("%w: the backup has ended", backend.ErrNoJob)
	case s.alive():
		return nil
	case s.running:
		return fmt.Errorf("%w: the domain stopped, and its backup job with it", backend.ErrNoJob)
	}
	return fmt.Errorf("%w: the domain was started while its images were read", backend.ErrState)
}

// crampedRoom is what scratch files have on the host's disk of the first
// machine that keeps logs, which writes more than that while it is read.
const crampedRoom = 1 * mib

// fills says that the scratch files are about to fill their disk.
func (s *session) fills() error {
	f, v := s.h.fleet, s.v
	if s.r.ScratchDir != "" {
		return nil
	}
	if f.now < v.fullUntil {
		return fmt.Errorf("%w for scratch files: the storage pool is full", backend.ErrNoRoom)
	}
	if used := s.scratch(); v.cramped() && used > crampedRoom*9/10 {
		return fmt.Errorf("%w for scratch files: %d KiB of %d KiB are used, and the guest goes on writing", backend.ErrNoRoom, used/kib, int64(crampedRoom/kib))
	}
	return nil
}

// scratch is how much the scratch files hold: each grain that the guest wrote
// to since the point in time, as it was before.
func (s *session) scratch() (sum int64) {
	s.v.owe()
	for i, img := range s.images {
		sum += min(int64(img.due)-s.due[i], mostPlaces) * slotSize * 2
	}
	return sum
}

// cramped reports whether there is too little room beside the machine's images.
func (v *vm) cramped() bool {
	if v.role.key != "log" || v.fleet().opts.Calm {
		return false
	}
	for _, h := range v.fleet().hosts {
		for _, o := range h.vms {
			if o.role == v.role {
				return o == v
			}
		}
	}
	return false
}

// Commit ends the session after its backup is safe.
func (s *session) Commit(ctx context.Context) error {
	if err := s.h.enter(ctx, "commit the backup of"); err != nil {
		return err
	}
	if s.over {
		s.h.leave()
		return nil
	}
	if err := s.ended(); err != nil {
		s.h.leave()
		return failed("commit the backup of", s.v.row.Name, err, "abort it and make another one")
	}
	v := s.v
	s.end()
	if name := s.point.Checkpoint; name != "" {
		if v.kept == nil {
			v.kept = map[string]bool{}
		}
		v.kept[name] = true
		if s.past {
			s.addCheckpoint()
			v.keepIfSound(name)
		}
	}
	for _, name := range s.r.Drop {
		v.dropCheckpoint(name)
	}
	s.h.tell(v, backend.EventJob, "completed", "backup")
	s.h.leave()
	dropMarks(s.images, s.r.Drop...)
	return s.removeFiles()
}

// keepIfSound notes that a bitmap of the past was lost when the machine's QEMU
// died meanwhile.
func (v *vm) keepIfSound(name string) {
	if v.crashed {
		v.lose(name)
	}
}

// Abort ends the session and leaves nothing behind.
func (s *session) Abort(context.Context) error {
	f := s.h.fleet
	f.mu.Lock()
	over := s.over
	f.mu.Unlock()
	if over {
		return nil
	}
	return s.discard()
}

// Close leaves the session alive.
func (s *session) Close() error { return nil }

// loseBitmaps is what becomes of bitmaps when their QEMU is killed: they stay
// marked as in use, and nobody may trust them.
func (v *vm) loseBitmaps() {
	v.crashed = true
	for i := range v.checkpoints {
		v.lose(v.checkpoints[i].Name)
	}
}

func (v *vm) lose(name string) {
	if v.lost == nil {
		v.lost = map[string]bool{}
	}
	v.lost[name] = true
}
