package repo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"

	"berth/backend/image/place"
)

// sumsDir has a file for each index file, of the same name: what sha256sum
// makes of the packs that it lists, and of itself.
const sumsDir = "sums"

// indexWriter writes an index file: packs first, then chunks, both in order.
type indexWriter struct {
	id     fileID
	head   []byte
	aead   cipher.AEAD
	draft  place.Draft
	sums   place.Draft
	hash   hash.Hash
	page   []byte
	pages  uint64
	packs  uint64
	chunks uint64
	last   []byte // the row before, for leaving out what is the same
	err    error
}

func newIndexWriter(ctx context.Context, p place.Place, c *crypt) (*indexWriter, error) {
	id := newFileID()
	w := &indexWriter{id: id, head: indexHead(c.repo, id, c.master != nil), aead: c.aead("index", id[:]), hash: sha256.New(), page: make([]byte, 0, pageLen)}
	var err error
	if w.draft, err = p.Create(ctx, path.Join(indexDir, id.String()), 0); err != nil {
		return nil, err
	}
	if w.sums, err = p.Create(ctx, path.Join(sumsDir, id.String()), 0); err != nil {
		return nil, errors.Join(err, w.draft.Discard())
	}
	w.write(w.head)
	return w, nil
}

func (w *indexWriter) write(b []byte) {
	if w.err == nil {
		w.hash.Write(b)
		_, w.err = w.draft.Write(b)
	}
}

// flush ends a page.
func (w *indexWriter) flush() {
	if len(w.page) == 0 {
		return
	}
	plain := w.page[:pageRoom]
	clear(plain[len(w.page):])
	w.write(w.aead.Seal(w.page[:0], nonce(noncePage, w.pages), plain, w.head))
	w.page, w.pages = w.page[:0], w.pages+1
}

func (w *indexWriter) addPack(p packInfo) {
	if w.page = p.append(w.page); len(w.page) > pageRoom-packRowLen {
		w.flush()
	}
	w.packs++
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.sums, "%x  %s\n", p.sum, packName(p.id))
	}
}

// endPacks ends the list of packs.
func (w *indexWriter) endPacks() { w.flush() }

// addChunk leaves out a row that is the same as the one before.
func (w *indexWriter) addChunk(e entry) {
	row := e.append(make([]byte, 0, chunkRowLen))
	if bytes.Equal(row, w.last) {
		return
	}
	w.last = append(w.last[:0], row...)
	if w.page = append(w.page, row...); len(w.page) > pageRoom-chunkRowLen {
		w.flush()
	}
	w.chunks++
}

// commit ends the file and makes it durable, and then its sums.
func (w *indexWriter) commit(ctx context.Context) error {
	w.flush()
	w.page = binary.BigEndian.AppendUint64(w.page, w.packs)
	w.page = binary.BigEndian.AppendUint64(w.page, w.chunks)
	w.flush()
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.sums, "%x  %s\n", w.hash.Sum(nil), path.Join(indexDir, w.id.String()))
	}
	if w.err == nil {
		w.err = w.draft.Commit(ctx)
	}
	if w.err == nil {
		w.err = w.sums.Commit(ctx)
	}
	return w.err
}

// discard ends it without a trace.
func (w *indexWriter) discard() error { return errors.Join(w.draft.Discard(), w.sums.Discard()) }

// packed is a sealed pack and what is in it.
type packed struct {
	packInfo
	frames []frame
}

// writeIndex makes an index file of packs.
func writeIndex(ctx context.Context, p place.Place, c *crypt, packs []packed) (id fileID, err error) {
	slices.SortFunc(packs, func(a, b packed) int { return bytes.Compare(a.id[:], b.id[:]) })
	var chunks []entry
	for n, pack := range packs {
		for _, f := range pack.frames {
			chunks = append(chunks, entry{id: f.id, pack: uint32(n), length: uint32(f.size()), offset: f.offset})
		}
	}
	slices.SortFunc(chunks, compareEntries)
	w, err := newIndexWriter(ctx, p, c)
	if err != nil {
		return id, err
	}
	for _, pack := range packs {
		w.addPack(pack.packInfo)
	}
	w.endPacks()
	for _, e := range chunks {
		w.addChunk(e)
	}
	if err := w.commit(ctx); err != nil {
		return id, errors.Join(err, w.discard())
	}
	return w.id, nil
}

func compareEntries(a, b entry) int {
	return cmp.Or(bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.pack, b.pack), cmp.Compare(a.offset, b.offset))
}

// mergeIndex makes one index file of several, without the packs that keep
// refuses (nil: none). The files that it was made of are left alone.
func mergeIndex(ctx context.Context, p place.Place, c *crypt, files []*indexFile, keep func(packInfo) bool) (id fileID, err error) {
	w, err := newIndexWriter(ctx, p, c)
	if err != nil {
		return id, err
	}
	numbers, err := mergePacks(ctx, w, files, keep)
	if err == nil {
		err = mergeChunks(ctx, w, files, numbers)
	}
	if err == nil {
		err = w.commit(ctx)
	}
	if err != nil {
		return id, errors.Join(err, w.discard())
	}
	return w.id, nil
}

const noPack = ^uint32(0)

// mergePacks returns for each file what its packs' numbers become.
func mergePacks(ctx context.Context, w *indexWriter, files []*indexFile, keep func(packInfo) bool) ([][]uint32, error) {
	numbers := make([][]uint32, len(files))
	scans := make([]*scanner, len(files))
	for i, f := range files {
		numbers[i], scans[i] = make([]uint32, 0, f.packs), f.scanPacks()
	}
	var last packInfo
	number, first := noPack, true
	err := mergeRows(ctx, scans, func(from int, row []byte) error {
		var p packInfo
		p.parse(row)
		if first || p.id != last.id {
			if number = noPack; keep == nil || keep(p) {
				number = uint32(w.packs)
				w.addPack(p)
			}
			first, last = false, p
		}
		numbers[from] = append(numbers[from], number)
		return w.err
	})
	w.endPacks()
	return numbers, err
}

func mergeChunks(ctx context.Context, w *indexWriter, files []*indexFile, numbers [][]uint32) error {
	scans := make([]*scanner, len(files))
	for i, f := range files {
		scans[i] = f.scanChunks()
	}
	var same []entry // of one id: in order only once their packs have new numbers
	flush := func() {
		slices.SortFunc(same, compareEntries)
		for _, e := range same {
			w.addChunk(e)
		}
		same = same[:0]
	}
	err := mergeRows(ctx, scans, func(from int, row []byte) error {
		var e entry
		e.parse(row)
		if err := e.check(files[from].packs); err != nil {
			return fmt.Errorf("index %s: %w", files[from].id, err)
		}
		if e.pack = numbers[from][e.pack]; e.pack == noPack {
			return nil
		}
		if len(same) > 0 && same[0].id != e.id {
			flush()
		}
		same = append(same, e)
		return w.err
	})
	flush()
	return err
}

// mergeRows calls f with the rows of all scanners, in order.
func mergeRows(ctx context.Context, scans []*scanner, f func(from int, row []byte) error) error {
	rows := make([][]byte, len(scans))
	advance := func(i int) (err error) {
		if rows[i], err = scans[i].read(ctx); errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	for i := range scans {
		if err := advance(i); err != nil {
			return err
		}
	}
	for {
		least := -1
		for i, row := range rows {
			if row != nil && (least < 0 || bytes.Compare(row, rows[least]) < 0) {
				least = i
			}
		}
		if least < 0 {
			return nil
		}
		if err := f(least, rows[least]); err != nil {
			return err
		}
		if err := advance(least); err != nil {
			return err
		}
	}
}
