package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"berth/backend"
)

var _ backend.ImageOpener = (*host)(nil)

// openImage is an image that is open for reading.
type openImage struct{ access backend.DiskAccess }

// Access is the image's file.
func (o openImage) Access() backend.DiskAccess { return o.access }

// Close has nothing to let go of.
func (o openImage) Close() error { return nil }

// OpenImage opens an image for what its guest sees, whatever its format.
func (h *host) OpenImage(ctx context.Context, path, _ string) (backend.OpenImage, error) {
	const op = "open the image"
	if err := h.enter(ctx, op); err != nil {
		return nil, err
	}
	img, err := h.findImage(path)
	if err == nil {
		err = h.openable(img)
	}
	h.leave()
	if err != nil {
		return nil, failed(op, path, err, "")
	}
	img.mu.Lock()
	defer img.mu.Unlock()
	if err := h.fleet.bring(img); err != nil {
		return nil, failed(op, path, err, "")
	}
	info, err := os.Stat(img.file)
	if err != nil {
		return nil, failed(op, path, err, "")
	}
	return openImage{backend.DiskAccess{Size: info.Size(), File: img.file}}, nil
}

// newImage is an image that is being written.
type newImage struct {
	h       *host
	at      place
	format  string
	size    int64
	file    string
	backing []string
	beneath int64

	mu   sync.Mutex
	over bool
}

// MakeImage makes an image and opens it for writing.
func (h *host) MakeImage(ctx context.Context, path, format string, size uint64) (backend.NewImage, error) {
	if err := h.writable(opCreate, path); err != nil {
		return nil, err
	}
	n, err := h.makeImage(ctx, path, format, size)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (h *host) makeImage(ctx context.Context, path, format string, size uint64) (*newImage, error) {
	n := &newImage{h: h, at: h.place(path), format: format, size: int64(size)}
	if err := h.enter(ctx, opCreate); err != nil {
		return nil, err
	}
	if err := h.checkNew(path, format, size); err != nil {
		h.leave()
		return nil, failed(opCreate, path, err, "")
	}
	h.fleet.stock.drafts[n.at] = true
	h.leave()
	var err error
	n.file, err = h.fleet.newFile("new")
	if err == nil {
		err = diskError(makeFile(n.file, n.size, func(*os.File) error { return nil }))
	}
	if err != nil {
		return nil, failed(opCreate, path, errors.Join(err, n.Close()), "")
	}
	return n, nil
}

func (h *host) checkNew(path, format string, size uint64) error {
	switch {
	case !filepath.IsAbs(path) || strings.HasSuffix(path, "/"):
		return fmt.Errorf("%w path %q: it is not a file's absolute path", backend.ErrInvalid, backend.Clean(path))
	case format != "raw" && format != "qcow2":
		return fmt.Errorf("%w: images of format %q", backend.ErrUnsupported, backend.Clean(format))
	case size == 0 || size > mostImage:
		return fmt.Errorf("%w size: an image has 1 byte to %d TiB", backend.ErrInvalid, int64(mostImage)>>40)
	case h.fleet.takenAt(h.place(path)):
		return errThere
	}
	if p := h.poolAt(path); p != nil && !p.active {
		return fmt.Errorf("%w: the pool %s does not run", backend.ErrState, p.name)
	}
	return nil
}

// Access is the image's file.
func (n *newImage) Access() backend.DiskAccess { return backend.DiskAccess{Size: n.size, File: n.file} }

// overlay makes it an overlay: a guest sees what is below.
func (n *newImage) overlay(below *diskImage) error {
	below.mu.Lock()
	defer below.mu.Unlock()
	if err := n.h.fleet.bring(below); err != nil {
		return err
	}
	src, err := os.Open(below.file)
	if err != nil {
		return err
	}
	info, err := src.Stat()
	if err == nil {
		err = changeFile(n.file, func(f *os.File) error { return copySparse(f, src, info.Size()) })
		n.beneath = realSize(info)
	}
	n.backing = append([]string{below.at.path}, below.backing...)
	return errors.Join(err, src.Close())
}

// Commit gives the image its name.
func (n *newImage) Commit(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over {
		return nil
	}
	if err := syncFile(n.file); err != nil {
		return failed(opCreate, n.at.path, diskError(err), "")
	}
	if err := n.h.enter(ctx, opCreate); err != nil {
		return err
	}
	defer n.h.leave()
	f := n.h.fleet
	img := &diskImage{at: n.at, home: n.h, format: n.format, size: n.size, backing: n.backing, modified: f.shown(f.now), file: n.file, beneath: n.beneath}
	img.layout = newLayout(n.size, f.opts.Seed^hash(n.at.host+":"+n.at.path), 32)
	delete(f.stock.drafts, n.at)
	delete(f.stock.gone, n.at)
	f.stock.images[n.at] = img
	f.recapacity(n.at, uint64(n.size))
	n.over = true
	return nil
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Close deletes what was not committed.
func (n *newImage) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over {
		return nil
	}
	n.over = true
	f := n.h.fleet
	f.mu.Lock()
	delete(f.stock.drafts, n.at)
	f.mu.Unlock()
	if n.file == "" {
		return nil
	}
	if err := os.Remove(n.file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return failed(opCreate, n.at.path, err, "")
	}
	return nil
}
