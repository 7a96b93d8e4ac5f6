package image

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
}

// newDraft makes an empty file in path's folder. What a killed process leaves
// there is called .NAME.RANDOM.berth-part.
func newDraft(op, path string, mode fs.FileMode) (*draft, error) {
	if err := mustNotExist(op, path); err != nil {
		return nil, err
	}
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	dir, name := filepath.Split(path)
	// A name may have 255 bytes.
	d := &draft{op: op, path: path, mode: mode, temp: filepath.Join(dir, "."+name[:min(len(name), 200)]+"."+hex.EncodeToString(b[:])+".berth-part")}
	f, err := os.OpenFile(d.temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, opError(op, path, plain(err), "")
	}
	return d, f.Close()
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
	return syncPath(filepath.Dir(d.path))
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
	if err := os.Remove(d.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
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
