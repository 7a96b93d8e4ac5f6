package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"berth/backend"
)

// Who may not write there is told so. Root may write everywhere, so a thread
// of root's looks at files as somebody else.
func TestAFolderOfSomebodyElse(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "berth.db")
	opened := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		if os.Getuid() == 0 {
			if _, err := unix.SetfsuidRetUid(65534); err != nil {
				t.Error(err)
			}
		}
		_, err := Open(t.Context(), path)
		opened <- err
	}()
	err := <-opened
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) || backend.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
}

// A disk that is full makes a clear error and leaves what was there; with
// space again, the same store works on.
func TestAFullDisk(t *testing.T) {
	dir := smallDisk(t)
	s := opened(t, filepath.Join(dir, "berth.db"))
	kept := 0
	var err error
	for err == nil {
		err = s.Update(t.Context(), func(tx *Tx) error {
			for i := range 20 {
				if _, err := tx.AddJob(backend.Job{VM: vm(kept + i + 1), Words: strings.Repeat("w", 500)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			kept += 20
		}
	}
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), dir) || backend.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
	if kept == 0 {
		t.Fatal("nothing was written before the disk was full")
	}
	view(t, s, func(tx *Tx) error {
		jobs, err := tx.Jobs(Filter{})
		if len(jobs) != kept {
			t.Errorf("%d jobs, want %d", len(jobs), kept)
		}
		return err
	})
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	add(t, s, backend.Job{VM: vm(kept + 1)})
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// smallDisk is a file system of 2 MiB, most of it taken by a file, ballast.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("berth-test", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("mounting a file system is for root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 1400<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
