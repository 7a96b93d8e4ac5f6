package repo

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"berth/backend"
	"berth/backend/image/disk"
)

// AddDisk reads a disk and keeps what is new of it. d says what it is; what is
// set by AddDisk need not be. With incremental, chunks of which src says that
// they are clean are taken over from WriteOptions.Base; those that it lacks, or
// the repository has lost, are read.
func (w *Writer) AddDisk(ctx context.Context, d Disk, src disk.Reader, incremental bool) (Disk, error) {
	if err := w.usable(); err != nil {
		return d, err
	}
	defer w.during(ctx)()
	a, err := w.newAdding(ctx, d, src, incremental)
	if err == nil {
		err = a.run(ctx)
	}
	if err != nil {
		w.err = err
		return d, &backend.OpError{Op: "back up disk", Target: d.Target, Err: err}
	}
	w.disks = append(w.disks, a.disk)
	w.read += a.disk.Read
	return a.disk, nil
}

// adding is one AddDisk at work. A planner goes over the disk and hands out
// slots in order; workers read, compress and store the chunks of slots in any
// order; the mapper takes up the ids in order again. Memory is bounded by the
// workers' buffers and the slots under way.
type adding struct {
	w           *Writer
	src         disk.Reader
	incremental bool
	base        *mapCursor // nil: there is none
	disk        Disk
	total       int64

	cpu   chan *codec // who holds one may use a core
	tasks chan *slot
	order chan *slot

	done    atomic.Int64 // bytes read
	limited atomic.Int64 // nanoseconds spent, by all workers
	reading atomic.Int64
	waiting atomic.Int64
	writing atomic.Int64
}

// slot is one chunk on its way.
type slot struct {
	chunkPlan
	id    ChunkID
	ready chan struct{} // nil: it is
}

const (
	slotsAhead = 512 // between the planner and the mapper
	// Readers that wait while others use the cores.
	readersAhead = 4
)

func (w *Writer) newAdding(ctx context.Context, d Disk, src disk.Reader, incremental bool) (*adding, error) {
	d.Size, d.Data, d.Read, d.Full, d.Map = src.Size(), 0, 0, true, Map{}
	a := &adding{w: w, src: src, disk: d, cpu: make(chan *codec, w.repo.opts.Workers),
		tasks: make(chan *slot), order: make(chan *slot, slotsAhead)}
	if incremental && w.o.Base != nil {
		if base, err := w.o.Base.Disk(d.Target); err == nil {
			a.incremental, a.disk.Full = true, false
			a.base = newMapCursor(*base, nil)
		}
	}
	for range cap(a.cpu) {
		a.cpu <- newCodec(w.repo.crypt)
	}
	var err error
	if a.total, err = toRead(ctx, src, a.incremental); err != nil {
		return nil, err
	}
	w.packer.expecting(a.total)
	return a, nil
}

func (a *adding) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.plan(ctx) })
	for range cap(a.cpu) + readersAhead {
		g.Go(func() error { return a.work(ctx) })
	}
	g.Go(func() error { return a.mapped(ctx) })
	err := g.Wait()
	for range cap(a.cpu) {
		(<-a.cpu).close()
	}
	if err != nil {
		return err
	}
	a.disk.Read = a.done.Load()
	a.w.packer.expecting(a.disk.Read - a.total)
	a.tell(true)
	return nil
}

// plan hands out slots.
func (a *adding) plan(ctx context.Context) error {
	defer close(a.tasks)
	defer close(a.order)
	if a.base != nil {
		packs := newPackCache(ctx, a.w.repo.place, a.w.repo.crypt)
		rd := a.w.repo.newChunkReader(packs)
		defer packs.close() // they were read only
		defer rd.close()
		a.base.load = rd.chunk
	}
	p := planner{src: a.src, incremental: a.incremental}
	for {
		c, more, err := p.next(ctx, nil)
		if err != nil || !more {
			return err
		}
		s := &slot{chunkPlan: c}
		if c.clean {
			if err := a.takeOver(ctx, s); err != nil {
				return err
			}
		}
		if len(s.parts) > 0 {
			s.ready = make(chan struct{})
		}
		if err := a.hand(ctx, s); err != nil {
			return err
		}
	}
}

// takeOver gives a clean chunk its id of the base. One that the base does not
// have as it is now, or that is lost, will be read.
func (a *adding) takeOver(ctx context.Context, s *slot) error {
	if from := s.n * ChunkSize; from+int64(s.length) > a.base.disk.Size || (s.length < ChunkSize && a.base.disk.Size != a.src.Size()) {
		return nil
	}
	id, _, err := a.base.at(ctx, s.n)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || !id.IsZero() && !a.w.repo.index.has(id) {
		return nil
	}
	s.id, s.parts = id, nil
	return nil
}

func (a *adding) hand(ctx context.Context, s *slot) error {
	select {
	case a.order <- s:
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.ready == nil {
		return nil
	}
	select {
	case a.tasks <- s:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work reads and stores chunks.
func (a *adding) work(ctx context.Context) error {
	buf := a.w.repo.buffers.get()
	defer a.w.repo.buffers.put(buf)
	for s := range a.tasks {
		if err := a.read(ctx, s, buf); err != nil {
			return err
		}
		if err := a.keep(ctx, s, buf); err != nil {
			return err
		}
		close(s.ready)
		a.done.Add(s.bytes())
		a.tell(false)
	}
	return nil
}

// read fills buf with a chunk, behind the room for a frame's head.
func (a *adding) read(ctx context.Context, s *slot, buf []byte) error {
	if a.w.o.Gate != nil {
		if err := a.w.o.Gate(ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := wait(ctx, a.w.o.Limit, s.bytes()); err != nil {
		return err
	}
	a.limited.Add(int64(time.Since(began)))
	began = time.Now()
	content := buf[frameLen : frameLen+s.length]
	end := 0
	for _, p := range s.parts {
		clear(content[end:p.Offset])
		end = int(p.Offset + p.Length)
		if err := a.src.ReadAt(ctx, content[p.Offset:end], s.n*ChunkSize+p.Offset); err != nil {
			return err
		}
	}
	clear(content[end:])
	a.reading.Add(int64(time.Since(began)))
	return nil
}

// keep stores a chunk that was read. It compresses when a core is free, and
// lets others have that while it writes.
func (a *adding) keep(ctx context.Context, s *slot, buf []byte) error {
	began := time.Now()
	var c *codec
	select {
	case c = <-a.cpu:
	case <-ctx.Done():
		return ctx.Err()
	}
	a.waiting.Add(int64(time.Since(began)))
	chunk := a.compress(s, c, buf)
	a.cpu <- c
	if chunk == nil {
		return nil
	}
	a.w.fresh.Add(s.bytes())
	began = time.Now()
	err := a.w.write(chunk)
	a.writing.Add(int64(time.Since(began)))
	return err
}

func (a *adding) compress(s *slot, c *codec, buf []byte) (chunk *stowed) {
	if isZero(buf[frameLen : frameLen+s.length]) {
		return nil
	}
	s.id, chunk = a.w.stow(c, buf, s.length, kindData)
	return chunk
}

// mapped takes up ids in order and makes the map of them.
func (a *adding) mapped(ctx context.Context) (err error) {
	buf := a.w.repo.buffers.get()
	defer a.w.repo.buffers.put(buf)
	b := newMapBuilder(a.disk.Size, func(node []byte) (ChunkID, error) {
		c := <-a.cpu // comes back soon, whatever becomes of the work
		id, chunk := a.w.stow(c, buf, copy(buf[frameLen:], node), kindMap)
		a.cpu <- c
		return id, a.w.write(chunk)
	})
	for s := range a.order {
		if s.ready != nil {
			select {
			case <-s.ready:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if !s.id.IsZero() {
			a.disk.Data += int64(s.length)
		}
		if err := b.add(s.id); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a.disk.Map, err = b.finish()
	return err
}

// wait waits until n bytes may go through.
func wait(ctx context.Context, l *rate.Limiter, n int64) error {
	for l != nil && n > 0 {
		some := min(n, int64(max(1, l.Burst())))
		if err := l.WaitN(ctx, int(some)); err != nil {
			return err
		}
		n -= some
	}
	return nil
}

// tellEvery is how often progress is told at most.
const tellEvery = 100 * time.Millisecond

func (a *adding) tell(last bool) {
	w := a.w
	if w.o.Progress == nil {
		return
	}
	if !last && !w.progress.TryLock() {
		return
	}
	if last {
		w.progress.Lock()
	}
	defer w.progress.Unlock()
	now := time.Now()
	if !last && now.Sub(w.told) < tellEvery {
		return
	}
	w.told = now
	w.o.Progress(WriteProgress{Disk: a.disk.Target, Done: a.done.Load(), Total: a.total, New: w.fresh.Load(), Out: w.packer.stored.Load(), Waits: a.waits()})
}

// waits names the stage that takes the workers' time, or the limit that holds
// them.
func (a *adding) waits() string {
	limited, reading, waiting, writing := a.limited.Load(), a.reading.Load(), a.waiting.Load(), a.writing.Load()
	switch {
	case limited > reading+waiting+writing:
		return "the limit"
	case reading > waiting && reading > writing:
		return "reading"
	case writing > waiting:
		return "writing"
	case waiting > 0:
		return "compressing"
	default:
		return ""
	}
}
