package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"berth/backend"
)

// Forget removes points, by their whole IDs. What they alone needed stays
// until Prune. Points that are not there (any more) wrap fs.ErrNotExist; the
// others are forgotten. Points that cannot be read can be forgotten, too.
func (r *Repo) Forget(ctx context.Context, ids ...string) error {
	var all error
	for _, id := range ids {
		if err := r.forget(ctx, id); err != nil {
			all = errors.Join(all, &backend.OpError{Op: "forget", Target: id, Err: err})
		}
		if ctx.Err() != nil {
			return errors.Join(all, ctx.Err())
		}
	}
	return all
}

func (r *Repo) forget(ctx context.Context, id string) error {
	if _, err := parseFileID(id); err != nil {
		return fmt.Errorf("%w: %w", backend.ErrInvalid, err)
	}
	if err := r.place.Remove(ctx, pointName(id)); err != nil {
		return err
	}
	if err := r.place.Remove(ctx, markName(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
