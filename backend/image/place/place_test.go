package place_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pkg/sftp"

	"berth/backend"
	"berth/backend/image/place"
	"berth/backend/image/place/placetest"
)

func TestLocalConforms(t *testing.T) {
	placetest.Conform(t, func(t *testing.T) place.Place { return local(t, t.TempDir()) })
}

func local(t *testing.T, dir string) place.Place {
	t.Helper()
	p, err := place.OpenLocal(filepath.Join(dir, "repo"), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestOpenSSHConforms(t *testing.T) {
	placetest.Conform(t, func(t *testing.T) place.Place { return remote(t, openssh(t), t.TempDir()) })
}

func TestPlainServerConforms(t *testing.T) {
	placetest.Conform(t, func(t *testing.T) place.Place { return remote(t, plain, t.TempDir()) })
}

type dial func(ctx context.Context) (io.ReadWriteCloser, error)

func remote(t *testing.T, d dial, dir string) place.Place {
	t.Helper()
	p, err := place.OpenSFTP(t.Context(), place.SFTP{Dial: d, Dir: filepath.Join(dir, "made", "repo"), URL: "sftp://test", Create: true, Attempts: 60, Wait: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// stream is two pipes as one.
type stream struct {
	io.Reader
	io.Writer
	close func() error
}

func (s stream) Close() error { return s.close() }

// openssh runs OpenSSH's server, which sshd runs for its subsystem, on pipes.
func openssh(t *testing.T) dial {
	path := "/usr/lib/openssh/sftp-server"
	if _, err := os.Stat(path); err != nil {
		t.Skip("there is no sftp-server here: apt install openssh-sftp-server")
	}
	return func(context.Context) (io.ReadWriteCloser, error) {
		cmd := exec.Command(path, "-e")
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return stream{out, in, sync.OnceValue(func() error {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return nil
		})}, nil
	}
}

// plain runs pkg/sftp's own server, which knows fewer extensions.
func plain(context.Context) (io.ReadWriteCloser, error) {
	toServer, fromClient := io.Pipe()
	toClient, fromServer := io.Pipe()
	s, err := sftp.NewServer(stream{toServer, fromServer, fromServer.Close})
	if err != nil {
		return nil, err
	}
	go func() {
		_ = s.Serve()
		_ = fromServer.Close()
	}()
	return stream{toClient, fromClient, func() error { return errors.Join(fromClient.Close(), toClient.Close()) }}, nil
}

// brittle cuts each connection after a number of bytes were sent on it.
func brittle(d dial, after func() int64) dial {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		s, err := d(ctx)
		if err != nil {
			return nil, err
		}
		return &cutter{ReadWriteCloser: s, left: after()}, nil
	}
}

type cutter struct {
	io.ReadWriteCloser
	left int64
}

func (c *cutter) Write(p []byte) (int, error) {
	if atomic.AddInt64(&c.left, -int64(len(p))) < 0 {
		return 0, errors.Join(io.ErrClosedPipe, c.Close())
	}
	return c.ReadWriteCloser.Write(p)
}

type lossy struct{ place.Place }

func (lossy) Lossy() bool { return true }

// Each connection breaks after more and more bytes: everything is cut at every
// step, and yet done.
func TestSFTPSurvivesLostConnections(t *testing.T) {
	for name, d := range map[string]dial{"openssh": openssh(t), "plain": plain} {
		t.Run(name, func(t *testing.T) {
			left, dials := int64(0), 0
			placetest.Conform(t, func(t *testing.T) place.Place {
				left = 300
				return lossy{remote(t, brittle(d, func() int64 { left, dials = left+left/3, dials+1; return left }), t.TempDir())}
			})
			if dials < 50 {
				t.Errorf("only %d dials: nothing was lost", dials)
			}
		})
	}
}

func TestSFTPUnreachable(t *testing.T) {
	dials := 0
	down := errors.New("no route")
	d := func(ctx context.Context) (io.ReadWriteCloser, error) { dials++; return nil, down }
	_, err := place.OpenSFTP(t.Context(), place.SFTP{Dial: d, Dir: "/x", URL: "sftp://gone/x", Attempts: 4, Wait: time.Millisecond})
	if !errors.Is(err, backend.ErrUnreachable) || !errors.Is(err, down) || dials != 4 {
		t.Errorf("after %d dials: %v", dials, err)
	}
	dials = 0
	d = func(ctx context.Context) (io.ReadWriteCloser, error) { dials++; return nil, backend.ErrAuth }
	_, err = place.OpenSFTP(t.Context(), place.SFTP{Dial: d, Dir: "/x", URL: "sftp://gone/x"})
	if !errors.Is(err, backend.ErrAuth) || dials != 1 {
		t.Errorf("refused after %d dials: %v", dials, err)
	}
}

// silent answers the greeting, then no more.
type silent struct {
	io.ReadWriteCloser
	mute   atomic.Bool
	closed chan struct{}
}

func (s *silent) Read(p []byte) (int, error) {
	n, err := s.ReadWriteCloser.Read(p)
	if s.mute.Load() {
		<-s.closed
		return 0, io.ErrClosedPipe
	}
	return n, err
}

func (s *silent) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return s.ReadWriteCloser.Close()
}

// A server that says nothing any more holds nobody longer than the context.
func TestSFTPHonoursContext(t *testing.T) {
	var last *silent
	p := remote(t, func(ctx context.Context) (io.ReadWriteCloser, error) {
		s, err := plain(ctx)
		last = &silent{ReadWriteCloser: s, closed: make(chan struct{})}
		return last, err
	}, t.TempDir())
	last.mute.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := place.Write(ctx, p, "f", []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// small mounts a file system of that many bytes.
func small(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("cannot mount a tmpfs here: " + err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	for name, open := range map[string]func(t *testing.T, dir string) place.Place{
		"local":   local,
		"openssh": func(t *testing.T, dir string) place.Place { return remote(t, openssh(t), dir) },
		"plain":   func(t *testing.T, dir string) place.Place { return remote(t, plain, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			p := open(t, small(t, "1m"))
			if err := place.Write(ctx, p, "large", make([]byte, 2<<20)); !errors.Is(err, backend.ErrNoRoom) {
				t.Errorf("more than there is room for: %v", err)
			}
			if d, err := p.Create(ctx, "hinted", 2<<20); !errors.Is(err, backend.ErrNoRoom) {
				t.Errorf("a hint of more than there is room for: %v %v", err, d)
			}
			if left, err := place.Walk(ctx, p, "."); err != nil || len(left) > 0 {
				t.Errorf("left: %v %v", left, err)
			}
			if left, err := p.Drafts(ctx); err != nil || len(left) > 0 {
				t.Errorf("drafts left: %v %v", left, err)
			}
			if err := place.Write(ctx, p, "fits", make([]byte, 512<<10)); err != nil {
				t.Error(err)
			}
			if room, err := p.Room(ctx); err != nil || room > 512<<10 || room < 300<<10 {
				t.Errorf("room %d, %v", room, err)
			}
			p.Close()
		})
	}
}

func TestLocalIsReadOnlyAfterCommit(t *testing.T) {
	p := local(t, t.TempDir())
	if err := place.Write(t.Context(), p, "packs/f", []byte("x")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(p.URL(), "packs", "f"))
	if err != nil || info.Mode() != 0o400 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestLocalNotThere(t *testing.T) {
	dir := t.TempDir()
	if _, err := place.OpenLocal(filepath.Join(dir, "no"), false); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := place.OpenLocal(file, true); err == nil {
		t.Error("a file was opened as a folder")
	}
	// What was pulled out is not made anew on the disk below its mount point.
	p := local(t, dir)
	if err := os.Remove(p.URL()); err != nil {
		t.Fatal(err)
	}
	if err := place.Write(t.Context(), p, "packs/f", []byte("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Stat(p.URL()); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the folder was made anew")
	}
}
