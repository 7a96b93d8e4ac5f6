package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// rebuild makes the index and SHA256SUMS anew when anything of them is wrong.
func (c *checking) rebuild(ctx context.Context) error {
	wrong := slices.ContainsFunc(c.rep.Damages, func(d Damage) bool {
		return d.Rebuild || d.File == indexDir || d.Kind == DamagedPack
	})
	if !wrong {
		return nil
	}
	notes, err := c.r.rebuildIndex(ctx, c.lock)
	c.rep.Notes = append(c.rep.Notes, notes...)
	if err != nil {
		return err
	}
	if err := c.dropSmall(ctx); err != nil {
		return err
	}
	return c.again(ctx)
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
	defer func() { next.census.close() }()
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
