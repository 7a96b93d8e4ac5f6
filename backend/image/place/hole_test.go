package place_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

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
			draft, err := remote(t, d, dir).Create(t.Context(), "image", 0)
			if err != nil {
				t.Fatal(err)
			}
			s := draft.(place.Skipper)
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
			if err := s.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "made", "repo", "image")
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
