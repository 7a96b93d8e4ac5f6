package demo

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"berth/backend"
)

// The images of a fleet are real files, which are made when somebody first
// looks into them. They hold little of what the story's counters tell of: a
// guest's disk has some MiB of data, and of what guests write to their disks
// every writeScale-th byte reaches them.
const writeScale = 32

// pastDays is how far back the past of images goes, and pastPart the part of
// its places that a guest wrote to each day.
const (
	pastDays = 28
	pastPart = 0.2
)

// place is where a file lies: on the shelf, which all hosts share, or on one
// host's own disks.
type place struct{ host, path string }

// place is where a path of the host's leads.
func (h *host) place(path string) place {
	path = filepath.Clean(path)
	if strings.HasPrefix(path, shelf) {
		return place{path: path}
	}
	return place{h.name, path}
}

// diskImage is one disk image. What stands above mu is guarded by the fleet's
// lock; the fleet's lock may be taken while mu is held, not the other way round.
type diskImage struct {
	at        place
	home      *host // lists it while no machine uses it
	format    string
	size      int64    // bytes that a guest sees
	backing   []string // nearest first
	encrypted bool
	modified  time.Time
	due       float64 // writes that its guest has made
	born      float64 // due when the story began; 0: the image is of later
	layout    *layout
	snapshots []string

	mu      sync.Mutex
	file    string           // empty until it is made
	writes  int64            // of which the file knows
	beneath int64            // bytes of it that its backing file holds
	marks   map[string]int64 // the bitmaps in it: how many writes there were when each began
}

// stock is the fleet's files. The fleet's lock guards what stands above mu.
type stock struct {
	images   map[place]*diskImage
	gone     map[place]bool // images that are named, and were deleted or moved away
	drafts   map[place]bool // being made
	files    map[place][]byte
	removed  map[place]bool // small files that are there no more
	sessions map[string]*session
	tokens   uint64
	extras   bool // those that no machine has are in images
	trash    []*diskImage

	mu        sync.Mutex // guards what follows
	dir       *ownDir
	closed    bool
	made      int // files, for their names
	templates map[string]*fsTemplate
}

func newStock() stock {
	return stock{images: map[place]*diskImage{}, gone: map[place]bool{}, drafts: map[place]bool{}, files: map[place][]byte{},
		removed: map[place]bool{}, sessions: map[string]*session{}, templates: map[string]*fsTemplate{}}
}

// folder is the fleet's own folder, which is made when it is first needed.
func (f *Fleet) folder() (string, error) {
	f.stock.mu.Lock()
	defer f.stock.mu.Unlock()
	return f.stock.folder(f.opts.Dir)
}

func (s *stock) folder(parent string) (string, error) {
	if s.closed {
		return "", backend.ErrClosed
	}
	if s.dir != nil {
		return s.dir.path, nil
	}
	dir, err := newOwnDir(parent)
	if err != nil {
		return "", fmt.Errorf("make a folder for the demo's images: %w", err)
	}
	if err := os.Mkdir(filepath.Join(dir.path, "images"), 0o700); err != nil {
		return "", errors.Join(err, dir.remove())
	}
	s.dir = dir
	return dir.path, nil
}

// newFile is the name of a file that nothing has yet.
func (f *Fleet) newFile(kind string) (string, error) {
	f.stock.mu.Lock()
	defer f.stock.mu.Unlock()
	dir, err := f.stock.folder(f.opts.Dir)
	if err != nil {
		return "", err
	}
	f.stock.made++
	return filepath.Join(dir, "images", fmt.Sprintf("%05d-%s.raw", f.stock.made, kind)), nil
}

// close removes the folder for good.
func (s *stock) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.dir == nil {
		return nil
	}
	dir := s.dir
	s.dir = nil
	return dir.remove()
}

// template is the file system of a system.
func (f *Fleet) template(system string) (*fsTemplate, error) {
	if system == "" {
		return nil, nil
	}
	f.stock.mu.Lock()
	defer f.stock.mu.Unlock()
	if t := f.stock.templates[system]; t != nil {
		return t, nil
	}
	dir, err := f.stock.folder(f.opts.Dir)
	if err != nil {
		return nil, err
	}
	t, err := newTemplate(filepath.Join(dir, "system-"+filepath.Base(system)+".raw"), system, f.opts.Seed^hash(system), f.base.Add(-300*24*time.Hour))
	if err != nil {
		return nil, err
	}
	f.stock.templates[system] = t
	return t, nil
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // a hash takes everything
	return h.Sum64()
}

// imageOf is the image of one of a machine's disks, or nil when it has none
// or that is gone.
func (f *Fleet) imageOf(v *vm, d *definition, k *diskDef) *diskImage {
	if k.source == "" {
		return nil
	}
	at := v.host.place(k.source)
	if img := f.stock.images[at]; img != nil || f.stock.gone[at] {
		return img
	}
	img := &diskImage{at: at, home: v.host, format: k.format, size: int64(k.capacity), backing: k.backing, modified: f.base.Add(-time.Hour)}
	img.layout = f.layoutFor(v, d, k, at)
	if k.device == "cdrom" {
		img.format, img.home = "iso", f.hosts[0]
		img.modified = f.base.Add(-200 * 24 * time.Hour)
	}
	img.born = pastDays * pastPart * float64(len(img.layout.hot))
	img.due = img.born
	f.stock.images[at] = img
	f.chain(v.host, img, d.os)
	return img
}

// chain puts what lies below an image in stock.
func (f *Fleet) chain(h *host, img *diskImage, system string) {
	for i, path := range img.backing {
		at := h.place(path)
		if f.stock.images[at] != nil || f.stock.gone[at] {
			continue
		}
		seed := f.opts.Seed ^ hash(at.host+":"+at.path)
		below := &diskImage{at: at, home: h, format: "qcow2", size: img.size, backing: img.backing[i+1:], modified: f.base.Add(-90 * 24 * time.Hour)}
		below.layout = newLayout(below.size, seed, 0)
		if below.size >= roomy {
			below.layout.os, below.layout.name = system, "localhost"
		}
		if len(below.backing) > 0 {
			below.layout.own = 256 * kib
		}
		f.stock.images[at] = below
	}
}

// allImages puts everything that the fleet has in stock.
func (f *Fleet) allImages() {
	for _, h := range f.hosts {
		for _, v := range h.vms {
			for _, d := range v.definitions() {
				for i := range d.disks {
					f.imageOf(v, d, &d.disks[i])
				}
			}
		}
	}
	f.addExtras()
}

// definitions are the stored one and the live one, where there are.
func (v *vm) definitions() (list []*definition) {
	if v.stored != nil {
		list = append(list, v.stored)
	}
	if v.live != nil && v.live != v.stored {
		list = append(list, v.live)
	}
	return list
}

// find is the image at a path of the host's, or an error that wraps
// ErrNoStorage.
func (h *host) findImage(path string) (*diskImage, error) {
	f := h.fleet
	f.allImages()
	if img := f.stock.images[h.place(path)]; img != nil {
		return img, nil
	}
	return nil, fmt.Errorf("%w: there is no %s", backend.ErrNoStorage, backend.Clean(path))
}

// takenAt reports whether something lies at a place.
func (f *Fleet) takenAt(at place) bool {
	f.allImages()
	return f.stock.images[at] != nil || f.stock.drafts[at] || f.stock.files[at] != nil
}

// openable says why an image's content cannot be had, or nil.
func (h *host) openable(img *diskImage) error {
	if img.encrypted {
		return fmt.Errorf("%w: it is encrypted (LUKS), and no key of it is known here", backend.ErrUnsupported)
	}
	for _, path := range img.backing {
		if h.fleet.stock.images[h.place(path)] == nil {
			return fmt.Errorf("%w: its backing file %s is not there", backend.ErrNoStorage, path)
		}
	}
	return nil
}

// missing says which of a definition's images are gone: without them nothing
// starts.
func (v *vm) missing(d *definition) error {
	f := v.fleet()
	for i := range d.disks {
		k := &d.disks[i]
		if k.source == "" || k.device == "cdrom" {
			continue
		}
		if at := v.host.place(k.source); f.stock.gone[at] {
			return fmt.Errorf("%w: cannot access storage file '%s'", backend.ErrNoStorage, backend.Clean(k.source))
		}
	}
	return nil
}

// forgetImages takes the images of a machine that nobody defined with it.
func (v *vm) forgetImages(d *definition) {
	f := v.fleet()
	for _, k := range v.writableDisks(d) {
		if img := f.stock.images[v.host.place(k.source)]; img != nil {
			f.dropImage(img)
			delete(f.stock.gone, img.at)
		}
	}
}

// leaveImages is what becomes of the images of a machine that is deleted:
// they stay, or are deleted with it unless another one has them.
func (v *vm) leaveImages(remove bool) {
	f := v.fleet()
	for _, k := range v.writableDisks(v.stored) {
		img := f.imageOf(v, v.stored, k)
		if img != nil && remove && v.host.used(img) == nil {
			f.dropImage(img)
		}
	}
}

// dropImage takes an image out of stock, with its file.
func (f *Fleet) dropImage(img *diskImage) {
	delete(f.stock.images, img.at)
	f.stock.gone[img.at] = true
	f.stock.trash = append(f.stock.trash, img)
}

// empty deletes the files of images that are out of stock. What cannot be
// deleted goes with the folder.
func (f *Fleet) empty() {
	f.mu.Lock()
	trash := f.stock.trash
	f.stock.trash = nil
	f.mu.Unlock()
	for _, img := range trash {
		img.mu.Lock()
		if img.file != "" {
			_ = os.Remove(img.file)
		}
		img.mu.Unlock()
	}
}

// realOf is what an image takes, beside what its backing file holds.
func realOf(img *diskImage) int64 {
	img.mu.Lock()
	defer img.mu.Unlock()
	sum := int64(0)
	if img.file == "" {
		sum = img.layout.holds()
		if len(img.backing) > 0 && img.layout.os != "" {
			sum -= fsHolds
		}
	} else if info, err := os.Stat(img.file); err == nil {
		sum = realSize(info) - img.beneath
		if len(img.backing) > 0 && img.layout.os != "" {
			sum -= fsHolds
		}
	}
	return max(sum, 0) + 196*kib // as a qcow2's tables take
}

var errThere = fmt.Errorf("%w: something is there already", fs.ErrExist)
