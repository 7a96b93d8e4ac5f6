package repo

import (
	"context"
	"errors"
	"time"

	"berth/backend"
)

// PruneOptions say how to prune.
type PruneOptions struct {
	DryRun bool // only tells what would be done
	// Without are IDs of points that are taken for forgotten; with DryRun alone.
	Without []string
	// Grace is how long a pack that nothing needs stays after a Prune has found
	// it so; only a Prune after that removes it. 0: at once.
	Grace time.Duration
	// Waste is the part of a pack, in percent, that nothing needs any more and
	// that makes it worth while to write the rest anew; 0: 20, 100: never. Unless
	// it is 100 small packs are made one, too, when they are many. Packs with
	// damage that no point suffers from are written anew without it in any case.
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
	Combined     int   // of those, packs that were small and became part of larger ones
	RewroteBytes int64 // bytes of that rest
	Condemned    int   // packs that wait for the end of their grace
	Removed      int   // packs removed
	Freed        int64 // bytes of those
	Waiting      int64 // bytes of condemned packs
	Others       int   // files of other kinds removed: drafts, journals of dead jobs, old indexes, marks of points that are gone
	// Damaged says which packs were left as they are, because chunks in them are.
	Damaged []string
	Took    time.Duration
}

const (
	condemnedDir = "condemned"

	defaultWaste = 20.0
	// A pack of less than a smallPart of what packs may have is small. Of
	// manySmall of them one is made: fewer are left until there are more, so that
	// no chunk is moved again and again.
	smallPart = 4
	manySmall = 8
	// jobKeep is how long what a job has written is kept after it was gone on
	// with last.
	jobKeep = 7 * 24 * time.Hour
	// draftKeep is how long drafts are left alone: nobody writes while Prune runs,
	// but one who lost his lock may not know it yet.
	draftKeep = time.Hour
)

// Prune removes what no point needs. It needs the repository for itself and
// wraps backend.ErrBusy when a backup is being written. However it ends, every
// point is whole. It refuses when a point cannot be read, for it cannot know
// what that needs.
func (r *Repo) Prune(ctx context.Context, o PruneOptions) (PruneReport, error) {
	began := time.Now()
	take := r.lockExclusive
	if o.DryRun {
		take = r.lockReading
	}
	l, err := take(ctx, "prune")
	if err != nil {
		return PruneReport{}, err
	}
	ctx, cancel := l.context(ctx)
	defer cancel()
	p := &pruning{r: r, o: o, lock: l, rep: PruneReport{DryRun: o.DryRun}}
	if p.o.Waste <= 0 {
		p.o.Waste = defaultWaste
	}
	err = p.run(ctx)
	p.rep.Took = time.Since(began)
	if err = errors.Join(err, l.release(context.WithoutCancel(ctx))); err != nil {
		return p.rep, &backend.OpError{Op: "prune", Target: r.place.URL(), Err: err}
	}
	return p.rep, nil
}

// pruning is one Prune at work. What it does, in order: it marks what points
// need; writes the rest of wasteful packs anew and lists it; makes an index
// without the packs that are not needed; and only then removes those.
type pruning struct {
	r    *Repo
	o    PruneOptions
	lock *lock
	rep  PruneReport
	// woundedOnly leaves alone all packs but those with damage.
	woundedOnly bool

	now    time.Time // by the place's clock
	census *census
	live   bitset
	alive  map[fileID]bool // jobs that may go on
	fate   []fate          // of each pack in the census
}

// fate is what becomes of a pack.
type fate struct {
	need int64 // bytes of it that points need
	// drop: the index is not to list it any more, and it is removed.
	drop bool
	// move: what is needed of it is written anew first.
	move bool
	// stuck: something that is needed of it is damaged, so that it stays as it is.
	stuck bool
	// loose: the index does not list it, nor is it of a job that may go on.
	loose bool
}

func (f *fate) gone() bool { return f.drop || f.loose }

func (p *pruning) run(ctx context.Context) error {
	defer func() { p.census.close() }()
	p.tell("marking", 0, 0)
	for _, step := range []func(context.Context) error{p.jobs, p.take, p.mark, p.copies, p.choose} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if p.o.DryRun {
		return p.foretell(ctx)
	}
	for _, step := range []func(context.Context) error{p.drafts, p.rewritePacks, p.reindex, p.removePacks, p.tidy} {
		if err := step(ctx); err != nil {
			return err
		}
		if err := p.lock.held(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruning) tell(doing string, done, total int64) {
	if p.o.Progress != nil {
		p.o.Progress(PruneProgress{Doing: doing, Done: done, Total: total})
	}
}
