package mixed

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestTheSameSeedMakesTheSameImage(t *testing.T) {
	dir := t.TempDir()
	read := func(name string, seed uint64) []byte {
		path := filepath.Join(dir, name)
		if err := WriteSized(path, seed, 64<<20, 20<<20); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	one := read("one", 1)
	if len(one) != 64<<20 {
		t.Fatalf("%d bytes", len(one))
	}
	if !bytes.Equal(one, read("again", 1)) {
		t.Error("the same seed made another image")
	}
	if bytes.Equal(one, read("two", 2)) {
		t.Error("another seed made the same image")
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(dir, "one"), &st); err != nil {
		t.Fatal(err)
	}
	if got := st.Blocks * 512; got < 20<<20 || got > 24<<20 {
		t.Errorf("%d bytes take room, want about %d", got, 20<<20)
	}
}

func TestAnImageThatIsTooSmallIsRefused(t *testing.T) {
	if err := WriteSized(filepath.Join(t.TempDir(), "x"), 1, 1<<20, 2<<20); err == nil {
		t.Error("2 MiB of data in an image of 1 MiB")
	}
}
