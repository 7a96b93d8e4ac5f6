package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

var (
	_ backend.ImageOpener = (*Host)(nil)
	_ backend.ImageFinder = (*Host)(nil)
)

// openImage is an image that is open for reading.
type openImage struct {
	at backend.DiskAccess
	v  *server // nil: a raw file of this machine

	once sync.Once
	err  error
}

// Access implements backend.OpenImage.
func (o *openImage) Access() backend.DiskAccess { return o.at }

// Close implements backend.OpenImage.
func (o *openImage) Close() error {
	o.once.Do(func() {
		if o.v != nil {
			o.err = o.v.close()
		}
	})
	return o.err
}

// OpenImage opens an image of the host: a raw one of this machine directly,
// all others through a qemu-nbd there, which reads backing chains too. An
// empty format is found out.
func (h *Host) OpenImage(ctx context.Context, path, format string) (backend.OpenImage, error) {
	const op = "open"
	m, err := h.machine(ctx)
	if err != nil {
		return nil, failed(op, path, err)
	}
	o, err := openOn(ctx, m, served{path: path, format: format, held: true})
	if err != nil {
		return nil, failed(op, path, err)
	}
	return o, nil
}

// openOn opens an image on m for reading. An empty format is found out.
func openOn(ctx context.Context, m dial.Machine, s served) (*openImage, error) {
	here, local := m.Local(s.path)
	if s.format == "raw" && local {
		return openRaw(ctx, m, s.path, here)
	}
	if _, err := m.Stat(ctx, s.path); err != nil {
		return nil, absentFile(s.path, err)
	}
	i, err := inspect(ctx, m, s.path, s.format)
	if err != nil {
		return nil, err
	}
	if i.Format == "raw" && local {
		return openRaw(ctx, m, s.path, here)
	}
	s.format = i.Format
	v, err := serve(ctx, m, s)
	if err != nil {
		return nil, err
	}
	return &openImage{at: v.access(i.Virtual, s.bitmap), v: v}, nil
}

// openRaw makes sure that this process may read the file.
func openRaw(ctx context.Context, m dial.Machine, path, here string) (*openImage, error) {
	st, err := m.Stat(ctx, path)
	if err != nil {
		return nil, absentFile(path, err)
	}
	f, err := os.Open(here)
	if err != nil {
		return nil, onFile(err)
	}
	return &openImage{at: backend.DiskAccess{Size: st.Size, File: here}}, f.Close()
}

// absentFile is the error of a file that cannot be looked at.
func absentFile(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no %s: %w", backend.ErrNoStorage, backend.Clean(path), fs.ErrNotExist)
	}
	return onFile(err)
}

// newImage is an image that is being written under another name.
type newImage struct {
	h           *Host
	m           dial.Machine
	path, draft string
	at          backend.DiskAccess
	v           *server // nil: a raw file of this machine

	mu   sync.Mutex
	over bool
}

// MakeImage makes an image beside where it shall be, under a name that is
// known to be berth's.
func (h *Host) MakeImage(ctx context.Context, path, format string, size uint64) (backend.NewImage, error) {
	const op = "make"
	if err := h.writable(op, path); err != nil {
		return nil, err
	}
	m, err := h.machine(ctx)
	if err != nil {
		return nil, failed(op, path, err)
	}
	n, err := h.makeOn(ctx, m, path, format, size)
	if err != nil {
		return nil, failed(op, path, err)
	}
	return n, nil
}

func (h *Host) makeOn(ctx context.Context, m dial.Machine, name, format string, size uint64) (*newImage, error) {
	switch _, err := m.Stat(ctx, name); {
	case err == nil:
		return nil, fmt.Errorf("%w: it is there already: %w", backend.ErrBusy, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, onFile(err)
	case !path.IsAbs(name) || size > 1<<62:
		return nil, fmt.Errorf("%w: an image needs an absolute path and a size of less than 4 EiB", backend.ErrInvalid)
	}
	n, err := h.newImage(ctx, m, name)
	if err != nil {
		return nil, err
	}
	here, local := m.Local(n.draft)
	if format == "raw" && local {
		if err := m.Allocate(ctx, n.draft, int64(size), 0o600); err != nil {
			return nil, onFile(err)
		}
		n.at = backend.DiskAccess{Size: int64(size), File: here}
		return n, nil
	}
	argv := []string{"qemu-img", "create", "-q", "-f", format, "--", n.draft, strconv.FormatUint(size, 10)}
	if _, err := m.Run(ctx, argv...); err != nil {
		return nil, errors.Join(explainServer(err), n.Close())
	}
	v, err := serve(ctx, m, served{path: n.draft, format: format, write: true})
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.v, n.at = v, v.access(int64(size), "")
	return n, nil
}

// newImage is one that is to be made; its folder must be there.
func (h *Host) newImage(ctx context.Context, m dial.Machine, name string) (*newImage, error) {
	dir := path.Dir(name)
	st, err := m.Stat(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !st.Mode.IsDir():
		return nil, fmt.Errorf("%w: there is no folder %s: %w", backend.ErrNoStorage, backend.Clean(dir), fs.ErrNotExist)
	case err != nil:
		return nil, onFile(err)
	}
	return &newImage{h: h, m: m, path: name, draft: path.Join(dir, dial.DraftPrefix+freshName()+"-"+path.Base(name))}, nil
}

// Access implements backend.NewImage.
func (n *newImage) Access() backend.DiskAccess { return n.at }

// Commit implements backend.NewImage. Owner and mode are those that most
// images in the folder have.
func (n *newImage) Commit(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	const op = "finish"
	if n.over {
		return failed(op, n.path, fmt.Errorf("%w: it is closed", backend.ErrState))
	}
	err := n.finish(ctx)
	if err == nil {
		n.over = true
		n.h.refreshAround(ctx, n.path)
	}
	return failed(op, n.path, err)
}

func (n *newImage) finish(ctx context.Context) error {
	if n.v != nil {
		v := n.v
		n.v = nil
		if err := v.close(); err != nil {
			return err
		}
	}
	if err := n.m.Sync(ctx, n.draft); err != nil {
		return onFile(err)
	}
	if err := adopt(ctx, n.m, n.draft, path.Dir(n.path)); err != nil {
		return onFile(err)
	}
	err := n.m.Rename(ctx, n.draft, n.path)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%w: somebody else made %s meanwhile: %w", backend.ErrBusy, backend.Clean(n.path), err)
	}
	return onFile(err)
}

// Close implements backend.NewImage.
func (n *newImage) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over {
		return nil
	}
	n.over = true
	var err error
	if n.v != nil {
		err = n.v.close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	if e := n.m.Remove(ctx, n.draft); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// adopt gives a new file the owner and mode that most files in its folder
// have, so that libvirt and whoever keeps images there can use it alike. Who
// may not change owners leaves it his own.
func adopt(ctx context.Context, m dial.Machine, file, dir string) error {
	type owner struct {
		uid, gid int
		mode     fs.FileMode
	}
	mine, err := m.Stat(ctx, file)
	if err != nil {
		return err
	}
	list, err := m.List(ctx, dir)
	if err != nil {
		return err
	}
	count := map[owner]int{}
	best := owner{mine.UID, mine.GID, 0o600}
	for _, f := range list {
		if f.Mode.IsRegular() && f.Name[0] != '.' && f.UID >= 0 {
			o := owner{f.UID, f.GID, f.Mode.Perm() | 0o600}
			if count[o]++; count[o] > count[best] {
				best = o
			}
		}
	}
	err = m.Own(ctx, file, best.uid, best.gid, best.mode)
	if errors.Is(err, fs.ErrPermission) {
		err = m.Own(ctx, file, mine.UID, mine.GID, best.mode)
	}
	return err
}

// modified is when an image was written last; zero for devices, which do not tell.
func modified(ctx context.Context, m dial.Machine, path string) (time.Time, error) {
	st, err := m.Stat(ctx, path)
	if err != nil || !st.Mode.IsRegular() {
		return time.Time{}, err
	}
	return st.Modified, nil
}
