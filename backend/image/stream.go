package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"berth/backend"
)

// streamReader makes a Reader of a stream, for who reads it once from start to
// end. It has no holes.
type streamReader struct {
	r     io.Reader
	at    int64
	size  int64
	close func() error
}

func (s *streamReader) Size() int64  { return s.size }
func (s *streamReader) Close() error { return s.close() }

// Extents implements disk.Reader.
func (s *streamReader) Extents(_ context.Context, offset, length int64) ([]backend.Extent, error) {
	return []backend.Extent{{Offset: offset, Length: length}}, nil
}

// ReadAt implements disk.Reader, for ascending offsets.
func (s *streamReader) ReadAt(_ context.Context, p []byte, offset int64) error {
	if offset != s.at {
		return fmt.Errorf("%w: a stream was read out of order", backend.ErrInvalid)
	}
	n, err := io.ReadFull(s.r, p)
	s.at += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends after %d of %d bytes", backend.ErrDamaged, s.at, s.size)
	}
	return err
}

// filler writes a copy to a stream, zeroes and all.
type filler struct {
	w    io.Writer
	skip func(n int64) error // leaves a hole; nil: the stream has none
	at   int64
}

func (f *filler) write(p []byte, offset int64) error {
	return dataRuns(p, func(from, to int) error {
		if err := f.zeroesTo(offset + int64(from)); err != nil {
			return err
		}
		_, err := f.w.Write(p[from:to])
		f.at += int64(to - from)
		return err
	})
}

func (f *filler) zeroesTo(offset int64) error {
	if f.skip != nil && f.at < offset {
		n := offset - f.at
		f.at = offset
		return f.skip(n)
	}
	for f.at < offset {
		n := min(offset-f.at, int64(len(zeroPiece)))
		if _, err := f.w.Write(zeroPiece[:n]); err != nil {
			return err
		}
		f.at += n
	}
	return nil
}
