package dial

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"sync"
	"sync/atomic"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/backend"
)

// sshMachine is a machine that ssh leads to; its files are reached by SFTP.
type sshMachine struct {
	client *sshClient
	ended  chan struct{}
	closed atomic.Bool

	mu    sync.Mutex
	files *sftp.Client // nil until needed
}

func newSSHMachine(client *sshClient) *sshMachine {
	m := &sshMachine{client: client, ended: make(chan struct{})}
	go func() {
		_ = client.Wait() // why it ended is told by what fails then
		close(m.ended)
	}()
	return m
}

// Local implements Machine.
func (m *sshMachine) Local(string) (string, bool) { return "", false }

// DialUnix implements Machine (direct-streamlocal@openssh.com).
func (m *sshMachine) DialUnix(ctx context.Context, path string) (net.Conn, error) {
	conn, err := m.client.DialContext(ctx, "unix", path)
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		if err != nil {
			return nil, cleaned{fmt.Errorf("%s: %w", path, err)}
		}
		return conn, nil
	}
	// sshd has one answer for what it may not do and for what it cannot.
	st, serr := m.Stat(ctx, path)
	if refused.Reason == ssh.Prohibited || refused.Reason == ssh.UnknownChannelType || serr == nil && st.Mode&fs.ModeSocket != 0 {
		return nil, &backend.OpError{Op: "forward", Target: path, Err: fmt.Errorf("%w: sshd does not forward unix sockets", backend.ErrUnsupported),
			Hint: "allow it in the host's sshd_config: AllowStreamLocalForwarding yes"}
	}
	return nil, cleaned{fmt.Errorf("%s: %w", path, err)}
}

// sftp opens the file transfer once.
func (m *sshMachine) sftp(ctx context.Context) (*sftp.Client, error) {
	return within(ctx, func() (*sftp.Client, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.files != nil {
			return m.files, nil
		}
		if m.closed.Load() {
			return nil, net.ErrClosed
		}
		c, err := sftp.NewClient(m.client.Client)
		if err != nil {
			if !m.Alive() {
				return nil, fmt.Errorf("%w: the ssh connection was lost", backend.ErrUnreachable)
			}
			return nil, &backend.OpError{Op: "open", Target: "the host's files", Err: fmt.Errorf("%w: sshd offers no SFTP: %w", backend.ErrUnsupported, cleaned{err}),
				Hint: "give the host's sshd_config a line: Subsystem sftp internal-sftp"}
		}
		m.files = c
		return c, nil
	})
}

// do runs a call on the host's files; name is for errors.
func do[T any](ctx context.Context, m *sshMachine, op, name string, f func(*sftp.Client) (T, error)) (T, error) {
	c, err := m.sftp(ctx)
	if err != nil {
		var none T
		return none, err
	}
	v, err := within(ctx, func() (T, error) { return f(c) })
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, sftp.ErrSSHFxConnectionLost) || !m.Alive():
		err = fmt.Errorf("%w: the ssh connection was lost", backend.ErrUnreachable)
	case !errors.As(err, new(*fs.PathError)):
		err = &fs.PathError{Op: op, Path: name, Err: cleaned{err}}
	}
	return v, err
}

// act is do for what returns nothing.
func (m *sshMachine) act(ctx context.Context, op, name string, f func(*sftp.Client) error) error {
	_, err := do(ctx, m, op, name, func(c *sftp.Client) (struct{}, error) { return struct{}{}, f(c) })
	return err
}

// Stat implements Machine.
func (m *sshMachine) Stat(ctx context.Context, path string) (FileStat, error) {
	return do(ctx, m, "stat", path, func(c *sftp.Client) (FileStat, error) {
		st, err := c.Stat(path)
		if err != nil {
			return FileStat{}, err
		}
		return remoteStat(st), nil
	})
}

func remoteStat(st fs.FileInfo) FileStat {
	f := FileStat{Name: st.Name(), Size: st.Size(), Real: -1, Mode: st.Mode(), Modified: st.ModTime(), UID: -1, GID: -1}
	if s, ok := st.Sys().(*sftp.FileStat); ok {
		f.UID, f.GID = int(s.UID), int(s.GID)
	}
	return f
}

// ReadAt implements Machine.
func (m *sshMachine) ReadAt(ctx context.Context, path string, offset int64, n int) ([]byte, error) {
	return do(ctx, m, "read", path, func(c *sftp.Client) ([]byte, error) {
		f, err := c.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(f, int64(n)))
	})
}

// Real implements Machine.
func (m *sshMachine) Real(ctx context.Context, path string) (string, error) {
	return do(ctx, m, "resolve", path, func(c *sftp.Client) (string, error) { return c.RealPath(path) })
}

// draft is a new file's name in the same folder.
func draft(name string) string {
	var b [6]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	return path.Join(path.Dir(name), DraftPrefix+hex.EncodeToString(b[:])+"-"+path.Base(name))
}

// WriteFile implements Machine.
func (m *sshMachine) WriteFile(ctx context.Context, name string, content []byte, mode fs.FileMode, uid, gid int) error {
	return m.act(ctx, "write", name, func(c *sftp.Client) error {
		tmp := draft(name)
		err := writeDraft(c, tmp, content, mode, uid, gid)
		if err == nil {
			err = c.PosixRename(tmp, name)
		}
		if err != nil {
			_ = c.Remove(tmp) // it may never have been there
		}
		return err
	})
}

func writeDraft(c *sftp.Client, name string, content []byte, mode fs.FileMode, uid, gid int) error {
	f, err := c.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil && uid >= 0 && gid >= 0 {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = syncRemote(c, f)
	}
	return errors.Join(err, f.Close())
}

// syncRemote makes a file durable where the server can (fsync@openssh.com).
func syncRemote(c *sftp.Client, f *sftp.File) error {
	if _, ok := c.HasExtension("fsync@openssh.com"); !ok {
		return nil
	}
	return f.Sync()
}

// Allocate implements Machine.
func (m *sshMachine) Allocate(ctx context.Context, path string, size int64, mode fs.FileMode) error {
	return m.act(ctx, "create", path, func(c *sftp.Client) error {
		if _, err := c.Lstat(path); err == nil { // the protocol has one error for everything
			return fs.ErrExist
		}
		f, err := c.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if err != nil {
			return err
		}
		err = errors.Join(f.Truncate(size), f.Chmod(mode), f.Close())
		if err != nil {
			_ = c.Remove(path) // the first error is the one to tell
		}
		return err
	})
}

// List implements Machine.
func (m *sshMachine) List(ctx context.Context, dir string) ([]FileStat, error) {
	return do(ctx, m, "list", dir, func(c *sftp.Client) ([]FileStat, error) {
		entries, err := c.ReadDirContext(ctx, dir)
		if err != nil {
			return nil, err
		}
		list := make([]FileStat, 0, len(entries))
		for _, e := range entries {
			list = append(list, remoteStat(e))
		}
		return list, nil
	})
}

// Rename implements Machine. The protocol's own rename refuses to overwrite.
func (m *sshMachine) Rename(ctx context.Context, from, to string) error {
	return m.act(ctx, "rename", from, func(c *sftp.Client) error {
		if _, err := c.Lstat(to); err == nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
		}
		return c.Rename(from, to)
	})
}

// Remove implements Machine.
func (m *sshMachine) Remove(ctx context.Context, path string) error {
	return m.act(ctx, "remove", path, func(c *sftp.Client) error { return c.Remove(path) })
}

// Mkdir implements Machine.
func (m *sshMachine) Mkdir(ctx context.Context, path string, mode fs.FileMode) error {
	return m.act(ctx, "mkdir", path, func(c *sftp.Client) error {
		if st, err := c.Stat(path); err == nil && st.IsDir() {
			return nil
		}
		if err := c.Mkdir(path); err != nil {
			return err
		}
		return c.Chmod(path, mode)
	})
}

// Own implements Machine.
func (m *sshMachine) Own(ctx context.Context, path string, uid, gid int, mode fs.FileMode) error {
	return m.act(ctx, "chown", path, func(c *sftp.Client) error {
		return errors.Join(c.Chown(path, uid, gid), c.Chmod(path, mode))
	})
}

// Sync implements Machine.
func (m *sshMachine) Sync(ctx context.Context, path string) error {
	return m.act(ctx, "sync", path, func(c *sftp.Client) error {
		f, err := c.OpenFile(path, os.O_RDWR)
		if err != nil {
			return err
		}
		return errors.Join(syncRemote(c, f), f.Close())
	})
}

// Room implements Machine.
func (m *sshMachine) Room(ctx context.Context, name string) (free, size uint64, err error) {
	s, err := do(ctx, m, "statvfs", name, func(c *sftp.Client) (*sftp.StatVFS, error) {
		for ; ; name = path.Dir(name) {
			s, err := c.StatVFS(name)
			if err == nil || !errors.Is(err, fs.ErrNotExist) || name == "/" || name == "." {
				return s, err
			}
		}
	})
	if err != nil {
		return 0, 0, err
	}
	return s.Bavail * s.Frsize, s.Blocks * s.Frsize, nil
}

// Alive implements Machine.
func (m *sshMachine) Alive() bool {
	select {
	case <-m.ended:
		return false
	default:
		return !m.closed.Load()
	}
}

// Close implements Machine.
func (m *sshMachine) Close() error {
	if m.closed.Swap(true) {
		return nil
	}
	err := m.client.Close()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) { // the other side was first
		return nil
	}
	return err
}
