package libvirt_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

// copyExport reads a disk of a session with libnbd's nbdcopy, a reader that is
// not berth's, through a socket that leads to the access.
func copyExport(t testing.TB, a backend.DiskAccess, to string) {
	t.Helper()
	if a.File != "" {
		b, err := os.ReadFile(a.File)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	uri := bridge(t, a)
	out, err := exec.Command("nbdcopy", uri, to).CombinedOutput()
	if err != nil {
		t.Fatalf("nbdcopy: %v: %s", err, out)
	}
}

// bridge gives an access a unix socket of this machine, as other programs want it.
func bridge(t testing.TB, a backend.DiskAccess) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "bb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				d, err := a.Dial(context.Background())
				if err != nil {
					t.Errorf("Dial: %v", err)
					return
				}
				defer d.Close()
				go func() {
					io.Copy(d, c) //nolint:errcheck // either side may end it
					if h, ok := d.(interface{ CloseWrite() error }); ok {
						h.CloseWrite() //nolint:errcheck // likewise
					}
				}()
				io.Copy(c, d) //nolint:errcheck // likewise
			}()
		}
	}()
	return "nbd+unix:///" + a.Export + "?socket=" + socket
}

// dirtyMap asks nbdinfo for the dirty bitmap: bytes that changed.
func dirtyMap(t testing.TB, a backend.DiskAccess) string {
	t.Helper()
	out, err := exec.Command("nbdinfo", "--map=qemu:dirty-bitmap:"+a.Bitmap, "--totals", bridge(t, a)).CombinedOutput()
	if err != nil {
		t.Fatalf("nbdinfo: %v: %s", err, out)
	}
	return string(out)
}

func backuper(t testing.TB, h backend.Host) backend.Backuper {
	t.Helper()
	b, ok := h.(backend.Backuper)
	if !ok {
		t.Fatal("the host makes no backups")
	}
	return b
}

// begin begins a backup or fails the test; what is left of it is given up.
func begin(t testing.TB, h backend.Host, r backend.BackupRequest) backend.BackupSession {
	t.Helper()
	s, err := backuper(t, h).BeginBackup(t.Context(), r)
	if err != nil {
		t.Fatalf("BeginBackup: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Abort(context.Background()); err != nil {
			t.Errorf("Abort: %v", err)
		}
	})
	return s
}

func commit(t testing.TB, s backend.BackupSession) {
	t.Helper()
	if err := s.Commit(t.Context()); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

// clean checks that nothing of a backup is on host 1 but the checkpoints given.
func clean(t testing.TB, l lab.T, name string, checkpoints ...string) {
	t.Helper()
	got := strings.Fields(l.Virsh(1, "checkpoint-list", "--name", name))
	if strings.Join(got, " ") != strings.Join(checkpoints, " ") {
		t.Errorf("its checkpoints are %q, not %q", got, checkpoints)
	}
	if out, err := l.Host(1).Virsh(t.Context(), "backup-dumpxml", name); err == nil {
		t.Errorf("there is a job: %s", out)
	}
	for _, pattern := range []string{"images/.berth-*", "qemu/domain-*/berth-*"} {
		if found, _ := filepath.Glob(l.Host(1).Dir + "/lib/" + pattern); len(found) > 0 {
			t.Errorf("left behind: %q", found)
		}
	}
}

// TestLabBackupRunning: a full and an incremental backup of a guest that
// writes all the time, its file systems frozen for the instant.
func TestLabBackupRunning(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "written", OS: true, DiskMiB: 64, Words: "writer"}))
	h := onHost(t, l.Host(1).URI("unix"))
	var f backend.BackupFacts
	l.Await("the agent", 30*time.Second, func() bool {
		var err error
		if f, err = backuper(t, h).BackupFacts(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return f.Agent
	})
	if len(f.Disks) != 1 || f.Disks[0].Target != "vda" || f.Disks[0].Size != 64<<20 || f.Disks[0].Format != "qcow2" || f.Disks[0].Skip != "" || f.Job != "" {
		t.Errorf("facts %+v", f)
	}

	s := begin(t, h, backend.BackupRequest{VM: id, Name: "written", Checkpoint: "berth-00000001-1", Quiesce: true})
	p := s.Point()
	if !p.Running || !p.Quiesced || p.Frozen <= 0 || p.Frozen > 10*time.Second || p.NotQuiesced != "" || p.Checkpoint != "berth-00000001-1" || p.NoCheckpoint != "" {
		t.Errorf("point %+v", p)
	}
	if len(p.Disks) != 1 || p.Disks[0].Access.Size != 64<<20 || p.Disks[0].Incremental || !strings.Contains(p.XML, "<name>written</name>") || p.Stored == "" {
		t.Errorf("point %+v", p)
	}
	if err := s.Watch(t.Context()); err != nil {
		t.Errorf("Watch: %v", err)
	}
	if _, err := backuper(t, h).BeginBackup(t.Context(), backend.BackupRequest{VM: id}); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	dir := t.TempDir()
	copyExport(t, p.Disks[0].Access, dir+"/one")
	written := l.Host(1).Dir + "/lib/images/written.qcow2"
	before := sizeOnDisk(t, written)
	l.Await("the guest's writing", 30*time.Second, func() bool { return sizeOnDisk(t, written) != before })
	copyExport(t, p.Disks[0].Access, dir+"/two")
	same(t, dir+"/one", dir+"/two")
	if out, err := exec.Command("e2fsck", "-fn", dir+"/one").CombinedOutput(); err != nil {
		t.Errorf("what was frozen is not clean: %v: %s", err, out)
	}
	commit(t, s)
	clean(t, l, "written", "berth-00000001-1")

	s = begin(t, h, backend.BackupRequest{VM: id, Name: "written", Since: "berth-00000001-1", Checkpoint: "berth-00000001-2", Drop: []string{"berth-00000001-1"}, Quiesce: true})
	p = s.Point()
	if len(p.Disks) != 1 || !p.Disks[0].Incremental || p.Disks[0].WhyFull != "" || p.Disks[0].Access.Bitmap == "" {
		t.Fatalf("point %+v", p)
	}
	if m := dirtyMap(t, p.Disks[0].Access); !strings.Contains(m, "dirty") || !strings.Contains(m, "clean") {
		t.Errorf("the map of changes: %s", m)
	}
	commit(t, s)
	clean(t, l, "written", "berth-00000001-2")

	s = begin(t, h, backend.BackupRequest{VM: id, Since: "berth-00000001-2", Checkpoint: "berth-00000001-3"})
	if err := s.Abort(t.Context()); err != nil {
		t.Fatalf("Abort: %v", err)
	}
	clean(t, l, "written", "berth-00000001-2")
}

func sizeOnDisk(t testing.TB, path string) time.Time {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.ModTime()
}

func same(t testing.TB, a, b string) {
	t.Helper()
	x, err1 := os.ReadFile(a)
	y, err2 := os.ReadFile(b)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ", a, b)
	}
}
