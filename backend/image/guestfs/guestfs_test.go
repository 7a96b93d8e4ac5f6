package guestfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/backend"
	"berth/backend/image/disk"
)

// tree is what the file systems under test hold: small and large files, holes,
// deep folders, links, odd names.
func tree(t *testing.T, links bool) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	noise := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for name, content := range map[string][]byte{
		"empty": nil, "small": []byte("hello\n"), "large": noise, "etc/nginx/nginx.conf": []byte("worker_processes 1;\n"),
		"odd name é": []byte("x"), strings.Repeat("n", 200): []byte("long"), "sixty": bytes.Repeat([]byte("6"), 60), "hundred": bytes.Repeat([]byte("1"), 100),
	} {
		must(os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		must(os.WriteFile(filepath.Join(dir, name), content, 0o640))
	}
	for i := range 300 { // a folder of more than a block
		must(os.MkdirAll(filepath.Join(dir, "many"), 0o755))
		must(os.WriteFile(filepath.Join(dir, "many", strings.Repeat("f", 40)+string(rune('a'+i%26))+string(rune('a'+i/26))), []byte{byte(i)}, 0o600))
	}
	f, err := os.Create(filepath.Join(dir, "holes"))
	must(err)
	for _, at := range []int64{1 << 20, 3<<20 + 17, 9 << 20} {
		_, err := f.WriteAt(noise[:70000], at)
		must(err)
	}
	must(f.Truncate(12 << 20))
	must(f.Close())
	if links {
		must(os.Symlink("small", filepath.Join(dir, "short-link")))
		must(os.Symlink("/etc/nginx", filepath.Join(dir, "absolute-link")))
		must(os.Symlink("../../../"+strings.Repeat("etc/../", 20)+"small", filepath.Join(dir, "long-link")))
		must(os.Symlink("loop", filepath.Join(dir, "loop")))
	}
	return dir
}

// build runs a program that makes an image, or skips the test where it is not
// installed.
func build(t *testing.T, argv ...string) {
	t.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		if _, err := exec.LookPath("/sbin/" + argv[0]); err != nil {
			t.Skip(argv[0] + " is not installed")
		}
		argv[0] = "/sbin/" + argv[0]
	}
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

func image(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

func volumes(t *testing.T, path string) []Volume {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := disk.Open(t.Context(), backend.DiskAccess{File: path, Size: info.Size()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	vs, err := Volumes(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return vs
}

// same compares a file system with the folder that it was made of.
func same(t *testing.T, f FS, dir string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		seen++
		if d.Type()&fs.ModeSymlink != 0 {
			want, err := os.Readlink(path)
			got, gerr := f.ReadLink(name)
			if err != nil || gerr != nil || got != want {
				t.Errorf("%s leads to %q (%v), want %q", name, got, gerr, want)
			}
			return err
		}
		info, err := f.Stat(name)
		if err != nil || info.IsDir() != d.IsDir() {
			t.Errorf("%s: %v, %v", name, info, err)
			return nil
		}
		if d.IsDir() {
			sameNames(t, f, name, path)
			return nil
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := f.Open(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		defer file.Close()
		got, err := io.ReadAll(file)
		if err != nil || !bytes.Equal(got, want) || info.Size() != int64(len(want)) {
			t.Errorf("%s: %d bytes (%v), want %d, and the same", name, len(got), err, len(want))
		}
		return nil
	})
	if err != nil || seen < 10 {
		t.Fatalf("%d files compared: %v", seen, err)
	}
}

func sameNames(t *testing.T, f FS, name, path string) {
	t.Helper()
	want, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.ReadDir(name)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	names := func(list []fs.DirEntry) (out []string) {
		for _, e := range list {
			out = append(out, e.Name())
		}
		slices.Sort(out)
		return out
	}
	if g, w := names(got), names(want); !slices.Equal(g, w) {
		t.Errorf("%s: %d names, want %d", name, len(g), len(w))
	}
}

func TestExt(t *testing.T) {
	for name, features := range map[string][]string{
		"ext4": {"-t", "ext4"}, "ext4 with blocks of 1K": {"-t", "ext4", "-b", "1024"}, "ext2": {"-t", "ext2", "-b", "1024"}, "ext3": {"-t", "ext3"},
		"inline data": {"-t", "ext4", "-O", "inline_data", "-I", "256"}, "without 64bit": {"-t", "ext4", "-O", "^64bit,^flex_bg"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, img := tree(t, true), image(t, 96<<20)
			build(t, slices.Concat([]string{"mke2fs", "-q", "-F", "-L", "mylabel", "-d", dir}, features, []string{img})...)
			vs := volumes(t, img)
			if len(vs) != 1 || vs[0].Kind != "ext" || vs[0].Label != "mylabel" || vs[0].Dirty {
				t.Fatalf("%+v", vs)
			}
			f, err := vs[0].Open()
			if err != nil {
				t.Fatal(err)
			}
			if name == "inline data" { // what is beyond the inode itself is said not to be read
				file, err := f.Open("hundred")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(file); !errors.Is(err, backend.ErrUnsupported) {
					t.Errorf("a file in its inode's attributes: %v", err)
				}
				if got, err := fs.ReadFile(f, "small"); err != nil || string(got) != "hello\n" {
					t.Errorf("%q, %v", got, err)
				}
				return
			}
			same(t, f, dir)
			for _, through := range []string{"short-link", "long-link"} {
				if got, err := fs.ReadFile(f, through); err != nil || string(got) != "hello\n" {
					t.Errorf("%s: %q, %v", through, got, err)
				}
			}
			if got, err := fs.ReadFile(f, "absolute-link/nginx.conf"); err != nil || len(got) == 0 {
				t.Errorf("through a folder: %q, %v", got, err)
			}
			for bad, want := range map[string]error{"nothing": fs.ErrNotExist, "small/x": errNotDir, "../etc": fs.ErrInvalid} {
				if _, err := f.Stat(bad); !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", bad, err, want)
				}
			}
			if _, err := f.Open("loop"); err == nil {
				t.Error("a link to itself was followed to an end")
			}
		})
	}
}

// What fallocate reserves was never written and reads as zeroes, whatever lay
// on the disk before.
func TestUnwrittenExtentsAreZeroes(t *testing.T) {
	img := image(t, 16<<20)
	if err := os.WriteFile(img, bytes.Repeat([]byte{0xaa}, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	build(t, "mke2fs", "-q", "-F", "-t", "ext4", img)
	build(t, "debugfs", "-w", "-R", "write /etc/hostname reserved", img)
	build(t, "debugfs", "-w", "-R", "fallocate reserved 4 20", img)
	build(t, "debugfs", "-w", "-R", "set_inode_field reserved size 65536", img)
	f, err := volumes(t, img)[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	got, err := fs.ReadFile(f, "reserved")
	if err != nil || len(got) != 65536 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if i := slices.IndexFunc(got[4096:], func(b byte) bool { return b != 0 }); i >= 0 {
		t.Errorf("byte %d is %#x, though it was never written", 4096+i, got[4096+i])
	}
}

func TestFAT(t *testing.T) {
	dir, img := tree(t, false), image(t, 64<<20)
	build(t, "mkfs.vfat", "-F", "32", "-s", "1", img)
	if _, err := exec.LookPath("mcopy"); err != nil {
		t.Skip("mtools is not installed")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	argv := []string{"mcopy", "-s", "-i", img}
	for _, e := range entries {
		argv = append(argv, filepath.Join(dir, e.Name()))
	}
	build(t, append(argv, "::/")...)
	f, err := volumes(t, img)[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	same(t, f, dir)
}

func TestISO(t *testing.T) {
	dir, img := tree(t, false), filepath.Join(t.TempDir(), "iso")
	// go-diskfs reads no more of a Rock Ridge name than its first record holds.
	if err := os.Rename(filepath.Join(dir, strings.Repeat("n", 200)), filepath.Join(dir, strings.Repeat("n", 100))); err != nil {
		t.Fatal(err)
	}
	build(t, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", img, dir)
	f, err := volumes(t, img)[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	same(t, f, dir)
}

func TestPartitions(t *testing.T) {
	img, part := image(t, 64<<20), image(t, 32<<20)
	build(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", part)
	table := make([]byte, 512)
	for i, p := range [][2]uint32{{2048, 65536}, {67584, 8192}, {1 << 30, 1 << 30}} { // the last lies beyond the end
		e := table[446+16*i:]
		e[4] = 0x83
		binary.LittleEndian.PutUint32(e[8:], p[0])
		binary.LittleEndian.PutUint32(e[12:], p[1])
	}
	table[510], table[511] = 0x55, 0xaa
	if err := overwrite(img, 0, table); err != nil {
		t.Fatal(err)
	}
	build(t, "dd", "if="+part, "of="+img, "bs=1M", "seek=1", "conv=notrunc", "status=none")
	if err := overwrite(img, 67584*512, []byte("XFSB")); err != nil {
		t.Fatal(err)
	}
	vs := volumes(t, img)
	if len(vs) != 2 || vs[0].Kind != "ext" || vs[0].Label != "root" || vs[0].Partition != 1 || vs[1].Kind != "xfs" {
		t.Fatalf("%+v", vs)
	}
	if _, err := vs[1].Open(); !errors.Is(err, backend.ErrUnsupported) || !strings.Contains(err.Error(), "xfs") {
		t.Errorf("opening xfs: %v", err)
	}
	f, err := vs[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	list, err := f.ReadDir(".")
	if err != nil || len(list) != 1 || list[0].Name() != "lost+found" {
		t.Errorf("%v, %v", list, err)
	}
}

// TestLogicalPartitions are found behind an extended one, and a chain of them
// that bites its own tail has an end.
func TestLogicalPartitions(t *testing.T) {
	img, part := image(t, 64<<20), image(t, 8<<20)
	build(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "home", part)
	at := func(table []byte, i int, kind byte, start, size uint32) {
		e := table[446+16*i:]
		e[4] = kind
		binary.LittleEndian.PutUint32(e[8:], start)
		binary.LittleEndian.PutUint32(e[12:], size)
		table[510], table[511] = 0x55, 0xaa
	}
	write := func(sector int64, table []byte) {
		t.Helper()
		if err := overwrite(img, sector*512, table); err != nil {
			t.Fatal(err)
		}
	}
	const extended = 20480
	primary, first, second := make([]byte, 512), make([]byte, 512), make([]byte, 512)
	at(primary, 0, 0x83, 2048, 16384)
	at(primary, 1, 0x05, extended, 100000)
	at(first, 0, 0x83, 2048, 16384)
	at(first, 1, 0x05, 20480, 18432)
	at(second, 0, 0x83, 2048, 16384)
	write(0, primary)
	write(extended, first)
	write(extended+20480, second)
	write(extended+2048, []byte("XFSB"))
	build(t, "dd", "if="+part, "of="+img, "bs=512", fmt.Sprintf("seek=%d", extended+20480+2048), "conv=notrunc", "status=none")
	vs := volumes(t, img)
	if len(vs) != 3 || vs[0].Partition != 1 || vs[1].Partition != 5 || vs[1].Kind != "xfs" || vs[2].Partition != 6 || vs[2].Kind != "ext" || vs[2].Label != "home" {
		t.Fatalf("%+v", vs)
	}
	if f, err := vs[2].Open(); err != nil {
		t.Error(err)
	} else if list, err := f.ReadDir("."); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	at(second, 1, 0x05, 0, 18432) // back to the first
	write(extended+20480, second)
	if vs := volumes(t, img); len(vs) > maxPartitions || vs[2].Label != "home" {
		t.Errorf("%d volumes", len(vs))
	}
}

func overwrite(path string, at int64, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

// A guest that lies about its file system gets errors, and nothing else.
func FuzzExt(f *testing.F) {
	img := filepath.Join(f.TempDir(), "image")
	if err := os.WriteFile(img, make([]byte, 1<<20), 0o600); err != nil {
		f.Fatal(err)
	}
	if out, err := exec.Command("/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-b", "1024", img).CombinedOutput(); err != nil {
		f.Skipf("%v: %s", err, out)
	}
	good, err := os.ReadFile(img)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0x400), []byte{1})
	f.Add(uint32(0x800), []byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		b := bytes.Clone(good)
		copy(b[int(at)%len(b):], patch)
		vs, err := Volumes(t.Context(), memory(b))
		if err != nil || len(vs) == 0 {
			return
		}
		e, err := openExt(&vs[0])
		if err != nil {
			return
		}
		list, err := e.ReadDir(".")
		for _, entry := range list {
			_, _ = e.ReadDir(entry.Name())
			if file, err := e.Open(entry.Name()); err == nil {
				_, _ = io.CopyN(io.Discard, file, 1<<20)
			}
		}
		_ = err // errors are right, panics and endless loops are not
	})
}

// memory is a disk in memory.
type memory []byte

func (m memory) Size() int64  { return int64(len(m)) }
func (m memory) Close() error { return nil }
func (m memory) ReadAt(_ context.Context, p []byte, off int64) error {
	copy(p, m[off:])
	return nil
}
func (m memory) Extents(_ context.Context, off, length int64) ([]backend.Extent, error) {
	return []backend.Extent{{Offset: off, Length: length}}, nil
}
