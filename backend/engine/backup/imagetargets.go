package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/repo"
)

// copied is one target of a copy.
type copied struct {
	path string
	img  backend.NewImage
	w    disk.Writer
	back disk.Reader // what was written
	read []byte
	made bool // it has its name
	err  error
}

// begin makes the images for which there is room, before the first byte is
// written.
func (c *copying) begin(ctx context.Context, size, data int64) {
	files, _ := c.host.(backend.HostFiles)
	room := rooms{files: files}
	for _, p := range c.x.Spec.Image.Targets {
		c.copies = append(c.copies, &copied{path: p, err: room.take(ctx, p, data)})
	}
	for _, t := range c.copies {
		if t.err != nil {
			continue
		}
		t.img, t.err = c.images.MakeImage(ctx, t.path, c.to, uint64(size))
		switch {
		case t.err == nil:
			t.w, t.err = c.o.openWriter(ctx, t.img.Access())
		case errors.Is(t.err, fs.ErrExist) && slices.Contains(c.n.Made, t.path): // by an attempt before this one
			t.made, t.err = true, nil
		}
	}
}

// drop lets go of what has no name yet.
func (c *copying) drop() {
	for _, t := range c.copies {
		if t.back != nil {
			t.back.Close() //nolint:errcheck // it was only read
		}
		if t.w != nil {
			t.w.Close() //nolint:errcheck // it is deleted, or was flushed
		}
		if t.img != nil {
			t.img.Close() //nolint:errcheck // likewise
		}
	}
}

// failed joins what went wrong with targets; left is how many are being made.
func (c *copying) failed() (left int, err error) {
	for _, t := range c.copies {
		switch {
		case t.err != nil:
			err = errors.Join(err, fmt.Errorf("%s: %w", backend.Clean(t.path), t.err))
		case !t.made:
			left++
		}
	}
	return left, err
}

// each does something with every target that is being made, side by side, and
// fails when none is left.
func (c *copying) each(f func(*copied) error) error {
	var all sync.WaitGroup
	for _, t := range c.copies {
		if t.err == nil && !t.made {
			all.Go(func() { t.err = f(t) })
		}
	}
	all.Wait()
	if left, err := c.failed(); left == 0 {
		return err
	}
	return nil
}

// write writes a piece to every target. Zeroes become holes.
func (c *copying) write(ctx context.Context, b []byte, at int64) error {
	if disk.AllZero(b) {
		return nil
	}
	return c.each(func(t *copied) error { return t.w.WriteAt(ctx, b, at) })
}

// reopen makes what was written durable, and opens it for reading.
func (t *copied) reopen(ctx context.Context, o *Options) (err error) {
	if err := t.w.Flush(ctx); err != nil {
		return err
	}
	t.read = make([]byte, repo.ChunkSize)
	t.back, err = o.openDisk(ctx, t.img.Access())
	return err
}

// compare reads a piece back from every target.
func (c *copying) compare(ctx context.Context, b []byte, at int64) error {
	return c.each(func(t *copied) error {
		got := t.read[:len(b)]
		if err := t.back.ReadAt(ctx, got, at); err != nil {
			return err
		}
		if !bytes.Equal(b, got) {
			return fmt.Errorf("%w: what was read back at %d is not what was written", backend.ErrDamaged, at)
		}
		return nil
	})
}

// commit gives a target its name, and notes that: a further attempt makes only
// the others.
func (c *copying) commit(ctx context.Context, t *copied) error {
	if t.err != nil || t.made {
		return nil
	}
	t.err = errors.Join(t.back.Close(), t.w.Close())
	t.back, t.w = nil, nil
	if t.err == nil {
		t.err = t.img.Commit(ctx)
	}
	if t.err != nil {
		return nil // it is told with the others
	}
	t.made = true
	c.n.Made = append(c.n.Made, t.path)
	return c.save(ctx, "copied")
}
