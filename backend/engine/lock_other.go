//go:build !linux

package engine

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// takeLock locks the file at path, which it makes. The kernel drops the lock
// when its holder ends, in whatever way. held is true when somebody else has it.
func takeLock(path string) (f *os.File, held bool, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, false, err
	}
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return signed(f)
	}
	held = errors.Is(err, syscall.EWOULDBLOCK)
	if held {
		err = nil
	}
	return nil, held, errors.Join(err, f.Close())
}

// lockHeld reports whether somebody has the lock, by trying it, and which
// process: 0 when that has only just taken it.
func lockHeld(path string) (held bool, pid int, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, signature(f), nil
	}
	return false, 0, err
}
