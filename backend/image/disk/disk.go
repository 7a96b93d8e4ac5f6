// Package disk opens the content of disk images, wherever it is: raw files on
// this machine and NBD servers.
package disk

import (
	"context"

	"berth/backend"
)

// Reader reads the content of a disk. Its methods may be called from several
// goroutines.
type Reader interface {
	// Size is in bytes.
	Size() int64
	// Extents describes the stretch from offset on, in order and without gaps.
	// Where a dirty bitmap is known ExtentClean stands for what it does not hold;
	// what it holds is ExtentData or ExtentZero. It may describe less than was
	// asked for, but never nothing.
	Extents(ctx context.Context, offset, length int64) ([]backend.Extent, error)
	// ReadAt fills p from offset on, or fails. Reads may go over the end by
	// nothing.
	ReadAt(ctx context.Context, p []byte, offset int64) error
	Close() error
}

// Writer writes the content of a disk that was all zeroes. Its methods may be
// called from several goroutines for stretches that do not overlap.
type Writer interface {
	Size() int64
	WriteAt(ctx context.Context, p []byte, offset int64) error
	// WriteZeroes makes a stretch zero and, where that is possible, a hole.
	WriteZeroes(ctx context.Context, offset, length int64) error
	// Flush makes all that was written durable.
	Flush(ctx context.Context) error
	Close() error
}

// Prefetcher is a Reader that can be told what is soon asked for.
type Prefetcher interface {
	Reader
	// Prefetch returns at once.
	Prefetch(offset, length int64)
}
