package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/backend"
	"berth/backend/image/repo"
	"berth/backend/store"
)

// work is one attempt at a backup.
type work struct {
	*task
	host    backend.Backuper
	repo    *opened
	base    *repo.Manifest
	session backend.BackupSession // nil: none is open
	point   backend.BackupPoint
}

// endDeadline bounds what is asked of a host when a backup ends or is undone.
const endDeadline = 2 * time.Minute

// backup takes a point in time of a VM into its repository.
func (k *task) backup(ctx context.Context) (result, error) {
	h, err := k.hostOf(ctx)
	if err != nil {
		return result{}, err
	}
	b, ok := h.(backend.Backuper)
	if !ok {
		return result{}, fmt.Errorf("%w: %s cannot back up VMs", backend.ErrUnsupported, k.x.Spec.VM.Host)
	}
	w := &work{task: k, host: b}
	m, said, err := w.all(ctx)
	err = w.end(ctx, err)
	if err != nil {
		return result{}, err
	}
	p := PointOf(k.x.Spec.Repo.URL, &m)
	state := k.repoState(ctx, w.repo)
	if err := w.repo.Close(); err != nil {
		said = append(said, words(err))
	}
	return result{point: m.ID, words: joined(said), more: func(tx *store.Tx) error {
		if err := tx.PutPoint(p); err != nil {
			return err
		}
		return state(tx)
	}}, nil
}

// all goes through the steps; what an earlier attempt came to is gone on from.
func (w *work) all(ctx context.Context) (m repo.Manifest, said []string, err error) {
	if err := w.openRepo(ctx); err != nil {
		return m, nil, err
	}
	done, m, err := w.recover(ctx)
	if err != nil {
		return m, nil, err
	}
	if !done {
		if w.session == nil {
			if err := w.begin(ctx); err != nil {
				return m, nil, err
			}
		}
		if m, err = w.read(ctx); err != nil {
			return m, nil, err
		}
	}
	said, err = w.settle(ctx, &m)
	return m, said, err
}

// end lets go of the session: it is ended unless somebody will go on with it.
func (w *work) end(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var errs []error
	if w.session != nil {
		if errors.Is(err, errDies) || errors.Is(err, store.ErrLeaseLost) || errors.Is(stopped(ctx), errEnding) {
			errs = append(errs, w.session.Close())
		} else if e := w.abort(ctx); e != nil {
			err = errors.Join(err, e)
		}
	}
	if e := errors.Join(append(errs, w.repo.Close())...); e != nil && !lost(err) {
		return errors.Join(err, e)
	}
	return err
}

func (w *work) openRepo(ctx context.Context) error {
	if w.repo != nil {
		return nil
	}
	return w.briefly(ctx, func() (err error) {
		w.repo, err = w.o.openRepo(ctx, w.x.Spec.Repo)
		return err
	}, func(error) error { return nil })
}

// abort ends the session and leaves nothing of it on the host. Its error says
// that something may be left; the note still tells of it then.
func (w *work) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endDeadline)
	defer cancel()
	w.n.Abort = true
	if err := w.save(ctx, "abort"); err != nil {
		return errors.Join(err, w.session.Close())
	}
	err := w.session.Abort(ctx)
	w.record("backup-abort", "", err)
	if e := w.at("aborted"); e != nil {
		return e
	}
	if err != nil {
		return errors.Join(fmt.Errorf("and it could not be ended cleanly: %w", err), w.session.Close())
	}
	w.session = nil
	w.n.forget()
	return w.save(ctx, "forget")
}

// settle ends the session of a backup whose manifest is safe, and says what is
// to be said of that.
func (w *work) settle(ctx context.Context, m *repo.Manifest) (said []string, err error) {
	w.meter.phase(backend.PhaseFinishing)
	if w.point.NotQuiesced != "" {
		said = append(said, "not quiesced: "+backend.Clean(w.point.NotQuiesced))
	}
	if w.session == nil {
		return append(said, "the session had ended when the backup was safe"), nil
	}
	// A cancel that comes now comes too late.
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), endDeadline)
	defer cancel()
	if err := w.at("commit session/before"); err != nil {
		return nil, err
	}
	err = w.briefly(late, func() error { return w.session.Commit(late) }, func(error) error { return w.rejoin(late) })
	w.record("backup", "point "+m.ID, err)
	if e := w.at("commit session/done"); e != nil {
		return nil, e
	}
	switch {
	case err == nil:
	case errors.Is(err, backend.ErrState): // what was read may not be of one moment
		return nil, errors.Join(w.disown(late, m), err)
	default:
		said = append(said, "the next backup will be a full one: "+words(err))
		if e := w.abortQuietly(late); e != nil {
			said = append(said, words(e))
		}
	}
	w.session = nil
	return said, nil
}

// abortQuietly ends a session whose backup is safe and that could not be ended
// well.
func (w *work) abortQuietly(ctx context.Context) error {
	if w.session == nil {
		return nil
	}
	if err := w.session.Abort(ctx); err != nil {
		return errors.Join(fmt.Errorf("its job may be left on %s: %w", w.x.Spec.VM.Host, err), w.session.Close())
	}
	return nil
}

// disown forgets a manifest that turned out not to be of one moment.
func (w *work) disown(ctx context.Context, m *repo.Manifest) error {
	if err := w.repo.Forget(ctx, m.ID); err != nil {
		return fmt.Errorf("and the point %s, which is not to be trusted, could not be forgotten: %w", m.ID, err)
	}
	w.n.Manifest = ""
	return nil
}

// rejoin takes the session up again after its connection was lost. It wraps
// errGone when there is nothing to take up.
func (w *work) rejoin(ctx context.Context) error {
	if w.session == nil || w.session.Watch(ctx) == nil {
		return nil
	}
	if err := w.session.Close(); err != nil && !lost(err) {
		return err
	}
	s, err := w.host.ResumeBackup(ctx, w.x.Spec.VM.UUID, w.n.Token)
	switch {
	case errors.Is(err, backend.ErrNoJob):
		return fmt.Errorf("%w: %w", errGone, err)
	case err != nil:
		return nil // the next try tells
	}
	w.takeUp(s)
	return nil
}

// takeUp goes on with a session that was begun before.
func (w *work) takeUp(s backend.BackupSession) {
	w.session, w.point = s, s.Point()
	if w.n.XML != "" {
		w.point.XML, w.point.Stored = w.n.XML, w.n.Stored
	}
}
