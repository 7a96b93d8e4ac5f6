package image

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/backend"
)

func qemu(t *testing.T, args ...string) {
	t.Helper()
	needQEMU(t)
	if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %v: %s", args, out)
	}
}

func TestConvertThereAndBack(t *testing.T) {
	needQEMU(t)
	src, content := sample(t)
	content = append(content, make([]byte, 512-len(content)%512)...) // QEMU's sectors
	dir := t.TempDir()
	q, z, back := filepath.Join(dir, "a,b:c.qcow2"), filepath.Join(dir, "-z.qcow2"), filepath.Join(dir, "back.raw")
	seen := map[backend.Phase]int64{}
	err := Convert(t.Context(), src, q, ConvertOptions{To: "qcow2", Progress: func(p backend.Phase, done, _ int64) { seen[p] = done }})
	if err != nil {
		t.Fatal(err)
	}
	if seen[PhaseConverting] == 0 || seen[backend.PhaseVerifying] == 0 {
		t.Errorf("progress: %v", seen)
	}
	if err := Convert(t.Context(), q, z, ConvertOptions{To: "qcow2", Compress: true}); err != nil {
		t.Fatal(err)
	}
	if i, err := Inspect(t.Context(), z, ""); err != nil || i.Compression != "zstd" || i.Format != "qcow2" || i.Virtual != int64(len(content)) {
		t.Errorf("%+v, %v", i, err)
	}
	if err := Convert(t.Context(), z, back, ConvertOptions{To: "raw"}); err != nil {
		t.Fatal(err)
	}
	same(t, back, content)
	if err := Convert(t.Context(), z, back, ConvertOptions{To: "raw"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over what is there: %v", err)
	}
	if err := Convert(t.Context(), q, filepath.Join(dir, "x"), ConvertOptions{To: "nonsense"}); err == nil {
		t.Error("a format that there is not was taken")
	}
	onlyThese(t, dir, "-z.qcow2", "a,b:c.qcow2", "back.raw")
}

func TestCreateResizeDelete(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	base, over := filepath.Join(dir, "base, with:odd name.qcow2"), filepath.Join(dir, "over.qcow2")
	if err := Create(t.Context(), base, CreateOptions{Format: "qcow2", Size: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := Create(t.Context(), over, CreateOptions{Format: "qcow2", Backing: base}); err != nil {
		t.Fatal(err)
	}
	i, err := Inspect(t.Context(), over, "")
	if err != nil || len(i.Backing) != 1 || i.Backing[0] != (Backing{base, "qcow2"}) || i.Virtual != 64<<20 || i.Trouble != "" {
		t.Errorf("%+v, %v", i, err)
	}
	if err := Delete(t.Context(), base, nil); !errors.Is(err, backend.ErrBusy) || !strings.Contains(err.Error(), "over.qcow2") {
		t.Errorf("what another is built on: %v", err)
	}
	if err := Resize(t.Context(), over, "", 32<<20, false); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("smaller, unasked: %v", err)
	}
	release := qemuHolds(t, over, "qcow2", false)
	if err := Resize(t.Context(), over, "", 128<<20, false); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("in use: %v", err)
	}
	if err := Delete(t.Context(), over, nil); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("in use: %v", err)
	}
	if i, err := Inspect(t.Context(), over, ""); err != nil || !i.InUse {
		t.Errorf("%+v, %v", i, err)
	}
	release()
	for _, size := range []int64{128 << 20, 32 << 20} {
		if err := Resize(t.Context(), over, "", size, true); err != nil {
			t.Fatal(err)
		}
		if i, err := Inspect(t.Context(), over, ""); err != nil || i.Virtual != size {
			t.Errorf("%+v, %v", i, err)
		}
	}
	for _, path := range []string{over, base} {
		if err := Delete(t.Context(), path, nil); err != nil {
			t.Error(err)
		}
	}
	onlyThese(t, dir)
	for name, o := range map[string]CreateOptions{"a format": {Format: "vdi", Size: 1 << 20}, "no size": {Format: "raw"}, "a raw overlay": {Format: "raw", Backing: base}} {
		if err := Create(t.Context(), over, o); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What an image says of its backing file is not believed further than local
// files go.
func TestHostileBackingFiles(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	for _, backing := range []string{"nbd://192.0.2.1/x", "json:{\"driver\":\"nbd\"}", "/dev/zero", "/nonexistent\x1b[31m", "loop.qcow2"} {
		path := filepath.Join(dir, "loop.qcow2")
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		qemu(t, "create", "-q", "-f", "qcow2", "-u", "-b", backing, "-F", "qcow2", path, "1M")
		i, err := Inspect(t.Context(), path, "")
		if err != nil || i.Trouble == "" || len(i.Backing) == 0 {
			t.Errorf("%q: %+v, %v", backing, i, err)
			continue
		}
		if strings.Contains(i.Trouble, "\x1b") {
			t.Errorf("%q reaches the terminal: %q", backing, i.Trouble)
		}
	}
}

func TestWalkFindsImages(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{filepath.Join(dir, "1.qcow2"), filepath.Join(dir, "a", "2.qcow2"), filepath.Join(deep, "3.qcow2")} {
		qemu(t, "create", "-q", "-f", "qcow2", p, "1M")
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := Walk(t.Context(), []string{dir}, 2)
	if err != nil || len(list) != 2 || list[0].Format != "qcow2" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := Walk(t.Context(), []string{dir + "x"}, 2); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestQEMUsProgressIsRead(t *testing.T) {
	m := &meter{}
	p := &percents{m: m, total: 1000}
	for _, s := range []string{"    (0.", "00/100%)\r    (12.34/10", "0%)\r    (99.99/100%)\r (nonsense/100%)(1e9/100%)", "    (100.00/100%)\r\n"} {
		if _, err := p.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if m.done != 1000 {
		t.Errorf("done %d", m.done)
	}
}
