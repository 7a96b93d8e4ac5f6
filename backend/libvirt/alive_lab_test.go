package libvirt_test

import (
	"path/filepath"
	"testing"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

// TestLabMinded: a backup that another person's engine minds is not left over,
// though nobody here has its token; it is once that engine has said nothing for
// some minutes.
func TestLabMinded(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "minded", DiskMiB: 8}))
	h, other := onHost(t, l.Host(1).URI("unix")), onHost(t, l.Host(1).URI("ssh"))
	s := begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-0000000d-1"})
	if left := leftovers(t, other); len(left) != 2 {
		t.Errorf("before anybody minds it, left over: %+v", left)
	}
	if err := s.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, other); len(left) != 0 {
		t.Errorf("left over while it is minded: %+v", left)
	}
	notes := "/var/lib/libvirt/qemu/domain-*/*.alive"
	host1(t, l, "touch -d '-5 minutes' "+notes)
	if left := leftovers(t, other); len(left) != 2 {
		t.Errorf("after nothing was said of it for long, left over: %+v", left)
	}
	commit(t, s)
	clean(t, l, "minded", "berth-0000000d-1")
	here, err := filepath.Glob(l.Host(1).Dir + "/lib/qemu/domain-*/*.alive")
	if err != nil || len(here) > 0 {
		t.Errorf("at its end there is %q, %v", here, err)
	}
}
