package repo

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// touches finds which parts of which points need chunks that are lost, and
// notes them with the damages.
func (v *verification) touches(ctx context.Context) error {
	s := &search{census: v.census, lost: v.lost, found: map[key][]Touch{}}
	if len(v.lost) > 0 {
		packs := newPackCache(ctx, v.r.place, v.r.crypt)
		defer packs.close() // they were read only
		rd := v.r.newChunkReader(packs)
		defer rd.close()
		s.read = v.census.reader(rd)
		for i := range v.points {
			if err := s.point(ctx, &v.points[i]); err != nil {
				return err
			}
		}
	}
	if err := v.packTouches(ctx, s.found); err != nil {
		return err
	}
	v.rep.Damages = slices.DeleteFunc(v.rep.Damages, func(d Damage) bool {
		if d.Kind != DamagedChunk || d.row == 0 || v.lost[keyOf(d.Chunk)] && len(s.found[keyOf(d.Chunk)]) > 0 {
			return false
		}
		return v.harmless(&d)
	})
	for i := range v.rep.Damages {
		d := &v.rep.Damages[i]
		switch {
		case d.Kind != DamagedChunk:
		case len(s.found[keyOf(d.Chunk)]) > 0:
			d.Touches = s.found[keyOf(d.Chunk)]
		case !v.lost[keyOf(d.Chunk)]:
			d.What += "; another copy of it is right"
		}
	}
	return nil
}

// harmless makes a note of damage that was known before and that no point
// suffers from any more.
func (v *verification) harmless(d *Damage) bool {
	if !v.known.is(d.row - 1) {
		return false
	}
	why := "another copy of it is right"
	if v.lost[keyOf(d.Chunk)] {
		if !v.o.whole() {
			return false
		}
		why = "nothing needs it"
	}
	v.rep.Notes = append(v.rep.Notes, Note{Kind: "healed", File: d.File, Size: d.Length,
		What: fmt.Sprintf("chunk %.12s… at %d is damaged, as was known; %s, and prune removes it", d.Chunk, d.Offset, why)})
	return true
}

// packTouches notes what the lost chunks of damaged packs touch.
func (v *verification) packTouches(ctx context.Context, found map[key][]Touch) error {
	damages := map[int]*Damage{} // by the pack's number
	for i := range v.rep.Damages {
		d := &v.rep.Damages[i]
		if id, err := parseFileID(path.Base(d.File)); err == nil && d.Kind == DamagedPack && len(found) > 0 {
			if n, known := v.census.number(id); known {
				damages[n] = d
			}
		}
	}
	if len(damages) == 0 {
		return nil
	}
	err := v.census.each(ctx, func(n int, r *row) error {
		if d := damages[int(r.pack)]; d != nil && v.bad.is(n) {
			d.Touches = append(d.Touches, found[r.key]...)
		}
		return nil
	})
	for _, d := range damages {
		d.Touches = joined(d.Touches)
	}
	return err
}

// joined makes one touch of those that lie behind one another.
func joined(all []Touch) []Touch {
	slices.SortStableFunc(all, func(a, b Touch) int {
		return cmp.Or(strings.Compare(a.Point, b.Point), strings.Compare(a.Disk, b.Disk), strings.Compare(a.File, b.File), cmp.Compare(a.Offset, b.Offset))
	})
	var some []Touch
	for _, t := range all {
		if n := len(some); n > 0 {
			last := &some[n-1]
			if last.Point == t.Point && last.Disk == t.Disk && last.File == t.File && t.Offset <= last.Offset+last.Length {
				last.Length = max(last.Length, t.Offset+t.Length-last.Offset)
				continue
			}
		}
		some = append(some, t)
	}
	return some
}

// search finds lost chunks in the maps of points.
type search struct {
	census *census
	read   func(ctx context.Context, id ChunkID) ([]byte, error)
	lost   map[key]bool
	clean  passed // nodes with nothing lost below them
	found  map[key][]Touch
}

func (s *search) point(ctx context.Context, m *Manifest) error {
	for i := range m.Disks {
		d := &m.Disks[i]
		if root := d.root(); !root.id.IsZero() {
			t := Touch{Point: m.ID, VM: m.VM, Name: m.Name, At: m.At, Disk: d.Target}
			if _, err := s.walk(ctx, t, d.Size, 0, root); err != nil {
				return err
			}
		}
	}
	for _, f := range m.Files {
		for _, id := range f.Chunks {
			if s.lost[keyOf(id)] {
				s.touch(id, Touch{Point: m.ID, VM: m.VM, Name: m.Name, At: m.At, File: f.Kind + " " + f.Path})
			}
		}
	}
	return nil
}

// touchesMost is how many touches of one chunk are told: a chunk that is in
// every disk may be in a million places.
const touchesMost = 10_000

// touch notes where a lost chunk is needed. What follows the place before it
// makes that longer; of very many, one for each part of a point is kept.
func (s *search) touch(id ChunkID, t Touch) {
	all := s.found[keyOf(id)]
	if n := len(all); n > 0 {
		last := &all[n-1]
		same := last.Point == t.Point && last.Disk == t.Disk && last.File == t.File
		if same && (t.Offset <= last.Offset+last.Length || n >= touchesMost) {
			last.Length = max(last.Length, t.Offset+t.Length-last.Offset)
			return
		}
	}
	s.found[keyOf(id)] = append(all, t)
}

// walk reports whether nothing is lost below a node that begins at the disk's
// chunk first.
func (s *search) walk(ctx context.Context, t Touch, size, first int64, n node) (clean bool, err error) {
	if s.lost[keyOf(n.id)] {
		t.Offset = first * ChunkSize
		t.Length = min((first+n.chunks)*ChunkSize, size) - t.Offset
		s.touch(n.id, t)
		return false, nil
	}
	if n.level == 0 {
		return true, nil
	}
	row, to, err := s.census.find(keyOf(n.id))
	if err != nil {
		return false, err
	}
	if row == to {
		row = -1
	}
	if s.clean.has(n, row) {
		return true, nil
	}
	content, err := s.read(ctx, n.id)
	if err != nil {
		return false, err // it was read a moment ago
	}
	type at struct {
		first int64
		node
	}
	var below []at
	err = n.entries(content, func(f int64, b node) error {
		below = append(below, at{first + f, b})
		return nil
	})
	if err != nil {
		return false, err
	}
	clean = true
	for _, b := range below {
		c, err := s.walk(ctx, t, size, b.first, b.node)
		if err != nil {
			return false, err
		}
		clean = clean && c
	}
	if clean {
		s.clean.add(s.census, n, row)
	}
	return clean, nil
}
