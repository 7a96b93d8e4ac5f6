package disk

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"berth/backend"
	"berth/backend/image/nbd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const size = 8 << 20

// sparse makes a raw image with data at 1 MiB (1 MiB) and at 5 MiB (64 KiB).
func sparse(t *testing.T) (path string, content []byte) {
	t.Helper()
	content = make([]byte, size)
	r := rand.NewChaCha8([32]byte{3})
	for _, p := range [][]byte{content[1<<20 : 2<<20], content[5<<20 : 5<<20+64<<10]} {
		if _, err := r.Read(p); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(t.TempDir(), "d.raw")
	w, err := OpenWriter(t.Context(), backend.DiskAccess{File: path, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteAt(t.Context(), content, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Flush(t.Context()), w.Close()); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func opened(t *testing.T, a backend.DiskAccess) Reader {
	t.Helper()
	r, err := Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// all is the whole map of a disk.
func all(t *testing.T, r Reader) (list []backend.Extent) {
	t.Helper()
	for at := int64(0); at < r.Size(); {
		got, err := r.Extents(t.Context(), at, r.Size()-at)
		if err != nil || len(got) == 0 {
			t.Fatal(got, err)
		}
		for _, e := range got {
			if e.Offset != at || e.Length <= 0 {
				t.Fatalf("an extent %+v where one at %d should be", e, at)
			}
			list = appendExtent(list, e)
			at += e.Length
		}
	}
	return list
}

func equal(t *testing.T, got []backend.Extent, want ...backend.Extent) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("extents %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("extent %d is %v, want %v", i, got[i], want[i])
		}
	}
}

const (
	zero  = backend.ExtentZero
	clean = backend.ExtentClean
	data  = backend.ExtentData
)

var whole = []backend.Extent{
	{Offset: 0, Length: 1 << 20, Kind: zero}, {Offset: 1 << 20, Length: 1 << 20}, {Offset: 2 << 20, Length: 3 << 20, Kind: zero},
	{Offset: 5 << 20, Length: 64 << 10}, {Offset: 5<<20 + 64<<10, Length: 3<<20 - 64<<10, Kind: zero},
}

// exported serves a reader over NBD and returns the way to it.
func exported(t *testing.T, e nbd.Export) func(context.Context) (net.Conn, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&nbd.Server{Exports: []nbd.Export{e}}).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

func TestHolesAreKnown(t *testing.T) {
	path, content := sparse(t)
	r := opened(t, backend.DiskAccess{File: path})
	equal(t, all(t, r), whole...)
	over := opened(t, backend.DiskAccess{Dial: exported(t, nbd.Export{Source: r}), Size: size})
	equal(t, all(t, over), whole...)
	for _, r := range []Reader{r, over} {
		got := make([]byte, size)
		if err := r.ReadAt(t.Context(), got, 0); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%T: the content is not right (%v)", r, err)
		}
		if err := r.ReadAt(t.Context(), got[:2], size-1); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%T: a read over the end: %v", r, err)
		}
		if _, err := r.Extents(t.Context(), 0, 0); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%T: the map of nothing: %v", r, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.ReadAt(ctx, got[:2], 0); !errors.Is(err, context.Canceled) {
			t.Errorf("%T: with a context that has ended: %v", r, err)
		}
	}
}

func TestWhatChangedIsKnown(t *testing.T) {
	path, _ := sparse(t)
	dirty := []backend.Extent{{Offset: 5 << 20, Length: 1 << 20}, {Offset: 1<<20 + 4096, Length: 8192}, {Offset: 1<<20 + 8192, Length: 8192}}
	want := []backend.Extent{
		{Offset: 0, Length: 1<<20 + 4096, Kind: clean}, {Offset: 1<<20 + 4096, Length: 12288, Kind: data},
		{Offset: 1<<20 + 16384, Length: 4<<20 - 16384, Kind: clean}, {Offset: 5 << 20, Length: 64 << 10, Kind: data},
		{Offset: 5<<20 + 64<<10, Length: 1<<20 - 64<<10, Kind: zero}, {Offset: 6 << 20, Length: 2 << 20, Kind: clean},
	}
	r := opened(t, backend.DiskAccess{File: path, Dirty: dirty})
	equal(t, all(t, r), want...)
	equal(t, all(t, opened(t, backend.DiskAccess{File: path, Dirty: []backend.Extent{}})), backend.Extent{Length: size, Kind: clean})
	// Over NBD the zeroes in what changed show only where the bitmap's server
	// tells them, as QEMU does.
	got := all(t, opened(t, backend.DiskAccess{Dial: exported(t, nbd.Export{Source: r, Bitmap: "b"}), Bitmap: "b"}))
	equal(t, got, want...)
	if _, err := Open(t.Context(), backend.DiskAccess{Dial: exported(t, nbd.Export{Source: r}), Bitmap: "b"}); !errors.Is(err, backend.ErrBitmap) {
		t.Errorf("a bitmap that there is not: %v", err)
	}
}

func TestZeroesBecomeHoles(t *testing.T) {
	path, content := sparse(t)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if took := st.Blocks * 512; took > 1200<<10 {
		t.Errorf("1088 KiB of data take %d bytes", took)
	}
	w, err := OpenWriter(t.Context(), backend.DiskAccess{File: path, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	over, err := OpenWriter(t.Context(), backend.DiskAccess{Dial: exported(t, nbd.Export{Source: opened(t, backend.DiskAccess{File: path}), Sink: w})})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(over.WriteZeroes(t.Context(), 1<<20+512, 1<<19), over.WriteAt(t.Context(), []byte{1, 2, 3}, 3<<20), over.Flush(t.Context()), over.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	clear(content[1<<20+512 : 1<<20+512+1<<19])
	copy(content[3<<20:], []byte{1, 2, 3})
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the content is not right (%v)", err)
	}
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if took := st.Blocks * 512; took > 700<<10 {
		t.Errorf("after half was made zero it takes %d bytes", took)
	}
}

func TestZeroesWithoutHoles(t *testing.T) {
	path, content := sparse(t)
	w, err := OpenWriter(t.Context(), backend.DiskAccess{File: path, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	w.(*rawWriter).noHoles = true
	if err := errors.Join(w.WriteZeroes(t.Context(), 1<<20-100, 1<<19), w.Close()); err != nil {
		t.Fatal(err)
	}
	clear(content[1<<20-100 : 1<<20-100+1<<19])
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the content is not right (%v)", err)
	}
}

func TestAnImageOfOddLength(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd.raw")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := opened(t, backend.DiskAccess{File: path})
	got := make([]byte, 512)
	if err := r.ReadAt(t.Context(), got, 0); err != nil || r.Size() != 512 || string(got[:6]) != "hello\x00" {
		t.Errorf("%d bytes, %q, %v", r.Size(), got[:6], err)
	}
	equal(t, all(t, r), backend.Extent{Length: 5}, backend.Extent{Offset: 5, Length: 507, Kind: zero})
	if _, err := Open(t.Context(), backend.DiskAccess{File: path, Size: 1024}); !errors.Is(err, backend.ErrDamaged) {
		t.Errorf("an image that is too short: %v", err)
	}
	if err := os.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
	if err := r.ReadAt(t.Context(), got, 0); !errors.Is(err, backend.ErrDamaged) {
		t.Errorf("an image that was cut while it was read: %v", err)
	}
}

func TestAccessThatIsNone(t *testing.T) {
	for _, a := range []backend.DiskAccess{{}, {File: "x", Dial: func(context.Context) (net.Conn, error) { return nil, nil }}, {File: "x", Size: -1}} {
		if _, err := Open(t.Context(), a); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%+v: %v", a, err)
		}
		if _, err := OpenWriter(t.Context(), a); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%+v: %v", a, err)
		}
	}
	if _, err := Open(t.Context(), backend.DiskAccess{File: "/nonexistent/x"}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestAFullFileSystemIsNamed(t *testing.T) {
	for _, full := range []error{unix.ENOSPC, unix.EDQUOT, &os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}} {
		if err := room(full); !errors.Is(err, backend.ErrNoRoom) {
			t.Errorf("%v: %v", full, err)
		}
	}
}
