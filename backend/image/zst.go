package image

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/klauspost/compress/zstd"

	"berth/backend"
	"berth/backend/image/disk"
)

// A .zst of berth's is zstd frames of 4 MiB each, which `zstd -d` reads as any
// other, and at its end a table of them in zstd's seekable format
// (https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md),
// by which they can be decompressed side by side.
const (
	frameSize     = 4 << 20
	skippable     = 0x184D2A5E
	seekMagic     = 0x8F92EAB1
	seekFooter    = 9
	seekEntry     = 8
	maxFrames     = 0x8000000 // of the format's
	maxFrame      = 64 << 20  // larger ones are read as a stream
	foreignWindow = 128 << 20 // the longest window, zstd's own limit
)

// CompressOptions say how to compress and decompress.
type CompressOptions struct {
	Level    int  // zstd's, 1 to 19; 0: 1
	Force    bool // also when a VM writes to the source
	NoVerify bool
	Progress Progress
}

// frame is one on its way through the compressors.
type frame struct {
	raw    []byte
	packed []byte
	n      int
	ready  chan error
}

// Compress writes an image file, byte for byte, compressed. Zeroes cost next to
// nothing.
func Compress(ctx context.Context, path, target string, o CompressOptions) (err error) {
	const op = "compress to"
	if err := mustNotExist(op, target); err != nil {
		return err
	}
	src, err := openSource(ctx, "compress", path, o.Force)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	m := &meter{report: o.Progress}
	// What cannot be compressed grows by little; a thousandth is the least.
	err = roomBetween(op, target, src.data/1000, src.data+src.data/100, func() (int64, error) {
		m.begin(PhaseMeasuring, src.Size())
		var n counter
		err := compress(ctx, src.Reader, &n, o.Level, digests{}, m)
		return int64(n), err
	})
	if err != nil {
		return err
	}
	d, err := newDraft(op, target, src.mode)
	if err != nil {
		return err
	}
	m.begin(PhaseCompressing, src.Size())
	sums := digests{}
	err = writeFile(d.temp, func(w io.Writer) error { return compress(ctx, src.Reader, w, o.Level, sums, m) })
	if err == nil && !o.NoVerify {
		err = verifyZst(ctx, d.temp, src.Size(), sums, m)
	}
	if err == nil {
		err = d.commit()
	}
	if err != nil {
		return errors.Join(opError(op, target, err, ""), d.discard())
	}
	return nil
}

// writeFile writes through a buffer and makes it durable.
func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return plain(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return plain(err)
	}
	return plain(f.Sync())
}

// compress cuts src into frames, which are compressed side by side and written
// in order.
func compress(ctx context.Context, src disk.Reader, w io.Writer, level int, sums digests, m *meter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(max(level, 1))),
		zstd.WithWindowSize(frameSize), zstd.WithZeroFrames(true))
	if err != nil {
		return err
	}
	order := make(chan *frame, runtime.GOMAXPROCS(0))
	failed := make(chan error, 1)
	go func() {
		defer close(order)
		failed <- cut(ctx, src, enc, order, sums)
	}()
	table := []byte(nil)
	var werr error
	for f := range order {
		if err := <-f.ready; err != nil || werr != nil {
			werr = errors.Join(werr, err)
			continue
		}
		if _, werr = w.Write(f.packed); werr != nil {
			cancel()
			continue
		}
		table = binary.LittleEndian.AppendUint32(table, uint32(len(f.packed)))
		table = binary.LittleEndian.AppendUint32(table, uint32(f.n))
		m.add(int64(f.n))
	}
	if err := <-failed; werr == nil {
		werr = err
	}
	if werr != nil {
		return werr
	}
	_, err = w.Write(seekTable(table))
	return err
}

// cut reads frames and begins to compress each. Holes are not read, and
// compressed once.
func cut(ctx context.Context, src disk.Reader, enc *zstd.Encoder, order chan<- *frame, sums digests) error {
	hole := enc.EncodeAll(make([]byte, frameSize), nil)
	for at := int64(0); at < src.Size(); at += frameSize {
		f := &frame{n: int(min(frameSize, src.Size()-at)), ready: make(chan error, 1)}
		zero, err := isHole(ctx, src, at, int64(f.n))
		if err != nil {
			return err
		}
		if !zero || f.n < frameSize {
			f.raw = make([]byte, f.n)
			if err := src.ReadAt(ctx, f.raw, at); err != nil {
				return err
			}
			sums.note(f.raw, at)
		}
		select {
		case order <- f:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if f.raw == nil {
			f.packed = hole
			f.ready <- nil
			continue
		}
		go func() {
			f.packed = enc.EncodeAll(f.raw, nil)
			f.raw = nil
			f.ready <- nil
		}()
	}
	return nil
}

func isHole(ctx context.Context, src disk.Reader, at, n int64) (bool, error) {
	extents, err := src.Extents(ctx, at, n)
	if err != nil {
		return false, err
	}
	return len(extents) == 1 && extents[0].Kind == backend.ExtentZero && extents[0].Length == n, nil
}

// seekTable wraps the entries in a skippable frame.
func seekTable(entries []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, skippable)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)+seekFooter))
	b = append(b, entries...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)/seekEntry))
	b = append(b, 0) // no checksums here: each frame has its own
	return binary.LittleEndian.AppendUint32(b, seekMagic)
}

func verifyZst(ctx context.Context, path string, size int64, sums digests, m *meter) error {
	if err := forgetCached(path); err != nil {
		return plain(err)
	}
	z, err := openZst(path)
	if err != nil {
		return err
	}
	m.begin(backend.PhaseVerifying, size)
	got := digests{}
	n, err := z.each(ctx, func(p []byte, at int64) error {
		got.note(p, at)
		m.add(int64(len(p)))
		return nil
	})
	if err == nil {
		err = sums.equal(got)
	}
	if err == nil && n != size {
		err = fmt.Errorf("%w: it holds %d bytes and should hold %d", backend.ErrDamaged, n, size)
	}
	return errors.Join(err, z.Close())
}

// CompressedName is the name that a compressed image gets, and PlainName that
// of what comes out of it.
func CompressedName(path string) string { return path + ".zst" }

// PlainName is the name without .zst, or with .raw where it has none.
func PlainName(path string) string {
	if name, ok := strings.CutSuffix(path, ".zst"); ok && !strings.HasSuffix(name, "/") && name != "" {
		return name
	}
	return path + ".raw"
}
