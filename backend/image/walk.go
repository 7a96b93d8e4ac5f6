package image

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"berth/backend"
	"berth/backend/image/disk"
)

// pieceSize is how much is read, hashed and written at once.
const pieceSize = 1 << 20

// ahead is how far the disk is told to read before what is asked for.
const ahead = 8 << 20

// pieces goes through the parts of r that may hold something, in whole pieces
// and in order.
func pieces(ctx context.Context, r disk.Reader, yield func(offset, length int64) error) error {
	early, _ := r.(disk.Prefetcher)
	for at := int64(0); at < r.Size(); {
		extents, err := r.Extents(ctx, at, r.Size()-at)
		if err != nil {
			return err
		}
		for _, e := range extents {
			end := e.Offset + e.Length
			if e.Kind == backend.ExtentZero {
				at = max(at, end)
				continue
			}
			fetched := int64(0)
			for at = max(at, e.Offset) / pieceSize * pieceSize; at < end; at += pieceSize {
				if err := ctx.Err(); err != nil {
					return err
				}
				if early != nil && at >= fetched-ahead/2 {
					from := max(fetched, at)
					fetched = min(at+ahead, end)
					early.Prefetch(from, fetched-from)
				}
				if err := yield(at, min(pieceSize, r.Size()-at)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// walk reads the parts of r that may hold something. take makes room for one
// piece; tell is told of the bytes that were passed.
func walk(ctx context.Context, r disk.Reader, take func() ([]byte, error), yield func(p []byte, offset int64) error, tell func(n int64)) error {
	return pieces(ctx, r, func(at, n int64) error {
		buf, err := take()
		if err != nil {
			return err
		}
		if err := r.ReadAt(ctx, buf[:n], at); err != nil {
			return err
		}
		if err := yield(buf[:n], at); err != nil {
			return err
		}
		tell(n)
		return nil
	})
}

// digest is a piece's, short enough for a terabyte's to be held.
type digest [16]byte

func digestOf(p []byte) (d digest) {
	sum := blake3.Sum256(p)
	copy(d[:], sum[:])
	return d
}

// digests are those of the pieces that are not all zeroes, by their offsets.
type digests map[int64]digest

// allocated is how many bytes of a file are not holes, as far as is told.
func allocated(st os.FileInfo) int64 {
	blocks, ok := blocksOf(st)
	if !ok || !st.Mode().IsRegular() {
		return st.Size()
	}
	return min(blocks*512, st.Size()+pieceSize)
}

// readers is how many pieces are read back at once.
const readers = 3

// compare reads r back and says where it differs from what was written. A
// Reader that is a stream is read in order.
func (want digests) compare(ctx context.Context, r disk.Reader, tell func(int64)) error {
	g, ctx := errgroup.WithContext(ctx)
	todo := make(chan stretch, readers)
	n := readers
	if _, ordered := r.(*streamReader); ordered {
		n = 1
	}
	var seen atomic.Int64
	for range n {
		g.Go(func() error {
			buf := disk.Aligned(pieceSize)
			for s := range todo {
				found, err := want.check(ctx, r, buf[:s.length], s.offset)
				if err != nil {
					return err
				}
				if found {
					seen.Add(1)
				}
				tell(s.length)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(todo)
		return pieces(ctx, r, func(at, n int64) error {
			select {
			case todo <- stretch{at, n}:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if int(seen.Load()) != len(want) {
		return want.lacking(ctx, r)
	}
	return nil
}

type stretch struct{ offset, length int64 }

// check reads one piece and reports whether it is one that is wanted.
func (want digests) check(ctx context.Context, r disk.Reader, p []byte, at int64) (bool, error) {
	if err := r.ReadAt(ctx, p, at); err != nil {
		return false, err
	}
	if disk.AllZero(p) {
		return false, nil
	}
	if d, ok := want[at]; !ok || d != digestOf(p) {
		return false, &DifferenceError{Offset: at, Length: int64(len(p))}
	}
	return true, nil
}

// note adds the pieces of p, which begins on a piece's boundary.
func (want digests) note(p []byte, at int64) {
	for i := 0; i < len(p); i += pieceSize {
		if part := p[i:min(i+pieceSize, len(p))]; !disk.AllZero(part) {
			want[at+int64(i)] = digestOf(part)
		}
	}
}

// equal says where got is something else.
func (want digests) equal(got digests) error {
	for at := range got {
		if want[at] != got[at] {
			return &DifferenceError{Offset: at, Length: pieceSize}
		}
	}
	for at := range want {
		if _, ok := got[at]; !ok {
			return &DifferenceError{Offset: at, Length: pieceSize}
		}
	}
	return nil
}

// lacking finds which piece reads as zeroes and should not.
func (want digests) lacking(ctx context.Context, r disk.Reader) error {
	if _, ordered := r.(*streamReader); ordered { // which cannot be read again
		return fmt.Errorf("%w: parts of the copy read back as zeroes", backend.ErrDamaged)
	}
	for at := range want {
		p := make([]byte, min(pieceSize, r.Size()-at))
		if err := r.ReadAt(ctx, p, at); err != nil {
			return err
		}
		if disk.AllZero(p) {
			return &DifferenceError{Offset: at, Length: int64(len(p))}
		}
	}
	return fmt.Errorf("%w: the copy lacks something", backend.ErrDamaged)
}

// DifferenceError is a stretch of a copy that is not what was written to it.
type DifferenceError struct{ Offset, Length int64 }
