package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/backend"
)

// imageRow is one line of a host's list of images. img is nil for one that is not
// there.
type imageRow struct {
	img   *diskImage
	shown backend.Image
}

// Images returns the images in the host's pools and of its machines. Of what
// lies on the shelf that all hosts share each lists what its own machines use;
// the rest is listed by the host that made it.
func (h *host) Images(ctx context.Context) ([]backend.Image, error) {
	if err := h.enter(ctx, "list the images of"); err != nil {
		return nil, err
	}
	entries := h.listed()
	h.leave()
	list := make([]backend.Image, 0, len(entries))
	for _, e := range entries {
		if e.img != nil {
			e.shown.Real = uint64(realOf(e.img))
		}
		list = append(list, e.shown)
	}
	return list, nil
}

// FindImage finds one by its path: nothing in the demo is a link.
func (h *host) FindImage(ctx context.Context, path string) (backend.Image, error) {
	list, err := h.Images(ctx)
	if err != nil {
		return backend.Image{}, err
	}
	i := slices.IndexFunc(list, func(i backend.Image) bool { return i.Path == path && !i.Missing })
	if i < 0 {
		return backend.Image{}, failed("find the image", path, backend.ErrNoStorage, "")
	}
	return list[i], nil
}

// uses says who uses what in the fleet.
type uses struct {
	users    map[place][]backend.ImageUser
	mine     map[place]bool // the host's own machines use it, or an image above it
	backedBy map[place][]string
}

func (h *host) uses() uses {
	f := h.fleet
	f.allImages()
	u := uses{map[place][]backend.ImageUser{}, map[place]bool{}, map[place][]string{}}
	for _, o := range f.hosts {
		for _, v := range o.byName() {
			u.add(o, v, o == h)
		}
	}
	for _, img := range f.stock.images {
		if len(img.backing) > 0 {
			below := img.home.place(img.backing[0])
			u.backedBy[below] = append(u.backedBy[below], img.at.path)
		}
	}
	return u
}

func (u *uses) add(h *host, v *vm, mine bool) {
	for _, d := range v.definitions() {
		for i := range d.disks {
			k := &d.disks[i]
			if k.source == "" {
				continue
			}
			at := h.place(k.source)
			u.mine[at] = u.mine[at] || mine
			for _, below := range k.backing {
				u.mine[h.place(below)] = u.mine[h.place(below)] || mine
			}
			user := backend.ImageUser{VM: v.row.UUID, Name: v.row.Name, Target: backend.Clean(k.target), Active: v.row.State.Active(), ReadOnly: k.readOnly}
			if !slices.Contains(u.users[at], user) {
				u.users[at] = append(u.users[at], user)
			}
		}
	}
}

// listed is the host's list, by path.
func (h *host) listed() []imageRow {
	f, u := h.fleet, h.uses()
	var list []imageRow
	for at, img := range f.stock.images {
		p := h.poolAt(at.path)
		inPool := p != nil && p.active && img.home == h && (at.host == "" || at.host == h.name)
		if u.mine[at] || inPool && len(u.users[at]) == 0 {
			list = append(list, imageRow{img, h.shownImage(img, &u)})
		}
	}
	for at := range f.stock.gone {
		ours := u.mine[at] || len(u.backedBy[at]) > 0 && h == f.hosts[0]
		if ours && (len(u.users[at]) > 0 || len(u.backedBy[at]) > 0) {
			lost := backend.Image{Host: h.name, Name: filepath.Base(at.path), Path: at.path, Missing: true}
			u.fill(&lost, at)
			list = append(list, imageRow{nil, lost})
		}
	}
	slices.SortFunc(list, func(a, b imageRow) int { return strings.Compare(a.shown.Path, b.shown.Path) })
	return list
}

// fill says who uses an image.
func (u *uses) fill(row *backend.Image, at place) {
	row.Users, row.BackedBy = u.users[at], slices.Sorted(slices.Values(u.backedBy[at]))
}

func (h *host) shownImage(img *diskImage, u *uses) backend.Image {
	row := backend.Image{
		Host: h.name, Name: backend.Clean(filepath.Base(img.at.path)), Path: backend.Clean(img.at.path), Format: img.format, Virtual: uint64(img.size),
		Backing: cleanAll(img.backing), Snapshots: img.snapshots, Encrypted: img.encrypted, Modified: img.modified,
	}
	if p := h.poolAt(img.at.path); p != nil {
		row.Pool = p.name
	}
	u.fill(&row, img.at)
	for _, user := range row.Users {
		if user.Active && !user.ReadOnly {
			row.Modified = h.fleet.shown(h.fleet.now)
		}
	}
	return row
}

// used says who uses an image, or what lies above it; the error wraps ErrBusy.
func (h *host) used(img *diskImage) error {
	u := h.uses()
	var names []string
	for _, user := range u.users[img.at] {
		names = append(names, user.Name+" ("+user.Target+")")
	}
	if len(names) > 0 {
		return fmt.Errorf("%w by %s", backend.ErrBusy, strings.Join(names, ", "))
	}
	if above := u.backedBy[img.at]; len(above) > 0 {
		return fmt.Errorf("%w: it is the backing file of %s", backend.ErrBusy, strings.Join(above, ", "))
	}
	return nil
}

// DeleteImage deletes an image that nothing uses.
func (h *host) DeleteImage(ctx context.Context, path string) error {
	if err := h.writable(opDelete, path); err != nil {
		return err
	}
	return h.deleteImage(ctx, path)
}

const opDelete = "delete the image"

func (h *host) deleteImage(ctx context.Context, path string) error {
	if err := h.enter(ctx, opDelete); err != nil {
		return err
	}
	img, err := h.findImage(path)
	if err == nil {
		err = h.used(img)
	}
	if err == nil {
		h.fleet.dropImage(img)
	}
	h.leave()
	h.fleet.empty()
	if err != nil {
		return failed(opDelete, path, err, "")
	}
	return nil
}

// CreateImage makes an empty image, or an overlay of another one.
func (h *host) CreateImage(ctx context.Context, s backend.ImageSpec) error {
	if err := h.writable(opCreate, s.Path+s.Name); err != nil {
		return err
	}
	return h.createImage(ctx, s)
}

const opCreate = "make the image"

func (h *host) createImage(ctx context.Context, s backend.ImageSpec) error {
	below, err := h.checkSpec(ctx, &s)
	if err != nil {
		return err
	}
	n, err := h.makeImage(ctx, s.Path, s.Format, s.Size)
	if err != nil {
		return err
	}
	if below != nil {
		err = n.overlay(below)
	}
	if err != nil {
		return failed(opCreate, s.Path, errors.Join(diskError(err), n.Close()), "")
	}
	return errors.Join(n.Commit(ctx), n.Close())
}

// checkSpec completes what is to be made, and finds the image below it.
func (h *host) checkSpec(ctx context.Context, s *backend.ImageSpec) (below *diskImage, err error) {
	if err := h.enter(ctx, opCreate); err != nil {
		return nil, err
	}
	defer h.leave()
	if s.Pool != "" {
		i := slices.IndexFunc(h.poolsOf(), func(p *pool) bool { return p.name == s.Pool })
		switch {
		case i < 0:
			return nil, failed(opCreate, s.Name, fmt.Errorf("%w: %s has no pool %s", backend.ErrNoStorage, h.name, s.Pool), "")
		case !h.pools[i].active:
			return nil, failed(opCreate, s.Name, fmt.Errorf("%w: the pool %s does not run", backend.ErrState, s.Pool), "start the pool first")
		case s.Name == "" || strings.Contains(s.Name, "/"):
			return nil, failed(opCreate, s.Name, fmt.Errorf("%w name", backend.ErrInvalid), "")
		}
		s.Path = filepath.Join(h.pools[i].path, s.Name)
	}
	if s.Backing == "" {
		return nil, nil
	}
	if below, err = h.findImage(s.Backing); err == nil {
		err = h.openable(below)
	}
	if err != nil {
		return nil, failed(opCreate, s.Path, err, "")
	}
	s.Size = max(s.Size, uint64(below.size))
	return below, nil
}

// ResizeImage makes an image larger, or smaller when shrink is set.
func (h *host) ResizeImage(ctx context.Context, path string, size uint64, shrink bool) error {
	if err := h.writable(opResize, path); err != nil {
		return err
	}
	return h.resizeImage(ctx, path, size, shrink)
}

const opResize = "resize the image"

func (h *host) resizeImage(ctx context.Context, path string, size uint64, shrink bool) error {
	if err := h.enter(ctx, opResize); err != nil {
		return err
	}
	img, err := h.findImage(path)
	if err == nil {
		err = h.checkResize(img, int64(size), shrink)
	}
	h.leave()
	if err == nil {
		err = h.fleet.resize(img, int64(size))
	}
	if err != nil {
		return failed(opResize, path, err, "")
	}
	return nil
}

func (h *host) checkResize(img *diskImage, size int64, shrink bool) error {
	v := h.fleet.writer(img.at)
	switch {
	case size <= 0 || size > mostImage:
		return fmt.Errorf("%w size: an image has 1 byte to %d TiB", backend.ErrInvalid, mostImage>>40)
	case size < img.size && !shrink:
		return fmt.Errorf("%w size: it has %d bytes, and what is beyond would be lost", backend.ErrInvalid, img.size)
	case size < img.size && v != nil:
		return fmt.Errorf("%w by %s, which runs", backend.ErrBusy, v.row.Name)
	case v != nil && v.backup != nil:
		return fmt.Errorf("%w: %s is being backed up", backend.ErrBusy, v.row.Name)
	}
	u := h.uses()
	if above := u.backedBy[img.at]; len(above) > 0 {
		return fmt.Errorf("%w: it is the backing file of %s", backend.ErrBusy, strings.Join(above, ", "))
	}
	return h.openable(img)
}

// mostImage is the largest file that common file systems hold.
const mostImage = 15 << 40

// resize changes the file and what definitions say of it. A bitmap does not
// outlive what it describes.
func (f *Fleet) resize(img *diskImage, size int64) error {
	img.mu.Lock()
	defer img.mu.Unlock()
	if err := f.bring(img); err != nil {
		return err
	}
	if err := os.Truncate(img.file, size); err != nil {
		return diskError(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if size < img.size {
		img.marks = nil
		l := *img.layout
		l.size = size
		l.hot = slices.DeleteFunc(slices.Clone(l.hot), func(at int64) bool { return at+slotSize > size })
		img.layout = &l
	}
	img.size = size
	f.recapacity(img.at, uint64(size))
	return nil
}

// recapacity tells the machines that have an image how large it is.
func (f *Fleet) recapacity(at place, size uint64) {
	for _, h := range f.hosts {
		for _, v := range h.vms {
			for _, d := range []**definition{&v.stored, &v.live} {
				if *d == nil {
					continue
				}
				for i := range (*d).disks {
					if k := &(*d).disks[i]; k.source != "" && h.place(k.source) == at && k.capacity != size {
						c := **d
						c.disks = slices.Clone(c.disks)
						c.disks[i].capacity = size
						*d = &c
					}
				}
			}
		}
	}
}
