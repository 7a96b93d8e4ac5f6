package repo

import (
	"context"

	"berth/backend"
)

// Diff returns where a disk differs between two points, in whole chunks. What
// only the larger of two sizes has differs. ExtentZero stands for what is zero
// in b.
func (r *Repo) Diff(ctx context.Context, a, b *Manifest, target string) ([]backend.Extent, error) {
	da, err := a.Disk(target)
	if err != nil {
		return nil, err
	}
	db, err := b.Disk(target)
	if err != nil {
		return nil, err
	}
	packs := newPackCache(ctx, r.place, r.crypt)
	defer packs.close() // they were read only
	rd := r.newChunkReader(packs)
	defer rd.close()
	differ := differ{a: r.mapCursor(*da, rd), b: r.mapCursor(*db, rd)}
	return differ.all(ctx)
}

// differ compares two maps.
type differ struct {
	a, b *mapCursor
	out  []backend.Extent
}

func (d *differ) all(ctx context.Context) ([]backend.Extent, error) {
	size := max(d.a.disk.Size, d.b.disk.Size)
	for n := int64(0); n < chunksOf(size); {
		ida, runa, err := d.one(ctx, d.a, n)
		if err != nil {
			return nil, err
		}
		idb, runb, err := d.one(ctx, d.b, n)
		if err != nil {
			return nil, err
		}
		run := int64(1)
		if ida.IsZero() && idb.IsZero() {
			run = min(runa, runb)
		}
		if ida != idb || n >= min(d.a.chunks, d.b.chunks) {
			d.add(n*ChunkSize, min((n+run)*ChunkSize, size), idb.IsZero())
		}
		n += run
	}
	return d.out, nil
}

// one returns a chunk's id; what is behind the end of a disk is zero.
func (d *differ) one(ctx context.Context, c *mapCursor, n int64) (ChunkID, int64, error) {
	if n >= c.chunks {
		return ChunkID{}, 1 << 30, nil
	}
	return c.at(ctx, n)
}

func (d *differ) add(from, to int64, zero bool) {
	kind := backend.ExtentData
	if zero {
		kind = backend.ExtentZero
	}
	if n := len(d.out); n > 0 && d.out[n-1].Kind == kind && d.out[n-1].Offset+d.out[n-1].Length == from {
		d.out[n-1].Length += to - from
		return
	}
	d.out = append(d.out, backend.Extent{Offset: from, Length: to - from, Kind: kind})
}
