package image

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"berth/backend"
	"berth/backend/image/disk"
)

// Error reads "damaged: 1048576 bytes at 0 read back otherwise than they were
// written".
func (e *DifferenceError) Error() string {
	return fmt.Sprintf("%v: %d bytes at %d read back otherwise than they were written", backend.ErrDamaged, e.Length, e.Offset)
}

// Unwrap makes it a backend.ErrDamaged.
func (e *DifferenceError) Unwrap() error { return backend.ErrDamaged }

// queueLength is how many pieces a slow target may be behind the others.
const queueLength = 16

// piece is a stretch on its way to all targets. Its buffer goes back when the
// last one is done with it.
type piece struct {
	offset int64
	data   []byte
	users  atomic.Int32
	back   chan<- []byte
}

func (p *piece) release() {
	if p.users.Add(-1) == 0 {
		p.back <- p.data[:cap(p.data)]
	}
}

// branch is one target's way: a queue, and what reads it.
type branch struct {
	queue chan *piece
	dead  atomic.Bool
	err   error // why, once all workers have ended
}

// fanout hands pieces to several branches side by side.
type fanout struct {
	branches []*branch
	free     chan []byte
	wg       sync.WaitGroup
}

func newFanout() *fanout {
	f := &fanout{free: make(chan []byte, queueLength+4)}
	for range cap(f.free) {
		f.free <- nil // made when it is first used
	}
	return f
}

// add begins a branch: write gets every piece, in order if there is one worker,
// until it fails; then finish is called, with nil or with what went wrong.
func (f *fanout) add(workers int, write func(p []byte, offset int64) error, finish func(err error)) {
	b := &branch{queue: make(chan *piece, queueLength)}
	f.branches = append(f.branches, b)
	var working sync.WaitGroup
	for range workers {
		working.Go(func() { b.work(write) })
	}
	f.wg.Go(func() {
		working.Wait()
		finish(b.err)
	})
}

func (b *branch) work(write func(p []byte, offset int64) error) {
	for p := range b.queue {
		if !b.dead.Load() {
			if err := write(p.data, p.offset); err != nil {
				b.fail(err)
			}
		}
		p.release()
	}
}

// fail notes the first error.
func (b *branch) fail(err error) {
	if b.dead.CompareAndSwap(false, true) {
		b.err = err
	}
}

// take waits for a buffer.
func (f *fanout) take(ctx context.Context) ([]byte, error) {
	select {
	case b := <-f.free:
		if b == nil {
			b = disk.Aligned(pieceSize)
		}
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// send gives a piece to every branch; it waits for the slowest one's queue. It
// reports whether anybody is left to take it.
func (f *fanout) send(ctx context.Context, data []byte, offset int64) (wanted bool, err error) {
	p := &piece{offset: offset, data: data, back: f.free}
	p.users.Store(int32(len(f.branches)) + 1)
	defer p.release()
	for i, b := range f.branches {
		select {
		case b.queue <- p:
		case <-ctx.Done():
			for range len(f.branches) - i {
				p.release()
			}
			return false, context.Cause(ctx)
		}
		wanted = wanted || !b.dead.Load()
	}
	return wanted, nil
}

// end tells all branches that nothing follows and waits for them.
func (f *fanout) end() {
	for _, b := range f.branches {
		close(b.queue)
	}
	f.wg.Wait()
}
