package repo

import (
	"context"
	"fmt"
)

// mapNodeLen is how many bytes a full node of a Map has.
const mapNodeLen = MapFanout * len(ChunkID{})

// chunksOf is how many chunks a disk of size bytes has.
func chunksOf(size int64) int64 { return (size + ChunkSize - 1) / ChunkSize }

// mapDepth is how deep the map of a disk of size bytes is.
func mapDepth(size int64) int {
	depth := 1
	for room := int64(MapFanout); room < chunksOf(size); room *= MapFanout {
		depth++
	}
	return depth
}

// span is how many chunks of the disk one entry of a node stands for, level
// nodes below the root.
func (m *Map) span(level int) int64 {
	span := int64(1)
	for range m.Depth - 1 - level {
		span *= MapFanout
	}
	return span
}

// mapCursor looks up chunks in a map. It holds one node of each level.
type mapCursor struct {
	disk   Disk
	chunks int64
	load   func(ctx context.Context, id ChunkID) ([]byte, error)
	levels []mapLevel
}

type mapLevel struct {
	index int64 // of the node among those of its level; -1: none is loaded
	node  []byte
}

func newMapCursor(d Disk, load func(context.Context, ChunkID) ([]byte, error)) *mapCursor {
	c := &mapCursor{disk: d, chunks: chunksOf(d.Size), load: load, levels: make([]mapLevel, d.Map.Depth)}
	for i := range c.levels {
		c.levels[i].index = -1
	}
	return c
}

// at returns the id of the disk's nth chunk, and for how many chunks from
// there on it is known to be zero, at least 1.
func (c *mapCursor) at(ctx context.Context, n int64) (id ChunkID, run int64, err error) {
	if n < 0 || n >= c.chunks {
		return id, 0, fmt.Errorf("disk %s has %d chunks, not %d", c.disk.Target, c.chunks, n)
	}
	id = c.disk.Map.Root
	for level := range c.levels {
		span := c.disk.Map.span(level)
		if id.IsZero() {
			whole := span * MapFanout
			return id, min(c.chunks, (n/whole+1)*whole) - n, nil
		}
		node, err := c.node(ctx, level, n/(span*MapFanout), span, id)
		if err != nil {
			return id, 0, err
		}
		copy(id[:], node[n/span%MapFanout*int64(len(id)):])
	}
	return id, 1, nil
}

func (c *mapCursor) node(ctx context.Context, level int, index, span int64, id ChunkID) ([]byte, error) {
	l := &c.levels[level]
	if l.index == index {
		return l.node, nil
	}
	node, err := c.load(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("map of disk %s: %w", c.disk.Target, err)
	}
	left := c.chunks - index*span*MapFanout
	if want := min(MapFanout, (left+span-1)/span) * int64(len(id)); int64(len(node)) != want {
		return nil, damaged("map of disk %s: a node of %d bytes instead of %d", c.disk.Target, len(node), want)
	}
	l.index, l.node = index, append(l.node[:0], node...)
	return l.node, nil
}

// each calls f for every chunk that is not zero, in order.
func (c *mapCursor) each(ctx context.Context, f func(n int64, id ChunkID) error) error {
	for n := int64(0); n < c.chunks; {
		id, run, err := c.at(ctx, n)
		if err != nil {
			return err
		}
		if !id.IsZero() {
			if err := f(n, id); err != nil {
				return err
			}
		}
		n += run
	}
	return nil
}

// mapCursor looks up chunks of a disk, reading the map's nodes with rd.
func (r *Repo) mapCursor(d Disk, rd *chunkReader) *mapCursor { return newMapCursor(d, rd.chunk) }

// mapBuilder makes a map of ids that come in order.
type mapBuilder struct {
	store  func(node []byte) (ChunkID, error)
	levels [][]byte // nodes being filled, the lowest first
}

func newMapBuilder(size int64, store func([]byte) (ChunkID, error)) *mapBuilder {
	return &mapBuilder{store: store, levels: make([][]byte, mapDepth(size))}
}

func (b *mapBuilder) add(id ChunkID) error { return b.addTo(0, id) }

func (b *mapBuilder) addTo(level int, id ChunkID) error {
	if len(b.levels[level]) == mapNodeLen {
		if err := b.flush(level); err != nil {
			return err
		}
	}
	b.levels[level] = append(b.levels[level], id[:]...)
	return nil
}

func (b *mapBuilder) flush(level int) error {
	id, err := b.node(level)
	if err != nil {
		return err
	}
	return b.addTo(level+1, id)
}

// node stores a level's node; one of zeroes is not kept.
func (b *mapBuilder) node(level int) (id ChunkID, err error) {
	node := b.levels[level]
	b.levels[level] = node[:0]
	if isZero(node) {
		return id, nil
	}
	return b.store(node)
}

// finish returns the map.
func (b *mapBuilder) finish() (Map, error) {
	top := len(b.levels) - 1
	for level := range top {
		if len(b.levels[level]) == 0 {
			continue
		}
		if err := b.flush(level); err != nil {
			return Map{}, err
		}
	}
	root, err := b.node(top)
	return Map{Root: root, Depth: len(b.levels)}, err
}
