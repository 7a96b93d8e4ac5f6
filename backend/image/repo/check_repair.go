package repo

import (
	"context"
	"errors"
	"path"
	"slices"
	"time"

	"berth/backend"
)

// repair reads everything back and writes packs anew without damage that no
// point suffers from.
func (c *checking) repair(ctx context.Context, grace time.Duration) error {
	v := &verification{r: c.r, o: c.o, began: time.Now(), lost: map[key]bool{}, rep: Report{Repo: c.rep.Repo, At: c.rep.At, Sample: 100}}
	err := v.run(ctx)
	v.census.close()
	if err != nil {
		return err
	}
	for _, n := range c.rep.Notes { // those of what was looked at again are there twice
		if !slices.ContainsFunc(v.rep.Notes, func(o Note) bool { return o.File == n.File && o.Kind == n.Kind }) {
			v.rep.Notes = append(v.rep.Notes, n)
		}
	}
	v.rep.Bytes += c.rep.Bytes
	c.rep = v.rep
	if c.r.index.wounds.none() {
		return nil
	}
	p := &pruning{r: c.r, o: PruneOptions{Waste: 100, Grace: grace}, lock: c.lock, woundedOnly: true}
	if err := p.run(ctx); err != nil {
		if ctx.Err() != nil || !errors.Is(err, backend.ErrDamaged) {
			return err
		}
		c.rep.Notes = append(c.rep.Notes, Note{Kind: "damaged", File: packsDir, What: "packs with damage stay as they are: " + words(err)})
		return nil
	}
	c.putRight(p)
	return nil
}

// putRight makes notes of damages in packs that the index lists no more.
func (c *checking) putRight(p *pruning) {
	c.rep.Damages = slices.DeleteFunc(c.rep.Damages, func(d Damage) bool {
		id, err := parseFileID(path.Base(d.File))
		if err != nil || path.Dir(d.File) != packsDir || !p.drops(id) || len(d.Touches) > 0 {
			return false
		}
		c.rep.Notes = append(c.rep.Notes, Note{Kind: "repaired", File: d.File, Size: d.Length, What: "was damaged (" + d.What + "); what is needed of it has been written anew"})
		return true
	})
	c.rep.Notes = slices.DeleteFunc(c.rep.Notes, func(n Note) bool {
		return n.Kind == "healed" && !slices.ContainsFunc(p.census.packs, func(k censusPack) bool { return packName(k.id) == n.File && !p.drops(k.id) })
	})
}
