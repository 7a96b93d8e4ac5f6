package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/place"
)

// placeSink writes a copy into a place, as on another host over SFTP.
type placeSink struct {
	copy place.Copy
	size int64
	mode fs.FileMode
	fill filler
}

// InPlace is a copy in a place, under a name without slashes and with those
// permissions; holes stay holes. The place is closed by its owner.
func InPlace(p place.Copier, name string, mode fs.FileMode) Target {
	label := p.URL() + "/" + name
	return Target{Name: label, Open: func(ctx context.Context, size, data int64) (Sink, error) {
		if name != path.Base(name) {
			return nil, opError("copy to", label, fmt.Errorf("%w: the name has a slash", backend.ErrInvalid), "")
		}
		if err := roomInPlace(ctx, p, data); err != nil {
			return nil, opError("copy to", label, err, "")
		}
		c, err := p.BeginCopy(ctx, name)
		if errors.Is(err, errExists) {
			return nil, opError("copy to", label, errExists, overwritesNothing)
		}
		if err != nil {
			return nil, opError("copy to", label, err, "")
		}
		return &placeSink{copy: c, size: size, mode: mode, fill: filler{w: c, skip: c.Skip}}, nil
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

// Sync implements Sink: what is written is durable with Reread, or Commit.
func (s *placeSink) Sync(context.Context) error { return s.fill.zeroesTo(s.size) }

// Reread implements Sink.
func (s *placeSink) Reread(ctx context.Context) (disk.Reader, error) {
	f, err := s.copy.Reread(ctx)
	if err != nil {
		return nil, err
	}
	return &streamReader{r: io.NewSectionReader(f, 0, s.size), size: s.size, close: f.Close}, nil
}

// Commit implements Sink.
func (s *placeSink) Commit(ctx context.Context) error { return s.copy.CommitNew(ctx, s.mode) }

// Discard implements Sink.
func (s *placeSink) Discard(context.Context) error { return s.copy.Discard() }
