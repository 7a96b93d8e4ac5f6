package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"berth/backend"
	"berth/backend/image/disk"
)

// ReadFile returns a small file's content.
func (r *Repo) ReadFile(ctx context.Context, m *Manifest, f File) ([]byte, error) {
	packs := newPackCache(ctx, r.place, r.crypt)
	defer packs.close() // they were read only
	rd := r.newChunkReader(packs)
	defer rd.close()
	var content []byte
	for _, id := range f.Chunks {
		c, err := rd.chunk(ctx, id)
		if err != nil {
			return nil, &backend.OpError{Op: "read", Target: m.Name + " " + f.Path, Err: err}
		}
		content = append(content, c...)
	}
	if int64(len(content)) != f.Size {
		return nil, &backend.OpError{Op: "read", Target: m.Name + " " + f.Path, Err: damaged("it has %d bytes instead of %d", len(content), f.Size)}
	}
	return content, nil
}

// cachedChunks is how many chunks an open disk keeps.
const cachedChunks = 8

// OpenDisk opens a disk of a point for reading at random, from several
// goroutines. Chunks are checked as they are read. The repository is locked
// against those who remove something until Close.
func (r *Repo) OpenDisk(ctx context.Context, m *Manifest, target string) (disk.Reader, error) {
	d, err := m.Disk(target)
	if err != nil {
		return nil, err
	}
	failed := func(err error) error {
		return &backend.OpError{Op: "open disk", Target: m.Name + " " + target, Err: err}
	}
	l, err := r.lockReading(ctx, "read")
	if err != nil {
		return nil, failed(err)
	}
	if err := r.index.load(ctx); err != nil { // somebody may have pruned since it was opened
		return nil, failed(errors.Join(err, l.release(ctx)))
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	o := &openDisk{repo: r, disk: *d, lock: l, end: end, packs: newPackCache(life, r.place, r.crypt),
		turn: make(chan struct{}, 1), readers: make(chan *chunkReader, r.opts.Workers)}
	o.rd = r.newChunkReader(o.packs)
	o.cursor = r.mapCursor(*d, o.rd)
	for range cap(o.readers) {
		o.readers <- nil // made when it is needed
	}
	return o, nil
}

// openDisk is a disk open for reading. Maps and the cache are of one call at a
// time, chunks of as many as there are workers.
type openDisk struct {
	repo    *Repo
	disk    Disk
	lock    *lock
	end     context.CancelFunc
	turn    chan struct{} // holds one while somebody uses what follows
	packs   *packCache
	rd      *chunkReader
	cursor  *mapCursor
	cache   []cachedChunk // the one used last comes first
	closed  bool
	readers chan *chunkReader
	once    sync.Once
}

type cachedChunk struct {
	n       int64
	content []byte
	buf     []byte
}

// Size is in bytes.
func (o *openDisk) Size() int64 { return o.disk.Size }

var errDiskClosed = errors.New("the disk was closed")

// take waits for the turn.
func (o *openDisk) take(ctx context.Context) error {
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if o.closed {
		<-o.turn
		return errDiskClosed
	}
	return nil
}

func (o *openDisk) check(offset, length int64) error {
	if offset < 0 || length < 0 || offset > o.disk.Size || length > o.disk.Size-offset {
		return fmt.Errorf("%w: %d bytes at %d of a disk of %d", backend.ErrInvalid, length, offset, o.disk.Size)
	}
	return nil
}

// extentsAtOnce is how many chunks one call of Extents looks at.
const extentsAtOnce = 64 * MapFanout

// Extents tells chunks from holes.
func (o *openDisk) Extents(ctx context.Context, offset, length int64) ([]backend.Extent, error) {
	if err := o.check(offset, length); err != nil {
		return nil, err
	}
	if err := o.take(ctx); err != nil {
		return nil, err
	}
	defer func() { <-o.turn }()
	var all []backend.Extent
	end := offset + length
	for steps := 0; offset < end && steps < extentsAtOnce; steps++ {
		id, run, err := o.cursor.at(ctx, offset/ChunkSize)
		if err != nil {
			return nil, err
		}
		e := backend.Extent{Offset: offset, Length: min(end, (offset/ChunkSize+run)*ChunkSize) - offset, Kind: backend.ExtentData}
		if id.IsZero() {
			e.Kind = backend.ExtentZero
		}
		if n := len(all); n > 0 && all[n-1].Kind == e.Kind {
			all[n-1].Length += e.Length
		} else {
			all = append(all, e)
		}
		offset += e.Length
	}
	return all, nil
}

// ReadAt fills p from offset on.
func (o *openDisk) ReadAt(ctx context.Context, p []byte, offset int64) error {
	if err := o.check(offset, int64(len(p))); err != nil {
		return err
	}
	var rd *chunkReader
	select {
	case rd = <-o.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { o.readers <- rd }()
	if rd == nil {
		if err := o.take(ctx); err != nil { // not after Close
			return err
		}
		rd = o.repo.newChunkReader(o.packs)
		<-o.turn
	}
	for len(p) > 0 {
		n, skip := offset/ChunkSize, offset%ChunkSize
		some := p[:min(int64(len(p)), ChunkSize-skip)]
		if err := o.part(ctx, rd, n, skip, some); err != nil {
			return err
		}
		p, offset = p[len(some):], offset+int64(len(some))
	}
	return nil
}

// part reads a part of the nth chunk. Chunks of which parts are asked for are
// kept: the next call may want another.
func (o *openDisk) part(ctx context.Context, rd *chunkReader, n, skip int64, p []byte) error {
	id, cached, err := o.known(ctx, n, skip, p)
	if err != nil || cached {
		return err
	}
	if id.IsZero() {
		clear(p)
		return nil
	}
	content, err := rd.chunk(ctx, id)
	if err != nil {
		return err
	}
	want := min(ChunkSize, o.disk.Size-n*ChunkSize)
	if int64(len(content)) != want {
		return damaged("chunk %d of disk %s has %d bytes instead of %d", n, o.disk.Target, len(content), want)
	}
	copy(p, content[skip:])
	if int64(len(p)) == want {
		return nil
	}
	if err := o.take(ctx); err != nil {
		return err
	}
	defer func() { <-o.turn }()
	o.keep(n, content)
	return nil
}

// known reads from the cache, or says which chunk it is.
func (o *openDisk) known(ctx context.Context, n, skip int64, p []byte) (id ChunkID, cached bool, err error) {
	if err := o.take(ctx); err != nil {
		return id, false, err
	}
	defer func() { <-o.turn }()
	for i, c := range o.cache {
		if c.n == n {
			copy(o.cache[1:], o.cache[:i])
			o.cache[0] = c
			copy(p, c.content[skip:])
			return id, true, nil
		}
	}
	id, _, err = o.cursor.at(ctx, n)
	return id, false, err
}

// keep copies a chunk into the cache, unless another call has done so.
func (o *openDisk) keep(n int64, content []byte) {
	if slices.ContainsFunc(o.cache, func(c cachedChunk) bool { return c.n == n }) {
		return
	}
	var c cachedChunk
	if len(o.cache) < cachedChunks {
		c.buf = o.repo.buffers.get()
		o.cache = append(o.cache, c)
	} else {
		c = o.cache[len(o.cache)-1]
	}
	c.n, c.content = n, append(c.buf[:0], content...)
	copy(o.cache[1:], o.cache)
	o.cache[0] = c
}

// Close ends reading.
func (o *openDisk) Close() error {
	var err error
	o.once.Do(func() {
		o.end() // what is being read ends now
		for range cap(o.readers) {
			if rd := <-o.readers; rd != nil {
				rd.close()
			}
		}
		o.turn <- struct{}{}
		o.closed = true
		for _, c := range o.cache {
			o.repo.buffers.put(c.buf)
		}
		o.rd.close()
		<-o.turn
		for range cap(o.readers) {
			o.readers <- nil // who comes now hears that it is closed
		}
		ctx := context.Background()
		err = errors.Join(o.packs.close(), o.repo.saveDamage(ctx), o.lock.release(ctx))
	})
	return err
}
