package repo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"sort"
	"sync"
	"syscall"
)

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// isBadDisk: a disk that fails says EIO for what it cannot read.
func isBadDisk(err error) bool { return errors.Is(err, syscall.EIO) }

// row is a copy of a chunk that the index lists.
type row struct {
	key    key
	pack   uint32 // in census.packs
	length uint32
	offset int64
}

const (
	rowLen      = 32
	rowsOnPage  = 128
	rowPageLen  = rowLen * rowsOnPage
	rowsAtOnce  = 2048    // that each reads
	rowsInBatch = 1 << 17 // that byPack holds
)

func (r *row) append(b []byte) []byte {
	b = append(b, r.key[:]...)
	b = binary.BigEndian.AppendUint32(b, r.pack)
	b = binary.BigEndian.AppendUint32(b, r.length)
	return binary.BigEndian.AppendUint64(b, uint64(r.offset))
}

func (r *row) parse(b []byte) {
	copy(r.key[:], b)
	r.pack = binary.BigEndian.Uint32(b[16:])
	r.length = binary.BigEndian.Uint32(b[20:])
	r.offset = int64(binary.BigEndian.Uint64(b[24:]))
}

func compareRows(a, b row) int {
	return cmp.Or(bytes.Compare(a.key[:], b.key[:]), cmp.Compare(a.pack, b.pack), cmp.Compare(a.offset, b.offset), cmp.Compare(a.length, b.length))
}

// censusPack is what is known of a pack.
type censusPack struct {
	id     fileID
	job    fileID
	size   int64 // that the index says
	there  int64 // bytes that the file has; -1: it is not there
	rows   uint32
	listed bool // in the index, or found in its stead
}

// census is the whole index, merged: rows by key, pack and offset in a file of
// this machine, and of each pack a few words in memory. Rows are called by their
// numbers.
type census struct {
	packs []censusPack // by id
	file  *scratch
	rows  int
	fence []uint64 // what the first key of each page of rows begins with

	mu   sync.Mutex
	page int // that buf holds; -1: none
	buf  []byte
}

func (c *census) close() {
	if c != nil {
		c.file.close()
	}
}

// bitset is a bit for each row.
type bitset []uint64

func (b bitset) set(i int)     { b[i/64] |= 1 << (i % 64) }
func (b bitset) clear(i int)   { b[i/64] &^= 1 << (i % 64) }
func (b bitset) is(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// any reports whether any bit is set.
func (b bitset) any() bool { return slices.ContainsFunc(b, func(w uint64) bool { return w != 0 }) }

// bitset is one with no bit set.
func (c *census) bitset() bitset { return make(bitset, (c.rows+63)/64) }

// row returns the nth.
func (c *census) row(n int) (r row, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if page := n / rowsOnPage; c.page != page || c.buf == nil {
		if c.buf == nil {
			c.buf = make([]byte, rowPageLen)
		}
		c.page = -1
		some := c.buf[:min(rowsOnPage, c.rows-page*rowsOnPage)*rowLen]
		if err := readFull(c.file, some, int64(page)*rowPageLen); err != nil {
			return r, err
		}
		c.page = page
	}
	r.parse(c.buf[n%rowsOnPage*rowLen:])
	return r, nil
}

// at is where the nth row says that its chunk is.
func (c *census) at(n int) (location, error) {
	r, err := c.row(n)
	return c.location(&r), err
}

func (c *census) location(r *row) location {
	return location{pack: c.packs[r.pack].id, offset: r.offset, length: r.length}
}

// find returns the rows of a chunk: from the first to before the last.
func (c *census) find(k key) (from, to int, err error) {
	word := binary.BigEndian.Uint64(k[:])
	first := sort.Search(len(c.fence), func(i int) bool { return c.fence[i] >= word })
	last := first + sort.Search(len(c.fence)-first, func(i int) bool { return c.fence[first+i] > word })
	lo, hi := max(first-1, 0)*rowsOnPage, min(last*rowsOnPage, c.rows)
	search := func(after func(key) bool) int {
		return lo + sort.Search(hi-lo, func(i int) bool {
			r, fault := c.row(lo + i)
			err = errors.Join(err, fault)
			return fault != nil || after(r.key)
		})
	}
	from = search(func(o key) bool { return bytes.Compare(o[:], k[:]) >= 0 })
	for to = from; err == nil && to < c.rows; to++ {
		r, fault := c.row(to)
		if err = fault; err != nil || r.key != k {
			break
		}
	}
	return from, to, err
}

// number is a pack's in packs.
func (c *census) number(id fileID) (n int, known bool) {
	return slices.BinarySearchFunc(c.packs, id, func(p censusPack, id fileID) int { return bytes.Compare(p.id[:], id[:]) })
}

// each calls f for every row, in order.
func (c *census) each(ctx context.Context, f func(n int, r *row) error) error {
	buf := make([]byte, min(c.rows, rowsAtOnce)*rowLen)
	var r row
	for n := 0; n < c.rows; {
		if err := ctx.Err(); err != nil {
			return err
		}
		some := buf[:min(rowsAtOnce, c.rows-n)*rowLen]
		if err := readFull(c.file, some, int64(n)*rowLen); err != nil {
			return err
		}
		for ; len(some) > 0; some = some[rowLen:] {
			r.parse(some)
			if err := f(n, &r); err != nil {
				return err
			}
			n++
		}
	}
	return nil
}

// eachChunk calls f for the rows of every chunk, in order.
func (c *census) eachChunk(ctx context.Context, f func(from, to int) error) error {
	from := 0
	var last key
	err := c.each(ctx, func(n int, r *row) error {
		if n > from && r.key != last {
			if err := f(from, n); err != nil {
				return err
			}
			from = n
		}
		last = r.key
		return nil
	})
	if err != nil || c.rows == 0 {
		return err
	}
	return f(from, c.rows)
}

// numbered is a row and its number.
type numbered struct {
	row
	n int
}

// byPack calls do for each pack with those of its rows that take takes, in the
// order of their offsets; packs of which it takes none are left out. It holds
// the rows of some packs at a time.
func (c *census) byPack(ctx context.Context, take func(n int, r *row) bool, do func(pack int, rows []numbered) error) error {
	batch := make([]numbered, 0, min(c.rows, rowsInBatch))
	for from, to := 0, 0; from < len(c.packs); from = to {
		for sum := 0; to < len(c.packs) && (to == from || sum+int(c.packs[to].rows) <= rowsInBatch); to++ {
			sum += int(c.packs[to].rows)
		}
		batch = batch[:0]
		err := c.each(ctx, func(n int, r *row) error {
			if int(r.pack) >= from && int(r.pack) < to && take(n, r) {
				batch = append(batch, numbered{*r, n})
			}
			return nil
		})
		if err != nil {
			return err
		}
		slices.SortFunc(batch, func(a, b numbered) int { return cmp.Or(cmp.Compare(a.pack, b.pack), cmp.Compare(a.offset, b.offset)) })
		for rest := batch; len(rest) > 0; {
			n := sort.Search(len(rest), func(i int) bool { return rest[i].pack > rest[0].pack })
			if err := do(int(rest[0].pack), rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	return nil
}

// reader reads chunks where the census says that they are.
func (c *census) reader(rd *chunkReader) func(ctx context.Context, id ChunkID) ([]byte, error) {
	return func(ctx context.Context, id ChunkID) ([]byte, error) {
		at, err := c.locations(id)
		if err != nil {
			return nil, err
		}
		return rd.anyOf(ctx, id, at)
	}
}

// locations are all that the census knows of a chunk.
func (c *census) locations(id ChunkID) (at []location, err error) {
	from, to, err := c.find(keyOf(id))
	for ; err == nil && from < to; from++ {
		var l location
		if l, err = c.at(from); err == nil {
			at = append(at, l)
		}
	}
	return at, err
}
