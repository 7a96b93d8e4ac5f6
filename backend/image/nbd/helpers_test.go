package nbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/backend"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a disk for tests, of 4 KiB blocks.
type memory struct {
	mu      sync.Mutex
	b       []byte
	clean   func(offset int64) bool // nil: no bitmap
	fault   func(write bool, offset int64) error
	flushes int
}

const page = 4096

func (m *memory) Size() int64 { return int64(len(m.b)) }

func (m *memory) fail(write bool, offset int64) error {
	if m.fault == nil {
		return nil
	}
	return m.fault(write, offset)
}

func (m *memory) ReadAt(_ context.Context, p []byte, offset int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(p, m.b[offset:])
	return m.fail(false, offset)
}

func (m *memory) WriteAt(_ context.Context, p []byte, offset int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fail(true, offset); err != nil {
		return err
	}
	copy(m.b[offset:], p)
	return nil
}

func (m *memory) WriteZeroes(_ context.Context, offset, length int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.b[offset : offset+length])
	return m.fail(true, offset)
}

func (m *memory) Flush(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flushes++
	return nil
}

func (m *memory) Extents(_ context.Context, offset, length int64) (list []backend.Extent, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at := offset; at < offset+length; {
		end := min(at/page*page+page, offset+length)
		e := backend.Extent{Offset: at, Length: end - at}
		if allZero(m.b[at:end]) {
			e.Kind = backend.ExtentZero
		}
		if m.clean != nil && m.clean(at) {
			e.Kind = backend.ExtentClean
		}
		list = append(list, e)
		at = end
	}
	return list, nil
}

// mixed is content of random pages, every third of them zeroes.
func mixed(size int64) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	for at := int64(0); at < size; at += page {
		if at/page%3 != 1 {
			if _, err := r.Read(b[at:min(at+page, size)]); err != nil {
				panic(err) // it never does
			}
		}
	}
	return b
}

// serving runs s on a socket and returns how to dial it.
func serving(t *testing.T, s *Server) func(context.Context) (net.Conn, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dialer(path)
}

func dialer(path string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

func dialed(t *testing.T, dial func(context.Context) (net.Conn, error), o Options) *Client {
	t.Helper()
	c, err := Dial(t.Context(), dial, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// want checks the content that a client reads, in odd pieces.
func want(t *testing.T, c *Client, content []byte) {
	t.Helper()
	for at, piece := int64(0), int64(1); at < int64(len(content)); piece = piece*3 + 1 {
		got := make([]byte, min(piece, int64(len(content))-at))
		if err := c.ReadAt(t.Context(), got, at); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, content[at:at+int64(len(got))]) {
			t.Fatalf("%d bytes at %d are not what was written", len(got), at)
		}
		at += int64(len(got))
	}
}

// cutter is a connection that breaks after so many bytes were read.
type cutter struct {
	net.Conn
	left *atomic.Int64
}

func (c cutter) Read(p []byte) (int, error) {
	left := c.left.Load()
	if left <= 0 {
		return 0, errors.Join(errors.New("cut"), c.Close())
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), left)])
	c.left.Add(-int64(n))
	return n, err
}

func needTool(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (package %s)", name, pkg)
	}
	return path
}

// tool runs a program to its end and returns what it printed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	pkg := "qemu-utils"
	if strings.HasPrefix(name, "nbd") {
		pkg = "libnbd-bin"
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, needTool(t, name, pkg), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// qemuNBD serves an image through a socket until the test ends.
func qemuNBD(t *testing.T, args ...string) func(context.Context) (net.Conn, error) {
	t.Helper()
	needTool(t, "qemu-nbd", "qemu-utils")
	dir := t.TempDir()
	sock, pid := filepath.Join(dir, "s"), filepath.Join(dir, "pid")
	args = append([]string{"--fork", "--persistent", "--shared=8", "--pid-file=" + pid, "--socket=" + sock}, args...)
	tool(t, "qemu-nbd", args...)
	t.Cleanup(func() {
		b, err := os.ReadFile(pid)
		if err != nil {
			t.Error(err)
			return
		}
		var n int
		if _, err := fmt.Sscan(string(b), &n); err != nil {
			t.Error(err)
			return
		}
		p, err := os.FindProcess(n)
		if err != nil {
			t.Error(err)
			return
		}
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return dialer(sock)
}
