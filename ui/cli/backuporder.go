package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"berth/backend"
)

// order orders transfers and follows them. Their repository is the one of the
// flags.
func (a *app) order(ctx context.Context, fl *fleet, f *repoFlags, specs []backend.TransferSpec, o followOptions) error {
	return a.overBackups(ctx, fl, func(b backend.Backups) error {
		refs, err := a.transferRepo(ctx, b, f)
		if err != nil {
			return ended(ctx, err)
		}
		w := &follower{app: a, backups: b, o: o, refs: refs, queue: specs}
		return w.run(ctx)
	})
}

// refSource gives a reference for each transfer, and takes it back when that
// was not ordered.
type refSource func() (ref backend.RepoRef, undo func() error, err error)

// transferRepo opens the repository that the flags choose, to know before
// anything is ordered that it is there and the secret right. The demo has one
// of its own when none is named.
func (a *app) transferRepo(ctx context.Context, b backend.Backups, f *repoFlags) (refSource, error) {
	url, err := a.chosenRepo(f)
	if err != nil {
		return nil, &usageError{err: err}
	}
	if url == "" && a.flags.demo {
		st, err := b.State(ctx)
		if err != nil {
			return nil, err
		}
		if len(st.Repos) > 0 {
			return func() (backend.RepoRef, func() error, error) {
				return st.Repos[0].Ref, func() error { return nil }, nil
			}, nil
		}
	}
	r, err := a.openRepo(ctx, f)
	if err != nil {
		return nil, err
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	return func() (backend.RepoRef, func() error, error) { return a.handOver(r) }, nil
}

// start orders some transfers, all or none.
func (w *follower) start(ctx context.Context, specs []backend.TransferSpec) (ids []backend.TransferID, err error) {
	var undos []func() error
	back := func() (err error) {
		for _, undo := range undos {
			if uerr := undo(); !errors.Is(uerr, fs.ErrNotExist) {
				err = errors.Join(err, uerr)
			}
		}
		return err
	}
	specs = slices.Clone(specs)
	for i := range specs {
		ref, undo, err := w.refs()
		if err != nil {
			return nil, errors.Join(err, back())
		}
		specs[i].Repo, undos = ref, append(undos, undo)
	}
	ids, err = w.backups.Start(ctx, specs)
	if len(ids) == 0 && err != nil {
		return nil, errors.Join(err, back())
	}
	return ids, err
}

// transferLabel is how messages name a transfer: "12 (backup of web1)".
func transferLabel(t *backend.Transfer) string {
	text := string(t.Spec.Kind)
	if t.Spec.Name != "" {
		text += " of " + backend.Clean(t.Spec.Name)
	}
	return fmt.Sprintf("%d (%s)", t.ID, strings.TrimSpace(text))
}
