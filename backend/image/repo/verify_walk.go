package repo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"berth/backend"
)

// key is the beginning of a ChunkID: enough to tell chunks apart, and half as
// much to hold.
type key [16]byte

func keyOf(id ChunkID) key { return key(id[:16]) }

func (k key) String() string { return hex.EncodeToString(k[:]) }

// node is a place in the map of a disk. What is below it depends on nothing
// else, so that a node which was seen need not be looked at again.
type node struct {
	id    ChunkID
	level int8 // above the disk's chunks, 1 for a node that lists those
	// chunks is how many of the disk's are below it: a node that is the last of a
	// disk may be shorter.
	chunks int64
}

type nodeKey struct {
	key    key
	level  int8
	chunks int64
}

func (n node) key() nodeKey { return nodeKey{keyOf(n.id), n.level, n.chunks} }

// span is how many of the disk's chunks one entry of the node stands for.
func (n node) span() int64 {
	span := int64(1)
	for range n.level - 1 {
		span *= MapFanout
	}
	return span
}

// root is the node that a disk's map begins with.
func (d *Disk) root() node {
	return node{id: d.Map.Root, level: int8(d.Map.Depth), chunks: chunksOf(d.Size)}
}

// entries calls f for what a node lists, but for what is zero: its index among
// the disk's chunks below the node, and the node or (level 0) chunk.
func (n node) entries(content []byte, f func(first int64, below node) error) error {
	span := n.span()
	if want := (n.chunks + span - 1) / span * int64(len(n.id)); int64(len(content)) != want {
		return damaged("a map of %d chunks has %d bytes instead of %d", n.chunks, len(content), want)
	}
	for first := int64(0); first < n.chunks; first += span {
		var id ChunkID
		copy(id[:], content[first/span*int64(len(id)):])
		if id.IsZero() {
			continue
		}
		if err := f(first, node{id: id, level: n.level - 1, chunks: min(span, n.chunks-first)}); err != nil {
			return err
		}
	}
	return nil
}

// passed notes which nodes of maps were gone over. Those that are full, nearly
// all, take a bit; others, the last of a disk, may be shorter in one map than in
// another.
type passed struct {
	full []bitset // by level
	odd  map[nodeKey]bool
}

// has reports whether a node, whose first row is given (-1: none), was noted.
func (p *passed) has(n node, row int) bool {
	if row < 0 || n.chunks != n.span()*MapFanout {
		return p.odd[n.key()]
	}
	return int(n.level) < len(p.full) && p.full[n.level].is(row)
}

// add notes a node, and reports whether it was noted before.
func (p *passed) add(c *census, n node, row int) (was bool) {
	was = p.has(n, row)
	if row < 0 || n.chunks != n.span()*MapFanout {
		if p.odd == nil {
			p.odd = map[nodeKey]bool{}
		}
		p.odd[n.key()] = true
		return was
	}
	for len(p.full) <= int(n.level) {
		p.full = append(p.full, c.bitset())
	}
	p.full[n.level].set(row)
	return was
}

// walker goes over what points are made of, each node once.
type walker struct {
	census *census
	read   func(ctx context.Context, id ChunkID) ([]byte, error) // good until the next call
	passed passed
	// chunk is called for every chunk that something needs, maps among them, with
	// its rows; again for those that several nodes list.
	chunk func(id ChunkID, from, to int) error
	// fault is called for nodes that cannot be read; what it returns ends it.
	fault func(n node, err error) error
}

func (w *walker) point(ctx context.Context, m *Manifest) error {
	for i := range m.Disks {
		if root := m.Disks[i].root(); !root.id.IsZero() {
			if err := w.walk(ctx, root); err != nil {
				return fmt.Errorf("disk %s of %s: %w", m.Disks[i].Target, m.ID, err)
			}
		}
	}
	for _, f := range m.Files {
		for _, id := range f.Chunks {
			if err := w.walk(ctx, node{id: id}); err != nil {
				return fmt.Errorf("%s of %s: %w", f.Kind, m.ID, err)
			}
		}
	}
	return nil
}

func (w *walker) walk(ctx context.Context, n node) error {
	from, to, err := w.census.find(keyOf(n.id))
	if err != nil {
		return err
	}
	if n.level > 0 {
		row := from
		if from == to {
			row = -1
		}
		if w.passed.add(w.census, n, row) {
			return nil
		}
	}
	if err := w.chunk(n.id, from, to); err != nil || n.level == 0 {
		return err
	}
	content, err := w.read(ctx, n.id)
	if err != nil {
		return w.faulty(ctx, n, err)
	}
	below := make([]node, 0, len(content)/len(n.id)) // content is good until the next call only
	err = n.entries(content, func(_ int64, b node) error {
		below = append(below, b)
		return nil
	})
	if err != nil {
		return w.faulty(ctx, n, err)
	}
	for _, b := range below {
		if err := w.walk(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// faulty passes on what is damage; what keeps from looking ends the walk.
func (w *walker) faulty(ctx context.Context, n node, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !isDamage(err) {
		return err
	}
	return w.fault(n, err)
}

// isDamage tells what is wrong with the repository from what keeps from looking
// at it.
func isDamage(err error) bool {
	if errors.Is(err, backend.ErrUnreachable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return errors.Is(err, backend.ErrDamaged) || isMissing(err) || isBadDisk(err)
}
