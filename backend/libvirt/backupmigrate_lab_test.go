package libvirt_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

// share gives both hosts one folder of images.
func share(t *testing.T, l lab.T) (dir string) {
	t.Helper()
	dir = filepath.Join(l.Host(1).Dir, "lib", "images")
	for i := range 2 {
		if out, err := l.Host(i+1).Run(t.Context(), "mount", "--bind", dir, "/var/lib/libvirt/images"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return dir
}

// migrate moves a running guest, and leaves its definition where it was.
func migrate(t *testing.T, l lab.T, name string, from, to int) {
	t.Helper()
	addr := l.Host(to).Addr
	l.Virsh(from, "migrate", "--live", "--unsafe", "--persistent", "--p2p", name, "qemu+tcp://"+addr+"/system", "tcp://"+addr)
}

// TestLabBackupAfterMigration: libvirt forgets checkpoints when a domain moves,
// QEMU takes their bitmaps along over shared storage. The next backup is
// incremental all the same, there and back again, and leaves no bitmap behind.
func TestLabBackupAfterMigration(t *testing.T) {
	l := lab.Start(t, 2)
	dir := share(t, l)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "moves", DiskMiB: 32}))
	one, two := onHost(t, l.Host(1).URI("unix")), onHost(t, l.Host(2).URI("ssh"))
	s := begin(t, one, backend.BackupRequest{VM: id, Name: "moves", Checkpoint: "berth-00000001-1"})
	commit(t, s)
	if out, err := l.Host(1).Run(t.Context(), "virsh", "-q", "qemu-monitor-command", "moves", "--hmp", `qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "write -P 7 1M 3M"`); err != nil || strings.Contains(out, "rror") {
		t.Fatalf("writing as the guest would: %v: %s", err, out)
	}
	migrate(t, l, "moves", 1, 2)
	if _, err := backuper(t, one).BeginBackup(t.Context(), backend.BackupRequest{VM: id, Name: "moves", Since: "berth-00000001-1"}); !errors.Is(err, backend.ErrLocked) {
		t.Errorf("what was left behind is backed up, while another host writes to its disk: %v", err)
	}
	if _, err := backuper(t, two).BeginBackup(t.Context(), backend.BackupRequest{VM: id, Name: "moves", Since: "berth-00000001-0"}); !errors.Is(err, backend.ErrBitmap) {
		t.Errorf("since a checkpoint that never was: %v", err)
	}
	s = begin(t, two, backend.BackupRequest{VM: id, Name: "moves", Since: "berth-00000001-1", Checkpoint: "berth-00000001-2", Drop: []string{"berth-00000001-1"}})
	p := s.Point()
	if !p.Disks[0].Incremental || p.Disks[0].WhyFull != "" {
		t.Fatalf("after a migration: %+v", p)
	}
	if m := dirtyMap(t, p.Disks[0].Access); !strings.Contains(m, "3145728") || !strings.Contains(m, "dirty") {
		t.Errorf("3 MiB were written; the map of changes: %s", m)
	}
	commit(t, s)

	migrate(t, l, "moves", 2, 1) // where libvirt knows the first checkpoint still
	s = begin(t, one, backend.BackupRequest{VM: id, Name: "moves", Since: "berth-00000001-2", Checkpoint: "berth-00000001-3", Drop: []string{"berth-00000001-1", "berth-00000001-2"}})
	if p := s.Point(); !p.Disks[0].Incremental {
		t.Fatalf("back again: %+v", p)
	}
	commit(t, s)
	clean(t, l, "moves", "berth-00000001-3")

	migrate(t, l, "moves", 1, 2) // and a full one that is asked for
	s = begin(t, two, backend.BackupRequest{VM: id, Name: "moves", Checkpoint: "berth-00000001-4", Drop: []string{"berth-00000001-3"}})
	commit(t, s)
	l.Virsh(2, "destroy", "--graceful", "moves")
	out, err := exec.Command("qemu-img", "info", filepath.Join(dir, "moves.qcow2")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "name: "); ok {
			names = append(names, name)
		}
	}
	if !slices.Equal(names, []string{"berth-00000001-4"}) {
		t.Errorf("the image stores the bitmaps %q", names)
	}
	if found, _ := filepath.Glob(dir + "/.berth-*"); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
}
