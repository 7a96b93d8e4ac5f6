package image

import (
	"context"
	"errors"
	"io"

	"berth/backend"
	"berth/backend/image/disk"
)

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
