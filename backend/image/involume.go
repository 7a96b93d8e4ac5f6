package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"berth/backend"
	"berth/backend/image/disk"
)

// volumeSink uploads a copy as a volume of a pool, through libvirt.
type volumeSink struct {
	v     Volume
	name  string              // of the volume, as long as it is uploaded
	namer backend.VolumeNamer // gives it its own; nil: it has that
	size  int64
	fill  filler
	pipe  *io.PipeWriter
	done  chan error
	end   bool // done was read
	ok    bool // and the volume is there
}

// Volume names a volume that a copy is uploaded to.
type Volume struct {
	Streamer           backend.VolumeStreamer
	Storage            backend.Storage // of the same host
	Host, Pool, Volume string
	Format             string
}

// InVolume is a copy in a new volume of a host. Where the host cannot rename
// volumes it has its name from the start.
func InVolume(v Volume) Target {
	label := v.Host + ":" + v.Pool + "/" + v.Volume
	return Target{Name: label, Open: func(ctx context.Context, size, data int64) (Sink, error) {
		s, err := v.open(ctx, size, data)
		if errors.Is(err, errExists) {
			return nil, opError("copy to", label, errExists, overwritesNothing)
		}
		if err != nil {
			return nil, opError("copy to", label, err, "")
		}
		return s, nil
	}}
}

func (v Volume) open(ctx context.Context, size, data int64) (*volumeSink, error) {
	if err := v.room(ctx, data); err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	s := &volumeSink{v: v, name: v.Volume, size: size, fill: filler{w: w}, pipe: w, done: make(chan error, 1)}
	if n, ok := v.Streamer.(backend.VolumeNamer); ok {
		switch draft, err := n.DraftVolume(ctx, v.Pool, v.Volume); {
		case err == nil:
			s.name, s.namer = draft, n
		case !errors.Is(err, backend.ErrUnsupported):
			return nil, err
		}
	}
	go func() {
		err := v.Streamer.Upload(ctx, v.Pool, s.name, v.Format, r, size)
		r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		s.done <- err
	}()
	return s, nil
}

// room looks for room before the first byte.
func (v Volume) room(ctx context.Context, need int64) error {
	pools, err := v.Storage.Pools(ctx)
	if err != nil {
		return err
	}
	for _, p := range pools {
		if p.Name == v.Pool && p.Active && p.Available < uint64(need)+reserve {
			return fmt.Errorf("%w: it takes %s and %s are free in the pool", backend.ErrNoRoom, words(need), words(int64(p.Available)))
		}
	}
	return nil
}

// remove deletes the volume.
func (v Volume) remove(ctx context.Context, name string) error {
	images, err := v.Storage.Images(ctx)
	if err != nil {
		return err
	}
	for i := range images {
		if images[i].Pool == v.Pool && images[i].Name == name {
			return v.Storage.DeleteImage(ctx, images[i].Path)
		}
	}
	return nil
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
		err := s.v.Streamer.Download(ctx, s.v.Pool, s.name, w)
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
func (s *volumeSink) Commit(ctx context.Context) error {
	if s.namer == nil {
		return nil
	}
	return s.namer.NameVolume(ctx, s.v.Pool, s.name, s.v.Volume)
}

// Discard implements Sink. An upload that fails removes its volume itself.
func (s *volumeSink) Discard(ctx context.Context) error {
	s.pipe.CloseWithError(context.Canceled)
	if !s.end {
		s.end = true
		<-s.done
	}
	if s.ok {
		return s.v.remove(ctx, s.name)
	}
	return nil
}
