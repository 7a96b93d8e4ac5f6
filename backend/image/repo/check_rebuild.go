package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// rebuild makes the index and SHA256SUMS anew of what the packs say of
// themselves, when anything of them is wrong.
func (c *checking) rebuild(ctx context.Context) error {
	wrong := slices.ContainsFunc(c.rep.Damages, func(d Damage) bool {
		return d.Rebuild || d.File == indexDir || d.Kind == DamagedPack
	})
	if !wrong {
		return nil
	}
	old, err := c.r.place.List(ctx, indexDir)
	if err != nil {
		return err
	}
	if err := c.reindex(ctx); err != nil {
		return err
	}
	if err := c.lock.held(ctx); err != nil {
		return err
	}
	for _, e := range old {
		id, err := parseFileID(path.Base(e.Name))
		if err != nil {
			continue
		}
		if err := c.r.index.remove(ctx, id); err != nil {
			return err
		}
	}
	if err := c.dropSmall(ctx); err != nil {
		return err
	}
	return c.again(ctx)
}

// reindex writes index files of all packs that can be read, beside the old ones.
func (c *checking) reindex(ctx context.Context) error {
	var batch []packed
	frames := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		_, err := writeIndex(ctx, c.r.place, c.r.crypt, batch)
		batch, frames = nil, 0
		return err
	}
	for id := range c.there {
		p, err := c.r.recoverPack(ctx, id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if !isDamage(err) {
				return err
			}
			c.rep.Notes = append(c.rep.Notes, Note{Kind: "rebuilt", File: packName(id), What: "it could not be listed: " + words(err)})
			continue
		}
		batch, frames = append(batch, p), frames+len(p.frames)
		if frames >= indexFrames {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// recoverPack is readPack that does without the footer when that is damaged:
// then it takes the frames that can be found from the start on.
func (r *Repo) recoverPack(ctx context.Context, id fileID) (packed, error) {
	p, err := r.readPack(ctx, id)
	if err == nil || ctx.Err() != nil || !isDamage(err) {
		return p, err
	}
	f, fault := openPack(ctx, r.place, r.crypt, id)
	if fault != nil {
		return packed{}, fault
	}
	var frames []frame
	_, _ = f.walk(func(fr frame) error { // where it ends is where nothing more can be found
		if len(frames) < maxFrames {
			frames = append(frames, fr)
		}
		return nil
	})
	if len(frames) == 0 {
		return packed{}, errors.Join(err, f.close())
	}
	p = packed{packInfo: packInfo{id: id, size: f.file.Size(), frames: uint32(len(frames)), job: f.head.job}, frames: frames}
	p.sum, err = sumFile(ctx, f.file)
	return p, errors.Join(err, f.close())
}

// dropSmall removes marks and jobs that cannot be read.
func (c *checking) dropSmall(ctx context.Context) error {
	for _, d := range c.rep.Damages {
		if d.Kind != DamagedOther || !d.Rebuild {
			continue
		}
		if err := c.r.place.Remove(ctx, d.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// again looks once more, and notes what has been put right.
func (c *checking) again(ctx context.Context) error {
	before := c.rep
	next := &checking{verification: verification{r: c.r, o: c.o, lost: map[key]bool{}, rep: Report{Repo: before.Repo, At: before.At}}, lock: c.lock, full: c.full}
	if err := next.run(ctx); err != nil {
		return err
	}
	still := map[string]bool{}
	for _, d := range next.rep.Damages {
		still[d.File+string(d.Kind)] = true
	}
	for _, d := range before.Damages {
		if !still[d.File+string(d.Kind)] {
			next.rep.Notes = append(next.rep.Notes, Note{Kind: "rebuilt", File: d.File, What: fmt.Sprintf("was wrong (%s), has been made anew", d.What)})
		}
	}
	for _, n := range before.Notes {
		if n.Kind == "rebuilt" {
			next.rep.Notes = append(next.rep.Notes, n)
		}
	}
	next.rep.Bytes += before.Bytes
	c.rep = next.rep
	return nil
}
