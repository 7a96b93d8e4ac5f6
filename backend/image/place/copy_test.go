package place_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"berth/backend/image/place"
)

// TestHoles: what is skipped reads as zeroes and takes no room, at the file's
// start, in its midst and at its end, and also when connections are lost.
func TestHoles(t *testing.T) {
	data := make([]byte, 1<<20)
	if _, err := rand.NewChaCha8([32]byte{4}).Read(data); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 40<<20)
	copy(want[10<<20:], data)
	copy(want[25<<20:], data)
	left := int64(0)
	for name, d := range map[string]dial{
		"openssh": openssh(t), "plain": plain,
		"lost connections": brittle(openssh(t), func() int64 { left += 200 << 10; return left }),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := remote(t, d, dir).(place.Copier).BeginCopy(t.Context(), "image")
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []int64{10 << 20, 25 << 20} {
				if err := s.Skip(at - s.Size()); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Write(data); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Skip(40<<20 - s.Size()); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "made", "repo", "image")
			back, err := s.Reread(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(io.NewSectionReader(back, 0, back.Size())); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes are read back, %v", len(got), err)
			}
			if err := back.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it has its name before it was looked at: %v", err)
			}
			if err := s.CommitNew(t.Context(), 0o640); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
				t.Errorf("%v, %v", info, err)
			}
			var st syscall.Stat_t
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if err := syscall.Stat(path, &st); err != nil || st.Blocks*512 > 3<<20 {
				t.Errorf("it takes %d bytes, %v", st.Blocks*512, err)
			}
		})
	}
}

// TestCopyReplacesNothing: neither what is there when it begins nor what
// somebody else has made meanwhile.
func TestCopyReplacesNothing(t *testing.T) {
	for name, d := range map[string]dial{"openssh": openssh(t), "plain": plain} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := remote(t, d, dir).(place.Copier)
			c, err := p.BeginCopy(t.Context(), "image")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "made", "repo", "image")
			if err := os.WriteFile(path, []byte("another's"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("mine")); err != nil {
				t.Fatal(err)
			}
			if err := c.CommitNew(t.Context(), 0o640); !errors.Is(err, fs.ErrExist) {
				t.Errorf("committed over another's file: %v", err)
			}
			if err := c.Discard(); err != nil {
				t.Error(err)
			}
			if _, err := p.BeginCopy(t.Context(), "image"); !errors.Is(err, fs.ErrExist) {
				t.Errorf("begun where a file is: %v", err)
			}
			list, err := os.ReadDir(filepath.Dir(path))
			got, e := os.ReadFile(path)
			if err != nil || e != nil || len(list) != 1 || string(got) != "another's" {
				t.Errorf("the folder holds %v with %q, %v %v", list, got, err, e)
			}
		})
	}
}

// TestCopySweepsAbandonedDrafts: those of its own name alone, and none that may
// be written to.
func TestCopySweepsAbandonedDrafts(t *testing.T) {
	dir := t.TempDir()
	p := remote(t, openssh(t), dir).(place.Copier)
	folder := filepath.Join(dir, "made", "repo")
	old := time.Now().Add(-48 * time.Hour)
	for name, at := range map[string]time.Time{
		".draft-image.0011": old, ".draft-image.0022": time.Now(), ".draft-other.0033": old, "image.draft": old,
	} {
		at, file := at, filepath.Join(folder, name)
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := p.BeginCopy(t.Context(), "image")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CommitNew(t.Context(), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(folder)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if want := []string{".draft-image.0022", ".draft-other.0033", "image", "image.draft"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("the folder holds %q, want %q (%v)", names, want, err)
	}
}
