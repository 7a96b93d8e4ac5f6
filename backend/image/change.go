package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"berth/backend"
)

// CreateOptions say what image to make.
type CreateOptions struct {
	Format string // "qcow2" or "raw"
	Size   int64  // bytes; 0 with Backing: as large as that
	// Backing is the image that it is an overlay of; qcow2 only.
	Backing       string
	BackingFormat string // empty: as it is found to be
	Progress      Progress
}

// Create makes an empty image, or an overlay.
func Create(ctx context.Context, path string, o CreateOptions) (err error) {
	const op = "create"
	if err := mustNotExist(op, path); err != nil {
		return err
	}
	args := []string{"create", "-q", "-f", o.Format}
	switch {
	case o.Format != "qcow2" && o.Format != "raw":
		return opError(op, path, fmt.Errorf("%w: there is no format %q here", backend.ErrInvalid, backend.Clean(o.Format)), "use qcow2 or raw")
	case o.Backing != "" && o.Format != "qcow2":
		return opError(op, path, fmt.Errorf("%w: only qcow2 images are overlays", backend.ErrInvalid), "leave --format out")
	case o.Backing == "" && o.Size <= 0, o.Size < 0:
		return opError(op, path, fmt.Errorf("%w: a size of %d bytes", backend.ErrInvalid, o.Size), "say how large it is to be, as in --size 20G")
	}
	if o.Backing != "" {
		backing, err := absolute(o.Backing)
		if err != nil {
			return err
		}
		i, err := Inspect(ctx, backing, o.BackingFormat)
		if err != nil {
			return err
		}
		args = append(args, "-o", "backing_file="+optionValue(backing)+",backing_fmt="+i.Format)
	}
	if err := needRoom(op, path, 1<<20); err != nil {
		return err
	}
	d, err := newDraft(op, path, 0o600)
	if err != nil {
		return err
	}
	temp, err := absolute(d.temp)
	if err == nil {
		args = append(args, temp)
		if o.Size > 0 {
			args = append(args, strconv.FormatInt(o.Size, 10))
		}
		_, err = qemuImg(ctx, nil, args...)
	}
	if err == nil {
		err = d.commit()
	}
	if err != nil {
		return errors.Join(opError(op, path, err, ""), d.discard())
	}
	return nil
}

// Resize makes an image larger, or with shrink smaller: what is beyond the new
// end is lost. It wraps backend.ErrBusy while a VM has it open.
func Resize(ctx context.Context, path, format string, size int64, shrink bool) error {
	const op = "resize"
	i, err := Inspect(ctx, path, format)
	if err != nil {
		return err
	}
	switch {
	case size <= 0:
		return opError(op, path, fmt.Errorf("%w: a size of %d bytes", backend.ErrInvalid, size), "")
	case size == i.Virtual:
		return nil
	case size < i.Virtual && !shrink:
		return opError(op, path, fmt.Errorf("%w: it has %s, and what is beyond %s would be lost", backend.ErrInvalid, words(i.Virtual), words(size)),
			"shrink the guest's file systems first, then add --shrink")
	}
	if err := Busy(path); err != nil {
		return err
	}
	abs, err := absolute(path)
	if err != nil {
		return err
	}
	args := []string{"resize", "-q", "-f", i.Format}
	if size < i.Virtual {
		args = append(args, "--shrink")
	}
	if _, err := qemuImg(ctx, nil, append(args, abs, strconv.FormatInt(size, 10))...); err != nil {
		return opError(op, path, err, "")
	}
	return opError(op, path, syncPath(path), "")
}

// Delete deletes an image that nobody has open and that no image beside it, nor
// any of the others given, has as its backing file. Who knows of VMs that are
// off asks libvirt first.
func Delete(ctx context.Context, path string, others []string) error {
	const op = "delete"
	if _, err := os.Lstat(path); err != nil {
		return opError(op, path, err, "")
	}
	if err := Busy(path); err != nil {
		return err
	}
	above, err := overlaysOf(ctx, path, others)
	if err != nil {
		return opError(op, path, err, "")
	}
	if len(above) > 0 {
		return opError(op, path, fmt.Errorf("%w: it is the backing file of %s", backend.ErrBusy, backend.Clean(above[0])),
			"delete that first, or make it stand alone with berth image convert")
	}
	if err := os.Remove(path); err != nil {
		return opError(op, path, err, "")
	}
	return opError(op, path, syncPath(filepath.Dir(path)), "")
}

// overlaysOf finds images that need path: among those in its folder and the
// others given.
func overlaysOf(ctx context.Context, path string, others []string) (above []string, err error) {
	me, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if LooksLikeImage(e.Name()) && e.Type().IsRegular() {
			others = append(others, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	for _, o := range others {
		if st, err := os.Stat(o); err != nil || os.SameFile(st, me) {
			continue // gone, or the image itself
		}
		q, err := ask(ctx, o, "")
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, backend.ErrUnsupported) {
				return nil, err
			}
			continue // no image, so nobody's overlay
		}
		for depth := 0; q.Backing != "" && depth < maxChain; depth++ {
			below := q.BackingFull
			if st, err := os.Stat(below); err != nil {
				break
			} else if os.SameFile(st, me) {
				above = append(above, o)
				break
			}
			if q, err = ask(ctx, below, q.BackingFormat); err != nil {
				break
			}
		}
	}
	return above, nil
}
