package backup

import (
	"context"
	"errors"
	"strings"

	"berth/backend"
	"berth/backend/image/repo"
	"berth/backend/store"
)

// PointOf is a manifest as the catalogue knows it. Its strings are Clean.
func PointOf(url string, m *repo.Manifest) backend.Point {
	p := backend.Point{
		Repo: url, ID: m.ID, VM: m.VM, Name: backend.Clean(m.Name), Host: backend.Clean(m.Host), At: m.At, Took: m.Finished.Sub(m.At),
		Full: m.Full, Why: backend.Clean(m.Why), Quiesced: m.Quiesced, Running: m.Running,
		Read: m.Read, New: m.New, Stored: m.Stored, Owner: backend.Clean(m.Owner),
	}
	for _, t := range m.Tags {
		p.Tags = append(p.Tags, backend.Clean(t))
	}
	for _, d := range m.Disks {
		p.Size += d.Size
		p.Data += d.Data
		p.Disks = append(p.Disks, backend.PointDisk{
			Target: backend.Clean(d.Target), Path: backend.Clean(d.Path), Format: backend.Clean(d.Format),
			Size: d.Size, Data: d.Data, Read: d.Read, Full: d.Full, Why: backend.Clean(d.Why),
		})
	}
	return p
}

// catalogueOf reads a repository's points with what verifying said of them. Some
// may come together with the error of those that cannot be read.
func catalogueOf(ctx context.Context, url string, v vault) (points []backend.Point, err error) {
	list, err := v.Points(ctx)
	if err != nil && len(list) == 0 {
		return nil, err
	}
	marks, merr := v.Marks(ctx)
	for i := range list {
		p := PointOf(url, &list[i])
		if m, ok := marks[p.ID]; ok {
			p.Verified, p.Damaged = m.Verified, backend.Clean(m.Damaged)
		}
		points = append(points, p)
	}
	return points, errors.Join(err, merr)
}

// refresh reads the catalogue of a repository anew into the store. What keeps it
// from being read is noted there.
func (o *Options) refresh(ctx context.Context, ref backend.RepoRef) error {
	var points []backend.Point
	state := backend.RepoState{Ref: o.lasting(ref)}
	r, err := o.openRepo(ctx, ref)
	if err == nil {
		points, err = catalogueOf(ctx, ref.URL, r)
		state.ID, state.Encrypted, state.Room = r.ID(), r.Encrypted(), r.room(ctx)
		err = errors.Join(err, r.Close())
	}
	state.ReadAt, state.Trouble = o.Clock.Now(), words(err)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(err, o.Store.Update(ctx, func(tx *store.Tx) error {
		if state.ID == "" { // nothing could be read: what is known stays
			return noteTrouble(tx, state)
		}
		if err := tx.PutPoints(ref.URL, points); err != nil {
			return err
		}
		return putRepo(tx, state)
	}))
}

// noteTrouble notes that a repository could not be read; of one that was never
// read nothing is known.
func noteTrouble(tx *store.Tx, state backend.RepoState) error {
	known, err := tx.Repos()
	if err != nil {
		return err
	}
	for _, k := range known {
		if k.Ref.URL == state.Ref.URL {
			k.Trouble = state.Trouble
			return tx.PutRepo(k)
		}
	}
	return nil
}

// putRepo writes what is known of a repository, with what its points tell.
func putRepo(tx *store.Tx, state backend.RepoState) error {
	points, err := tx.Points(state.Ref.URL)
	if err != nil {
		return err
	}
	state.Points, state.Stored = len(points), 0
	for _, p := range points {
		state.Stored += p.Stored
	}
	known, err := tx.Repos()
	if err != nil {
		return err
	}
	for _, k := range known {
		if k.Ref.URL != state.Ref.URL {
			continue
		}
		if k.Verified.After(state.Verified) {
			state.Verified = k.Verified
		}
		if state.Ref.PassphraseFile == "" && state.Ref.IdentityFile == "" {
			state.Ref = k.Ref
		}
	}
	return tx.PutRepo(state)
}

// repoState notes that a repository was seen, once a transfer has ended.
func (k *task) repoState(ctx context.Context, r *opened) func(tx *store.Tx) error {
	state := backend.RepoState{Ref: k.o.lasting(k.x.Spec.Repo), ID: r.ID(), Encrypted: r.Encrypted(), ReadAt: k.o.Clock.Now(), Room: r.room(ctx)}
	return func(tx *store.Tx) error { return putRepo(tx, state) }
}

// lasting is a reference without the file of a secret that was handed over once.
func (o *Options) lasting(ref backend.RepoRef) backend.RepoRef {
	if o.handedOver(ref) {
		ref.PassphraseFile = ""
	}
	return ref
}

// handedOver reports whether the secret was handed over for one order only.
func (o *Options) handedOver(ref backend.RepoRef) bool {
	return o.Handover != nil && ref.PassphraseFile != "" && o.Handover(ref.PassphraseFile)
}

// joined is what there is to say, in one line.
func joined(said []string) string { return strings.Join(said, "; ") }
