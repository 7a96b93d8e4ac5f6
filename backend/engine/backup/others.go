package backup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/image/repo"
	"berth/backend/store"
)

// verify reads back what a repository holds. Damage fails the transfer, in words
// that name it; the catalogue tells which points it is in.
func (k *task) verify(ctx context.Context) (result, error) {
	s := &k.x.Spec
	r, err := k.o.openRepo(ctx, s.Repo)
	if err != nil {
		return result{}, err
	}
	k.meter.phase(backend.PhaseVerifying)
	report, err := r.Verify(ctx, repo.VerifyOptions{
		Points: s.Verify.Points, Sample: s.Verify.Sample, Seed: rand.Uint64(), Limit: k.limit, Gate: k.gate.wait,
		Progress: func(p repo.VerifyProgress) {
			k.meter.with(func(x *backend.Progress) { x.Done, x.Total = p.Done, p.Total })
		},
	})
	if err != nil {
		return result{}, errors.Join(err, r.Close())
	}
	points, err := catalogueOf(ctx, s.Repo.URL, r)
	if err != nil && len(points) == 0 {
		return result{}, errors.Join(err, r.Close())
	}
	whole := report.OK() && report.Sample >= 100 && len(s.Verify.Points) == 0
	seen := k.repoState(ctx, r)
	out := result{words: verdict(&report), more: func(tx *store.Tx) error {
		if err := tx.PutPoints(s.Repo.URL, points); err != nil {
			return err
		}
		if err := seen(tx); err != nil || !whole {
			return err
		}
		return markVerified(tx, s.Repo.URL, k.o.Clock.Now())
	}}
	if e := r.Close(); e != nil {
		out.words += "; " + words(e)
	}
	if !report.OK() {
		return out, fmt.Errorf("%w: %s", backend.ErrDamaged, damages(&report))
	}
	return out, nil
}

// markVerified notes when all of a repository was last found right.
func markVerified(tx *store.Tx, url string, at time.Time) error {
	all, err := tx.Repos()
	for _, r := range all {
		if r.Ref.URL == url {
			r.Verified = at
			return tx.PutRepo(r)
		}
	}
	return err
}

// verdict says what a verify that found nothing has looked at.
func verdict(r *repo.Report) string {
	part := ""
	if r.Sample > 0 && r.Sample < 100 {
		part = fmt.Sprintf(" (%g %% of them, chosen by chance)", r.Sample)
	}
	return fmt.Sprintf("%s%s of %s read back right", count(r.Chunks, "chunk"), part, count(r.Points, "point"))
}

// damagesTold is how many damages a transfer's words name.
const damagesTold = 3

func damages(r *repo.Report) string {
	text := ""
	for i, d := range r.Damages {
		if i == damagesTold {
			return text + fmt.Sprintf(" and %d more: see berth backup verify", len(r.Damages)-i)
		}
		if i > 0 {
			text += "; "
		}
		text += d.String()
	}
	return backend.Clean(text)
}

// pruneGrace is how long what no point needs stays: a backup on another machine
// may be about to use it.
const pruneGrace = 24 * time.Hour

// forget forgets what a retention does not keep, then prunes.
func (k *task) forget(ctx context.Context) (result, error) {
	s := &k.x.Spec
	if s.Keep.IsZero() {
		return result{}, fmt.Errorf("%w: a retention without a rule keeps everything", backend.ErrInvalid)
	}
	r, err := k.o.openRepo(ctx, s.Repo)
	if err != nil {
		return result{}, err
	}
	said, err := k.forgetIn(ctx, r)
	if err != nil {
		return result{}, errors.Join(err, r.Close())
	}
	points, err := catalogueOf(ctx, s.Repo.URL, r)
	if err != nil && len(points) == 0 {
		return result{}, errors.Join(err, r.Close())
	}
	state := k.repoState(ctx, r)
	if e := r.Close(); e != nil {
		said += "; " + words(e)
	}
	return result{words: said, more: func(tx *store.Tx) error {
		if err := tx.PutPoints(s.Repo.URL, points); err != nil {
			return err
		}
		return state(tx)
	}}, nil
}

func (k *task) forgetIn(ctx context.Context, r *opened) (said string, err error) {
	points, err := r.Points(ctx)
	if err != nil { // a point that cannot be read now may be needed
		return "", err
	}
	points = slices.DeleteFunc(points, func(m repo.Manifest) bool { return !k.concerns(m.VM) })
	var ids []string
	for _, p := range repo.Retain(points, k.x.Spec.Keep, k.o.Clock.Now().In(k.o.Zone)) {
		if !p.Keep() {
			ids = append(ids, p.Point.ID)
		}
	}
	k.meter.phase(backend.PhaseFinishing)
	if len(ids) > 0 {
		if err := k.at("forget/before"); err != nil {
			return "", err
		}
		err := r.Forget(ctx, ids...)
		k.record("backup-forget", count(len(ids), "point")+" of "+k.x.Spec.Repo.URL, err)
		if err != nil {
			return "", err
		}
	}
	said = fmt.Sprintf("%s forgotten, %d kept", count(len(ids), "point"), len(points)-len(ids))
	report, err := r.Prune(ctx, repo.PruneOptions{Grace: pruneGrace, Progress: func(p repo.PruneProgress) {
		k.meter.with(func(x *backend.Progress) { x.Done, x.Total = p.Done, p.Total })
	}})
	if err != nil {
		return "", err
	}
	if report.Freed > 0 {
		said += fmt.Sprintf(", %d MiB freed", report.Freed>>20)
	}
	return said, nil
}

// concerns reports whether a forget is about a VM's points.
func (k *task) concerns(vm backend.UUID) bool {
	if len(k.n.VMs) > 0 {
		return slices.Contains(k.n.VMs, vm)
	}
	return k.x.Spec.VM.UUID.IsZero() || k.x.Spec.VM.UUID == vm
}
