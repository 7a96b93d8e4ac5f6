package place

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"berth/backend"
)

// Modes of what a place makes: for its owner alone, and for reading only once
// it is whole, so that no slip of a hand changes it.
const (
	folderMode = 0o700
	draftMode  = 0o600
	fileMode   = 0o400
)

// local is a folder of this machine, or one that is mounted on it.
type local struct{ dir string }

// OpenLocal opens a folder. With create it and its parents are made; without, a
// folder that is not there is an error that wraps fs.ErrNotExist.
func OpenLocal(dir string, create bool) (Place, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, &backend.OpError{Op: "open", Target: dir, Err: err}
	}
	if create {
		if err := makeFolders(abs); err != nil {
			return nil, inWords("make", abs, err)
		}
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, inWords("open", abs, err)
	}
	if !info.IsDir() {
		return nil, &backend.OpError{Op: "open", Target: abs, Err: syscall.ENOTDIR, Hint: "a repository is a folder"}
	}
	return &local{dir: abs}, nil
}

// makeFolders is os.MkdirAll that makes each new folder durable in its parent.
func makeFolders(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeFolders(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(parent)
}

// syncFolder makes the names in a folder durable. File systems that cannot do
// so for folders say EINVAL (some CIFS and FUSE ones): they offer no more.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

func (l *local) URL() string { return l.dir }

func (l *local) Close() error { return nil }

func (l *local) path(name string) string { return filepath.Join(l.dir, filepath.FromSlash(name)) }

func (l *local) Open(ctx context.Context, name string) (File, error) {
	if err := checkName("open", name); err != nil {
		return nil, err
	}
	return again(ctx, func() (File, error) {
		f, err := os.Open(l.path(name))
		if err != nil {
			return nil, inWords("open", name, err)
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fs.ErrInvalid
		}
		if err != nil {
			return nil, errors.Join(inWords("open", name, err), f.Close())
		}
		return &localFile{ctx: ctx, f: f, name: name, size: info.Size()}, nil
	})
}

// localFile is a file of a local place.
type localFile struct {
	ctx  context.Context // of Open: it holds for reads
	f    *os.File
	name string
	size int64
}

func (f *localFile) Size() int64 { return f.size }

func (f *localFile) Close() error { return f.f.Close() }

func (f *localFile) ReadAt(p []byte, off int64) (int, error) {
	read := 0
	err := retry(f.ctx, func() error {
		n, err := f.f.ReadAt(p[read:], off+int64(read))
		read += n
		return inWords("read", f.name, err)
	})
	return read, err
}

func (l *local) CreateExclusive(ctx context.Context, name string, content []byte) error {
	if err := checkName("create", name); err != nil {
		return err
	}
	d, err := l.begin(ctx, name, 0)
	if err != nil {
		return err
	}
	if _, err := d.Write(content); err != nil {
		return errors.Join(err, d.Discard())
	}
	err = d.linkTo(l.path(name), content)
	return errors.Join(inWords("create", name, err), d.Discard())
}

func (l *local) List(ctx context.Context, dir string) ([]Entry, error) {
	var files []Entry
	err := l.each(ctx, dir, func(e Entry) error {
		files = append(files, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(files, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

// atOnce is how many names of a folder each holds.
const atOnce = 512

func (l *local) each(ctx context.Context, dir string, f func(Entry) error) error {
	if !fs.ValidPath(dir) {
		return &fs.PathError{Op: "list", Path: dir, Err: fs.ErrInvalid}
	}
	d, err := again(ctx, func() (*os.File, error) {
		d, err := os.Open(l.path(dir))
		return d, inWords("list", dir, err)
	})
	if errors.Is(err, fs.ErrNotExist) && dir != "." {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close() // it was read only
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		some, err := d.ReadDir(atOnce)
		for _, e := range some {
			if !e.Type().IsRegular() || isDraft(e.Name()) {
				continue
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was removed meanwhile
			}
			if err != nil {
				return inWords("list", dir, err)
			}
			if err := f(Entry{Name: path.Join(dir, e.Name()), Size: info.Size(), ModTime: info.ModTime()}); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return inWords("list", dir, err)
		}
	}
}

// read reads a folder; one that is not there is empty.
func (l *local) read(ctx context.Context, dir string) ([]fs.DirEntry, error) {
	if !fs.ValidPath(dir) {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fs.ErrInvalid}
	}
	return again(ctx, func() ([]fs.DirEntry, error) {
		all, err := os.ReadDir(l.path(dir))
		if errors.Is(err, fs.ErrNotExist) && dir != "." {
			return nil, nil
		}
		return all, inWords("list", dir, err)
	})
}

func (l *local) Folders(ctx context.Context, dir string) ([]string, error) {
	all, err := l.read(ctx, dir)
	var folders []string
	for _, e := range all {
		if e.IsDir() {
			folders = append(folders, e.Name())
		}
	}
	sort.Strings(folders)
	return folders, err
}

func (l *local) Stat(ctx context.Context, name string) (Entry, error) {
	if err := checkName("stat", name); err != nil {
		return Entry{}, err
	}
	return again(ctx, func() (Entry, error) {
		info, err := os.Stat(l.path(name))
		if err != nil {
			return Entry{}, inWords("stat", name, err)
		}
		return Entry{Name: name, Size: info.Size(), ModTime: info.ModTime()}, nil
	})
}

func (l *local) Drafts(ctx context.Context) ([]Entry, error) {
	return drafts(ctx, l, ".", func(dir string) ([]Entry, error) {
		all, err := l.read(ctx, dir)
		var found []Entry
		for _, e := range all {
			if !e.Type().IsRegular() || !isDraft(e.Name()) {
				continue
			}
			if info, err := e.Info(); err == nil { // else it has just been ended
				found = append(found, Entry{Name: path.Join(dir, e.Name()), Size: info.Size(), ModTime: info.ModTime()})
			}
		}
		return found, err
	})
}

// drafts finds those of a folder and of all folders in it.
func drafts(ctx context.Context, p Place, dir string, in func(dir string) ([]Entry, error)) ([]Entry, error) {
	all, err := in(dir)
	if err != nil {
		return nil, err
	}
	folders, err := p.Folders(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, f := range folders {
		below, err := drafts(ctx, p, path.Join(dir, f), in)
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

func (l *local) RemoveDrafts(ctx context.Context, unchanged time.Duration) (int, error) {
	return removeDrafts(ctx, l, unchanged, func(name string) error { return os.Remove(l.path(name)) })
}

// removeDrafts is RemoveDrafts for every kind of place.
func removeDrafts(ctx context.Context, p Place, unchanged time.Duration, remove func(name string) error) (int, error) {
	now, err := p.Now(ctx)
	if err != nil {
		return 0, err
	}
	all, err := p.Drafts(ctx)
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, e := range all {
		if now.Sub(e.ModTime) < unchanged {
			continue
		}
		if err := remove(e.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, inWords("remove", e.Name, err)
		}
		removed++
	}
	return removed, nil
}

func (l *local) Remove(ctx context.Context, name string) error {
	if err := checkName("remove", name); err != nil {
		return err
	}
	return retry(ctx, func() error {
		if err := os.Remove(l.path(name)); err != nil {
			return inWords("remove", name, err)
		}
		return inWords("remove", name, syncFolder(filepath.Dir(l.path(name))))
	})
}

// Now asks the file system, which is another machine's when it is mounted over
// the network, by making a file.
func (l *local) Now(ctx context.Context) (time.Time, error) {
	return again(ctx, func() (time.Time, error) {
		f, err := os.OpenFile(l.path(draftName("clock")), os.O_WRONLY|os.O_CREATE|os.O_EXCL, draftMode)
		if err != nil {
			return time.Time{}, inWords("ask the clock of", l.dir, err)
		}
		info, err := f.Stat()
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		if err != nil {
			return time.Time{}, inWords("ask the clock of", l.dir, err)
		}
		return info.ModTime(), nil
	})
}

// draftName makes a name for a draft of a file, in the same folder.
func draftName(name string) string {
	dir, base := path.Split(name)
	return dir + draftPrefix + base + "." + strconv.FormatUint(rand.Uint64(), 36)
}
