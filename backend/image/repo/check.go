package repo

import (
	"context"

	"berth/backend/image/place"
)

// CheckOptions say what to look at.
type CheckOptions struct {
	// Rebuild makes anew what is derived and wrong: the index, SHA256SUMS. It
	// needs the repository for itself.
	Rebuild bool
	// Full also hashes every file and compares it with SHA256SUMS.
	Full bool
}

// Check looks at the structure, without reading chunks back: every chunk of
// every point is in a pack that is there and long enough, the index and
// SHA256SUMS say what is there; and it finds what nothing needs: orphans,
// drafts, unfinished jobs, stale locks.
func (r *Repo) Check(ctx context.Context, o CheckOptions) (Report, error) {
	return Report{}, errSoon
}

// CheckSums compares every file of a repository with its SHA256SUMS, as
// sha256sum -c does. It needs no key.
func CheckSums(ctx context.Context, p place.Place, progress func(VerifyProgress)) (Report, error) {
	return Report{}, errSoon
}
