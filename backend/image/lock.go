package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"berth/backend"
	"berth/backend/image/disk"
)

// QEMU locks bytes of the images it has open (block/file-posix.c): the byte
// permBase+n while it does what permission n says, and sharedBase+n while
// nobody else may. They are locks of the open file description, which end with
// the process.
const (
	permBase   = 100
	sharedBase = 200
	permRead   = 0 // consistent reads
	permWrite  = 1
	permResize = 3
	permBytes  = 64
)

// errInUse is what a lock of QEMU's is told as.
var errInUse = fmt.Errorf("%w: QEMU has it open", backend.ErrBusy)

// probe reports whether anybody holds a lock on some bytes of f.
func probe(f *os.File, from, n int64) (bool, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: from, Len: n}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil // a file system without locks: QEMU has none there either
	}
	return err == nil && l.Type != unix.F_UNLCK, err
}

// written reports whether somebody writes to the image.
func written(f *os.File) (bool, error) {
	w, err := probe(f, permBase+permWrite, 1)
	if err != nil || w {
		return w, err
	}
	return probe(f, permBase+permResize, 1)
}

// Busy says who has the image open for anything, or nil: errors wrap
// backend.ErrBusy.
func Busy(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return opError("open", path, err, "")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, base := range []int64{permBase, sharedBase} {
		held, err := probe(f, base, permBytes)
		if err != nil {
			return opError("look at the locks of", path, err, "")
		}
		if held {
			return opError("take", path, errInUse, "shut the VM down that uses it, or end the tool that does")
		}
	}
	return nil
}

// Hold keeps VMs and tools of QEMU's from writing to an image until it is
// closed. It fails with backend.ErrBusy while one does; hint says what to do.
func Hold(path, hint string) (io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, opError("open", path, err, "")
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(opError("read", path, err, hint), f.Close())
	}
	return f, nil
}

// hold is Hold for who needs the file; with force it holds only if it can.
func hold(path string, force bool) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, opError("open", path, err, "")
	}
	if err := lock(f); err != nil && !force {
		hint := "shut the VM down that uses it, back it up with berth backup create, or add --force for a copy that may be torn"
		return nil, errors.Join(opError("read", path, err, hint), f.Close())
	}
	return f, nil
}

// source is a file or device that is being read, and that no VM writes to
// meanwhile.
type source struct {
	disk.Reader
	held *os.File
	mode fs.FileMode // its permissions
	data int64       // bytes that are not holes, as far as is told
}

// openSource opens it for op; with force also while a VM writes to it.
func openSource(ctx context.Context, op, path string, force bool) (_ *source, err error) {
	st, err := regular(op, path)
	if err != nil {
		return nil, err
	}
	held, err := hold(path, force)
	if err != nil {
		return nil, err
	}
	s := &source{held: held, mode: st.Mode().Perm()}
	size, data, err := measure(held)
	if err != nil {
		return nil, errors.Join(opError(op, path, err, ""), held.Close())
	}
	s.data = data
	if s.Reader, err = disk.Open(ctx, backend.DiskAccess{File: path, Size: size}); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return s, nil
}

// Close lets go of it.
func (s *source) Close() error { return errors.Join(s.Reader.Close(), s.held.Close()) }

// lock does as QEMU does: it takes the locks, then looks whether another has
// what they exclude.
func lock(f *os.File) error {
	for _, at := range []int64{permBase + permRead, sharedBase + permWrite, sharedBase + permResize} {
		l := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart, Start: at, Len: 1}
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
			return errInUse
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EOPNOTSUPP):
			return nil // a file system without locks
		case err != nil:
			return err
		}
	}
	w, err := written(f)
	if err == nil && w {
		err = errInUse
	}
	if err != nil {
		return err
	}
	// Who shares no reading has it for himself.
	alone, err := probe(f, sharedBase+permRead, 1)
	if err == nil && alone {
		err = errInUse
	}
	return err
}
