package repo

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/place"
)

// mem is a disk in memory. Chunks of zeroes are holes; where dirty is not nil
// what it does not hold is clean.
type mem struct {
	mu    sync.Mutex
	data  []byte
	dirty map[int64]bool // by chunk
	read  int64
	grain int64
}

func newMem(size int64) *mem { return &mem{data: make([]byte, size), grain: 4096} }

// random fills a stretch with what cannot be compressed.
func (m *mem) random(seed uint64, offset, length int64) {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(m.data[offset : offset+length]) // never fails
	m.touch(offset, length)
}

// text fills a stretch with what can be compressed.
func (m *mem) text(word string, offset, length int64) {
	copy(m.data[offset:offset+length], bytes.Repeat([]byte(word), int(length)/len(word)+1))
	m.touch(offset, length)
}

func (m *mem) touch(offset, length int64) {
	for n := offset / ChunkSize; m.dirty != nil && n*ChunkSize < offset+length; n++ {
		m.dirty[n] = true
	}
}

func (m *mem) Size() int64 { return int64(len(m.data)) }

func (m *mem) Close() error { return nil }

func (m *mem) Flush(context.Context) error { return nil }

func (m *mem) Extents(_ context.Context, offset, length int64) (all []backend.Extent, err error) {
	for end := offset + length; offset < end && len(all) < 1000; {
		stop := min(end, offset/m.grain*m.grain+m.grain)
		e := backend.Extent{Offset: offset, Length: stop - offset}
		if isZero(m.data[offset:stop]) {
			e.Kind = backend.ExtentZero
		}
		if m.dirty != nil && !m.dirty[offset/ChunkSize] {
			e.Kind = backend.ExtentClean
		}
		all, offset = append(all, e), stop
	}
	return all, nil
}

func (m *mem) ReadAt(ctx context.Context, p []byte, offset int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read += int64(copy(p, m.data[offset:]))
	return ctx.Err()
}

func (m *mem) WriteAt(_ context.Context, p []byte, offset int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(m.data[offset:], p)
	return nil
}

func (m *mem) WriteZeroes(_ context.Context, offset, length int64) error {
	clear(m.data[offset : offset+length])
	return nil
}

// newRepo makes a repository in p.
func initRepo(t *testing.T, p place.Place, o InitOptions) *Repo {
	t.Helper()
	r, err := Init(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, r) })
	return r
}

func openRepo(t *testing.T, p place.Place, s Secret) *Repo {
	t.Helper()
	r, err := Open(t.Context(), p, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, r) })
	return r
}

func closed(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// backUp makes a point of one disk.
func backUp(t *testing.T, r *Repo, src disk.Reader, o WriteOptions) Manifest {
	t.Helper()
	w, err := r.Begin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, w)
	if _, err := w.AddDisk(t.Context(), Disk{Target: "vda", Format: "raw"}, src, o.Base != nil); err != nil {
		t.Fatal(err)
	}
	if err := w.AddFile(t.Context(), "xml", "", []byte("<domain/>")); err != nil {
		t.Fatal(err)
	}
	m, err := w.Commit(t.Context(), Manifest{VM: backend.UUID{1}, Name: "web1", At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// restored is the content of a point's disk.
func restored(t *testing.T, r *Repo, m *Manifest) []byte {
	t.Helper()
	dst := newMem(m.Disks[0].Size)
	if err := r.Restore(t.Context(), m, "vda", dst, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	return dst.data
}

// mapNodes are the nodes of a map.
type mapNodes map[ChunkID][]byte

func (m mapNodes) load(_ context.Context, id ChunkID) ([]byte, error) { return m[id], nil }
