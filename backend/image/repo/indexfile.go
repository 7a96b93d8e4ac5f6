package repo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync/atomic"

	"berth/backend"
	"berth/backend/image/place"
)

// An index file says where chunks are: a header and pages of pageLen bytes,
// each sealed for itself. First come pages that list packs, then pages that
// list chunks, both sorted by id, and last a page that says how many of each.
// It is derived from the packs' footers and can be made again.

const (
	indexDir     = "index"
	indexMagic   = "berthix1"
	indexHeadLen = 64

	pageLen  = 4096
	pageRoom = pageLen - tagSize

	packRowLen  = 80
	packsOnPage = pageRoom / packRowLen // 51, to the byte

	chunkRowLen  = 48
	chunksOnPage = pageRoom / chunkRowLen // 85, to the byte
)

// packInfo is what an index knows of a pack.
type packInfo struct {
	id     fileID
	size   int64
	frames uint32
	sum    [32]byte // SHA-256 of the file
	job    fileID   // that wrote it
}

func (p *packInfo) append(b []byte) []byte {
	b = append(b, p.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.size))
	b = binary.BigEndian.AppendUint32(b, p.frames)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = append(b, p.sum[:]...)
	return append(b, p.job[:]...)
}

func (p *packInfo) parse(b []byte) {
	copy(p.id[:], b)
	p.size = int64(binary.BigEndian.Uint64(b[16:]))
	p.frames = binary.BigEndian.Uint32(b[24:])
	copy(p.sum[:], b[32:])
	copy(p.job[:], b[64:])
}

// location says where a chunk is.
type location struct {
	pack   fileID
	offset int64
	length uint32 // of the whole frame
}

// entry is a chunk in an index file.
type entry struct {
	id     ChunkID
	pack   uint32 // number in the file's list of packs
	length uint32
	offset int64
}

func (e *entry) append(b []byte) []byte {
	b = append(b, e.id[:]...)
	b = binary.BigEndian.AppendUint32(b, e.pack)
	b = binary.BigEndian.AppendUint32(b, e.length)
	return binary.BigEndian.AppendUint64(b, uint64(e.offset))
}

func (e *entry) parse(b []byte) {
	copy(e.id[:], b)
	e.pack = binary.BigEndian.Uint32(b[32:])
	e.length = binary.BigEndian.Uint32(b[36:])
	e.offset = int64(binary.BigEndian.Uint64(b[40:]))
}

// check bounds what an entry says.
func (e *entry) check(packs int64) error {
	if int64(e.pack) >= packs || e.length < frameLen || e.length > frameLen+ChunkSize+tagSize || e.offset < packHeadLen || e.offset > MaxPackSize*2 {
		return damaged("chunk %s is said to be at %d of pack %d", e.id, e.offset, e.pack)
	}
	return nil
}

// indexHead is how an index file begins.
func indexHead(repo, id fileID, encrypted bool) []byte {
	b := make([]byte, 0, indexHeadLen)
	b = append(b, indexMagic...)
	b = binary.BigEndian.AppendUint32(b, flags(encrypted))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = append(b, repo[:]...)
	b = append(b, id[:]...)
	sum := checksumOf(nil, b, nil)
	return append(b, sum[:]...)
}

// indexFile is an index file that is open.
type indexFile struct {
	id     fileID
	file   place.File
	head   []byte
	aead   cipher.AEAD
	packs  int64
	chunks int64
	fault  atomic.Pointer[error] // of a page that could not be read
	// listRead: all of the list of packs can be read.
	listRead bool
}

// openIndexFile opens one. It reads the header and the last page only.
func openIndexFile(c *crypt, id fileID, file place.File) (*indexFile, error) {
	size := file.Size() - indexHeadLen
	if size < pageLen || size%pageLen != 0 {
		return nil, damaged("index %s has %d bytes", id, file.Size())
	}
	head, want := make([]byte, indexHeadLen), indexHead(c.repo, id, c.master != nil)
	err := readFull(file, head, 0)
	if copy, cached := file.(*cachedFile); cached && !bytes.Equal(head, want) && copy.renew() {
		err = readFull(file, head, 0)
	}
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(head, want) {
		return nil, damaged("index %s: its header is not that of an index of this repository", id)
	}
	f := &indexFile{id: id, file: file, head: head, aead: c.aead("index", id[:])}
	last := size/pageLen - 1
	page, err := f.page(last, nil)
	if err != nil {
		return nil, err
	}
	f.packs = int64(binary.BigEndian.Uint64(page))
	f.chunks = int64(binary.BigEndian.Uint64(page[8:]))
	if f.packs < 0 || f.chunks < 0 || f.packs > last*packsOnPage || f.chunks > last*chunksOnPage ||
		f.packPages()+f.chunkPages() != last {
		return nil, damaged("index %s: %d packs and %d chunks in %d pages", id, f.packs, f.chunks, last)
	}
	return f, nil
}

func (f *indexFile) packPages() int64  { return (f.packs + packsOnPage - 1) / packsOnPage }
func (f *indexFile) chunkPages() int64 { return (f.chunks + chunksOnPage - 1) / chunksOnPage }

// readFull is io.ReaderAt's ReadAt, with an error for what ends too early only.
func readFull(r io.ReaderAt, p []byte, offset int64) error {
	n, err := r.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return damaged("it ends at %d", offset+int64(n))
	}
	return err
}

// page reads and checks a page, into buf when that is large enough.
func (f *indexFile) page(n int64, buf []byte) ([]byte, error) {
	if cap(buf) < pageLen {
		buf = make([]byte, pageLen)
	}
	buf = buf[:pageLen]
	if err := readFull(f.file, buf, indexHeadLen+n*pageLen); err != nil {
		return nil, fmt.Errorf("index %s: %w", f.id, err)
	}
	return f.openPage(n, buf)
}

// openPage opens a page that was read, in its memory.
func (f *indexFile) openPage(n int64, sealed []byte) ([]byte, error) {
	open := func() ([]byte, error) {
		return f.aead.Open(sealed[:0], nonce(noncePage, uint64(n)), sealed, f.head)
	}
	plain, err := open()
	if c, cached := f.file.(*cachedFile); err != nil && cached && c.renew() {
		if err = readFull(f.file, sealed, indexHeadLen+n*pageLen); err == nil {
			plain, err = open()
		}
	}
	if err != nil {
		err = damaged("index %s, page %d: %w", f.id, n, err)
		f.fault.Store(&err)
		return nil, err
	}
	return plain, nil
}

// pack returns the nth pack.
func (f *indexFile) pack(n int64) (p packInfo, err error) {
	if n >= f.packs {
		return p, damaged("index %s: it has no pack %d", f.id, n)
	}
	page, err := f.page(n/packsOnPage, nil)
	if err != nil {
		return p, err
	}
	p.parse(page[n%packsOnPage*packRowLen:])
	return p, nil
}

// hasPack reports whether the file lists a pack.
func (f *indexFile) hasPack(id fileID) (bool, error) {
	var fault error
	n := int64(sort.Search(int(f.packs), func(i int) bool {
		p, err := f.pack(int64(i))
		if err != nil {
			fault = err
			return true
		}
		return bytes.Compare(p.id[:], id[:]) >= 0
	}))
	if fault != nil || n == f.packs {
		return false, fault
	}
	p, err := f.pack(n)
	return p.id == id, err
}

// find appends where a chunk is. Ids are evenly spread, so where to look can
// be told from the id; should somebody have chosen them to be otherwise, the
// search halves what is left.
func (f *indexFile) find(id ChunkID, to []location) ([]location, error) {
	key := binary.BigEndian.Uint64(id[:])
	lo, hi := int64(0), f.chunkPages()
	loKey, hiKey := uint64(0), ^uint64(0)
	buf := make([]byte, pageLen)
	for step := 0; lo < hi; step++ {
		guess := lo + (hi-lo)/2
		if step%3 < 2 && hiKey > loKey && key >= loKey && key <= hiKey {
			guess = lo + int64(float64(hi-lo)*(float64(key-loKey)/float64(hiKey-loKey)))
			guess = min(guess, hi-1)
		}
		page, err := f.page(f.packPages()+guess, buf)
		if err != nil {
			return to, err
		}
		rows := f.rows(guess)
		first, last := page[:32], page[(rows-1)*chunkRowLen:][:32]
		switch {
		case bytes.Compare(id[:], first) < 0:
			hi, hiKey = guess, binary.BigEndian.Uint64(first)
		case bytes.Compare(id[:], last) > 0:
			lo, loKey = guess+1, binary.BigEndian.Uint64(last)
		default:
			return f.collectFrom(guess, id, to)
		}
	}
	return to, nil
}

// rows is how many rows a page of chunks has.
func (f *indexFile) rows(page int64) int64 { return min(chunksOnPage, f.chunks-page*chunksOnPage) }

// collectFrom appends all of a chunk's rows, of which one may be on the page,
// and others before and behind it.
func (f *indexFile) collectFrom(page int64, id ChunkID, to []location) ([]location, error) {
	for page > 0 {
		before, err := f.endsWith(page-1, id)
		if err != nil {
			return to, err
		}
		if !before {
			break
		}
		page--
	}
	return f.collect(page, id, to)
}

func (f *indexFile) endsWith(page int64, id ChunkID) (bool, error) {
	b, err := f.page(f.packPages()+page, nil)
	return err == nil && bytes.Equal(b[(f.rows(page)-1)*chunkRowLen:][:32], id[:]), err
}

// collect appends all of a chunk's rows from a page on.
func (f *indexFile) collect(page int64, id ChunkID, to []location) ([]location, error) {
	for ; page < f.chunkPages(); page++ {
		b, err := f.page(f.packPages()+page, nil)
		if err != nil {
			return to, err
		}
		rows := int(f.rows(page))
		i := sort.Search(rows, func(i int) bool { return bytes.Compare(b[i*chunkRowLen:][:32], id[:]) >= 0 })
		for ; i < rows; i++ {
			var e entry
			if e.parse(b[i*chunkRowLen:]); e.id != id {
				return to, nil
			}
			if err := e.check(f.packs); err != nil {
				return to, fmt.Errorf("index %s: %w", f.id, err)
			}
			p, err := f.pack(int64(e.pack))
			if err != nil {
				return to, err
			}
			to = append(to, location{pack: p.id, offset: e.offset, length: e.length})
		}
	}
	return to, nil
}

// scanner reads the rows of an index file in order.
type scanner struct {
	f     *indexFile
	first int64 // page of its rows
	pages int64
	row   int // bytes a row
	left  int64
	next  int64  // page to be read
	buf   []byte // several pages, as read
	open  []byte // rows that were not returned yet
	pend  []byte // pages of buf that were not opened yet
}

const scanPages = 16

func (f *indexFile) scanPacks() *scanner {
	return &scanner{f: f, first: 0, pages: f.packPages(), row: packRowLen, left: f.packs}
}

func (f *indexFile) scanChunks() *scanner {
	return &scanner{f: f, first: f.packPages(), pages: f.chunkPages(), row: chunkRowLen, left: f.chunks}
}

// row returns the next row, good until the next call, or io.EOF.
func (s *scanner) read(ctx context.Context) ([]byte, error) {
	if s.left == 0 {
		return nil, io.EOF
	}
	if len(s.open) < s.row {
		if err := s.fill(ctx); err != nil {
			return nil, err
		}
	}
	row := s.open[:s.row]
	s.open = s.open[s.row:]
	s.left--
	return row, nil
}

func (s *scanner) fill(ctx context.Context) error {
	if len(s.pend) == 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(scanPages, s.pages-s.next)
		if s.buf == nil {
			s.buf = make([]byte, n*pageLen)
		}
		s.pend = s.buf[:n*pageLen]
		if err := readFull(s.f.file, s.pend, indexHeadLen+(s.first+s.next)*pageLen); err != nil {
			return fmt.Errorf("index %s: %w", s.f.id, err)
		}
	}
	var err error
	s.open, err = s.f.openPage(s.first+s.next, s.pend[:pageLen])
	s.pend = s.pend[pageLen:]
	s.next++
	return err
}

// all calls do for every row, with its number. Rows on pages that cannot be
// read are left out; the first reason for that is returned in the end.
func (s *scanner) all(ctx context.Context, do func(n int64, row []byte) error) (fault error) {
	perPage := int64(pageRoom / s.row)
	for page := range s.pages {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := s.pageOf(page)
		if err != nil {
			if !isDamage(err) {
				return err
			}
			fault = cmp.Or(fault, err)
			continue
		}
		for n := page * perPage; n < min((page+1)*perPage, s.left); n++ {
			if err := do(n, b[:s.row]); err != nil {
				return err
			}
			b = b[s.row:]
		}
	}
	return fault
}

// pageOf returns a page's content, reading several at a time unless one of them
// cannot be read.
func (s *scanner) pageOf(page int64) ([]byte, error) {
	if len(s.pend) == 0 {
		n := min(scanPages, s.pages-page)
		if s.buf == nil {
			s.buf = make([]byte, n*pageLen)
		}
		if readFull(s.f.file, s.buf[:n*pageLen], indexHeadLen+(s.first+page)*pageLen) != nil {
			return s.f.page(s.first+page, s.buf)
		}
		s.pend = s.buf[:n*pageLen]
	}
	sealed := s.pend[:pageLen]
	s.pend = s.pend[pageLen:]
	return s.f.openPage(s.first+page, sealed)
}

// errNoChunk says that no index knows a chunk.
func errNoChunk(id ChunkID) error {
	return &backend.OpError{Op: "read", Target: "chunk " + id.String(), Err: fmt.Errorf("%w: no index knows where it is", backend.ErrDamaged),
		Hint: "berth backup check --rebuild makes the index again of what is there"}
}
