package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// exportPrefix begins the names of folders that images are made in.
const exportPrefix = ".berth-export-"

// exportDraft is a folder that an image is made in, on the file system that it
// is for, and for this user alone. It is locked while somebody works in it.
type exportDraft struct {
	path string
	held *os.File
}

// newExportDraft makes one in dir. What killed processes left there is removed.
func newExportDraft(dir string) (*exportDraft, error) {
	left, _ := filepath.Glob(filepath.Join(dir, exportPrefix+"*")) // a pattern in dir's own name finds nothing
	for _, path := range left {
		if d, err := lockDraft(path); err == nil {
			_ = d.close() // in nobody's way
		}
	}
	for {
		path, err := os.MkdirTemp(dir, exportPrefix)
		if err != nil {
			return nil, err
		}
		switch d, err := lockDraft(path); {
		case err == nil:
			return d, nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK):
			return &exportDraft{path: path}, nil // a file system without locks
		}
		// Somebody took it for left over before it was locked.
	}
}

// lockDraft fails where somebody works in it, or it is gone.
func lockDraft(path string) (*exportDraft, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		mine, err1 := f.Stat()
		there, err2 := os.Lstat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return &exportDraft{path, f}, nil
		}
		err = fs.ErrNotExist
	}
	return nil, errors.Join(err, f.Close())
}

// close removes it with what is in it.
func (d *exportDraft) close() error {
	err := os.RemoveAll(d.path)
	if d.held != nil {
		err = errors.Join(err, d.held.Close())
	}
	return err
}
