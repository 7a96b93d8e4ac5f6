package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"berth/backend"
	"berth/backend/image"
	"berth/backend/image/disk"
	"berth/backend/image/repo"
)

// copying is a copy of an image's content to one or several others of its host:
// one read, written to all side by side, each read back before it gets its name.
type copying struct {
	*task
	host   backend.Host
	images backend.ImageOpener
	from   string // formats
	to     string
	copies []*copied
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
	c := &copying{task: k, host: h, from: s.Format, to: s.To}
	if err := c.look(ctx); err != nil {
		return result{}, err
	}
	if s.Compress {
		return k.compress(ctx, h, c.from, c.to)
	}
	var ok bool
	if c.images, ok = h.(backend.ImageOpener); !ok {
		return result{}, fmt.Errorf("%w: images cannot be written on %s from here", backend.ErrUnsupported, h.Name())
	}
	err = c.all(ctx)
	k.record(string(k.x.Spec.Kind), s.Source, err)
	return result{words: copiesWords(len(c.copies))}, err
}

// copiesWords says what was made.
func copiesWords(n int) string {
	if n == 1 {
		return "1 copy, read back"
	}
	return fmt.Sprintf("%d copies, each read back", n)
}

// look finds the image's format, and refuses one that a VM writes to.
func (c *copying) look(ctx context.Context) error {
	if f, ok := c.host.(backend.ImageFinder); ok {
		img, err := f.FindImage(ctx, c.x.Spec.Image.Source)
		if err != nil {
			return err
		}
		if c.from == "" {
			c.from = img.Format
		}
		for _, u := range img.Users {
			if u.Active && !u.ReadOnly {
				return &backend.OpError{Op: "copy", Target: img.Path, Err: fmt.Errorf("%w: %s runs with it as %s", backend.ErrBusy, u.Name, u.Target), Hint: heldHint}
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

const heldHint = "shut it down, or back it up: that works while it runs"

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

// all makes the copies. Nothing has its name before it was read back.
func (c *copying) all(ctx context.Context) (err error) {
	r, open, err := c.source(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, open.Close()) }()
	total, err := toRead(ctx, r, false)
	if err != nil {
		return err
	}
	c.meter.with(func(p *backend.Progress) { p.Phase, p.Total = backend.PhaseWriting, total*2 })
	defer c.drop()
	c.begin(ctx, r.Size(), total)
	if err := c.chunks(ctx, r, c.write); err != nil {
		return err
	}
	c.meter.phase(backend.PhaseVerifying)
	if err := c.each(func(t *copied) error { return t.reopen(ctx, c.o) }); err != nil {
		return err
	}
	if err := c.chunks(ctx, r, c.compare); err != nil {
		return err
	}
	c.meter.phase(backend.PhaseFinishing)
	for _, t := range c.copies {
		if err := c.commit(ctx, t); err != nil {
			return err
		}
	}
	_, err = c.failed()
	return err
}

// closers are closed in the reverse of their order.
type closers []io.Closer

func (list closers) Close() (err error) {
	for _, x := range slices.Backward(list) {
		err = errors.Join(err, x.Close())
	}
	return err
}

// source opens the image. A file of this machine is held, by whatever name it
// goes, so that no VM writes to it meanwhile; a server holds what it serves.
func (c *copying) source(ctx context.Context) (_ disk.Reader, open closers, err error) {
	src, err := c.images.OpenImage(ctx, c.x.Spec.Image.Source, c.from)
	if err != nil {
		return nil, nil, err
	}
	open = append(open, src)
	if file := src.Access().File; file != "" {
		held, err := image.Hold(file, heldHint)
		if err != nil {
			return nil, nil, errors.Join(err, open.Close())
		}
		open = append(open, held)
	}
	r, err := c.o.openDisk(ctx, src.Access())
	if err != nil {
		return nil, nil, errors.Join(err, open.Close())
	}
	return r, append(open, r), nil
}

// chunks reads what an image holds besides zeroes, and hands on piece by piece.
// It ends when no target is left.
func (c *copying) chunks(ctx context.Context, r disk.Reader, f func(ctx context.Context, b []byte, at int64) error) error {
	if left, err := c.failed(); left == 0 {
		return err
	}
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
