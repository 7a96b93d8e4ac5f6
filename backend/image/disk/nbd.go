package disk

import (
	"context"
	"errors"
	"fmt"

	"berth/backend"
	"berth/backend/image/nbd"
)

// nbdReader reads an export.
type nbdReader struct {
	c      *nbd.Client
	name   string
	size   int64
	bitmap string // meta context; empty: none
}

func openNBD(ctx context.Context, a backend.DiskAccess) (Reader, error) {
	o := nbd.Options{Export: a.Export, Wanted: []string{nbd.ContextAllocation}}
	bitmap := ""
	if a.Bitmap != "" {
		bitmap = nbd.ContextDirtyPrefix + a.Bitmap
		o.Contexts = []string{bitmap}
	}
	c, size, err := dial(ctx, a, o)
	if err != nil {
		return nil, err
	}
	return &nbdReader{c: c, name: a.Export, size: size, bitmap: bitmap}, nil
}

func dial(ctx context.Context, a backend.DiskAccess, o nbd.Options) (c *nbd.Client, size int64, err error) {
	c, err = nbd.Dial(ctx, a.Dial, o)
	if err != nil {
		if errors.Is(err, nbd.ErrNoContext) {
			err = fmt.Errorf("%w: %w", backend.ErrBitmap, err)
		}
		return nil, 0, named("open export", a.Export, err)
	}
	size = a.Size
	if size == 0 {
		size = c.Size()
	}
	// An export may be larger by what fills the last sector.
	if c.Size() < size {
		err := fmt.Errorf("%w: it has %d bytes where %d are expected", backend.ErrDamaged, c.Size(), size)
		return nil, 0, named("open export", a.Export, errors.Join(err, c.Close()))
	}
	return c, size, nil
}

func (r *nbdReader) Size() int64 { return r.size }

func (r *nbdReader) Close() error { return r.c.Close() }

func (r *nbdReader) ReadAt(ctx context.Context, p []byte, offset int64) error {
	if err := within(r.size, offset, int64(len(p))); err != nil {
		return named("read export", r.name, err)
	}
	return named("read export", r.name, r.c.ReadAt(ctx, p, offset))
}

func (r *nbdReader) Extents(ctx context.Context, offset, length int64) ([]backend.Extent, error) {
	if err := asked(r.size, offset, length); err != nil {
		return nil, named("map export", r.name, err)
	}
	if len(r.c.Info().Contexts) == 0 {
		return []backend.Extent{{Offset: offset, Length: length}}, nil
	}
	status, err := r.c.BlockStatus(ctx, offset, length)
	if err != nil {
		return nil, named("map export", r.name, err)
	}
	content, told := status[nbd.ContextAllocation]
	list := allocation(content, offset, length)
	if !told {
		list = []backend.Extent{{Offset: offset, Length: length}}
	}
	if r.bitmap == "" {
		return list, nil
	}
	spans, told := status[r.bitmap]
	if !told {
		return nil, named("map export", r.name, fmt.Errorf("%w: the server says nothing of it", backend.ErrBitmap))
	}
	dirty, end := changed(spans, offset)
	return overlay(upTo(list, end), dirty), nil
}

// allocation turns the flags of base:allocation into extents. What is allocated
// and reads as zeroes is zeroes to a backup.
func allocation(spans []nbd.Span, offset, length int64) (list []backend.Extent) {
	end := offset + length
	for _, s := range spans {
		e := backend.Extent{Offset: offset, Length: min(s.Length, end-offset)}
		if s.Flags&nbd.StateZero != 0 {
			e.Kind = backend.ExtentZero
		}
		list = appendExtent(list, e)
		offset += s.Length
	}
	return list
}

// changed are the dirty stretches of a bitmap, and where it ends.
func changed(spans []nbd.Span, offset int64) (dirty []backend.Extent, end int64) {
	for _, s := range spans {
		if s.Flags&nbd.StateDirty != 0 {
			dirty = appendExtent(dirty, backend.Extent{Offset: offset, Length: s.Length})
		}
		offset += s.Length
	}
	return dirty, offset
}

// upTo cuts extents off at end: a server may describe less in one context than
// in another.
func upTo(list []backend.Extent, end int64) []backend.Extent {
	var out []backend.Extent
	for _, e := range list {
		e.Length = min(e.Length, end-e.Offset)
		out = appendExtent(out, e)
	}
	return out
}

// nbdWriter writes an export.
type nbdWriter struct {
	c    *nbd.Client
	name string
	size int64
}

func openNBDWriter(ctx context.Context, a backend.DiskAccess) (Writer, error) {
	c, size, err := dial(ctx, a, nbd.Options{Export: a.Export})
	if err != nil {
		return nil, err
	}
	if c.Info().Has(nbd.ReadOnly) {
		return nil, named("open export", a.Export, errors.Join(backend.ErrReadOnly, c.Close()))
	}
	return &nbdWriter{c: c, name: a.Export, size: size}, nil
}

func (w *nbdWriter) Size() int64 { return w.size }

func (w *nbdWriter) Close() error { return w.c.Close() }

func (w *nbdWriter) WriteAt(ctx context.Context, p []byte, offset int64) error {
	if err := within(w.size, offset, int64(len(p))); err != nil {
		return named("write export", w.name, err)
	}
	return named("write export", w.name, sparsely(p, offset,
		func(p []byte, at int64) error { return w.c.WriteAt(ctx, p, at) },
		func(at, n int64) error { return w.zero(ctx, at, n) }))
}

func (w *nbdWriter) WriteZeroes(ctx context.Context, offset, length int64) error {
	if err := within(w.size, offset, length); err != nil {
		return named("write export", w.name, err)
	}
	return named("write export", w.name, w.zero(ctx, offset, length))
}

func (w *nbdWriter) zero(ctx context.Context, offset, length int64) error {
	if w.c.Info().Has(nbd.CanWriteZeroes) {
		return w.c.WriteZeroes(ctx, offset, length, nbd.ZeroOptions{})
	}
	for length > 0 {
		n := min(length, grain)
		if err := w.c.WriteAt(ctx, zeroes[:n], offset); err != nil {
			return err
		}
		offset, length = offset+n, length-n
	}
	return nil
}

func (w *nbdWriter) Flush(ctx context.Context) error {
	return named("flush export", w.name, w.c.Flush(ctx))
}
