package image

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/backend"
)

// small mounts a file system with that much room, besides what is reserved.
func small(t *testing.T, mib string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+mib+"m"); err != nil {
		t.Skip("cannot mount a tmpfs here: " + err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestRoomIsToldBeforeTheFirstByte, and nothing is refused that would fit.
func TestRoomIsToldBeforeTheFirstByte(t *testing.T) {
	needQEMU(t)
	src := t.TempDir()
	in := func(name string) string { return filepath.Join(src, name) }
	noise, sparse, zst := in("noise.raw"), in("sparse.raw"), in("noise.raw.zst")
	if out, err := exec.Command("sh", "-ec", "cd "+src+"; head -c 40M /dev/urandom >noise.raw; truncate -s 1G sparse.raw; dd if=noise.raw of=sparse.raw bs=1M count=8 seek=500 conv=notrunc status=none").CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	if err := Compress(t.Context(), noise, zst, CompressOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Compress(t.Context(), sparse, sparse+".zst", CompressOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"sparse.qcow2": sparse, "noise.qcow2": noise} {
		if err := Convert(t.Context(), from, in(name), ConvertOptions{To: "qcow2"}); err != nil {
			t.Fatal(err)
		}
	}
	foreign := in("foreign.zst")
	if out, err := exec.Command("sh", "-c", "zstd -q -1 <"+sparse+" >"+foreign).CombinedOutput(); err != nil {
		foreign = ""
		t.Logf("no foreign .zst: %s", out)
	}
	dir := small(t, "48") // 32 beyond the reserve
	to := filepath.Join(dir, "new")
	for name, do := range map[string]func() error{
		"compress":   func() error { return Compress(t.Context(), noise, to, CompressOptions{}) },
		"decompress": func() error { return Decompress(t.Context(), zst, to, CompressOptions{}) },
		"to qcow2":   func() error { return Convert(t.Context(), noise, to, ConvertOptions{To: "qcow2"}) },
		"to raw":     func() error { return Convert(t.Context(), in("noise.qcow2"), to, ConvertOptions{To: "raw"}) },
		"to vmdk":    func() error { return Convert(t.Context(), noise, to, ConvertOptions{To: "vmdk"}) },
		"split":      func() error { _, err := Split(t.Context(), noise, SplitOptions{Size: 4 << 20, Dir: dir}); return err },
	} {
		if err := do(); !errors.Is(err, backend.ErrNoRoom) || !strings.Contains(err.Error(), "are free") {
			t.Errorf("%s: %v", name, err)
		}
		onlyThese(t, dir)
	}
	fits := map[string]func() error{
		"compress":   func() error { return Compress(t.Context(), sparse, to, CompressOptions{}) },
		"decompress": func() error { return Decompress(t.Context(), sparse+".zst", to, CompressOptions{}) },
		"to raw":     func() error { return Convert(t.Context(), in("sparse.qcow2"), to, ConvertOptions{To: "raw"}) },
	}
	if foreign != "" {
		fits["foreign"] = func() error { return Decompress(t.Context(), foreign, to, CompressOptions{}) }
	}
	for name, do := range fits {
		if err := do(); err != nil {
			t.Errorf("%s of what would fit: %v", name, err)
		}
		if err := os.Remove(to); err != nil {
			t.Error(err)
		}
	}
}

// TestDraftsOfTheDeadAreSweptAway, and no others.
func TestDraftsOfTheDeadAreSweptAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "odd [name]*")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	living, err := newDraft("make", filepath.Join(dir, "living"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := newDraft("make", filepath.Join(dir, "dead"), 0o600)
	if err == nil {
		err = dead.release() // as the kernel does when a process is killed
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, ".not-a-draft"), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	src, content := sample(t)
	if _, err := Copy(t.Context(), src, []Target{File(filepath.Join(dir, "new"), 0o600)}, CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	same(t, filepath.Join(dir, "new"), content)
	onlyThese(t, dir, filepath.Base(living.temp), ".not-a-draft", "new")
	if err := living.commit(); err != nil {
		t.Fatal(err)
	}
	onlyThese(t, dir, ".not-a-draft", "living", "new")
}

// TestABlockDeviceIsCopied: its size is told by no stat.
func TestABlockDeviceIsCopied(t *testing.T) {
	src, content := sample(t)
	if err := os.Truncate(src, int64(len(content)-777)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--show", "-f", src).CombinedOutput()
	if err != nil {
		t.Skipf("no loop devices: %s", out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", device).CombinedOutput(); err != nil {
			t.Errorf("%s", out)
		}
	})
	content = content[:len(content)-777]
	dir := t.TempDir()
	total := int64(0)
	o := CopyOptions{Sums: []string{"sha256"}, Progress: func(_ backend.Phase, _, n int64) { total = max(total, n) }}
	res, err := Copy(t.Context(), device, []Target{File(dir+"/copy", 0o600)}, o)
	if err != nil || res.Err() != nil {
		t.Fatal(err, res.Err())
	}
	same(t, dir+"/copy", content)
	if total != int64(len(content)) {
		t.Errorf("%d bytes were to be copied, of %d", total, len(content))
	}
	if st, err := os.Stat(dir + "/copy"); err != nil || allocated(st) > 10<<20 {
		t.Errorf("zeroes of the device are no holes: %d, %v", allocated(st), err)
	}
	tiny := small(t, "24") // 8 beyond the reserve
	if res, err := Copy(t.Context(), device, []Target{File(tiny+"/copy", 0o600)}, CopyOptions{}); !errors.Is(errors.Join(err, res.Err()), backend.ErrNoRoom) || res.Data > 0 {
		t.Errorf("without room: %v, %v", err, res.Err())
	}
	if err := Compress(t.Context(), device, dir+"/z", CompressOptions{}); err != nil {
		t.Error(err)
	}
	if m, err := Split(t.Context(), device, SplitOptions{Size: 5 << 20, Dir: dir}); err != nil {
		t.Error(err)
	} else if err := Join(t.Context(), m, dir+"/joined", JoinOptions{}); err != nil {
		t.Error(err)
	} else {
		same(t, dir+"/joined", content)
	}
}
