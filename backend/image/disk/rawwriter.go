package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"berth/backend"
)

// rawWriter writes a raw image or a block device.
type rawWriter struct {
	f      *os.File
	direct *os.File // the same past the page cache; nil: the file system has no way
	size   int64

	mu      sync.Mutex
	pending int64 // bytes written since write-back was last started
	noHoles bool  // the file system cannot make them
}

func openRawWriter(a backend.DiskAccess) (_ Writer, err error) {
	f, err := os.OpenFile(a.File, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, named("open", a.File, cause(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(named("open", a.File, err), f.Close())
		}
	}()
	end, err := length(f)
	if err != nil {
		return nil, err
	}
	w := &rawWriter{f: f, size: a.Size}
	switch st, serr := f.Stat(); {
	case serr != nil:
		return nil, serr
	case a.Size == 0:
		w.size = end
	case st.Mode().IsRegular() && end < a.Size:
		if err := f.Truncate(a.Size); err != nil {
			return nil, cause(err)
		}
	case end < a.Size:
		return nil, fmt.Errorf("%w: the device has %d bytes, the disk %d", backend.ErrNoRoom, end, a.Size)
	}
	w.direct = openDirect(a.File)
	return w, nil
}

func (w *rawWriter) Size() int64 { return w.size }

func (w *rawWriter) Close() error {
	if w.direct != nil {
		return errors.Join(w.direct.Close(), w.f.Close())
	}
	return w.f.Close()
}

// WriteAt leaves out runs of zeroes, which become holes.
func (w *rawWriter) WriteAt(ctx context.Context, p []byte, offset int64) error {
	if err := within(w.size, offset, int64(len(p))); err != nil {
		return named("write", w.f.Name(), err)
	}
	return sparsely(p, offset,
		func(p []byte, at int64) error { return w.write(ctx, p, at) },
		func(at, n int64) error { return w.zero(ctx, at, n) })
}

func (w *rawWriter) write(ctx context.Context, p []byte, offset int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.direct != nil && aligned(p, offset) {
		_, err := w.direct.WriteAt(p, offset)
		if !errors.Is(err, unix.EINVAL) { // a device with larger sectors
			return named("write", w.f.Name(), room(err))
		}
	}
	if _, err := w.f.WriteAt(p, offset); err != nil {
		return named("write", w.f.Name(), room(err))
	}
	return w.writeBack(int64(len(p)))
}

// room gives a full file system its name.
func room(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", backend.ErrNoRoom, cause(err))
	}
	return cause(err)
}

// writeBackEvery is after how many bytes the kernel is told to begin to write
// what it holds, so that Flush has little left to wait for.
const writeBackEvery = 16 << 20

func (w *rawWriter) writeBack(n int64) error {
	w.mu.Lock()
	w.pending += n
	due := w.pending >= writeBackEvery
	if due {
		w.pending = 0
	}
	w.mu.Unlock()
	if !due {
		return nil
	}
	// The whole file: what is being written already is passed over.
	err := unix.SyncFileRange(int(w.f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	if err != nil && !errors.Is(err, unix.ESPIPE) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return named("write", w.f.Name(), room(err))
	}
	return nil
}

func (w *rawWriter) WriteZeroes(ctx context.Context, offset, length int64) error {
	if err := within(w.size, offset, length); err != nil {
		return named("write", w.f.Name(), err)
	}
	return w.zero(ctx, offset, length)
}

func (w *rawWriter) zero(ctx context.Context, offset, length int64) error {
	if err := ctx.Err(); err != nil || length == 0 {
		return err
	}
	w.mu.Lock()
	punch := !w.noHoles
	w.mu.Unlock()
	if punch {
		err := unix.Fallocate(int(w.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, length)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.ENODEV) {
			return named("write", w.f.Name(), room(err))
		}
		w.mu.Lock()
		w.noHoles = true
		w.mu.Unlock()
	}
	return w.zeroByHand(ctx, offset, length)
}

// zeroByHand writes zeroes where there are others: what is a hole stays one.
func (w *rawWriter) zeroByHand(ctx context.Context, offset, length int64) error {
	buf := make([]byte, min(length, 1<<20))
	for length > 0 {
		p := buf[:min(int64(len(buf)), length)]
		if _, err := w.f.ReadAt(p, offset); err != nil {
			return named("write", w.f.Name(), cause(err))
		}
		if !AllZero(p) {
			clear(p)
			if err := w.write(ctx, p, offset); err != nil {
				return err
			}
		}
		offset, length = offset+int64(len(p)), length-int64(len(p))
	}
	return ctx.Err()
}

func (w *rawWriter) Flush(ctx context.Context) error {
	// fsync takes no context; it is left to itself when that ends.
	done := make(chan error, 1)
	go func() { done <- w.f.Sync() }()
	select {
	case err := <-done:
		if err != nil {
			return named("flush", w.f.Name(), room(err))
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
