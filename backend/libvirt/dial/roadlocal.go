package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// localMachine is this machine or, below another root directory, a container
// on it. Its root is held open, so that it stays the same one.
type localMachine struct {
	root   *os.File // nil: the daemon sees what this process sees
	closed atomic.Bool
}

// newLocalMachine looks through the eyes of the daemon.
func newLocalMachine(h here) (*localMachine, error) {
	at := fmt.Sprintf("%s/%d", h.proc, h.pid)
	theirs, err := os.Readlink(at + "/ns/mnt")
	if errors.Is(err, fs.ErrPermission) {
		if _, numbers, serr := h.status(h.pid); serr == nil && len(numbers) == 1 {
			return &localMachine{}, nil // see here.exists
		}
	}
	if err != nil {
		return nil, err
	}
	ours, err := os.Readlink(h.proc + "/self/ns/mnt")
	if err != nil {
		return nil, err
	}
	if ours == theirs && sameFile(at+"/root/.", "/") {
		return &localMachine{}, nil
	}
	fd, err := unix.Open(at+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: at + "/root", Err: err}
	}
	return &localMachine{root: os.NewFile(uintptr(fd), at+"/root")}, nil
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// prefix is where this process sees the machine's root directory.
func (m *localMachine) prefix() string {
	if m.root == nil {
		return ""
	}
	return "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(int(m.root.Fd()))
}

// Local implements Machine. Symbolic links are followed as the machine does.
func (m *localMachine) Local(path string) (string, bool) {
	at, err := m.follow(path)
	if err != nil {
		at = m.prefix() + path // whoever opens it finds out what is wrong
	}
	return at, true
}

// follow resolves a path to its end. What is not there is resolved to its folder.
func (m *localMachine) follow(path string) (string, error) {
	if m.root == nil {
		return path, nil
	}
	fd, err := unix.Openat2(int(m.root.Fd()), path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if errors.Is(err, unix.ENOENT) && path != "/" {
		return m.entry(path)
	}
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", err
	}
	return m.prefix() + real, nil
}

// Real implements Machine.
func (m *localMachine) Real(_ context.Context, path string) (string, error) {
	if m.root == nil {
		return filepath.EvalSymlinks(path)
	}
	at, err := m.follow(path)
	return strings.TrimPrefix(at, m.prefix()), err
}

// entry resolves a path but for its last part.
func (m *localMachine) entry(path string) (string, error) {
	if m.root == nil {
		return path, nil
	}
	dir, err := m.follow(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// DialUnix implements Machine. The way goes through an open folder, for a path
// in a socket's address has at most 107 bytes.
func (m *localMachine) DialUnix(ctx context.Context, path string) (net.Conn, error) {
	at, err := m.entry(path)
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(at))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var d net.Dialer
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(at)))
}

// Stat implements Machine.
func (m *localMachine) Stat(_ context.Context, path string) (FileStat, error) {
	at, err := m.follow(path)
	if err != nil {
		return FileStat{}, err
	}
	st, err := os.Stat(at)
	if err != nil {
		return FileStat{}, err
	}
	f := statOf(st)
	if st.Mode()&fs.ModeDevice != 0 {
		f.Size, err = deviceSize(at)
		f.Real = f.Size
	}
	return f, err
}

// deviceSize is a block device's size, which is where its end is.
func deviceSize(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Seek(0, io.SeekEnd)
}

func statOf(st fs.FileInfo) FileStat {
	f := FileStat{Name: st.Name(), Size: st.Size(), Real: -1, Mode: st.Mode(), Modified: st.ModTime(), UID: -1, GID: -1}
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		f.Real, f.UID, f.GID = s.Blocks*512, int(s.Uid), int(s.Gid)
	}
	return f
}

// ReadAt implements Machine.
func (m *localMachine) ReadAt(_ context.Context, path string, offset int64, n int) ([]byte, error) {
	at, err := m.follow(path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(at, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not hold it up
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.NewSectionReader(f, offset, int64(n)))
}

// WriteFile implements Machine.
func (m *localMachine) WriteFile(_ context.Context, path string, content []byte, mode fs.FileMode, uid, gid int) error {
	at, err := m.entry(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(at), DraftPrefix+"*-"+filepath.Base(at))
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && (uid >= 0 || gid >= 0) {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), at)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(at))
}

// Allocate implements Machine.
func (m *localMachine) Allocate(_ context.Context, path string, size int64, mode fs.FileMode) error {
	at, err := m.entry(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = errors.Join(f.Truncate(size), f.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(at))
	}
	return err
}

// List implements Machine.
func (m *localMachine) List(_ context.Context, dir string) ([]FileStat, error) {
	at, err := m.follow(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(at)
	if err != nil {
		return nil, err
	}
	list := make([]FileStat, 0, len(entries))
	for _, e := range entries {
		if st, err := e.Info(); err == nil { // else it was removed meanwhile
			list = append(list, statOf(st))
		}
	}
	return list, nil
}

// Rename implements Machine.
func (m *localMachine) Rename(_ context.Context, from, to string) error {
	a, err := m.entry(from)
	if err != nil {
		return err
	}
	b, err := m.entry(to)
	if err != nil {
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // NFS and some others do not know it
		if err = os.Link(a, b); err == nil {
			err = os.Remove(a)
		}
	}
	if err != nil {
		var link *os.LinkError
		if !errors.As(err, &link) {
			err = &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		return err
	}
	return errors.Join(syncDir(filepath.Dir(b)), syncDir(filepath.Dir(a)))
}

// syncDir makes a folder's names durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Remove implements Machine.
func (m *localMachine) Remove(_ context.Context, path string) error {
	at, err := m.entry(path)
	if err != nil {
		return err
	}
	return os.Remove(at)
}

// Mkdir implements Machine.
func (m *localMachine) Mkdir(_ context.Context, path string, mode fs.FileMode) error {
	at, err := m.entry(path)
	if err != nil {
		return err
	}
	if err := os.Mkdir(at, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Own implements Machine.
func (m *localMachine) Own(_ context.Context, path string, uid, gid int, mode fs.FileMode) error {
	at, err := m.entry(path)
	if err != nil {
		return err
	}
	return errors.Join(os.Lchown(at, uid, gid), os.Chmod(at, mode))
}

// Sync implements Machine.
func (m *localMachine) Sync(_ context.Context, path string) error {
	at, err := m.follow(path)
	if err != nil {
		return err
	}
	return syncDir(at) // fsync(2) is the same for files
}

// Room implements Machine.
func (m *localMachine) Room(_ context.Context, path string) (free, size uint64, err error) {
	for ; ; path = filepath.Dir(path) {
		var at string
		if at, err = m.follow(path); err == nil {
			var s unix.Statfs_t
			if err = unix.Statfs(at, &s); err == nil {
				return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
			}
		}
		if !errors.Is(err, fs.ErrNotExist) || path == "/" || !strings.HasPrefix(path, "/") {
			return 0, 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
		}
	}
}

// Alive implements Machine. The mounts of a container that has ended are gone.
func (m *localMachine) Alive() bool {
	if m.closed.Load() || m.root == nil {
		return !m.closed.Load()
	}
	_, err := os.Stat(m.prefix() + "/proc/1")
	return err == nil
}

// Close implements Machine.
func (m *localMachine) Close() error {
	if m.closed.Swap(true) || m.root == nil {
		return nil
	}
	return m.root.Close()
}
