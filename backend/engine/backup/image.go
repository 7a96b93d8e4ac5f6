package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"berth/backend"
	"berth/backend/image"
	"berth/backend/image/disk"
	"berth/backend/image/repo"
)

// copying is a copy of an image's content to one or several others of its host:
// one read, written to all side by side, each read back.
type copying struct {
	*task
	host   backend.ImageOpener
	from   string // formats
	to     string
	copies []*copied
}

// copied is one target.
type copied struct {
	path string
	img  backend.NewImage
	w    disk.Writer
	err  error
}

// image copies or converts an image. A target that fails is named, and the
// others are finished.
func (k *task) image(ctx context.Context) (result, error) {
	h, err := k.hostOf(ctx)
	if err != nil {
		return result{}, err
	}
	s := &k.x.Spec.Image
	k.meter.phase(backend.PhasePreparing)
	c := &copying{task: k, from: s.Format, to: s.To}
	if err := c.look(ctx, h); err != nil {
		return result{}, err
	}
	if s.Compress {
		return k.compress(ctx, h, c.from, c.to)
	}
	var ok bool
	if c.host, ok = h.(backend.ImageOpener); !ok {
		return result{}, fmt.Errorf("%w: images cannot be written on %s from here", backend.ErrUnsupported, h.Name())
	}
	err = c.all(ctx)
	k.record(string(k.x.Spec.Kind), s.Source, err)
	return result{words: fmt.Sprintf("%d copies, each read back", len(c.copies))}, err
}

// look finds the image's format, and refuses one that a VM writes to.
func (c *copying) look(ctx context.Context, h backend.Host) error {
	if s, ok := h.(backend.Storage); ok {
		images, err := s.Images(ctx)
		if err != nil {
			return err
		}
		for i := range images {
			img := &images[i]
			if img.Path != c.x.Spec.Image.Source {
				continue
			}
			if c.from == "" {
				c.from = img.Format
			}
			for _, u := range img.Users {
				if u.Active && !u.ReadOnly {
					return &backend.OpError{Op: "copy", Target: img.Path, Err: fmt.Errorf("%w: %s runs with it as %s", backend.ErrBusy, u.Name, u.Target),
						Hint: "shut it down, or back it up: that works while it runs"}
				}
			}
		}
	}
	if c.from != "qcow2" {
		c.from = "raw" // an ISO image too
	}
	if c.to == "" {
		c.to = c.from
	}
	if c.to != "raw" && c.to != "qcow2" {
		return fmt.Errorf("%w: images are written as raw or qcow2, not as %q", backend.ErrInvalid, backend.Clean(c.to))
	}
	return nil
}

// compress has qemu-img make a compressed image, on this machine.
func (k *task) compress(ctx context.Context, h backend.Host, from, to string) (result, error) {
	s := &k.x.Spec.Image
	sample, err := h.Sample(ctx)
	switch {
	case err != nil:
		return result{}, err
	case !sample.Local || len(s.Targets) != 1 || to != "qcow2":
		return result{}, fmt.Errorf("%w: an image is compressed to one qcow2 image, on the host itself: berth image convert --compress, there", backend.ErrUnsupported)
	}
	err = image.Convert(ctx, s.Source, s.Targets[0], image.ConvertOptions{From: from, To: to, Compress: true,
		Progress: func(p backend.Phase, done, total int64) {
			k.meter.with(func(x *backend.Progress) { x.Phase, x.Done, x.Total = p, done, total })
		}})
	k.record(string(k.x.Spec.Kind), s.Source, err)
	return result{words: "compressed"}, err
}

func (c *copying) all(ctx context.Context) (err error) {
	s := &c.x.Spec.Image
	src, err := c.host.OpenImage(ctx, s.Source, c.from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	r, err := c.o.openDisk(ctx, src.Access())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	total, err := toRead(ctx, r, false)
	if err != nil {
		return err
	}
	c.meter.with(func(p *backend.Progress) { p.Phase, p.Total = backend.PhaseWriting, total*2 })
	defer c.drop()
	for _, p := range s.Targets {
		c.copies = append(c.copies, c.begin(ctx, p, r.Size()))
	}
	if err := c.chunks(ctx, r, c.write); err != nil {
		return err
	}
	for _, t := range c.copies {
		c.commit(ctx, t)
	}
	c.meter.phase(backend.PhaseVerifying)
	return c.verify(ctx, r)
}

func (c *copying) begin(ctx context.Context, path string, size int64) *copied {
	t := &copied{path: path}
	if t.img, t.err = c.host.MakeImage(ctx, path, c.to, uint64(size)); t.err == nil {
		t.w, t.err = c.o.openWriter(ctx, t.img.Access())
	}
	return t
}

// drop lets go of what has no name yet.
func (c *copying) drop() {
	for _, t := range c.copies {
		if t.w != nil {
			t.w.Close() //nolint:errcheck // it is deleted, or was flushed
		}
		if t.img != nil {
			t.img.Close() //nolint:errcheck // likewise
		}
	}
}

// failed joins what went wrong with targets; left is how many are well.
func (c *copying) failed() (left int, err error) {
	for _, t := range c.copies {
		if t.err != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", backend.Clean(t.path), t.err))
		} else {
			left++
		}
	}
	return left, err
}

// chunks reads what an image holds besides zeroes, and hands on piece by piece.
func (c *copying) chunks(ctx context.Context, r disk.Reader, f func(ctx context.Context, b []byte, at int64) error) error {
	buffer := make([]byte, repo.ChunkSize)
	for at := int64(0); at < r.Size(); {
		list, err := r.Extents(ctx, at, r.Size()-at)
		if err != nil {
			return err
		}
		for _, e := range list {
			for ; at < e.Offset+e.Length; at += min(int64(len(buffer)), e.Offset+e.Length-at) {
				if e.Kind == backend.ExtentZero {
					continue
				}
				b := buffer[:min(int64(len(buffer)), e.Offset+e.Length-at)]
				if err := errors.Join(c.gate.wait(ctx), c.limit.WaitN(ctx, len(b))); err != nil {
					return err
				}
				if err := r.ReadAt(ctx, b, at); err != nil {
					return err
				}
				if err := f(ctx, b, at); err != nil {
					return err
				}
				c.meter.with(func(p *backend.Progress) { p.Done += int64(len(b)) })
			}
		}
	}
	return nil
}

// write writes a piece to every target that is well.
func (c *copying) write(ctx context.Context, b []byte, at int64) error {
	if len(bytes.TrimLeft(b, "\x00")) == 0 {
		return nil // zeroes become holes
	}
	var all sync.WaitGroup
	for _, t := range c.copies {
		if t.err == nil {
			all.Go(func() { t.err = t.w.WriteAt(ctx, b, at) })
		}
	}
	all.Wait()
	if left, err := c.failed(); left == 0 {
		return err
	}
	return nil
}

func (c *copying) commit(ctx context.Context, t *copied) {
	if t.err != nil {
		return
	}
	if t.err = errors.Join(t.w.Flush(ctx), t.w.Close()); t.err == nil {
		t.err = t.img.Commit(ctx)
	}
	t.w = nil
}

// verify reads source and targets side by side.
func (c *copying) verify(ctx context.Context, r disk.Reader) error {
	readers := make([]disk.Reader, len(c.copies))
	var open []backend.OpenImage
	defer func() {
		for _, x := range readers {
			if x != nil {
				x.Close() //nolint:errcheck // it was only read
			}
		}
		for _, x := range open {
			x.Close() //nolint:errcheck // likewise
		}
	}()
	for i, t := range c.copies {
		if t.err != nil {
			continue
		}
		img, err := c.host.OpenImage(ctx, t.path, c.to)
		if err == nil {
			open = append(open, img)
			readers[i], err = c.o.openDisk(ctx, img.Access())
		}
		t.err = err
	}
	other := make([]byte, repo.ChunkSize)
	err := c.chunks(ctx, r, func(ctx context.Context, b []byte, at int64) error {
		for i, t := range c.copies {
			if t.err != nil {
				continue
			}
			if t.err = readers[i].ReadAt(ctx, other[:len(b)], at); t.err == nil && !bytes.Equal(b, other[:len(b)]) {
				t.err = fmt.Errorf("%w: what was read back at %d is not what was written", backend.ErrDamaged, at)
			}
		}
		return nil
	})
	_, bad := c.failed()
	return errors.Join(err, bad)
}
