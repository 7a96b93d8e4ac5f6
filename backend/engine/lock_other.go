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
		return f, false, nil
	}
	held = errors.Is(err, syscall.EWOULDBLOCK)
	if held {
		err = nil
	}
	return nil, held, errors.Join(err, f.Close())
}

// lockHeld reports whether somebody has the lock, by taking it for a moment.
func lockHeld(path string) (bool, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	f, held, err := takeLock(path)
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return held, err
}
