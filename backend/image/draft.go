package image

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/backend"
	"berth/backend/image/disk"
)

func blocksOf(st os.FileInfo) (int64, bool) {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return s.Blocks, true
}

// draft is a file beside its name, which it gets when it is whole.
type draft struct {
	op   string
	path string // what it will be
	temp string // what it is
	mode fs.FileMode
	held *os.File // locked for as long as it is being made; nil: that is over
}

const (
	draftSuffix = ".berth-part"
	// draftByte of a draft is locked by the process that makes it. QEMU's locks
	// are on others (lock.go).
	draftByte = 300
)

// newDraft makes an empty file in path's folder, called .NAME.RANDOM.berth-part.
// What killed processes left there is removed.
func newDraft(op, path string, mode fs.FileMode) (*draft, error) {
	if err := mustNotExist(op, path); err != nil {
		return nil, err
	}
	dir, name := filepath.Split(path)
	sweep(filepath.Clean(dir))
	for {
		var b [6]byte
		rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
		// A name may have 255 bytes.
		temp := filepath.Join(dir, "."+name[:min(len(name), 200)]+"."+hex.EncodeToString(b[:])+draftSuffix)
		f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return nil, opError(op, path, plain(err), "")
		}
		if _, others := own(f); !others && isAt(f, temp) {
			return &draft{op: op, path: path, temp: temp, mode: mode, held: f}, nil
		}
		// Somebody swept it away before it was locked.
		if err := f.Close(); err != nil {
			return nil, opError(op, path, plain(err), "")
		}
	}
}

// own takes the lock of a draft's maker: it is mine, or others have it; or
// neither, on a file system without locks.
func own(f *os.File) (mine, others bool) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: draftByte, Len: 1}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
	return err == nil, errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES)
}

// isAt reports whether a file still has its name.
func isAt(f *os.File, path string) bool {
	mine, err1 := f.Stat()
	there, err2 := os.Lstat(path)
	return err1 == nil && err2 == nil && os.SameFile(mine, there)
}

// sweep removes a folder's drafts that nobody makes any more. Those that cannot
// be are left: they are in nobody's way.
func sweep(dir string) {
	list, _ := filepath.Glob(filepath.Join(escape(dir), ".*"+draftSuffix))
	for _, path := range list {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if mine, _ := own(f); mine && isAt(f, path) {
			_ = os.Remove(path)
		}
		_ = f.Close() // nothing was written
	}
}

// escape makes a folder's name mean itself in a pattern.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// plain leaves out the path of a temporary file.
func plain(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// commit makes what is in the file durable and gives it its name, unless that
// was taken meanwhile.
func (d *draft) commit() (err error) {
	defer func() { err = opError(d.op, d.path, err, "") }()
	if err := os.Chmod(d.temp, d.mode); err != nil {
		return plain(err)
	}
	if err := syncPath(d.temp); err != nil {
		return plain(err)
	}
	if err := renameNew(d.temp, d.path); err != nil {
		return err
	}
	return errors.Join(syncPath(filepath.Dir(d.path)), d.release())
}

// release lets go of the lock.
func (d *draft) release() error {
	if d.held == nil {
		return nil
	}
	f := d.held
	d.held = nil
	return f.Close()
}

// renameNew renames, and fails with fs.ErrExist rather than overwrite.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	if err := os.Link(from, to); err == nil { // which does not overwrite either
		return os.Remove(from)
	}
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

// syncPath makes a file or folder durable.
func syncPath(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}

// discard removes the file; it does nothing after commit.
func (d *draft) discard() error {
	err := os.Remove(d.temp)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, d.release())
}

// fileSink writes a copy into a file of this machine.
type fileSink struct {
	draft *draft
	size  int64
	w     disk.Writer
}

// File is a copy at a path of this machine, with those permissions.
func File(path string, mode fs.FileMode) Target {
	return Target{Name: path, folder: filepath.Dir(path), Open: func(ctx context.Context, size, _ int64) (Sink, error) {
		d, err := newDraft("copy to", path, mode)
		if err != nil {
			return nil, err
		}
		s := &fileSink{draft: d, size: size}
		if s.w, err = disk.OpenWriter(ctx, backend.DiskAccess{File: d.temp, Size: size}); err != nil {
			return nil, errors.Join(err, d.discard())
		}
		return s, nil
	}}
}

// Write implements Sink.
func (s *fileSink) Write(ctx context.Context, p []byte, offset int64) error {
	return s.w.WriteAt(ctx, p, offset)
}

// Parallel implements ParallelSink: a disk is kept at work by more than one.
func (s *fileSink) Parallel() int { return 3 }

// Sync implements Sink.
func (s *fileSink) Sync(ctx context.Context) error { return s.w.Flush(ctx) }

// Reread implements Sink; what it reads comes from the disk, not from memory.
func (s *fileSink) Reread(ctx context.Context) (disk.Reader, error) {
	if err := forgetCached(s.draft.temp); err != nil {
		return nil, err
	}
	return disk.Open(ctx, backend.DiskAccess{File: s.draft.temp, Size: s.size})
}

// forgetCached drops a file from the page cache.
func forgetCached(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("fadvise: %w", err)
	}
	return nil
}

// Commit implements Sink.
func (s *fileSink) Commit(context.Context) error {
	err := s.w.Close()
	s.w = nil
	if err != nil {
		return err
	}
	return s.draft.commit()
}

// Discard implements Sink.
func (s *fileSink) Discard(context.Context) error {
	if s.w != nil {
		return errors.Join(s.w.Close(), s.draft.discard())
	}
	return s.draft.discard()
}
