package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest/lab"
	"berth/backend/image/disk"
	"berth/backend/image/repo"
	"berth/backend/libvirt"
	"berth/backend/store"
)

// labEngineVar makes this binary an engine for the lab's host; its value is the
// folder of its state.
const (
	labEngineVar = "BERTH_TEST_BACKUP_LAB"
	labPatience  = 2 * time.Minute
)

// beLabEngine runs transfers over libvirt until it is told to end.
func beLabEngine(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := store.Open(ctx, filepath.Join(dir, "berth.db"))
	if err != nil {
		return err
	}
	o := optionsFor(dir, s, &fakeHost{})
	o.Waits, o.Brief, o.Hosts = nil, nil, nil
	o.Connect = func(name, uri string) (backend.Host, error) {
		return libvirt.New(libvirt.Options{Name: name, URI: uri})
	}
	m, err := New(o)
	if err != nil {
		return err
	}
	return errors.Join(m.Run(ctx, 0), s.Close())
}

// scene is a lab with a repository and an engine process.
type scene struct {
	*rig
	lab    lab.T
	libv   backend.Host
	engine *exec.Cmd
	said   bytes.Buffer
}

func newScene(t *testing.T) *scene {
	l := lab.Start(t, 1)
	s := &scene{rig: &rig{TB: t, dir: t.TempDir(), stop: func() {}}, lab: l}
	var err error
	if s.libv, err = libvirt.New(libvirt.Options{Name: "hv1", URI: l.Host(1).URI("unix")}); err != nil {
		t.Fatal(err)
	}
	if s.store, err = store.Open(t.Context(), filepath.Join(s.dir, "berth.db")); err != nil {
		t.Fatal(err)
	}
	s.initRepo("repo")
	s.opt = optionsFor(s.dir, s.store, &fakeHost{})
	s.c = NewClient(ClientOptions{Options: s.opt, Who: "ann", Fleet: func() []backend.Host { return []backend.Host{s.libv} }})
	t.Cleanup(func() {
		s.kill()
		if err := errors.Join(s.libv.Close(), s.store.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *scene) start() {
	s.Helper()
	s.engine = exec.Command(os.Args[0])
	s.engine.Env = append(os.Environ(), labEngineVar+"="+s.dir)
	s.engine.Stderr = &s.said
	s.engine.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.engine.Start(); err != nil {
		s.Fatal(err)
	}
}

// kill kills the engine as kill -9 does.
func (s *scene) kill() {
	if s.engine == nil {
		return
	}
	s.engine.Process.Kill() //nolint:errcheck // it may be dead
	s.engine.Wait()         //nolint:errcheck // likewise
	s.engine = nil
}

// raw restores a disk of a point to a raw file of this machine.
func (s *scene) raw(m repo.Manifest, target string) (file string) {
	s.Helper()
	file = filepath.Join(s.TempDir(), target+".raw")
	s.vault(func(v vault) {
		i := slices.IndexFunc(m.Disks, func(d repo.Disk) bool { return d.Target == target })
		w, err := disk.OpenWriter(s.Context(), backend.DiskAccess{File: file, Size: m.Disks[i].Size})
		if err != nil {
			s.Fatal(err)
		}
		if err := errors.Join(v.Restore(s.Context(), &m, target, w, repo.RestoreOptions{}), w.Flush(s.Context()), w.Close()); err != nil {
			s.Fatal(err)
		}
	})
	return file
}

// fsck checks that a point's file system is clean.
func (s *scene) fsck(m repo.Manifest) {
	s.Helper()
	out, err := exec.Command("e2fsck", "-fn", s.raw(m, "vda")).CombinedOutput()
	if err != nil {
		s.Errorf("the file system of point %s is not clean: %v\n%s", m.ID, err, out)
	}
}

// onHost checks that nothing of berth's is on the host but these checkpoints.
func (s *scene) onHost(vm string, checkpoints ...string) {
	s.Helper()
	got := strings.Fields(s.lab.Virsh(1, "checkpoint-list", "--name", vm))
	if !slices.Equal(got, checkpoints) {
		s.Errorf("the checkpoints of %s are %q, want %q", vm, got, checkpoints)
	}
	for _, pattern := range []string{"images/.berth-*", "qemu/domain-*/berth-*"} {
		found, err := filepath.Glob(s.lab.Host(1).Dir + "/lib/" + pattern)
		if err != nil || len(found) > 0 {
			s.Errorf("left behind: %q %v", found, err)
		}
	}
}

// TestLabTheWholeStory: a running guest is backed up in full and incrementally
// while it writes, the engine killed in the midst; then the guest is destroyed,
// and restored under a new name and in place, to machines that boot with clean
// file systems.
func TestLabTheWholeStory(t *testing.T) {
	s := newScene(t)
	uuid, err := backend.ParseUUID(s.lab.StartGuest(1, lab.Guest{Name: "written", OS: true, DiskMiB: 256, Words: "writer"}))
	if err != nil {
		t.Fatal(err)
	}
	s.lab.Await("the agent", labPatience, func() bool {
		f, err := s.libv.(backend.Backuper).BackupFacts(t.Context(), uuid)
		return err == nil && f.Agent
	})
	backup := func(more ...func(*backend.TransferSpec)) backend.TransferID {
		return s.backup("written", append(more, func(x *backend.TransferSpec) { x.VM.UUID = uuid })...)
	}
	s.start()

	x := s.ends(backup(), backend.TransferDone)
	full := s.manifests()[0]
	if !full.Full || !full.Quiesced || !full.Running || full.Checkpoint == "" || x.Progress.Done != x.Progress.Total || x.Progress.Done == 0 {
		t.Errorf("the full one: %+v %+v", full, x)
	}
	s.onHost("written", full.Checkpoint)
	s.fsck(full)

	image := s.lab.Host(1).Dir + "/lib/images/written.qcow2"
	// It writes 8 MiB, rests for a second, and writes them again: what it writes so
	// much later has at least one whole round before it.
	s.lab.Await("the guest's writing", labPatience, func() bool { return mtime(t, image).After(x.Ended.Add(4 * time.Second)) })
	id := backup(func(x *backend.TransferSpec) { x.Limit = 512 << 10 })
	s.until("the middle of the incremental one", func(st *backend.BackupsState) bool {
		for _, x := range st.Transfers {
			if x.State == backend.TransferFailed {
				t.Fatal(x.Words)
			}
			if x.ID == id && x.Progress.Done > 0 && x.Progress.Done < x.Progress.Total {
				return true
			}
		}
		return false
	})
	s.kill()
	none := int64(0)
	if err := s.c.Change(t.Context(), []backend.TransferID{id}, backend.TransferChange{Limit: &none}); err != nil {
		t.Fatal(err)
	}
	s.start()
	x = s.ends(id, backend.TransferDone)
	part := s.manifests()[0]
	if part.Full || part.Base != full.ID || x.Attempts != 1 || x.Words != "" {
		t.Errorf("the incremental one: full %v (%s) after %d attempts: %s", part.Full, part.Why, x.Attempts, x.Words)
	}
	s.touched(full, part)
	s.onHost("written", part.Checkpoint)
	s.fsck(part)

	s.lab.Virsh(1, "destroy", "written")
	s.restoredCopy(part)
	s.restoredInPlace(uuid, part)

	// The images are others now: the changes since the last backup are not known.
	s.ends(backup(), backend.TransferDone)
	if m := s.manifests()[0]; !m.Full || m.Why == "" {
		t.Errorf("after the restore: full %v because %q", m.Full, m.Why)
	}
	s.ends(backup(), backend.TransferDone)
	last := s.manifests()[0]
	if last.Full {
		t.Errorf("the one after that is full: %s", last.Why)
	}
	s.fsck(last)
	s.onHost("written", last.Checkpoint)
}

func mtime(t testing.TB, path string) time.Time {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

// touched checks that an incremental backup read what the guest has changed,
// all of it, and little more.
func (s *scene) touched(a, b repo.Manifest) {
	s.Helper()
	one, err := os.ReadFile(s.raw(a, "vda"))
	if err != nil {
		s.Fatal(err)
	}
	two, err := os.ReadFile(s.raw(b, "vda"))
	if err != nil {
		s.Fatal(err)
	}
	changed := int64(0)
	for at := 0; at < len(one); at += grain { // the bitmap's; zeroes are not read
		end := min(at+grain, len(one))
		if b := two[at:end]; !bytes.Equal(one[at:end], b) && len(bytes.TrimLeft(b, "\x00")) > 0 {
			changed += int64(end - at)
		}
	}
	if changed == 0 || b.Read < changed || b.Read > changed+32<<20 {
		s.Errorf("%d bytes changed, %d were read", changed, b.Read)
	}
	s.Logf("%d MiB changed, %d MiB were read, the disk has %d MiB", changed>>20, b.Read>>20, len(one)>>20)
}

// restoredCopy restores a copy, which boots beside what else there is.
func (s *scene) restoredCopy(m repo.Manifest) {
	s.Helper()
	x := s.ends(s.restore("copied", func(x *backend.TransferSpec) { x.Restore.Point, x.Restore.Start = m.ID, true }), backend.TransferDone)
	if x.Words != "" {
		s.Errorf("the copy: %s", x.Words)
	}
	s.lab.WaitGuestUp(1, "copied", 1)
	if s.lab.Virsh(1, "domuuid", "copied") == s.lab.Virsh(1, "domuuid", "written") {
		s.Error("the copy has the UUID of the first")
	}
	s.cleanAtBoot("copied")
	s.lab.Virsh(1, "destroy", "copied")
}

// restoredInPlace restores the VM over itself.
func (s *scene) restoredInPlace(uuid backend.UUID, m repo.Manifest) {
	s.Helper()
	x := s.ends(s.restore("", func(x *backend.TransferSpec) {
		x.VM.UUID, x.Name, x.Restore.Point, x.Restore.Start = uuid, "written", m.ID, true
	}), backend.TransferDone)
	if !strings.Contains(x.Words, "the image that was there is now /var/lib/libvirt/images/written.qcow2.before-restore-") {
		s.Errorf("in place: %q", x.Words)
	}
	aside, err := filepath.Glob(s.lab.Host(1).Dir + "/lib/images/written.qcow2.before-restore-*")
	if err != nil || len(aside) != 1 {
		s.Errorf("set aside: %v %v", aside, err)
	}
	s.lab.WaitGuestUp(1, "written", 1)
	s.cleanAtBoot("written")
}

// cleanAtBoot checks that the guest's kernel found its file system as a clean
// shutdown, or a frozen moment, leaves it.
func (s *scene) cleanAtBoot(name string) {
	s.Helper()
	text := s.lab.Host(1).Serial(name)
	for _, bad := range []string{"EXT4-fs error", "recovery complete", "orphan cleanup", "Buffer I/O error"} {
		if strings.Contains(text, bad) {
			s.Errorf("%s says %q as it boots", name, bad)
		}
	}
	if got := fmt.Sprint(s.lab.Virsh(1, "domstate", name)); !strings.Contains(got, "running") {
		s.Errorf("%s is %s", name, got)
	}
}
