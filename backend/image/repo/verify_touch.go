package repo

import (
	"context"
	"slices"
)

// touches finds which parts of which points need chunks that are lost, and
// notes them with the damages.
func (v *verification) touches(ctx context.Context) error {
	if len(v.lost) == 0 {
		return nil
	}
	packs := newPackCache(ctx, v.r.place, v.r.crypt)
	defer packs.close() // they were read only
	rd := v.r.newChunkReader(packs)
	defer rd.close()
	s := &search{read: v.census.reader(rd), lost: v.lost, clean: map[nodeKey]bool{}, found: map[key][]Touch{}}
	for i := range v.points {
		if err := s.point(ctx, &v.points[i]); err != nil {
			return err
		}
	}
	for i := range v.rep.Damages {
		d := &v.rep.Damages[i]
		switch {
		case d.Kind == DamagedChunk && len(s.found[keyOf(d.Chunk)]) > 0:
			d.Touches = s.found[keyOf(d.Chunk)]
		case d.Kind == DamagedChunk && !v.lost[keyOf(d.Chunk)]:
			d.What += "; another copy of it is right"
		case d.Kind == DamagedPack:
			d.Touches = v.packTouches(d.File, s.found)
		}
	}
	return nil
}

// packTouches is what the lost chunks of a pack touch.
func (v *verification) packTouches(name string, found map[key][]Touch) (all []Touch) {
	for n, p := range v.census.packs {
		if packName(p.id) != name {
			continue
		}
		for i := range v.census.rows {
			if r := &v.census.rows[i]; r.pack == uint32(n) && v.bad.is(i) {
				all = append(all, found[r.key]...)
			}
		}
	}
	return joined(all)
}

// joined makes one touch of those that lie behind one another.
func joined(all []Touch) []Touch {
	slices.SortStableFunc(all, func(a, b Touch) int {
		switch {
		case a.Point != b.Point:
			return compare(a.Point, b.Point)
		case a.Disk != b.Disk:
			return compare(a.Disk, b.Disk)
		case a.File != b.File:
			return compare(a.File, b.File)
		}
		return int(min(max(a.Offset-b.Offset, -1), 1))
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

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

// search finds lost chunks in the maps of points.
type search struct {
	read  func(ctx context.Context, id ChunkID) ([]byte, error)
	lost  map[key]bool
	clean map[nodeKey]bool // nodes with nothing lost below them
	found map[key][]Touch
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

func (s *search) touch(id ChunkID, t Touch) { s.found[keyOf(id)] = append(s.found[keyOf(id)], t) }

// walk reports whether nothing is lost below a node that begins at the disk's
// chunk first.
func (s *search) walk(ctx context.Context, t Touch, size, first int64, n node) (clean bool, err error) {
	if s.lost[keyOf(n.id)] {
		t.Offset = first * ChunkSize
		t.Length = min((first+n.chunks)*ChunkSize, size) - t.Offset
		s.touch(n.id, t)
		return false, nil
	}
	if n.level == 0 || s.clean[n.key()] {
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
		s.clean[n.key()] = true
	}
	return clean, nil
}
