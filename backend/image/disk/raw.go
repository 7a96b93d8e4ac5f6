package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"berth/backend"
)

// rawReader reads a raw image or a block device.
type rawReader struct {
	f     *os.File
	size  int64
	stops int64            // where the file ends; what follows up to size is zeroes
	blind atomic.Bool      // the file system does not tell where holes are
	dirty []backend.Extent // in order; nil: not known
	known bool             // dirty is known, though it may be empty
}

func openRaw(a backend.DiskAccess) (_ Reader, err error) {
	f, err := os.Open(a.File)
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
	r := &rawReader{f: f, size: a.Size, stops: min(end, a.Size)}
	whole := (end + 511) &^ 511 // QEMU rounds up to whole sectors
	switch {
	case a.Size == 0:
		r.size, r.stops = whole, end
	case a.Size > whole:
		return nil, fmt.Errorf("%w: it has %d bytes where %d are expected", backend.ErrDamaged, end, a.Size)
	}
	if a.Dirty != nil {
		r.known = true
		if r.dirty, err = sortedDirty(a.Dirty, r.size); err != nil {
			return nil, err
		}
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_SEQUENTIAL); err != nil && !errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("fadvise: %w", err)
	}
	return r, nil
}

// cause leaves out the path that named puts before it.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// length is that of a file or of a block device, which Stat does not tell.
func length(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() && st.Mode()&os.ModeDevice == 0 {
		return 0, fmt.Errorf("%w: this is neither a file nor a block device", backend.ErrInvalid)
	}
	return f.Seek(0, io.SeekEnd)
}

func (r *rawReader) Size() int64 { return r.size }

func (r *rawReader) Close() error { return r.f.Close() }

func (r *rawReader) ReadAt(ctx context.Context, p []byte, offset int64) error {
	if err := within(r.size, offset, int64(len(p))); err != nil {
		return named("read", r.f.Name(), err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	n := max(min(int64(len(p)), r.stops-offset), 0)
	clear(p[n:])
	got, err := r.f.ReadAt(p[:n], offset)
	if errors.Is(err, io.EOF) && int64(got) < n {
		err = fmt.Errorf("%w: the image was cut short while it was read", backend.ErrDamaged)
	}
	if int64(got) == n {
		return nil
	}
	return named("read", r.f.Name(), cause(err))
}

// Prefetch begins to read a stretch that is soon asked for. That it cannot
// changes nothing but the pace.
func (r *rawReader) Prefetch(offset, length int64) {
	_ = unix.Fadvise(int(r.f.Fd()), offset, length, unix.FADV_WILLNEED)
}

func (r *rawReader) Extents(ctx context.Context, offset, length int64) ([]backend.Extent, error) {
	if err := asked(r.size, offset, length); err != nil {
		return nil, named("map", r.f.Name(), err)
	}
	var list []backend.Extent
	for at, end := offset, offset+length; at < end && len(list) < maxExtents; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e, err := r.extent(at, end)
		if err != nil {
			return nil, named("map", r.f.Name(), err)
		}
		list = appendExtent(list, e)
		at += e.Length
	}
	if r.known {
		list = overlay(list, r.dirty)
	}
	return list, nil
}

// extent is what begins at one place.
func (r *rawReader) extent(at, end int64) (backend.Extent, error) {
	if at >= r.stops {
		return backend.Extent{Offset: at, Length: end - at, Kind: backend.ExtentZero}, nil
	}
	if r.blind.Load() {
		return backend.Extent{Offset: at, Length: end - at}, nil
	}
	data, err := unix.Seek(int(r.f.Fd()), at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // nothing but a hole up to the end
		return backend.Extent{Offset: at, Length: end - at, Kind: backend.ExtentZero}, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP): // a block device
		r.blind.Store(true)
		return backend.Extent{Offset: at, Length: end - at}, nil
	case err != nil:
		return backend.Extent{}, err
	}
	if data > at {
		return backend.Extent{Offset: at, Length: min(data, end) - at, Kind: backend.ExtentZero}, nil
	}
	hole, err := unix.Seek(int(r.f.Fd()), at, unix.SEEK_HOLE)
	if err != nil {
		return backend.Extent{}, err
	}
	if hole <= at { // cut short meanwhile
		return backend.Extent{}, fmt.Errorf("%w: the image was cut short while it was read", backend.ErrDamaged)
	}
	// The file's last partial sector reads as data and then zeroes.
	return backend.Extent{Offset: at, Length: min(hole, end) - at}, nil
}
