package libvirt_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

// TestLabBackupOfAPausedVM: it is not frozen, which is said, and it stays paused.
func TestLabBackupOfAPausedVM(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "standing", OS: true, DiskMiB: 16}))
	h := onHost(t, l.Host(1).URI("unix"))
	l.Virsh(1, "suspend", "standing")
	s := begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-00000020-1", Quiesce: true})
	if p := s.Point(); p.Quiesced || !strings.Contains(p.NotQuiesced, "paused") || p.Checkpoint == "" {
		t.Errorf("point %+v", p)
	}
	copyExport(t, s.Point().Disks[0].Access, t.TempDir()+"/disk")
	if err := s.Watch(t.Context()); err != nil {
		t.Errorf("Watch: %v", err)
	}
	commit(t, s)
	clean(t, l, "standing", "berth-00000020-1")
	if v := vm(t, h, id); v.State != backend.Paused {
		t.Errorf("it is %s", v.State)
	}
}

// TestLabBackupWithoutAgent: it is made all the same, and says so.
func TestLabBackupWithoutAgent(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "agentless", DiskMiB: 8}))
	h := onHost(t, l.Host(1).URI("unix"))
	s := begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-00000021-1", Quiesce: true})
	if p := s.Point(); p.Quiesced || !strings.Contains(p.NotQuiesced, "agent") || p.Frozen != 0 {
		t.Errorf("point %+v", p)
	}
	commit(t, s)
	clean(t, l, "agentless", "berth-00000021-1")
}

// TestLabTwoBeginAtOnce: of two berths that begin at the same moment one gets
// the VM; the other is told that it is busy, and takes nothing of the first's away.
func TestLabTwoBeginAtOnce(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "sought", DiskMiB: 8}))
	hosts := []backend.Host{onHost(t, l.Host(1).URI("unix")), onHost(t, l.Host(1).URI("ssh"))}
	for _, name := range []string{"each its own", "the same"} {
		t.Run(name+" checkpoint", func(t *testing.T) {
			l := lab.T{TB: t, Lab: l.Lab}
			var all sync.WaitGroup
			sessions, errs := make([]backend.BackupSession, len(hosts)), make([]error, len(hosts))
			for i, h := range hosts {
				r := backend.BackupRequest{VM: id, Checkpoint: "berth-00000022-1"}
				if name == "each its own" {
					r.Checkpoint = "berth-00000022-1" + string(rune('a'+i))
				}
				all.Go(func() { sessions[i], errs[i] = backuper(t, h).BeginBackup(t.Context(), r) })
			}
			all.Wait()
			won := 0
			if errs[0] != nil {
				won = 1
			}
			if errs[won] != nil || !errors.Is(errs[1-won], backend.ErrBusy) {
				t.Fatalf("errors %v", errs)
			}
			s := sessions[won]
			t.Cleanup(func() { s.Abort(context.Background()) }) //nolint:errcheck // as a rule it has ended
			if err := s.Watch(t.Context()); err != nil {
				t.Errorf("Watch of the first: %v", err)
			}
			copyExport(t, s.Point().Disks[0].Access, t.TempDir()+"/disk")
			commit(t, s)
			clean(t, l, "sought", s.Point().Checkpoint)
			l.Virsh(1, "checkpoint-delete", "sought", s.Point().Checkpoint)
		})
	}
}

// TestLabStoppedAndStartedDuringItsBackup: the session tells that its job is
// gone, nothing is left, and the next one goes on from what there was before.
func TestLabStoppedAndStartedDuringItsBackup(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "fickle", OS: true, DiskMiB: 16}))
	h := onHost(t, l.Host(1).URI("unix"))
	commit(t, begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-00000023-1"}))
	for _, how := range []string{"given up at once", "given up when it runs again"} {
		t.Run(how, func(t *testing.T) {
			l := lab.T{TB: t, Lab: l.Lab}
			s := begin(t, h, backend.BackupRequest{VM: id, Since: "berth-00000023-1", Checkpoint: "berth-00000023-2", Drop: []string{"berth-00000023-1"}})
			l.Virsh(1, "shutdown", "fickle")
			l.Await("its end", 30*time.Second, func() bool { return vm(t, h, id).State != backend.Running })
			if how == "given up at once" { // libvirt has not noticed yet that its QEMU is gone
				if err := s.Abort(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			l.Await("libvirt's notice", 90*time.Second, func() bool { return vm(t, h, id).State == backend.Shutoff })
			l.Virsh(1, "start", "fickle")
			l.WaitGuestUp(1, "fickle", 1)
			if how != "given up at once" {
				if err := s.Watch(t.Context()); !errors.Is(err, backend.ErrNoJob) {
					t.Errorf("Watch: %v", err)
				}
				if err := s.Abort(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			clean(t, l, "fickle", "berth-00000023-1")
			s = begin(t, h, backend.BackupRequest{VM: id, Since: "berth-00000023-1", Checkpoint: "berth-00000023-3"})
			if d := s.Point().Disks[0]; !d.Incremental {
				t.Errorf("it is full: %s", d.WhyFull)
			}
			if err := s.Abort(t.Context()); err != nil {
				t.Fatal(err)
			}
			clean(t, l, "fickle", "berth-00000023-1")
		})
	}
}

// TestLabCheckpointLost: that a checkpoint's bitmap is lost is said, and a full
// backup mends it; what libvirt has forgotten alone is told to it again.
func TestLabCheckpointLost(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "forgetful", DiskMiB: 8}))
	h := onHost(t, l.Host(1).URI("unix"))
	off := func(then string) {
		t.Helper()
		l.Virsh(1, "destroy", "forgetful")
		host1(t, l, "cd /var/lib/libvirt/images; "+then)
		l.Virsh(1, "start", "forgetful")
	}
	lost := func(what string) {
		t.Helper()
		r := backend.BackupRequest{VM: id, Since: "berth-00000024-1", Checkpoint: "berth-00000024-2"}
		if _, err := backuper(t, h).BeginBackup(t.Context(), r); !errors.Is(err, backend.ErrBitmap) {
			t.Fatalf("BeginBackup without %s: %v", what, err)
		}
		r.Since, r.Drop = "", []string{"berth-00000024-1"}
		s := begin(t, h, r)
		if s.Point().NoCheckpoint != "" {
			t.Errorf("no checkpoint: %s", s.Point().NoCheckpoint)
		}
		commit(t, s)
		clean(t, l, "forgetful", "berth-00000024-2")
		l.Virsh(1, "checkpoint-delete", "forgetful", "berth-00000024-2")
	}
	commit(t, begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-00000024-1"}))
	off("qemu-img bitmap --remove -f qcow2 forgetful.qcow2 berth-00000024-1")
	lost("its bitmap")
	commit(t, begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-00000024-1"}))
	l.Virsh(1, "checkpoint-delete", "forgetful", "berth-00000024-1", "--metadata")
	s := begin(t, h, backend.BackupRequest{VM: id, Since: "berth-00000024-1", Checkpoint: "berth-00000024-2", Drop: []string{"berth-00000024-1"}})
	if d := s.Point().Disks[0]; !d.Incremental {
		t.Errorf("without libvirt's part it is full: %s", d.WhyFull)
	}
	commit(t, s)
	clean(t, l, "forgetful", "berth-00000024-2")
}
