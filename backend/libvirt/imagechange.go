package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// CreateImage implements backend.Storage.
func (h *Host) CreateImage(ctx context.Context, s backend.ImageSpec) error {
	const op = "make"
	target := s.Path
	if s.Pool != "" {
		target = s.Pool + "/" + s.Name
	}
	if err := h.writable(op, target); err != nil {
		return err
	}
	return failed(op, target, h.createImage(ctx, s))
}

func (h *Host) createImage(ctx context.Context, s backend.ImageSpec) error {
	switch {
	case s.Format != "raw" && s.Format != "qcow2":
		return fmt.Errorf("%w: an image is raw or qcow2, not %q", backend.ErrInvalid, s.Format)
	case s.Backing != "" && s.Format != "qcow2":
		return fmt.Errorf("%w: only a qcow2 image can lie on another", backend.ErrInvalid)
	case s.Size == 0 && s.Backing == "" || s.Size > 1<<62:
		return fmt.Errorf("%w: an image of %d bytes", backend.ErrInvalid, s.Size)
	case s.Pool == "" && (!path.IsAbs(s.Path) || path.Clean(s.Path) != s.Path):
		return fmt.Errorf("%w: an image needs a pool and a name, or an absolute path", backend.ErrInvalid)
	case s.Pool != "" && (s.Name == "" || strings.ContainsAny(s.Name, "/\x00") || s.Name[0] == '.'):
		return fmt.Errorf("%w: %q cannot be an image's name", backend.ErrInvalid, s.Name)
	}
	var format string
	if s.Backing != "" {
		below, err := h.findImage(ctx, s.Backing)
		if err != nil {
			return err
		}
		format = below.Format
		if s.Size == 0 {
			s.Size = below.Virtual
		}
	}
	if s.Pool != "" {
		return h.createVolume(ctx, s, format)
	}
	return h.createFile(ctx, s, format)
}

// createVolume has libvirt make it.
func (h *Host) createVolume(ctx context.Context, s backend.ImageSpec, backing string) error {
	p, err := h.pool(ctx, s.Pool)
	if err != nil {
		return err
	}
	x := volumeXML{Name: s.Name, Capacity: volumeSizeXML{"bytes", strconv.FormatUint(s.Size, 10)}, Allocation: volumeSizeXML{"bytes", "0"}}
	x.Target.Format.Type = s.Format
	if s.Format == "qcow2" {
		x.Target.Compat = "1.1" // libvirt's own default, version 2, has no room for dirty bitmaps
	}
	if s.Backing != "" {
		x.Backing = &volumeBackingXML{Path: s.Backing, Format: volumeKindXML{backing}}
	}
	return changePool(ctx, h, func(lv *libvirt.Libvirt) error {
		if err := lv.StoragePoolRefresh(p, 0); err != nil { // lest it overwrites what it does not know of
			return err
		}
		_, err := lv.StorageVolCreateXML(p, marshal(x), 0)
		return err
	})
}

// createFile makes it beside libvirt, under another name at first.
func (h *Host) createFile(ctx context.Context, s backend.ImageSpec, backing string) error {
	m, err := h.machine(ctx)
	if err != nil {
		return err
	}
	if _, err := m.Stat(ctx, s.Path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%w: it is there already: %w", backend.ErrInvalid, fs.ErrExist)
		}
		return onFile(err)
	}
	n, err := h.newImage(ctx, m, s.Path)
	if err != nil {
		return err
	}
	argv := []string{"qemu-img", "create", "-q", "-f", s.Format}
	if s.Backing != "" {
		argv = append(argv, "-b", s.Backing, "-F", backing)
	}
	rctx, cancel := context.WithTimeout(ctx, jobWait)
	defer cancel()
	if _, err := m.Run(rctx, append(argv, "--", n.draft, strconv.FormatUint(s.Size, 10))...); err != nil {
		return errors.Join(explainServer(err), n.Close())
	}
	if err := n.Commit(ctx); err != nil {
		return errors.Join(err, n.Close())
	}
	return nil
}

// ResizeImage implements backend.Storage.
func (h *Host) ResizeImage(ctx context.Context, at string, size uint64, shrink bool) error {
	const op = "resize"
	if err := h.writable(op, at); err != nil {
		return err
	}
	return failed(op, at, h.resizeImage(ctx, at, size, shrink))
}

func (h *Host) resizeImage(ctx context.Context, at string, size uint64, shrink bool) error {
	i, err := h.findImage(ctx, at)
	if err != nil {
		return err
	}
	switch {
	case size == 0 || size > 1<<62:
		return fmt.Errorf("%w: an image of %d bytes", backend.ErrInvalid, size)
	case size < i.Virtual && !shrink:
		return fmt.Errorf("%w: it has %d bytes, and making it smaller loses what is beyond; ask for that", backend.ErrInvalid, i.Virtual)
	case len(i.BackedBy) > 0:
		return fmt.Errorf("%w: it is the backing file of %s", backend.ErrBusy, strings.Join(i.BackedBy, ", "))
	}
	active := slices.IndexFunc(i.Users, func(u backend.ImageUser) bool { return u.Active })
	if active < 0 {
		return h.resizeOff(ctx, i, size, shrink)
	}
	u := i.Users[active]
	if size < i.Virtual {
		return fmt.Errorf("%w: %s runs with it: shut that down before it is made smaller", backend.ErrState, u.Name)
	}
	d, err := h.find(ctx, u.VM)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, jobWait)
	defer cancel()
	_, err = tell(ctx, h.action, func(lv *libvirt.Libvirt) (struct{}, error) {
		return struct{}{}, lv.DomainBlockResize(d, u.Target, size, libvirt.DomainBlockResizeBytes)
	})
	return err
}

// resizeOff resizes an image that no running domain has: libvirt its volumes,
// qemu-img the others.
func (h *Host) resizeOff(ctx context.Context, i *backend.Image, size uint64, shrink bool) error {
	if i.Pool == "" {
		m, err := h.machine(ctx)
		if err != nil {
			return err
		}
		argv := []string{"qemu-img", "resize", "-q", "-f", i.Format}
		if shrink {
			argv = append(argv, "--shrink")
		}
		rctx, cancel := context.WithTimeout(ctx, jobWait)
		defer cancel()
		if _, err = m.Run(rctx, append(argv, "--", i.Path, strconv.FormatUint(size, 10))...); err != nil {
			return explainServer(err)
		}
		return nil
	}
	var flags libvirt.StorageVolResizeFlags
	if shrink && size < i.Virtual {
		flags = libvirt.StorageVolResizeShrink
	}
	return changePool(ctx, h, func(lv *libvirt.Libvirt) error {
		v, err := lv.StorageVolLookupByPath(i.Path)
		if err != nil {
			return err
		}
		return lv.StorageVolResize(v, size, flags)
	})
}

// DeleteImage implements backend.Storage.
func (h *Host) DeleteImage(ctx context.Context, at string) error {
	const op = "delete"
	if err := h.writable(op, at); err != nil {
		return err
	}
	return failed(op, at, h.deleteImage(ctx, at))
}

func (h *Host) deleteImage(ctx context.Context, at string) error {
	i, err := h.findImage(ctx, at)
	if err != nil {
		return err
	}
	if who := usedBy(i); who != "" {
		return &backend.OpError{Op: "delete", Target: i.Name, Err: fmt.Errorf("%w: %s", backend.ErrBusy, who),
			Hint: "take it out of the definition, or delete what lies on it, first"}
	}
	if i.Pool != "" {
		return changePool(ctx, h, func(lv *libvirt.Libvirt) error {
			v, err := lv.StorageVolLookupByPath(i.Path)
			if err != nil {
				return err
			}
			return lv.StorageVolDelete(v, 0)
		})
	}
	m, err := h.machine(ctx)
	if err != nil {
		return err
	}
	st, err := m.Stat(ctx, at)
	if err == nil && !st.Mode.IsRegular() {
		err = fmt.Errorf("%w: it is no file", backend.ErrInvalid)
	}
	if err == nil {
		err = m.Remove(ctx, at)
	}
	return onFile(err)
}

// usedBy names who uses an image, or nobody.
func usedBy(i *backend.Image) string {
	var who []string
	for _, u := range i.Users {
		who = append(who, fmt.Sprintf("%s has it as %s", u.Name, u.Target))
	}
	for _, b := range i.BackedBy {
		who = append(who, b+" lies on it")
	}
	return strings.Join(who, ", ")
}
