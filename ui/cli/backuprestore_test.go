package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"berth/backend"
)

func TestExportIsWholeAndOverwritesNothing(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	content := append(noise(1<<20), make([]byte, 3<<20)...)
	r.addPoint(fakeNow, content)
	into := filepath.Join(r.home, "out")
	if err := os.Mkdir(into, 0o700); err != nil {
		t.Fatal(err)
	}
	killed := filepath.Join(into, exportPrefix+"1")
	if err := errors.Join(os.Mkdir(killed, 0o700), os.WriteFile(filepath.Join(killed, "image"), content, 0o600)); err != nil {
		t.Fatal(err)
	}
	other, err := newExportDraft(into)
	if err != nil {
		t.Fatal(err)
	}
	r.must("web1-vda.raw", "export", "web1", "--format", "raw", "--into", into)
	if _, err := os.Stat(other.path); err != nil {
		t.Errorf("what somebody works in: %v", err)
	}
	if err := other.close(); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(into, "web1-vda.raw")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read it: %v, %v", info, err)
	}
	got, err := os.ReadFile(filepath.Join(into, "web1-vda.raw"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	r.mustFail(ExitFailed, "file already exists", "export", "web1", "--format", "raw", "--into", into)
	r.mustFail(ExitFailed, "has no such disk", "export", "web1", "--disk", "vdz=/tmp/x")
	damage(t, filepath.Join(r.repo(), "packs"))
	r.mustFail(ExitFailed, "damaged", "export", "web1", "--format", "raw", "--disk", "vda="+filepath.Join(into, "second"))
	if left, err := os.ReadDir(into); err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestRestoreIsPlannedAndAskedAbout(t *testing.T) {
	r := newBackupRig(t)
	r.must("made", "init")
	id := r.addPoint(fakeNow, noise(1<<20))
	off := r.addPointOf("off1", backend.UUID{'2', 2}, fakeNow, noise(1<<20))
	r.mustFail(ExitFailed, "shut it down first", "restore", "-c", "fake://hv1", "web1", "--yes")
	r.must("→  /images/copy-vda.qcow2\n", "restore", "-c", "fake://hv1", "web1", "--to", "copy", "--dry-run")
	r.must(`"in_place": true`, "restore", "-c", "fake://hv2", "off1", "--host", "hv2", "--dry-run", "-o", "json")
	r.must("1.0M, raw  →  /images/copy-vda.raw\n", "restore", "-c", "fake://hv1", "web1", "--to", "copy", "--format", "raw", "--dry-run")
	r.mustFail(ExitUsage, "write an absolute path, for it is the host's", "restore", "-c", "fake://hv1", "web1", "--to", "copy", "--disk", "vda=here.raw", "--dry-run")
	if len(r.backups.specs) > 0 {
		t.Fatalf("a dry run has ordered %+v", r.backups.specs)
	}
	r.mustFail(ExitUsage, "--yes", "restore", "-c", "fake://hv2", "off1")
	r.mustFail(ExitFailed, "has a VM of that name", "restore", "-c", "fake://hv1", "web1", "--to", "web2")
	r.mustFail(ExitUsage, "--to and --start do not go with it", "restore", "-c", "fake://hv1", "web1", "--disks-only", "--start")
	r.mustFail(ExitUsage, "no host", "restore", "-c", "fake://hv1", "web1", "--host", "nosuch", "--to", "x")
	r.must("copy: restored", "restore", "-c", "fake://hv1", "web1", "--to", "copy", "--pool", "p", "--disk", "vda=/x/y", "--format", "raw", "--start")
	s := r.backups.specs[0]
	if s.Kind != backend.TransferRestore || s.VM.Host != "hv1" || s.Restore.Point != id || s.Restore.NewName != "copy" || s.Restore.Pool != "p" || s.Restore.Disks["vda"] != "/x/y" || s.Restore.Format != "raw" || !s.Restore.Start {
		t.Errorf("ordered %+v", s)
	}
	r.stdin = typing(t, "n\n")
	r.mustFail(ExitFailed, "nothing was done", "restore", "-c", "fake://hv2", "off1")
	r.stdin = typing(t, "y\n")
	r.backups.onState = func() { // what is off1 never ends by itself
		for i := range r.backups.state.Transfers {
			r.backups.state.Transfers[i].State = backend.TransferDone
		}
	}
	r.must("off1: restored", "restore", "-c", "fake://hv2", "off1")
	if s := r.backups.specs[1]; s.Restore.Point != off || s.Restore.NewName != "" {
		t.Errorf("ordered %+v", s)
	}
}
