package cli

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// guestDisk is a disk with an ext4 file system that holds /etc/hello and
// /etc/deep/er/file.
func guestDisk(t *testing.T) []byte {
	t.Helper()
	mke2fs, err := exec.LookPath("mke2fs")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	root, img := filepath.Join(dir, "root"), filepath.Join(dir, "img")
	err = errors.Join(os.MkdirAll(filepath.Join(root, "etc/deep/er"), 0o755), os.WriteFile(filepath.Join(root, "etc/hello"), []byte("hello"), 0o640),
		os.WriteFile(filepath.Join(root, "etc/deep/er/file"), noise(300_000), 0o600))
	if err == nil {
		err = exec.Command(mke2fs, "-q", "-t", "ext4", "-d", root, img, "8M").Run()
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRestoreOfFiles: single files and folders come out of a point's disks; a
// file that is not there makes no folder.
func TestRestoreOfFiles(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	r.addPoint(fakeNow, guestDisk(t))
	into := filepath.Join(t.TempDir(), "into")
	r.mustFail(ExitFailed, "/etc/nosuch: file does not exist", "restore", "web1", "--file", "/etc/hello", "--file", "/etc/nosuch", "--into", into)
	r.must("", "restore", "web1", "--file", "/etc/hello", "--into", into, "--dry-run")
	if _, err := os.Stat(into); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder is there: %v", err)
	}
	r.must("", "restore", "web1", "--file", "/etc/hello", "--file", "vda:/etc/deep", "--into", into)
	if got, err := os.ReadFile(filepath.Join(into, "hello")); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if info, err := os.Stat(filepath.Join(into, "deep/er/file")); err != nil || info.Size() != 300_000 || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	r.mustFail(ExitFailed, "exists", "restore", "web1", "--file", "/etc/hello", "--into", into)
	r.mustFail(ExitUsage, "no VM is restored", "restore", "web1", "--file", "/etc/hello", "--to", "x")
}
