package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/backend"
	"berth/backend/image/repo"
)

// recover finds out what became of an attempt that nobody saw the end of. It is
// done when its manifest is safe; else the session that still lives is taken
// up, or what a dead one left is removed.
func (w *work) recover(ctx context.Context) (done bool, m repo.Manifest, err error) {
	if !w.n.began() {
		return false, m, nil
	}
	if w.n.Token != "" {
		s, err := w.host.ResumeBackup(ctx, w.x.Spec.VM.UUID, w.n.Token)
		switch {
		case err == nil:
			w.takeUp(s)
		case !errors.Is(err, backend.ErrNoJob) && !errors.Is(err, backend.ErrNoDomain) && !errors.Is(err, backend.ErrState):
			return false, m, err
		}
	}
	m, found, err := w.committed(ctx)
	if err != nil {
		return false, m, err
	}
	switch {
	case found && !w.n.Abort:
		return true, m, nil
	case w.session != nil && w.n.Abort:
		return false, m, w.abort(ctx)
	case w.session == nil:
		if err := w.cleanLeftovers(ctx); err != nil {
			return false, m, err
		}
		w.n.forget()
		return false, m, w.save(ctx, "forget")
	}
	if w.n.Base != "" {
		base, err := w.repo.Point(ctx, w.n.Base)
		if err != nil { // it was forgotten meanwhile: what is read goes nowhere
			return false, m, errors.Join(w.abort(ctx), err)
		}
		w.base = &base
	}
	return false, m, nil
}

// committed looks for the manifest of the attempt: who made it may have died
// before it could say so. Checkpoints are named once.
func (w *work) committed(ctx context.Context) (m repo.Manifest, found bool, err error) {
	if w.n.At.IsZero() {
		return m, false, nil
	}
	points, err := w.repo.Points(ctx)
	for _, p := range points {
		if p.VM == w.x.Spec.VM.UUID && p.At.Equal(w.n.At) && (p.Checkpoint == w.n.Checkpoint || p.Checkpoint == "") {
			return p, true, nil
		}
	}
	if err != nil && lost(err) {
		return m, false, err
	}
	return m, false, nil
}

// slack is by how much the clocks of host and engine may differ.
const slack = 2 * time.Minute

// cleanLeftovers removes what this transfer's dead session left on the host.
func (k *task) cleanLeftovers(ctx context.Context) error {
	h, err := k.hostOf(ctx)
	if err != nil {
		return err
	}
	b, ok := h.(backend.Backuper)
	if !ok {
		return fmt.Errorf("%w: %s cannot back up VMs", backend.ErrUnsupported, k.x.Spec.VM.Host)
	}
	list, err := b.Leftovers(ctx, k.alive(k.x.Spec.VM.Host))
	if err != nil {
		return err
	}
	for _, l := range list {
		if !k.left(&l) {
			continue
		}
		err := b.CleanUp(ctx, l)
		k.record("backup-clean", l.Kind+" "+l.What, err)
		if err != nil && !errors.Is(err, backend.ErrNoDomain) {
			return err
		}
	}
	return nil
}

// left reports whether something is this transfer's own: what others left is
// theirs to clean, or a person's.
func (k *task) left(l *backend.Leftover) bool {
	mine := l.VM == k.x.Spec.VM.UUID
	young := l.Since.IsZero() || !l.Since.Before(k.n.Asked.Add(-slack))
	switch l.Kind {
	case "checkpoint":
		return mine && l.What == k.n.Checkpoint
	case "scratch": // of no job that lives, and not always known of which VM
		return (mine || l.VM.IsZero()) && young
	}
	return mine && young
}

// cleanBackup ends what a backup that has ended left on its host.
func (k *task) cleanBackup(ctx context.Context) error {
	h, err := k.hostOf(ctx)
	if err != nil {
		return err
	}
	if b, ok := h.(backend.Backuper); ok && k.n.Token != "" {
		s, err := b.ResumeBackup(ctx, k.x.Spec.VM.UUID, k.n.Token)
		switch {
		case err == nil:
			if err := s.Abort(ctx); err != nil {
				return errors.Join(err, s.Close())
			}
		case !errors.Is(err, backend.ErrNoJob) && !errors.Is(err, backend.ErrNoDomain) && !errors.Is(err, backend.ErrState):
			return err
		}
	}
	if err := k.cleanLeftovers(ctx); err != nil {
		return err
	}
	k.n.forget()
	return k.save(ctx, "forget")
}
