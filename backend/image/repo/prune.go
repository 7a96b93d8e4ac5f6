package repo

import (
	"context"
	"time"
)

// PruneOptions say how to prune.
type PruneOptions struct {
	DryRun bool // only tells what would be done
	// Grace is how long a pack that nothing needs stays after a Prune has found
	// it so; only a Prune after that removes it. 0: at once.
	Grace time.Duration
	// Waste is the part of a pack, in percent, that nothing needs any more and
	// that makes it worth while to write the rest anew; 0: 20, 100: never.
	Waste    float64
	Progress func(PruneProgress)
}

// PruneProgress is how far Prune is.
type PruneProgress struct {
	Doing       string // "marking", "rewriting", "removing"
	Done, Total int64  // bytes
}

// PruneReport is what Prune did, or would do.
type PruneReport struct {
	DryRun       bool
	Points       int
	Chunks       int   // that points need
	Needed       int64 // bytes that those take
	Packs        int   // there were
	Stored       int64 // bytes that they took
	Rewritten    int   // packs of which the rest was written anew
	RewroteBytes int64 // bytes of that rest
	Condemned    int   // packs that wait for the end of their grace
	Removed      int   // packs removed
	Freed        int64 // bytes of those
	Waiting      int64 // bytes of condemned packs
	Others       int   // files of other kinds removed: drafts, journals of dead jobs, old indexes, marks of points that are gone
	Took         time.Duration
}

// Prune removes what no point needs. It needs the repository for itself and
// wraps backend.ErrBusy when a backup is being written. However it ends, every
// point is whole.
func (r *Repo) Prune(ctx context.Context, o PruneOptions) (PruneReport, error) {
	return PruneReport{}, errSoon
}
