package engine

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// takeLock locks the file at path, which it makes. The lock belongs to the
// open file (F_OFD_SETLK, fcntl(2)): the kernel drops it when its holder ends,
// in whatever way, and it can be asked about without being taken. held is true
// when somebody else has it.
func takeLock(path string) (f *os.File, held bool, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, false, err
	}
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
	if err == nil {
		return signed(f)
	}
	held = errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES)
	if held {
		err = nil
	}
	return nil, held, errors.Join(err, f.Close())
}

// lockHeld reports whether somebody has the lock, and which process: 0 when
// that has only just taken it.
func lockHeld(path string) (held bool, pid int, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK {
		return false, 0, err
	}
	return true, signature(f), nil
}
