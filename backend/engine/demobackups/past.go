package demobackups

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"berth/backend"
	"berth/backend/engine/backup"
	"berth/backend/image/disk"
	"berth/backend/image/place"
	"berth/backend/image/repo"
	"berth/backend/store"
)

// past is the making of what was before the demo began.
type past struct {
	b    *Backups
	ref  backend.RepoRef
	repo *repo.Repo
	now  atomic.Pointer[time.Time] // when the repository believes it is
	bad  []string                  // points to be damaged
	old  map[time.Time][]string    // points by when they were verified
	last map[backend.UUID]*made
}

// made is the last point of a VM.
type made struct {
	point backend.Point
	m     repo.Manifest
}

// past makes the repository, its points and what is planned. Without a host
// that tells its past there is neither.
func (b *Backups) past(ctx context.Context) (err error) {
	var dir string
	for _, h := range b.hosts {
		if d, ok := h.(Host); ok {
			if dir, err = d.BackupDir(ctx); err != nil {
				return fmt.Errorf("make the demo's repository: %w", err)
			}
			break
		}
	}
	if dir == "" {
		return nil
	}
	p := &past{b: b, ref: backend.RepoRef{URL: dir}, old: map[time.Time][]string{}, last: map[backend.UUID]*made{}}
	if err := p.open(ctx, dir); err != nil {
		return fmt.Errorf("make the demo's repository: %w", err)
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.live(ctx); err != nil {
		return fmt.Errorf("make the demo's past: %w", err)
	}
	return p.plan(ctx)
}

func (p *past) open(ctx context.Context, dir string) error {
	start := p.b.o.Clock.Now()
	p.now.Store(&start)
	at, err := place.OpenLocal(dir, true)
	if err != nil {
		return err
	}
	r, err := repo.Init(ctx, at, repo.InitOptions{Label: "the demo's backups", PackSize: repo.MinPackSize})
	if err != nil {
		return errors.Join(err, at.Close())
	}
	if err := r.Close(); err != nil {
		return errors.Join(err, at.Close())
	}
	p.repo, err = repo.Open(ctx, at, repo.Secret{}, repo.Options{Workers: 1, Now: func() time.Time { return *p.now.Load() }})
	if err != nil {
		return errors.Join(err, at.Close())
	}
	return p.b.Refresh(ctx, p.ref)
}

func (p *past) close() error { return errors.Join(p.repo.Close(), p.repo.Place().Close()) }

// live makes the points of all hosts, and what befell some of them.
func (p *past) live(ctx context.Context) error {
	for _, h := range p.b.hosts {
		d, ok := h.(Host)
		if !ok {
			continue
		}
		points, err := d.PastBackups(ctx)
		if errors.Is(err, backend.ErrUnreachable) {
			continue // it is lost just now, and so is its past
		}
		if err != nil {
			return err
		}
		for _, was := range points {
			if err := p.point(ctx, d, was); err != nil && !passes(err) {
				return err
			}
		}
	}
	return p.befall(ctx)
}

// passes reports whether one point fewer is no harm.
func passes(err error) bool {
	for _, e := range []error{backend.ErrNoDomain, backend.ErrUnreachable, backend.ErrBusy, backend.ErrUnsupported, backend.ErrNoStorage, backend.ErrBitmap} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// point makes one point, as the runner would have then.
func (p *past) point(ctx context.Context, h Host, was backend.Point) error {
	now := was.At.Add(41 * time.Second)
	p.now.Store(&now)
	r := backend.BackupRequest{VM: was.VM, Name: was.Name, Checkpoint: fmt.Sprintf("berth-%.8s-%d", p.repo.ID(), was.At.Unix())}
	base := p.last[was.VM]
	if base != nil && base.m.Checkpoint != "" {
		r.Since, r.Drop = base.m.Checkpoint, []string{base.m.Checkpoint}
	}
	s, err := h.BeginPast(ctx, was, r)
	if err != nil {
		return err
	}
	m, err := p.write(ctx, s, was, base)
	if err != nil {
		return errors.Join(err, s.Abort(context.WithoutCancel(ctx)))
	}
	if err := s.Commit(ctx); err != nil {
		return errors.Join(err, s.Abort(context.WithoutCancel(ctx)))
	}
	p.last[was.VM] = &made{was, m}
	if was.Damaged != "" {
		p.bad = append(p.bad, m.ID)
	}
	if !was.Verified.IsZero() {
		p.old[was.Verified] = append(p.old[was.Verified], m.ID)
	}
	return p.enter(ctx, &m)
}

// write puts the session's disks into the repository.
func (p *past) write(ctx context.Context, s backend.BackupSession, was backend.Point, base *made) (m repo.Manifest, err error) {
	o := repo.WriteOptions{}
	if base != nil {
		o.Base = &base.m
	}
	w, err := p.repo.Begin(ctx, o)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	point, full := s.Point(), true
	for i := range point.Disks {
		if point.Disks[i].Incremental = point.Disks[i].Incremental && base != nil; point.Disks[i].Incremental {
			full = false
		}
		if err := addDisk(ctx, w, &point.Disks[i]); err != nil {
			return m, err
		}
	}
	for _, f := range append([]backend.PointFile{{Kind: "xml", Content: []byte(point.XML)}, {Kind: "stored-xml", Content: []byte(point.Stored)}}, point.Files...) {
		if err := w.AddFile(ctx, f.Kind, f.Path, f.Content); err != nil {
			return m, err
		}
	}
	m = repo.Manifest{VM: was.VM, Name: was.Name, Host: was.Host, Owner: was.Owner, At: was.At, Running: was.Running, Quiesced: was.Quiesced,
		Full: full, Checkpoint: point.Checkpoint, Tags: was.Tags}
	if full {
		m.Why = "the first of this VM in this repository"
	} else {
		m.Base = base.m.ID
	}
	return w.Commit(ctx, m)
}

func addDisk(ctx context.Context, w *repo.Writer, d *backend.PointAccess) (err error) {
	r, err := disk.Open(ctx, d.Access)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	_, err = w.AddDisk(ctx, repo.Disk{Target: d.Target, Path: d.Path, Format: d.Format, Why: d.WhyFull}, r, d.Incremental)
	return err
}

// enter shows a point, and the transfer that made it if that is not long ago.
func (p *past) enter(ctx context.Context, m *repo.Manifest) error {
	return p.b.store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.PutPoint(backup.PointOf(p.ref.URL, m)); err != nil {
			return err
		}
		if p.b.o.Clock.Now().Sub(m.At) > 36*time.Hour {
			return nil
		}
		_, err := tx.AddTransfer(backend.Transfer{
			Spec:  backend.TransferSpec{Kind: backend.TransferBackup, VM: backend.Key{Host: m.Host, UUID: m.VM}, Name: m.Name, Repo: p.ref, Limit: Pace},
			Owner: m.Owner, State: backend.TransferDone, Since: m.Finished, Ordered: m.At.Add(-3 * time.Second), Started: m.At.Add(-2 * time.Second),
			Ended: m.Finished, Attempts: 1, Point: m.ID,
			Progress: backend.Progress{At: m.Finished, Phase: backend.PhaseFinishing, Done: m.Read, Total: m.Read, New: m.New, Out: m.Stored,
				Mean: int64(float64(m.Read) / max(m.Finished.Sub(m.At).Seconds(), 1)), Why: m.Why},
		})
		return err
	})
}

// befall verifies what was verified, damages what is damaged, and has that
// found.
func (p *past) befall(ctx context.Context) error {
	for at, ids := range p.old {
		p.now.Store(&at)
		if _, err := p.repo.Verify(ctx, repo.VerifyOptions{Points: ids}); err != nil {
			return err
		}
	}
	for _, id := range p.bad {
		if err := p.damage(id); err != nil {
			return err
		}
		found := p.b.o.Clock.Now().Add(-31 * time.Hour)
		p.now.Store(&found)
		if _, err := p.repo.Verify(ctx, repo.VerifyOptions{Points: []string{id}}); err != nil {
			return err
		}
	}
	return p.b.Refresh(ctx, p.ref)
}

// damage flips a bit that only this point needs, in the middle of the youngest
// pack that was there when it was made.
func (p *past) damage(id string) (err error) {
	name, err := p.packOf(id)
	if err != nil || name == "" {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Chmod(name, info.Mode())) }()
	var one [1]byte
	if _, err = f.ReadAt(one[:], info.Size()/2); err == nil {
		one[0] ^= 0x10
		_, err = f.WriteAt(one[:], info.Size()/2)
	}
	return err
}

// packOf is the pack that was written last before the point's manifest.
func (p *past) packOf(id string) (string, error) {
	dir := p.ref.URL
	found, err := filepath.Glob(filepath.Join(dir, "points", id+"*"))
	if err != nil || len(found) == 0 {
		return "", err
	}
	manifest, err := os.Stat(found[0])
	if err != nil {
		return "", err
	}
	packs, err := filepath.Glob(filepath.Join(dir, "packs", "*"))
	if err != nil {
		return "", err
	}
	best, when := "", time.Time{}
	for _, name := range packs {
		if info, err := os.Stat(name); err == nil && !info.ModTime().After(manifest.ModTime()) && info.ModTime().After(when) {
			best, when = name, info.ModTime()
		}
	}
	return best, nil
}
