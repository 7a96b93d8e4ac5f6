package disk

import (
	"context"
	"errors"
	"fmt"

	"berth/backend"
)

// Open opens the content of a disk for reading. Where access tells what has
// changed (Dirty, Bitmap) the Reader's extents do. It wraps backend.ErrBitmap
// when the server has no such bitmap.
func Open(ctx context.Context, access backend.DiskAccess) (Reader, error) {
	if err := check(access); err != nil {
		return nil, err
	}
	if access.Dial != nil {
		return openNBD(ctx, access)
	}
	return openRaw(access)
}

// OpenWriter opens a disk for writing. What there is must be all zeroes; a
// File that does not exist is made, and made as long as Size.
func OpenWriter(ctx context.Context, access backend.DiskAccess) (Writer, error) {
	if err := check(access); err != nil {
		return nil, err
	}
	if access.Dial != nil {
		return openNBDWriter(ctx, access)
	}
	return openRawWriter(access)
}

func check(a backend.DiskAccess) error {
	if (a.File == "") == (a.Dial == nil) {
		return fmt.Errorf("%w: a disk's access must name either a file or an NBD server", backend.ErrInvalid)
	}
	if a.Size < 0 {
		return fmt.Errorf("%w: a disk of %d bytes", backend.ErrInvalid, a.Size)
	}
	return nil
}

// maxExtents bounds what one call of Extents returns.
const maxExtents = 4096

func within(size, offset, length int64) error {
	if offset < 0 || length < 0 || offset > size || length > size-offset {
		return fmt.Errorf("%w: %d bytes at %d of a disk of %d", backend.ErrInvalid, length, offset, size)
	}
	return nil
}

// asked checks a question for extents.
func asked(size, offset, length int64) error {
	if length == 0 {
		return fmt.Errorf("%w: extents of nothing", backend.ErrInvalid)
	}
	return within(size, offset, length)
}

// appendExtent joins neighbours of one kind.
func appendExtent(list []backend.Extent, e backend.Extent) []backend.Extent {
	if e.Length <= 0 {
		return list
	}
	if n := len(list); n > 0 && list[n-1].Kind == e.Kind && list[n-1].Offset+list[n-1].Length == e.Offset {
		list[n-1].Length += e.Length
		return list
	}
	return append(list, e)
}

// named puts the image's name before an error.
func named(op, name string, err error) error {
	if err == nil {
		return nil
	}
	var known *backend.OpError
	if errors.As(err, &known) {
		return err
	}
	return &backend.OpError{Op: op, Target: backend.Clean(name), Err: err}
}
