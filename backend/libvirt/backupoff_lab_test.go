package libvirt_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

// TestLabBackupOff: a domain that is off is read from its image, incrementally
// where the image has the bitmap; that it was started meanwhile is found out.
func TestLabBackupOff(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "resting", OS: true, DiskMiB: 32}))
	for _, transport := range []string{"unix", "ssh"} {
		t.Run(transport, func(t *testing.T) {
			l := lab.T{TB: t, Lab: l.Lab}
			h := onHost(t, l.Host(1).URI(transport))
			if v := vm(t, h, id); v.State != backend.Running {
				l.Virsh(1, "start", "resting")
				l.WaitGuestUp(1, "resting", 1)
			}
			cp := "berth-0000000a-" + transport
			s := begin(t, h, backend.BackupRequest{VM: id, Checkpoint: cp})
			copyExport(t, s.Point().Disks[0].Access, t.TempDir()+"/live")
			commit(t, s)
			if err := h.Do(t.Context(), backend.Action{Verb: backend.VerbShutdown, UUID: id}); err != nil {
				t.Fatal(err)
			}
			l.Await("its end", 30*time.Second, func() bool { return vm(t, h, id).State == backend.Shutoff })

			s = begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-0000000a-2"})
			p := s.Point()
			if p.Running || p.Checkpoint != "" || p.NoCheckpoint == "" || len(p.Disks) != 1 || p.Disks[0].Incremental {
				t.Errorf("point %+v", p)
			}
			dir := t.TempDir()
			copyExport(t, p.Disks[0].Access, dir+"/nbd")
			if out, err := exec.Command("qemu-img", "convert", "-O", "raw", l.Host(1).Dir+"/lib/images/resting.qcow2", dir+"/raw").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			same(t, dir+"/nbd", dir+"/raw")
			again, err := backuper(t, h).ResumeBackup(t.Context(), id, s.Token())
			if err != nil {
				t.Fatalf("ResumeBackup: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			copyExport(t, again.Point().Disks[0].Access, dir+"/again")
			same(t, dir+"/again", dir+"/raw")
			if err := again.Watch(t.Context()); err != nil {
				t.Errorf("Watch: %v", err)
			}
			commit(t, again)

			s = begin(t, h, backend.BackupRequest{VM: id, Since: cp, Drop: []string{cp}})
			p = s.Point()
			if !p.Disks[0].Incremental || p.Disks[0].Access.Bitmap != cp || p.Checkpoint != cp {
				t.Fatalf("point %+v", p)
			}
			if m := dirtyMap(t, p.Disks[0].Access); !strings.Contains(m, "clean") {
				t.Errorf("the map of changes: %s", m)
			}
			l.Virsh(1, "start", "resting")
			if err := s.Watch(t.Context()); !errors.Is(err, backend.ErrState) {
				t.Errorf("Watch of a domain that was started: %v", err)
			}
			if err := l.Host(1).Signal(t.Context(), "resting", syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			l.Await("its end", 30*time.Second, func() bool { return vm(t, h, id).State == backend.Shutoff })
			if err := s.Watch(t.Context()); !errors.Is(err, backend.ErrState) {
				t.Errorf("Watch of a domain that was started and stopped: %v", err)
			}
			if err := s.Commit(t.Context()); !errors.Is(err, backend.ErrState) {
				t.Errorf("Commit: %v", err)
			}
			s = begin(t, h, backend.BackupRequest{VM: id, Since: cp, Drop: []string{cp}})
			if p := s.Point(); p.Disks[0].Incremental || p.Disks[0].WhyFull == "" {
				t.Errorf("after QEMU was killed: %+v", p.Disks[0])
			}
			commit(t, s)
			if got := strings.TrimSpace(l.Virsh(1, "checkpoint-list", "--name", "resting")); got != "" {
				t.Errorf("checkpoints: %q", got)
			}
			if out, err := exec.Command("qemu-img", "info", l.Host(1).Dir+"/lib/images/resting.qcow2").CombinedOutput(); err != nil || strings.Contains(string(out), cp) {
				t.Errorf("the bitmap is there still: %s", out)
			}
			if left, _ := os.ReadDir(l.Host(1).Dir + "/run/berth"); len(left) > 0 {
				t.Errorf("sockets are left: %v", left)
			}
		})
	}
}

// TestLabImages: images are made and read, raw and qcow2, here and over ssh.
func TestLabImages(t *testing.T) {
	l := lab.Shared(t)
	images := l.Host(1).Dir + "/lib/images/"
	for _, transport := range []string{"unix", "ssh"} {
		h := onHost(t, l.Host(1).URI(transport))
		o := h.(backend.ImageOpener)
		for _, format := range []string{"raw", "qcow2"} {
			t.Run(transport+" "+format, func(t *testing.T) {
				name := "made-" + transport + "." + format
				path := "/var/lib/libvirt/images/" + name
				n, err := o.MakeImage(t.Context(), path, format, 8<<20)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { n.Close(); os.Remove(images + name) })
				want := t.TempDir() + "/want"
				if err := os.WriteFile(want, []byte(strings.Repeat("0123456789abcdef", 512<<10)), 0o600); err != nil {
					t.Fatal(err)
				}
				if a := n.Access(); a.File != "" {
					err = exec.Command("cp", want, a.File).Run()
				} else {
					err = exec.Command("nbdcopy", "--flush", want, bridge(t, a)).Run()
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(images + name); err == nil {
					t.Error("it has its name before it is whole")
				}
				if err := n.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := n.Close(); err != nil {
					t.Fatal(err)
				}
				i, err := o.OpenImage(t.Context(), path, format)
				if err != nil {
					t.Fatal(err)
				}
				if i.Access().Size != 8<<20 {
					t.Errorf("its size is %d", i.Access().Size)
				}
				got := t.TempDir() + "/got"
				copyExport(t, i.Access(), got)
				same(t, want, got)
				if err := i.Close(); err != nil {
					t.Error(err)
				}
				if _, err := o.MakeImage(t.Context(), path, format, 1<<20); err == nil {
					t.Error("it was overwritten")
				}
				if _, err := o.MakeImage(t.Context(), "/var/lib/libvirt/images/not/there", format, 1<<20); !errors.Is(err, backend.ErrNoStorage) || !strings.Contains(err.Error(), "there is no folder") {
					t.Errorf("in a folder that is not there: %v", err)
				}
				left, err := o.MakeImage(t.Context(), path+".not", format, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				if err := left.Close(); err != nil {
					t.Error(err)
				}
				if found, _ := os.ReadDir(images); len(found) > 0 {
					for _, f := range found {
						if strings.HasPrefix(f.Name(), ".") || strings.Contains(f.Name(), ".not") {
							t.Errorf("left behind: %s", f.Name())
						}
					}
				}
				if _, err := o.OpenImage(t.Context(), path+".not", format); !errors.Is(err, backend.ErrNoStorage) {
					t.Errorf("one that is not there: %v", err)
				}
			})
		}
	}
}
