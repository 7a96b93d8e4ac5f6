package repo

import (
	"context"
	"errors"
	"path"
	"time"

	"berth/backend/image/place"
)

const marksDir = "marks"

// Mark is what is known of a point from verifying it.
type Mark struct {
	// Verified is when it was last read back whole and found right; zero: never.
	Verified time.Time `json:"verified,omitzero"`
	// Damaged says what is wrong with it, found at Found; empty: nothing is known
	// to be.
	Damaged string    `json:"damaged,omitempty"`
	Found   time.Time `json:"found,omitzero"`
}

// markBox is what a mark's file holds.
type markBox struct {
	Point string `json:"point"`
	Mark
}

func markName(point string) string { return path.Join(marksDir, point) }

// Marks returns what is known of points, by their IDs. Marks that cannot be
// read count as none.
func (r *Repo) Marks(ctx context.Context) (map[string]Mark, error) {
	entries, err := r.place.List(ctx, marksDir)
	if err != nil {
		return nil, err
	}
	all := map[string]Mark{}
	for _, e := range entries {
		m, err := r.mark(ctx, path.Base(e.Name))
		if err != nil {
			return nil, err
		}
		if m != (Mark{}) {
			all[path.Base(e.Name)] = m
		}
	}
	return all, nil
}

func (r *Repo) mark(ctx context.Context, point string) (Mark, error) {
	var b markBox
	_, err := readBox(ctx, r.place, r.crypt, boxMark, markName(point), &b)
	if isDamage(err) || b.Point != point {
		return Mark{}, ctx.Err()
	}
	return b.Mark, err
}

func (r *Repo) setMark(ctx context.Context, point string, m Mark) error {
	b, err := r.crypt.sealBox(boxMark, markBox{Point: point, Mark: m})
	if err != nil {
		return err
	}
	return place.Write(ctx, r.place, markName(point), b)
}

// noteDamage makes known to others what was found damaged, and takes back what
// was found right.
func (v *verification) noteDamage(ctx context.Context) error {
	err := v.r.saveDamage(ctx)
	right := map[spot]bool{}
	if v.known.any() {
		err = errors.Join(err, v.census.each(ctx, func(n int, r *row) error {
			if v.known.is(n) && v.good.is(n) {
				right[spot{v.census.packs[r.pack].id, r.offset}] = true
			}
			return nil
		}))
	}
	if len(right) == 0 || err != nil {
		return err
	}
	cut := map[fileID]int64{} // up to where packs that were cut are right now
	for s := range right {
		cut[s.pack] = max(cut[s.pack], s.offset)
	}
	err = v.r.index.wounds.drop(ctx, v.r.place, v.r.crypt, func(x wound) bool {
		if x.Length > 0 {
			return right[spot{x.Pack, x.Offset}]
		}
		return x.Offset <= cut[x.Pack]
	})
	if cannotWrite(err) {
		return nil // it will be found again
	}
	return err
}

// note marks the points that were looked at.
func (v *verification) note(ctx context.Context) error {
	bad := map[string]string{}
	for _, d := range v.rep.Damages {
		for _, t := range d.Touches {
			if _, known := bad[t.Point]; !known {
				bad[t.Point] = d.File + ": " + d.What
			}
		}
	}
	var err error
	now := v.r.now().UTC()
	for i := range v.points {
		id := v.points[i].ID
		what, damaged := bad[id]
		if !damaged && v.o.all() {
			v.rep.Verified = append(v.rep.Verified, id)
			err = errors.Join(err, v.r.setMark(ctx, id, Mark{Verified: now}))
		}
		if damaged {
			m, fault := v.r.mark(ctx, id)
			m.Damaged, m.Found = what, now
			err = errors.Join(err, fault, v.r.setMark(ctx, id, m))
		}
	}
	if cannotWrite(err) {
		v.rep.Notes = append(v.rep.Notes, Note{Kind: "marks", What: "the result could not be noted in the repository: " + words(err)})
		err = nil
	}
	return err
}
