package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"berth/backend"
	"berth/backend/image/disk"
)

// Restore writes a disk of a point to dst, which was all zeroes, and makes it
// durable. Every chunk is checked against its id; the first that is wrong ends
// it.
func (r *Repo) Restore(ctx context.Context, m *Manifest, target string, dst disk.Writer, o RestoreOptions) error {
	failed := func(err error) error {
		return &backend.OpError{Op: "restore disk", Target: m.Name + " " + target, Err: err}
	}
	d, err := m.Disk(target)
	if err != nil {
		return err
	}
	if dst.Size() < d.Size {
		return failed(fmt.Errorf("%w: it has %d bytes, the target %d", backend.ErrInvalid, d.Size, dst.Size()))
	}
	l, err := r.lockReading(ctx, "restore")
	if err != nil {
		return failed(err)
	}
	ctx, cancel := l.context(ctx)
	defer cancel()
	t := &restoring{repo: r, disk: *d, dst: dst, o: o, windows: make(chan []wanted)}
	if err = r.index.load(ctx); err == nil { // somebody may have pruned since it was opened
		err = t.run(ctx)
	}
	if err == nil {
		err = dst.Flush(ctx)
	}
	if err = errors.Join(err, r.saveDamage(context.WithoutCancel(ctx)), l.release(context.WithoutCancel(ctx))); err != nil {
		return failed(err)
	}
	return nil
}

// restoring is one Restore at work: windows of the disk's chunks are sorted by
// where they are in packs, and read by several workers.
type restoring struct {
	repo    *Repo
	disk    Disk
	dst     disk.Writer
	o       RestoreOptions
	packs   *packCache
	windows chan []wanted

	done atomic.Int64
	tell sync.Mutex
}

// wanted is a chunk and where in the disk it goes.
type wanted struct {
	id ChunkID
	n  int64
	at location
}

const (
	// restoreWindow is how many chunks are put in order at a time.
	restoreWindow = 8192
	// restoreBatch is how many of those a worker takes.
	restoreBatch = 8
)

func (t *restoring) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	t.packs = newPackCache(ctx, t.repo.place, t.repo.crypt)
	defer t.packs.close() // they were read only
	g.Go(func() error { return t.plan(ctx) })
	for range t.repo.opts.Workers + 1 {
		g.Go(func() error { return t.work(ctx) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	t.report()
	return nil
}

// plan hands out chunks in the order of the packs.
func (t *restoring) plan(ctx context.Context) error {
	defer close(t.windows)
	rd := t.repo.newChunkReader(t.packs)
	defer rd.close()
	var window []wanted
	err := t.repo.mapCursor(t.disk, rd).each(ctx, func(n int64, id ChunkID) error {
		at, err := t.repo.index.find(ctx, id)
		if len(at) == 0 {
			return errors.Join(errNoChunk(id), err)
		}
		if window = append(window, wanted{id: id, n: n, at: at[0]}); len(window) < restoreWindow {
			return nil
		}
		err = t.hand(ctx, window)
		window = nil
		return err
	})
	if err != nil {
		return err
	}
	return t.hand(ctx, window)
}

func (t *restoring) hand(ctx context.Context, window []wanted) error {
	slices.SortFunc(window, func(a, b wanted) int {
		return cmp.Or(bytes.Compare(a.at.pack[:], b.at.pack[:]), cmp.Compare(a.at.offset, b.at.offset), cmp.Compare(a.n, b.n))
	})
	for len(window) > 0 {
		n := min(len(window), restoreBatch)
		for n < len(window) && window[n].id == window[n-1].id { // read once what is wanted several times
			n++
		}
		select {
		case t.windows <- window[:n]:
		case <-ctx.Done():
			return ctx.Err()
		}
		window = window[n:]
	}
	return nil
}

func (t *restoring) work(ctx context.Context) error {
	rd := t.repo.newChunkReader(t.packs)
	defer rd.close()
	for batch := range t.windows {
		var content []byte
		for i, c := range batch {
			if t.o.Gate != nil {
				if err := t.o.Gate(ctx); err != nil {
					return err
				}
			}
			if i == 0 || batch[i-1].id != c.id {
				var err error
				if content, err = t.read(ctx, rd, c); err != nil {
					return err
				}
			}
			if err := t.write(ctx, c.n, content); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads a chunk from where it is known to be; when that is damaged, from
// wherever else it is.
func (t *restoring) read(ctx context.Context, rd *chunkReader, c wanted) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	content, err := rd.at(c.id, c.at)
	if err == nil {
		return content, nil
	}
	return rd.chunk(ctx, c.id)
}

// write writes a chunk, but for the zeroes in it.
func (t *restoring) write(ctx context.Context, n int64, content []byte) error {
	offset := n * ChunkSize
	if want := min(ChunkSize, t.disk.Size-offset); int64(len(content)) != want {
		return damaged("chunk %d of disk %s has %d bytes instead of %d", n, t.disk.Target, len(content), want)
	}
	if err := wait(ctx, t.o.Limit, int64(len(content))); err != nil {
		return err
	}
	err := eachRun(content, func(from, to int) error {
		return t.dst.WriteAt(ctx, content[from:to], offset+int64(from))
	})
	if err != nil {
		return err
	}
	t.done.Add(int64(len(content)))
	if t.tell.TryLock() {
		t.report()
		t.tell.Unlock()
	}
	return nil
}

func (t *restoring) report() {
	if t.o.Progress != nil {
		t.o.Progress(RestoreProgress{Done: t.done.Load(), Total: t.disk.Data})
	}
}

// holeGrain is how many zeroes make a hole, in bytes.
const holeGrain = 64 << 10

// eachRun calls f for each run of blocks of holeGrain that are not zero.
func eachRun(content []byte, f func(from, to int) error) error {
	for from := 0; from < len(content); {
		to := from
		for to < len(content) && !isZero(content[to:min(to+holeGrain, len(content))]) {
			to = min(to+holeGrain, len(content))
		}
		if to > from {
			if err := f(from, to); err != nil {
				return err
			}
		}
		from = to + holeGrain
	}
	return nil
}
