package demo

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"berth/backend"
)

var _ backend.HostFiles = (*host)(nil)

// nvramSize is that of a UEFI variable store in the demo.
const nvramSize = 64 * kib

// nvramPath is where a machine's UEFI variables lie.
func (d *definition) nvramPath() string {
	if !d.uefi {
		return ""
	}
	return "/var/lib/libvirt/qemu/nvram/" + d.name + "_VARS.fd"
}

// fileAt is a small file's content; fs.ErrNotExist. Variable stores of machines
// that nobody wrote to are as their first start made them.
func (h *host) fileAt(path string) ([]byte, error) {
	at := h.place(path)
	if content, ok := h.fleet.stock.files[at]; ok {
		return content, nil
	}
	if !h.fleet.stock.removed[at] {
		for _, v := range h.vms {
			for _, d := range v.definitions() {
				if d.nvramPath() == at.path {
					return nvram(d), nil
				}
			}
		}
	}
	return nil, fmt.Errorf("%s: %w", backend.Clean(path), fs.ErrNotExist)
}

// nvram is a variable store: a volume's header (UEFI PI, volume 3, 3.2.1), a
// few variables, and erased flash.
func nvram(d *definition) []byte {
	p := bytes.Repeat([]byte{0xff}, nvramSize)
	copy(p, make([]byte, 16))
	copy(p[16:], "\x8d\x2b\xf1\xff\x96\x76\x8b\x4c\xa9\x85\x27\x47\x07\x5b\x4f\x50")
	copy(p[40:], "_FVH")
	c := newChance(hash(d.uuid.String()), streamImages, 4)
	records(&c, p[0x64:0x800])
	return p
}

// leaveNVRAM deletes the machine's variable store.
func (v *vm) leaveNVRAM() {
	if path := v.stored.nvramPath(); path != "" {
		at := v.host.place(path)
		delete(v.fleet().stock.files, at)
		v.fleet().stock.removed[at] = true
	}
}

// ReadFile returns a small file's content.
func (h *host) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	const op = "read"
	if err := h.enter(ctx, op); err != nil {
		return nil, err
	}
	defer h.leave()
	content, err := h.fileAt(path)
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%w: it has more than %d bytes", backend.ErrInvalid, limit)
	}
	if err != nil {
		return nil, failed(op, path, err, "")
	}
	return slices.Clone(content), nil
}

// WriteFile writes a small file.
func (h *host) WriteFile(ctx context.Context, path string, content []byte) error {
	if err := h.writable(opWrite, path); err != nil {
		return err
	}
	return h.writeFile(ctx, path, content)
}

const (
	opWrite  = "write"
	opRename = "rename"
	opRemove = "remove"
)

// mostFile is the largest file that WriteFile takes.
const mostFile = 16 * mib

func (h *host) writeFile(ctx context.Context, path string, content []byte) error {
	if !filepath.IsAbs(path) || len(content) > mostFile {
		return failed(opWrite, path, fmt.Errorf("%w: a small file with an absolute path is meant", backend.ErrInvalid), "")
	}
	if err := h.enter(ctx, opWrite); err != nil {
		return err
	}
	defer h.leave()
	at := h.place(path)
	h.fleet.stock.files[at] = slices.Clone(content)
	delete(h.fleet.stock.removed, at)
	return nil
}

// ListFiles returns the files below a folder.
func (h *host) ListFiles(ctx context.Context, dir string) ([]string, error) {
	const op = "list"
	if err := h.enter(ctx, op); err != nil {
		return nil, err
	}
	defer h.leave()
	f := h.fleet
	f.allImages()
	prefix := h.place(filepath.Clean(dir) + "/x")
	prefix.path = strings.TrimSuffix(prefix.path, "x")
	var list []string
	add := func(at place) {
		if rest, ok := strings.CutPrefix(at.path, prefix.path); ok && at.host == prefix.host {
			list = append(list, rest)
		}
	}
	for at := range f.stock.images {
		add(at)
	}
	for at := range f.stock.files {
		add(at)
	}
	for _, v := range h.vms {
		if path := v.def().nvramPath(); path != "" {
			if at := h.place(path); f.stock.files[at] == nil && !f.stock.removed[at] {
				add(at)
			}
		}
	}
	if len(list) == 0 {
		return nil, failed(op, dir, fs.ErrNotExist, "")
	}
	slices.Sort(list)
	return list, nil
}

// RenameFile moves an image or a small file.
func (h *host) RenameFile(ctx context.Context, from, to string) error {
	if err := h.writable(opRename, from); err != nil {
		return err
	}
	return h.renameFile(ctx, from, to)
}

func (h *host) renameFile(ctx context.Context, from, to string) error {
	if err := h.enter(ctx, opRename); err != nil {
		return err
	}
	defer h.leave()
	if err := h.move(from, to); err != nil {
		return failed(opRename, from, err, "")
	}
	return nil
}

func (h *host) move(from, to string) error {
	s := &h.fleet.stock
	a, b := h.place(from), h.place(to)
	if _, err := h.fileAt(to); err == nil || h.fleet.takenAt(b) {
		return fmt.Errorf("%s: %w", backend.Clean(to), fs.ErrExist)
	}
	if img := s.images[a]; img != nil {
		if v := h.fleet.writer(a); v != nil {
			return fmt.Errorf("%w by %s, which runs", backend.ErrBusy, v.row.Name)
		}
		img.at, img.home = b, h
		s.images[b] = img
		delete(s.images, a)
		delete(s.gone, b)
		s.gone[a] = true
		return nil
	}
	content, err := h.fileAt(from)
	if err != nil {
		return err
	}
	s.files[b] = content
	delete(s.removed, b)
	delete(s.files, a)
	s.removed[a] = true
	return nil
}

// RemoveFile deletes an image or a small file.
func (h *host) RemoveFile(ctx context.Context, path string) error {
	if err := h.writable(opRemove, path); err != nil {
		return err
	}
	return h.removeFile(ctx, path)
}

func (h *host) removeFile(ctx context.Context, path string) error {
	if err := h.enter(ctx, opRemove); err != nil {
		return err
	}
	err := h.unlink(path)
	h.leave()
	h.fleet.empty()
	if err != nil {
		return failed(opRemove, path, err, "")
	}
	return nil
}

func (h *host) unlink(path string) error {
	s := &h.fleet.stock
	at := h.place(path)
	h.fleet.allImages()
	if img := s.images[at]; img != nil {
		if v := h.fleet.writer(at); v != nil {
			return fmt.Errorf("%w by %s, which runs", backend.ErrBusy, v.row.Name)
		}
		h.fleet.dropImage(img)
		return nil
	}
	if _, err := h.fileAt(path); err != nil {
		return err
	}
	delete(s.files, at)
	s.removed[at] = true
	return nil
}

// Room is the free space of a path's pool, or of the host's shelf; never more
// than there really is for the demo's files.
func (h *host) Room(ctx context.Context, path string) (uint64, error) {
	const op = "read the free space of"
	pools, err := h.Pools(ctx)
	if err != nil {
		return 0, err
	}
	dir, err := h.fleet.folder()
	if err != nil {
		return 0, failed(op, path, err, "")
	}
	real, err := freeSpace(dir)
	if err != nil {
		return 0, failed(op, path, err, "")
	}
	room := uint64(math.MaxInt64)
	for i := range pools {
		if p := &pools[i]; p.Active && (p.Path == filepath.Dir(path) || p.Path == filepath.Clean(path)) {
			room = p.Available
		}
	}
	return min(room, real), nil
}
