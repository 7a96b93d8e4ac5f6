package repo

import "context"

// Forget removes points, by their whole IDs. What they alone needed stays
// until Prune. Points that are not there (any more) wrap fs.ErrNotExist; the
// others are forgotten.
func (r *Repo) Forget(ctx context.Context, ids ...string) error { return errSoon }
