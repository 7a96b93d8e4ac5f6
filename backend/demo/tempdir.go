package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// A fleet's files lie in a folder of its own below Options.Dir. The folder
// holds a lock that its process keeps for as long as it lives: the system lets
// go of it however the process ends, so that whoever comes next can tell what a
// dead process left from what a living one uses, whatever numbers processes have.
const (
	dirPrefix = "berth-demo-"
	lockName  = ".lock"
)

// unlockedAge is how old a folder without a lock must be to be taken for one
// whose maker died before it could lock it.
const unlockedAge = time.Minute

// ownDir is the folder of one fleet.
type ownDir struct {
	path string
	lock *flock.Flock
}

// newOwnDir removes what dead processes left below parent and makes a folder.
func newOwnDir(parent string) (*ownDir, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	sweep(parent)
	path, err := os.MkdirTemp(parent, fmt.Sprintf("%s%d-", dirPrefix, os.Getpid()))
	if err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(path, lockName))
	if ok, err := lock.TryLock(); err != nil || !ok {
		if err == nil {
			err = errors.New("another process holds its lock")
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), os.RemoveAll(path))
	}
	return &ownDir{path: path, lock: lock}, nil
}

// remove deletes the folder and what is in it.
func (d *ownDir) remove() error {
	return errors.Join(os.RemoveAll(d.path), d.lock.Unlock())
}

// sweep removes folders below parent that no living process holds. What cannot
// be read or removed belongs to somebody else, and stays.
func sweep(parent string) {
	list, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range list {
		if e.IsDir() && strings.HasPrefix(e.Name(), dirPrefix) {
			sweepOne(filepath.Join(parent, e.Name()))
		}
	}
}

func sweepOne(dir string) {
	name := filepath.Join(dir, lockName)
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Lstat(dir); err == nil && time.Since(info.ModTime()) > unlockedAge {
			_ = os.RemoveAll(dir) // another sweep may be at it as well
		}
		return
	}
	lock := flock.New(name)
	if ok, err := lock.TryLock(); err != nil || !ok {
		return
	}
	_ = os.RemoveAll(dir)
	_ = lock.Unlock()
}
