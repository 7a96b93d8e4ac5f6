package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"syscall"
)

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// isBadDisk: a disk that fails says EIO for what it cannot read.
func isBadDisk(err error) bool { return errors.Is(err, syscall.EIO) }

// row is a copy of a chunk that the index lists. 32 bytes.
type row struct {
	key    key
	pack   uint32 // in census.packs
	length uint32
	offset int64
}

// bitset is a bit for each row.
type bitset []uint64

func (b bitset) set(i int)     { b[i/64] |= 1 << (i % 64) }
func (b bitset) clear(i int)   { b[i/64] &^= 1 << (i % 64) }
func (b bitset) is(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// bitset is one with no bit set.
func (c *census) bitset() bitset { return make(bitset, (len(c.rows)+63)/64) }

// census is the whole index in memory: 32 bytes a chunk, 32 MiB for a TiB.
type census struct {
	packs []packInfo
	rows  []row // by key, then pack and offset
}

// takeCensus reads all index files where they are, not in a cache, every byte.
// fault is called for those that cannot be used, and sums for what SHA256SUMS
// should say of one.
func (r *Repo) takeCensus(ctx context.Context, fault func(name string, err error), sums func(id fileID, want []byte)) (*census, error) {
	for try := 1; ; try++ {
		c, err := r.takeCensusOnce(ctx, fault, sums)
		// A writer makes one file of several now and then, and removes those.
		if err == nil || !isMissing(err) || try == censusTries {
			return c, err
		}
	}
}

const censusTries = 5

func (r *Repo) takeCensusOnce(ctx context.Context, fault func(name string, err error), sums func(id fileID, want []byte)) (*census, error) {
	entries, err := r.place.List(ctx, indexDir)
	if err != nil {
		return nil, err
	}
	c := &census{}
	type found struct {
		name string
		id   fileID
		sums []byte
		err  error
	}
	var all []found
	numbers := map[fileID]uint32{}
	for _, e := range entries {
		id, err := parseFileID(path.Base(e.Name))
		if err != nil {
			continue // a foreign file
		}
		want, err := c.add(ctx, r, id, e.Name, numbers)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil && (isMissing(err) || !isDamage(err)) {
			return nil, err
		}
		all = append(all, found{e.Name, id, want, err})
	}
	for _, f := range all {
		if f.err != nil {
			fault(f.name, f.err)
		} else {
			sums(f.id, f.sums)
		}
	}
	slices.SortFunc(c.rows, compareRows)
	c.rows = slices.Compact(c.rows)
	return c, nil
}

func compareRows(a, b row) int {
	return cmp.Or(bytes.Compare(a.key[:], b.key[:]), cmp.Compare(a.pack, b.pack), cmp.Compare(a.offset, b.offset))
}

// add reads one index file. Nothing of one that is damaged is kept.
func (c *census) add(ctx context.Context, r *Repo, id fileID, name string, numbers map[fileID]uint32) (sums []byte, err error) {
	file, err := r.place.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	f, err := openIndexFile(r.crypt, id, file)
	if err != nil {
		return nil, err
	}
	rows, packs := len(c.rows), len(c.packs)
	if sums, err = c.read(ctx, f, numbers); err != nil {
		for _, p := range c.packs[packs:] {
			delete(numbers, p.id)
		}
		c.rows, c.packs = c.rows[:rows], c.packs[:packs]
		return nil, err
	}
	sum, err := sumFile(ctx, file)
	return fmt.Appendf(sums, "%x  %s\n", sum, name), err
}

func (c *census) read(ctx context.Context, f *indexFile, numbers map[fileID]uint32) (sums []byte, err error) {
	var local []uint32
	for s := f.scanPacks(); ; {
		b, err := s.read(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		var p packInfo
		p.parse(b)
		n, known := numbers[p.id]
		if !known {
			n = uint32(len(c.packs))
			numbers[p.id] = n
			c.packs = append(c.packs, p)
		}
		local = append(local, n)
		sums = fmt.Appendf(sums, "%x  %s\n", p.sum, packName(p.id))
	}
	for s := f.scanChunks(); ; {
		b, err := s.read(ctx)
		if err == io.EOF {
			return sums, nil
		}
		if err != nil {
			return nil, err
		}
		var e entry
		e.parse(b)
		if err := e.check(f.packs); err != nil {
			return nil, err
		}
		c.rows = append(c.rows, row{key: keyOf(e.id), pack: local[e.pack], length: e.length, offset: e.offset})
	}
}

// recover adds what packs say of themselves that no index lists, as a rebuilt
// index would.
func (c *census) recover(ctx context.Context, r *Repo) error {
	listed := map[fileID]bool{}
	for _, p := range c.packs {
		listed[p.id] = true
	}
	entries, err := r.place.List(ctx, packsDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, err := parseFileID(path.Base(e.Name))
		if err != nil || listed[id] {
			continue
		}
		p, err := r.recoverPack(ctx, id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if !isDamage(err) {
				return err
			}
			continue // it is reported as what it is, a pack that cannot be read
		}
		n := uint32(len(c.packs))
		c.packs = append(c.packs, p.packInfo)
		for _, f := range p.frames {
			c.rows = append(c.rows, row{key: keyOf(f.id), pack: n, length: uint32(f.size()), offset: f.offset})
		}
	}
	slices.SortFunc(c.rows, compareRows)
	return nil
}

// find returns where a chunk's copies are in rows.
func (c *census) find(k key) (from, to int) {
	from, found := slices.BinarySearchFunc(c.rows, k, func(r row, k key) int { return bytes.Compare(r.key[:], k[:]) })
	if !found {
		return from, from
	}
	for to = from + 1; to < len(c.rows) && c.rows[to].key == k; to++ {
	}
	return from, to
}

// reader reads chunks where the census says that they are.
func (c *census) reader(rd *chunkReader) func(ctx context.Context, id ChunkID) ([]byte, error) {
	return func(ctx context.Context, id ChunkID) ([]byte, error) {
		from, to := c.find(keyOf(id))
		if from == to {
			return nil, errNoChunk(id)
		}
		var faults error
		for ; from < to; from++ {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			r := &c.rows[from]
			content, err := rd.at(id, location{pack: c.packs[r.pack].id, offset: r.offset, length: r.length})
			if err == nil {
				return content, nil
			}
			faults = errors.Join(faults, err)
		}
		return nil, faults
	}
}
