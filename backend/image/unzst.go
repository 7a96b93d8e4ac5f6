package image

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/klauspost/compress/zstd"

	"berth/backend"
	"berth/backend/image/disk"
)

// zst is a compressed file that is open for reading.
type zst struct {
	f      *os.File
	dec    *zstd.Decoder
	frames []zstFrame // nil: it has no table, and is read as a stream
	size   int64      // of the content; 0: not known
}

type zstFrame struct {
	at, length int64 // where it is
	size       int   // what it holds
}

func openZst(path string) (*zst, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	z := &zst{f: f}
	z.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithDecoderMaxWindow(foreignWindow))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := z.readTable(); err != nil {
		return nil, errors.Join(err, z.Close())
	}
	return z, nil
}

// Close ends reading.
func (z *zst) Close() error {
	z.dec.Close()
	return z.f.Close()
}

// readTable reads the table of frames, if there is one. It is only believed
// when it accounts for every byte.
func (z *zst) readTable() error {
	end, err := sizeOf(z.f)
	if err != nil || end < 8+seekFooter {
		return err
	}
	var foot [seekFooter]byte
	if _, err := z.f.ReadAt(foot[:], end-seekFooter); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(foot[:]))
	length := 8 + n*seekEntry + seekFooter
	if binary.LittleEndian.Uint32(foot[5:]) != seekMagic || foot[4] != 0 || n > maxFrames || length > end {
		return nil
	}
	table := make([]byte, length)
	if _, err := z.f.ReadAt(table, end-length); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(table) != skippable || int64(binary.LittleEndian.Uint32(table[4:])) != length-8 {
		return nil
	}
	frames, size, at := make([]zstFrame, 0, n), int64(0), int64(0)
	for e := table[8 : 8+n*seekEntry]; len(e) > 0; e = e[seekEntry:] {
		fr := zstFrame{at: at, length: int64(binary.LittleEndian.Uint32(e)), size: int(binary.LittleEndian.Uint32(e[4:]))}
		if fr.size > maxFrame || fr.length > maxFrame+maxFrame/64 {
			return nil
		}
		frames = append(frames, fr)
		at, size = at+fr.length, size+int64(fr.size)
	}
	if at == end-length {
		z.frames, z.size = frames, size
	}
	return nil
}

// smallFrame is what a frame of zeroes takes at most.
const smallFrame = 4 << 10

// most is how many bytes of the content are not zeroes, at most. What others
// compressed tells no more than its size, and that not always: then a hundred
// times what it takes is thought of.
func (z *zst) most(packed int64) (n int64) {
	if z.frames == nil {
		var head [zstd.HeaderMaxSize]byte
		var h zstd.Header
		if n, _ := z.f.ReadAt(head[:], 0); h.Decode(head[:n]) == nil && h.HasFCS && h.FrameContentSize < 1<<62 {
			return int64(h.FrameContentSize)
		}
		return 100 * packed
	}
	for _, f := range z.frames {
		if f.length > smallFrame {
			n += int64(f.size)
		}
	}
	return n + int64(len(z.frames))*sparseGrain
}

// data is how many bytes of the content are written.
func (z *zst) data(ctx context.Context, m *meter) (n int64, err error) {
	_, err = z.each(ctx, func(p []byte, _ int64) error {
		m.add(int64(len(p)))
		return dataRuns(p, func(from, to int) error { n += int64(to - from); return nil })
	})
	return n, err
}

// each hands over the content in order, whole pieces but for the end, and
// returns how long it is.
func (z *zst) each(ctx context.Context, yield func(p []byte, at int64) error) (int64, error) {
	if z.frames == nil || !wholePieces(z.frames) {
		return z.stream(ctx, yield)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	order := make(chan *frame, runtime.GOMAXPROCS(0))
	go z.decode(ctx, order)
	at, failed := int64(0), error(nil)
	for f := range order {
		err := <-f.ready
		if failed != nil {
			continue
		}
		if err == nil {
			err = yield(f.raw, at)
		}
		if err != nil {
			failed = err
			cancel()
			continue
		}
		at += int64(len(f.raw))
	}
	if failed == nil && ctx.Err() != nil {
		failed = context.Cause(ctx)
	}
	return at, failed
}

// wholePieces reports whether every frame but the last holds whole pieces.
func wholePieces(frames []zstFrame) bool {
	for i, f := range frames {
		if i < len(frames)-1 && f.size%pieceSize != 0 {
			return false
		}
	}
	return true
}

// decode decompresses frames side by side.
func (z *zst) decode(ctx context.Context, order chan<- *frame) {
	defer close(order)
	for i, fr := range z.frames {
		f := &frame{ready: make(chan error, 1)}
		select {
		case order <- f:
		case <-ctx.Done():
			return
		}
		go func() {
			packed := make([]byte, fr.length)
			if _, err := z.f.ReadAt(packed, fr.at); err != nil {
				f.ready <- err
				return
			}
			var err error
			f.raw, err = z.dec.DecodeAll(packed, make([]byte, 0, fr.size))
			if err == nil && len(f.raw) != fr.size {
				err = fmt.Errorf("it holds %d bytes and should hold %d", len(f.raw), fr.size)
			}
			if err != nil {
				err = fmt.Errorf("%w: frame %d at byte %d: %w", backend.ErrDamaged, i, fr.at, err)
			}
			f.ready <- err
		}()
	}
}

// stream reads what others compressed.
func (z *zst) stream(ctx context.Context, yield func(p []byte, at int64) error) (int64, error) {
	if _, err := z.f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	if err := z.dec.Reset(z.f); err != nil {
		return 0, damaged(err)
	}
	buf := make([]byte, pieceSize)
	for at := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return at, context.Cause(ctx)
		}
		n, err := io.ReadFull(z.dec, buf)
		if n > 0 {
			if err := yield(buf[:n], at); err != nil {
				return at, err
			}
			at += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF) && n == 0, errors.Is(err, io.ErrUnexpectedEOF) && n > 0 && z.ended():
			return at, nil
		case err != nil:
			return at, damaged(err)
		}
	}
}

// ended reports whether the stream came to its end where it should: ReadFull
// tells a short last piece and a file that was cut alike.
func (z *zst) ended() bool {
	var b [1]byte
	n, err := z.dec.Read(b[:])
	return n == 0 && errors.Is(err, io.EOF)
}

func damaged(err error) error {
	return fmt.Errorf("%w: %w", backend.ErrDamaged, err)
}

// Decompress writes what a .zst holds, holes where there are zeroes.
func Decompress(ctx context.Context, source, target string, o CompressOptions) (err error) {
	const op = "decompress to"
	st, err := regular("decompress", source)
	if err != nil {
		return err
	}
	z, err := openZst(source)
	if err != nil {
		return opError("decompress", source, err, "")
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	m := &meter{report: o.Progress}
	err = roomBetween(op, target, 0, z.most(st.Size()), func() (int64, error) {
		m.begin(PhaseMeasuring, z.size)
		return z.data(ctx, m)
	})
	if err != nil {
		return err
	}
	d, err := newDraft(op, target, st.Mode().Perm())
	if err != nil {
		return err
	}
	m.begin(PhaseExpanding, z.size)
	sums := digests{}
	err = expand(ctx, z, d.temp, sums, m)
	if err == nil && !o.NoVerify {
		err = verifyFile(ctx, d.temp, sums, m)
	}
	if err == nil {
		err = d.commit()
	}
	if err != nil {
		return errors.Join(opError(op, target, err, ""), d.discard())
	}
	return nil
}

// expand writes the content into a file of its own length.
func expand(ctx context.Context, z *zst, path string, sums digests, m *meter) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return plain(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := z.each(ctx, func(p []byte, at int64) error {
		sums.note(p, at)
		m.add(int64(len(p)))
		return writeSparse(f, p, at)
	})
	if err != nil {
		return err
	}
	if err := f.Truncate(n); err != nil {
		return plain(err)
	}
	return plain(f.Sync())
}

// sparseGrain is the shortest run of zeroes that is left out.
const sparseGrain = 64 << 10

// writeSparse writes into a new file, and leaves out zeroes.
func writeSparse(f *os.File, p []byte, at int64) error {
	return dataRuns(p, func(from, to int) error {
		_, err := f.WriteAt(p[from:to], at+int64(from))
		return noRoom(plain(err))
	})
}

// dataRuns hands over the stretches of p that are not zeroes.
func dataRuns(p []byte, yield func(from, to int) error) error {
	for from := 0; from < len(p); {
		to := from
		for to < len(p) && !disk.AllZero(p[to:min(to+sparseGrain, len(p))]) {
			to = min(to+sparseGrain, len(p))
		}
		if to > from {
			if err := yield(from, to); err != nil {
				return err
			}
		}
		from = to + sparseGrain
	}
	return nil
}

// verifyFile reads a file back from the disk.
func verifyFile(ctx context.Context, path string, sums digests, m *meter) (err error) {
	if err := forgetCached(path); err != nil {
		return plain(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		return plain(err)
	}
	r, err := disk.Open(ctx, backend.DiskAccess{File: path, Size: st.Size()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	m.begin(backend.PhaseVerifying, allocated(st))
	return sums.compare(ctx, r, m.add)
}
