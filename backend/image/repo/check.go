package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"berth/backend/image/place"
)

// CheckOptions say what to look at.
type CheckOptions struct {
	// Rebuild makes anew what is derived and wrong: the index, SHA256SUMS. It
	// needs the repository for itself.
	Rebuild bool
	// Repair is Rebuild, and then reads everything back (as Verify) and writes
	// packs anew of which a damaged part is not needed, or is there elsewhere. What
	// is lost is noted, so that the next backup that meets the same content stores
	// it again. Nothing that a point needs is removed, damaged or not.
	Repair bool
	// Grace is Prune's, for packs that Repair has written anew.
	Grace time.Duration
	// Full also hashes every file and compares it with SHA256SUMS.
	Full     bool
	Progress func(VerifyProgress) // of Full and Repair
}

// Check looks at the structure, without reading chunks back: every chunk of
// every point is in a pack that is there and long enough, the index and
// SHA256SUMS say what is there; and it finds what nothing needs: orphans,
// drafts, unfinished jobs, stale locks.
func (r *Repo) Check(ctx context.Context, o CheckOptions) (Report, error) {
	began := time.Now()
	rep, err := r.check(ctx, o)
	rep.Took = time.Since(began)
	return rep, err
}

func (r *Repo) check(ctx context.Context, o CheckOptions) (Report, error) {
	o.Rebuild = o.Rebuild || o.Repair
	take := r.lockReading
	if o.Rebuild {
		take = r.lockExclusive
	}
	l, err := take(ctx, "check")
	if err != nil {
		return Report{}, err
	}
	ctx, cancel := l.context(ctx)
	defer cancel()
	c := &checking{verification: verification{r: r, o: VerifyOptions{Progress: o.Progress}, lost: map[key]bool{},
		rep: Report{Repo: r.ID(), At: r.now()}}, lock: l, full: o.Full}
	err = c.run(ctx)
	if err == nil && o.Rebuild {
		err = c.rebuild(ctx)
	}
	if err == nil && o.Repair {
		err = c.repair(ctx, o.Grace)
	}
	c.census.close()
	return c.rep, errors.Join(err, l.release(context.WithoutCancel(ctx)))
}

// checking is one Check at work.
type checking struct {
	verification
	lock *lock
	full bool
}

func (c *checking) run(ctx context.Context) error {
	if err := c.r.index.load(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		c.readIndex, c.readPoints, c.readOthers, c.packs, c.mark, c.hash, c.touches, c.noteDamage, c.leftovers,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// packs compares the packs that are there with those that the index lists.
func (c *checking) packs(ctx context.Context) error {
	err := place.Each(ctx, c.r.place, packsDir, func(e place.Entry) error {
		if _, err := parseFileID(path.Base(e.Name)); err != nil {
			c.rep.Notes = append(c.rep.Notes, Note{Kind: "foreign", File: e.Name, Size: e.Size, What: "it is not a pack of berth's"})
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.rep.Chunks = c.census.rows
	wrong := false
	for i := range c.census.packs {
		p := &c.census.packs[i]
		if p.there >= 0 {
			c.rep.Packs++
		}
		what := ""
		switch {
		case !p.listed && p.rows == 0:
			c.rep.Notes = append(c.rep.Notes, Note{Kind: "orphan", File: packName(p.id), Size: p.there, What: orphaned})
		case p.there < 0:
			what = "it is not there"
			c.r.noteCut(p.id, 0, fs.ErrNotExist)
		case p.there != p.size:
			what = fmt.Sprintf("it has %d bytes instead of %d", p.there, p.size)
			c.r.noteCut(p.id, p.there, nil)
		}
		if what != "" {
			wrong = true
			c.damage(Damage{Kind: DamagedPack, File: packName(p.id), What: what})
		}
	}
	if !wrong && c.r.index.wounds.none() {
		return nil
	}
	return c.losses(ctx)
}

// losses notes which chunks no pack has whole any more, by what packs lack now
// and by what was found damaged before.
func (c *checking) losses(ctx context.Context) error {
	var of key
	right := true
	known := map[int]location{} // damaged rows of that chunk
	end := func() {
		if !right {
			c.lost[of] = true
		}
		for n, l := range known {
			d := Damage{Kind: DamagedChunk, File: packName(l.pack), Offset: l.offset, Length: int64(l.length), What: "it was found damaged before", row: n + 1}
			copy(d.Chunk[:], of[:])
			c.damage(d)
		}
	}
	err := c.census.each(ctx, func(n int, r *row) error {
		if r.key != of || n == 0 {
			end()
			of, right = r.key, false
			clear(known)
		}
		p := &c.census.packs[r.pack]
		switch {
		case r.offset+int64(r.length) > p.there:
			c.bad.set(n)
		case c.known.is(n):
			c.bad.set(n)
			known[n] = c.census.location(r)
		default:
			right = true
		}
		return nil
	})
	end()
	return err
}

// hash compares every file with SHA256SUMS.
func (c *checking) hash(ctx context.Context) error {
	if !c.full {
		return nil
	}
	rep, err := CheckSums(ctx, c.r.place, c.o.Progress)
	c.rep.Bytes += rep.Bytes
	known := map[string]bool{}
	for _, d := range c.rep.Damages {
		known[d.File] = true
	}
	for _, d := range rep.Damages {
		if !known[d.File] {
			c.rep.Damages = append(c.rep.Damages, d)
		}
	}
	return err
}

// leftovers notes what nothing needs any more.
func (c *checking) leftovers(ctx context.Context) error {
	drafts, err := c.r.place.Drafts(ctx)
	if err != nil {
		return err
	}
	for _, e := range drafts {
		c.rep.Notes = append(c.rep.Notes, Note{Kind: "draft", File: e.Name, Size: e.Size, What: "it is being written, or a process died while it wrote; prune removes it"})
	}
	jobs, err := c.r.place.List(ctx, jobsDir)
	if err != nil {
		return err
	}
	for _, e := range jobs {
		c.rep.Notes = append(c.rep.Notes, Note{Kind: "job", File: e.Name, Size: e.Size, What: "a backup that has not ended, last gone on with at " + e.ModTime.Format(time.DateTime)})
	}
	locks, err := c.r.Locks(ctx)
	if err != nil {
		return err
	}
	for _, l := range locks {
		if l.Stale != "" {
			c.rep.Notes = append(c.rep.Notes, Note{Kind: "lock", File: path.Join(locksDir, l.ID), What: l.String() + " is stale: " + l.Stale})
		}
	}
	return c.foreign(ctx)
}

// foreign notes what is not of the repository.
func (c *checking) foreign(ctx context.Context) error {
	files, err := c.r.place.List(ctx, ".")
	if err != nil {
		return err
	}
	for _, e := range files {
		if e.Name != configName {
			c.rep.Notes = append(c.rep.Notes, Note{Kind: "foreign", File: e.Name, Size: e.Size, What: "it is not of the repository"})
		}
	}
	folders, err := c.r.place.Folders(ctx, ".")
	ours := map[string]bool{keysDir: true, packsDir: true, indexDir: true, sumsDir: true, pointsDir: true, jobsDir: true, marksDir: true, locksDir: true, condemnedDir: true, damagedDir: true, "lost+found": true}
	for _, f := range folders {
		if !ours[f] {
			c.rep.Notes = append(c.rep.Notes, Note{Kind: "foreign", File: f, What: "it is not of the repository"})
		}
	}
	return err
}
