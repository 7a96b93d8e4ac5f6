package engine

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"berth/backend"
	"berth/backend/store"
)

// TestTheDiskIsFullWhileAVMStarts: between the note that libvirt is asked and
// the one that it did, and between each of the others. With space again, the
// VM goes on from where it stood, and was started once.
func TestTheDiskIsFullWhileAVMStarts(t *testing.T) {
	for _, verb := range []backend.Verb{backend.VerbStartPaused, backend.VerbResume} {
		t.Run(string(verb), func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("berth-test", dir, "tmpfs", 0, "size=4m"); err != nil {
				t.Skipf("mounting a file system is for root: %v", err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			s, err := store.Open(t.Context(), filepath.Join(dir, "berth.db"))
			if err != nil {
				t.Fatal(err)
			}
			r := newRigOver(t, s, "hv1")
			h := r.hosts["hv1"]
			h.add("vm", 1, 1, 0)
			ballast := filepath.Join(dir, "ballast")
			h.before = func(v backend.Verb) {
				if v == verb {
					fill(t, ballast)
				}
			}
			id := r.submit("hv1", "vm")
			for err = nil; err == nil; {
				_, err = r.e.turn(t.Context())
				r.readHosts(t.Context())
			}
			if !errors.Is(err, store.ErrFull) {
				t.Fatalf("the turn fails with %v", err)
			}
			for range 5 {
				if _, err := r.e.turn(t.Context()); err == nil {
					t.Fatal("it goes on without a note")
				}
				r.readHosts(t.Context())
			}
			r.boots("hv1", "vm", map[backend.Verb]int{backend.VerbResume: 1}[verb])
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			r.must()
			r.is(id, backend.JobRunning)
			r.boots("hv1", "vm", 1)
		})
	}
}

// fill writes a file until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Error(err)
		return
	}
	for _, size := range []int{64 << 10, 512} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
