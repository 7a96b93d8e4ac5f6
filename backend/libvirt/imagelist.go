package libvirt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/digitalocean/go-libvirt"
	"golang.org/x/sync/errgroup"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

// chainMost bounds a backing chain.
const chainMost = 64

// catalogue gathers a host's images, by path.
type catalogue struct {
	h *Host
	m dial.Machine // nil: only libvirt is reached

	mu     sync.Mutex
	images map[string]*backend.Image
	below  map[string]string // the backing file of each
	formal map[string]string // the formats that definitions give
	// real is which of the names of a file is listed: definitions may name it by
	// way of symbolic links. Its keys have none.
	real map[string]string
}

// isDaemons reports whether the daemon itself refused.
func isDaemons(err error) bool { return errors.As(coded(err), new(*daemonError)) }

// Images implements backend.Storage. What libvirt's pools tell is as old as
// their last refresh.
func (h *Host) Images(ctx context.Context) ([]backend.Image, error) {
	c, err := h.catalogue(ctx)
	if err != nil {
		return nil, h.broken("list the images of", err)
	}
	out := make([]backend.Image, 0, len(c.images))
	for _, i := range c.images {
		out = append(out, *i)
	}
	slices.SortFunc(out, func(a, b backend.Image) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path))
	})
	return out, nil
}

func (h *Host) catalogue(ctx context.Context) (*catalogue, error) {
	c := &catalogue{h: h, images: map[string]*backend.Image{}, below: map[string]string{}, formal: map[string]string{}, real: map[string]string{}}
	m, err := h.machine(ctx)
	if err == nil {
		c.m = m
	} else if !errors.Is(err, backend.ErrUnsupported) {
		return nil, err
	}
	if err := c.volumes(ctx); err != nil {
		return nil, err
	}
	if err := c.resolve(ctx); err != nil {
		return nil, err
	}
	if err := c.domains(ctx); err != nil {
		return nil, err
	}
	c.chains()
	if err := c.look(ctx); err != nil {
		return nil, err
	}
	c.chains() // looking may have found more of them
	return c, nil
}

// image is the entry of a path, made when needed.
func (c *catalogue) image(at string) *backend.Image {
	i := c.images[at]
	if i == nil {
		i = &backend.Image{Host: c.h.name, Path: at, Name: backend.Clean(path.Base(at))}
		c.images[at] = i
	}
	return i
}

// resolve finds the real names of the volumes by those of their folders.
func (c *catalogue) resolve(ctx context.Context) error {
	dirs := map[string]string{}
	for at := range c.images {
		dir := path.Dir(at)
		if _, known := dirs[dir]; !known && c.m != nil {
			real, err := c.m.Real(ctx, dir)
			if err != nil && ctx.Err() != nil {
				return err
			}
			dirs[dir] = cmp.Or(real, dir)
		}
		c.real[path.Join(dirs[dir], path.Base(at))] = at
	}
	for over, at := range c.below {
		if path.IsAbs(at) && c.images[at] == nil {
			c.below[over] = c.names(ctx, at)[0]
		}
	}
	return ctx.Err()
}

// names are the names under which a file is listed, or will be.
func (c *catalogue) names(ctx context.Context, at string) []string {
	at = path.Clean(at)
	real := at
	if c.m != nil {
		if r, err := c.m.Real(ctx, at); err == nil { // else it is not there, or looked for in vain below
			real = r
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	listed := c.real[real]
	switch {
	case listed == "":
		c.real[real] = at
	case listed != at && c.images[at] != nil:
		return []string{at, listed}
	case listed != at:
		return []string{listed}
	}
	return []string{at}
}

// domains notes what the definitions use, the live and the stored ones.
func (c *catalogue) domains(ctx context.Context) error {
	doms, err := ask(ctx, c.h.cheap, func(lv *libvirt.Libvirt) ([]libvirt.Domain, error) {
		list, _, err := lv.ConnectListAllDomains(1, 0)
		return list, err
	})
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(pipeline)
	for _, d := range doms {
		g.Go(func() error { return c.domain(gctx, d) })
	}
	return g.Wait()
}

func (c *catalogue) domain(ctx context.Context, d libvirt.Domain) error {
	active := d.ID > 0
	flags := []libvirt.DomainXMLFlags{0}
	if active {
		flags = append(flags, libvirt.DomainXMLInactive)
	}
	seen := map[string]bool{}
	for _, f := range flags {
		text, err := ask(ctx, c.h.cheap, func(lv *libvirt.Libvirt) (string, error) { return lv.DomainGetXMLDesc(d, f) })
		if isDaemons(err) { // it went meanwhile
			continue
		}
		if err != nil {
			return err
		}
		x, err := parseDomain(text)
		if err != nil {
			continue // its images are not known then
		}
		for i := range x.Devices.Disks {
			if err := c.disk(ctx, d, active, &x.Devices.Disks[i], seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// disk notes one disk of a domain and the chain below it.
func (c *catalogue) disk(ctx context.Context, d libvirt.Domain, active bool, x *diskXML, seen map[string]bool) error {
	at := cmp.Or(x.Source.File, x.Source.Dev)
	if x.Source.Pool != "" {
		v, err := c.h.volumeOf(ctx, &x.Source)
		if err == nil {
			at, err = ask(ctx, c.h.storage, func(lv *libvirt.Libvirt) (string, error) { return lv.StorageVolGetPath(v) })
		}
		if err != nil && !isDaemons(err) {
			return err
		}
	}
	if !path.IsAbs(at) || seen[x.Target.Dev+"\x00"+at] {
		return nil
	}
	seen[x.Target.Dev+"\x00"+at] = true
	user := backend.ImageUser{
		VM: backend.UUID(d.UUID), Name: backend.Clean(d.Name), Target: backend.Clean(x.Target.Dev), Active: active,
		ReadOnly: x.ReadOnly != nil || x.Device == "cdrom",
	}
	names := c.names(ctx, at)
	c.enter(names, &user, x)
	for b := x.Backing; b != nil; b = b.Backing {
		at := cmp.Or(b.Source.File, b.Source.Dev)
		if !path.IsAbs(at) {
			break
		}
		below := c.names(ctx, at)
		c.mu.Lock()
		for _, over := range names {
			c.below[over] = below[0]
		}
		c.mu.Unlock()
		names = below
	}
	return nil
}

// enter notes who uses an image, under each of its names.
func (c *catalogue) enter(names []string, user *backend.ImageUser, x *diskXML) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		i := c.image(name)
		if !slices.Contains(i.Users, *user) {
			i.Users = append(i.Users, *user)
		}
		c.formal[i.Path] = cmp.Or(c.formal[i.Path], backend.Clean(x.Driver.Type))
		if x.Device == "cdrom" && i.Format == "" {
			i.Format = "iso"
		}
	}
}

// chains enters every backing file and says what lies on what.
func (c *catalogue) chains() {
	for _, at := range c.below {
		if path.IsAbs(at) {
			c.image(at)
		}
	}
	for _, i := range c.images {
		i.Backing, i.BackedBy = nil, nil
	}
	for top, i := range c.images {
		for at, n := c.below[top], 0; at != "" && n < chainMost; at, n = c.below[at], n+1 {
			i.Backing = append(i.Backing, backend.Clean(at))
		}
	}
	for top, at := range c.below {
		if i := c.images[at]; i != nil {
			i.BackedBy = append(i.BackedBy, backend.Clean(top))
		}
	}
	for _, i := range c.images {
		slices.Sort(i.BackedBy)
	}
}

// look finds out what libvirt did not tell: whether images are there, the
// sizes of those in no pool, and internal snapshots. On another machine only
// those in no pool are looked at, for each costs a round trip or two.
func (c *catalogue) look(ctx context.Context) error {
	var todo []*backend.Image
	here := false
	if c.m != nil {
		_, here = c.m.Local("/")
	}
	for _, i := range c.images {
		switch {
		case i.Pool == "" && c.m == nil:
			i.Trouble = "it lies in no pool, and only a unix socket or ssh shows it"
		case i.Pool == "" || here:
			todo = append(todo, i)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, i := range todo {
		g.Go(func() error { return c.lookAt(gctx, i) })
	}
	return g.Wait()
}

func (c *catalogue) lookAt(ctx context.Context, i *backend.Image) error {
	st, err := c.m.Stat(ctx, i.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		i.Missing = true
		if i.Pool != "" {
			i.Trouble = "the pool lists it still: refresh that"
		}
		return nil
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		i.Trouble = onFile(err).Error()
		return nil
	}
	if i.Pool == "" {
		i.Virtual, i.Real, i.Modified = uint64(st.Size), uint64(max(st.Real, 0)), st.Modified
		if st.Real < 0 {
			i.Real = uint64(st.Size)
		}
	}
	if i.Format == "iso" || i.Pool != "" && i.Format != "qcow2" {
		return nil
	}
	return c.header(ctx, i)
}

// header reads what a qcow2 image says of itself.
func (c *catalogue) header(ctx context.Context, i *backend.Image) error {
	q, err := readQcow2(ctx, c.m, i.Path)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		i.Trouble = onFile(err).Error()
		return nil
	}
	formal := c.formal[i.Path]
	if q == nil || formal == "raw" { // a guest may write anything into a raw image
		if i.Pool == "" {
			i.Format = cmp.Or(formal, "raw")
		}
		return nil
	}
	i.Format, i.Virtual, i.Encrypted, i.Snapshots = "qcow2", q.size, i.Encrypted || q.encrypted, q.snapshots
	c.mu.Lock()
	known := c.below[i.Path] != ""
	c.mu.Unlock()
	if q.backing != "" && !known {
		at := strings.TrimPrefix(q.backing, "file:")
		if !path.IsAbs(at) && !strings.Contains(at, ":") {
			at = path.Join(path.Dir(i.Path), at)
		}
		names := c.names(ctx, at)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.below[i.Path] = names[0]
	}
	return nil
}

// FindImage implements backend.ImageFinder.
func (h *Host) FindImage(ctx context.Context, at string) (backend.Image, error) {
	i, err := h.findImage(ctx, at)
	if err != nil {
		return backend.Image{}, failed("look at", at, err)
	}
	return *i, nil
}

// findImage looks for one image in a fresh list.
func (h *Host) findImage(ctx context.Context, at string) (*backend.Image, error) {
	c, err := h.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	i := c.images[path.Clean(at)]
	if i == nil {
		i = c.images[c.names(ctx, at)[0]]
	}
	if i == nil || i.Missing {
		if i == nil && c.m != nil { // one that nothing names
			if _, err := c.m.Stat(ctx, at); err == nil {
				i := &backend.Image{Host: h.name, Path: at, Name: path.Base(at)}
				return i, c.lookAt(ctx, i)
			}
		}
		return nil, fmt.Errorf("%w: there is no %s", backend.ErrNoStorage, backend.Clean(at))
	}
	return i, nil
}
