package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/place"
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

// placeSink writes a copy into a place, as on another host over SFTP.
type placeSink struct {
	p     place.Place
	name  string
	size  int64
	draft place.Draft
	fill  filler
	there bool
}

// InPlace is a copy in a place, under a name without slashes; holes stay holes
// where the place can. The place is closed by its owner.
func InPlace(p place.Place, name string) Target {
	label := p.URL() + "/" + name
	return Target{Name: label, Open: func(ctx context.Context, size, data int64) (Sink, error) {
		if name != path.Base(name) {
			return nil, opError("copy to", label, fmt.Errorf("%w: the name has a slash", backend.ErrInvalid), "")
		}
		switch _, err := p.Stat(ctx, name); {
		case err == nil:
			return nil, opError("copy to", label, errExists, "berth overwrites no image: give another name, or delete it first")
		case !isNotExist(err):
			return nil, opError("copy to", label, err, "")
		}
		d, err := p.Create(ctx, name, 0)
		if err != nil {
			return nil, opError("copy to", label, err, "")
		}
		s := &placeSink{p: p, name: name, size: size, draft: d, fill: filler{w: d}}
		need := size
		if h, ok := d.(place.Skipper); ok {
			s.fill.skip, need = h.Skip, data
		}
		if err := roomInPlace(ctx, p, need); err != nil {
			return nil, opError("copy to", label, errors.Join(err, d.Discard()), "")
		}
		return s, nil
	}}
}

func roomInPlace(ctx context.Context, p place.Place, need int64) error {
	free, err := p.Room(ctx)
	if errors.Is(err, backend.ErrUnsupported) {
		return nil // the place does not tell
	}
	if err == nil && free < need+reserve {
		err = fmt.Errorf("%w: it takes %s and %s are free", backend.ErrNoRoom, words(need), words(free))
	}
	return err
}

// Write implements Sink.
func (s *placeSink) Write(ctx context.Context, p []byte, offset int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.fill.write(p, offset)
}

// Sync implements Sink: a place's files are durable, and have their name, with
// Commit.
func (s *placeSink) Sync(ctx context.Context) error {
	if err := s.fill.zeroesTo(s.size); err != nil {
		return err
	}
	if err := s.draft.Commit(ctx); err != nil {
		return err
	}
	s.there = true
	return nil
}

// Reread implements Sink.
func (s *placeSink) Reread(ctx context.Context) (disk.Reader, error) {
	f, err := s.p.Open(ctx, s.name)
	if err != nil {
		return nil, err
	}
	return &streamReader{r: io.NewSectionReader(f, 0, s.size), size: s.size, close: f.Close}, nil
}

// Commit implements Sink.
func (s *placeSink) Commit(context.Context) error { return nil }

// Discard implements Sink.
func (s *placeSink) Discard(ctx context.Context) error {
	if s.there {
		return s.p.Remove(ctx, s.name)
	}
	return s.draft.Discard()
}

// volumeSink uploads a copy as a volume of a pool, through libvirt.
type volumeSink struct {
	v    Volume
	size int64
	fill filler
	pipe *io.PipeWriter
	done chan error
	end  bool // done was read
	ok   bool // and the volume is there
}

// Volume names a volume that a copy is uploaded to.
type Volume struct {
	Streamer           backend.VolumeStreamer
	Host, Pool, Volume string
	Format             string
	// Remove deletes the volume when its copy turns out to be wrong.
	Remove func(ctx context.Context) error
}

// InVolume is a copy in a new volume of a host.
func InVolume(v Volume) Target {
	label := v.Host + ":" + v.Pool + "/" + v.Volume
	return Target{Name: label, Open: func(ctx context.Context, size, _ int64) (Sink, error) {
		r, w := io.Pipe()
		s := &volumeSink{v: v, size: size, fill: filler{w: w}, pipe: w, done: make(chan error, 1)}
		go func() {
			err := v.Streamer.Upload(ctx, v.Pool, v.Volume, v.Format, r, size)
			r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
			s.done <- err
		}()
		return s, nil
	}}
}

// Write implements Sink.
func (s *volumeSink) Write(_ context.Context, p []byte, offset int64) error {
	return s.told(s.fill.write(p, offset))
}

// told puts the upload's own reason in the place of a closed pipe.
func (s *volumeSink) told(err error) error {
	if err == nil || s.end {
		return err
	}
	s.end = true
	if why := <-s.done; why != nil {
		return why
	}
	return err
}

// Sync implements Sink.
func (s *volumeSink) Sync(ctx context.Context) error {
	if err := s.told(s.fill.zeroesTo(s.size)); err != nil {
		return err
	}
	if err := s.pipe.Close(); err != nil {
		return err
	}
	select {
	case err := <-s.done:
		s.end, s.ok = true, err == nil
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Reread implements Sink.
func (s *volumeSink) Reread(ctx context.Context) (disk.Reader, error) {
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		err := s.v.Streamer.Download(ctx, s.v.Pool, s.v.Volume, w)
		w.CloseWithError(err)
		done <- err
	}()
	return &streamReader{r: r, size: s.size, close: func() error {
		cancel()
		r.CloseWithError(io.ErrClosedPipe)
		<-done // that it was ended early is not an error; that it failed was read
		return nil
	}}, nil
}

// Commit implements Sink.
func (s *volumeSink) Commit(context.Context) error { return nil }

// Discard implements Sink. An upload that fails removes its volume itself.
func (s *volumeSink) Discard(ctx context.Context) error {
	s.pipe.CloseWithError(context.Canceled)
	if !s.end {
		s.end = true
		<-s.done
	}
	if s.ok && s.v.Remove != nil {
		return s.v.Remove(ctx)
	}
	return nil
}
