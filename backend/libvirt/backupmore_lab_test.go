package libvirt_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

// defineText stores a definition on host 1 and removes it at the test's end.
func defineText(t testing.TB, l lab.T, name, text string) backend.UUID {
	t.Helper()
	if err := l.Host(1).DefineXML(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(l.Virsh(1, "domuuid", name))
	t.Cleanup(func() {
		if err := l.Host(1).Forget(t.Context(), id); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return uuidOf(t, id)
}

// host1 runs a line of shell on host 1.
func host1(t testing.TB, l lab.T, line string) {
	t.Helper()
	if out, err := l.Host(1).Run(t.Context(), "bash", "-ec", line); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

const rawDisk = `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='%s' bus='virtio'/></disk></devices>`

func addDisk(text, file, dev string) string {
	return strings.Replace(text, "</devices>", strings.Replace(strings.Replace(rawDisk, "%s", file, 1), "%s", dev, 1), 1)
}

// TestLabMixedDisks: a qcow2 disk goes on incrementally, a raw one is read in
// full each time, a new one in full once, a CD and a shareable one not at all;
// and a VM with raw disks alone has no checkpoint.
func TestLabMixedDisks(t *testing.T) {
	l := lab.Start(t, 1)
	host1(t, l, "cd /var/lib/libvirt/images; qemu-img create -q -f qcow2 mixed.qcow2 8M; qemu-img create -q -f qcow2 late.qcow2 8M; truncate -s 4M mixed.raw shared.raw only.raw cd.iso")
	text, err := l.Host(1).XML(lab.Guest{Name: "mixed", DiskMiB: 8})
	if err != nil {
		t.Fatal(err)
	}
	const dir = "/var/lib/libvirt/images/"
	text = addDisk(text, dir+"mixed.raw", "vdb")
	text = strings.Replace(addDisk(text, dir+"shared.raw", "vdc"), "<target dev='vdc' bus='virtio'/>", "<target dev='vdc' bus='virtio'/><shareable/>", 1)
	text = strings.Replace(text, "</devices>", "<disk type='file' device='cdrom'><source file='"+dir+"cd.iso'/><target dev='hdc' bus='ide'/><readonly/></disk></devices>", 1)
	id := defineText(t, l, "mixed", text)
	l.Virsh(1, "start", "mixed")
	h := onHost(t, l.Host(1).URI("unix"))
	f, err := backuper(t, h).BackupFacts(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	skips := map[string]string{}
	for _, d := range f.Disks {
		skips[d.Target] = d.Skip
	}
	if len(skips) != 5 || skips["vda"] != "" || skips["vdb"] != "" || !strings.Contains(skips["vdc"], "shareable") || skips["hdc"] != "cdrom" || skips["vdz"] != "read-only" {
		t.Errorf("disks %+v", f.Disks)
	}
	s := begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-0000000e-1"})
	if p := s.Point(); len(p.Disks) != 2 || p.Checkpoint == "" || p.Disks[1].WhyFull == "" || p.Disks[1].Access.Size != 4<<20 {
		t.Errorf("point %+v", p)
	}
	for _, d := range s.Point().Disks {
		copyExport(t, d.Access, t.TempDir()+"/"+d.Target)
	}
	commit(t, s)
	l.Virsh(1, "attach-disk", "mixed", dir+"late.qcow2", "vdd", "--subdriver", "qcow2")
	s = begin(t, h, backend.BackupRequest{VM: id, Since: "berth-0000000e-1", Checkpoint: "berth-0000000e-2", Drop: []string{"berth-0000000e-1"}})
	how := map[string]backend.PointAccess{}
	for _, d := range s.Point().Disks {
		how[d.Target] = d
		copyExport(t, d.Access, t.TempDir()+"/"+d.Target)
	}
	if !how["vda"].Incremental || how["vdb"].Incremental || how["vdd"].Incremental || !strings.Contains(how["vdd"].WhyFull, "does not have this disk") {
		t.Errorf("disks %+v", how)
	}
	commit(t, s)
	clean(t, l, "mixed", "berth-0000000e-2")

	text, err = l.Host(1).XML(lab.Guest{Name: "rawonly"})
	if err != nil {
		t.Fatal(err)
	}
	id = defineText(t, l, "rawonly", addDisk(text, dir+"only.raw", "vdb"))
	l.Virsh(1, "start", "rawonly")
	s = begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-0000000e-1"})
	if p := s.Point(); p.Checkpoint != "" || !strings.Contains(p.NoCheckpoint, "qcow2") || len(p.Disks) != 1 {
		t.Errorf("point %+v", p)
	}
	commit(t, s)
	clean(t, l, "rawonly")
	l.Virsh(1, "destroy", "rawonly")
	s = begin(t, h, backend.BackupRequest{VM: id})
	if a := s.Point().Disks[0].Access; a.File == "" {
		t.Errorf("a raw image of this machine is not read as a file: %+v", a)
	}
	copyExport(t, s.Point().Disks[0].Access, t.TempDir()+"/raw")
	commit(t, s)
}

// TestLabAgentHangs: a guest whose agent does not answer is backed up without
// being frozen, and says so.
func TestLabAgentHangs(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "mute", OS: true, DiskMiB: 16}))
	h := onHost(t, l.Host(1).URI("unix"))
	l.Await("the agent", 30*time.Second, func() bool {
		_, err := l.Host(1).Virsh(t.Context(), "qemu-agent-command", "mute", guestExec("sleep 1; kill -STOP $PPID"))
		return err == nil
	})
	l.Await("its silence", 30*time.Second, func() bool {
		_, err := l.Host(1).Virsh(t.Context(), "qemu-agent-command", "--timeout", "1", "mute", `{"execute":"guest-ping"}`)
		return err != nil
	})
	from := time.Now()
	s := begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-0000000f-1", Quiesce: true})
	if p := s.Point(); p.Quiesced || p.NotQuiesced == "" || p.Checkpoint == "" {
		t.Errorf("point %+v", p)
	}
	t.Logf("begun in %v: %s", time.Since(from), s.Point().NotQuiesced)
	if _, err := h.Poll(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	clean(t, l, "mute")
}

// TestLabBackupNeedsSight: over TCP there is no way to the data, and over ssh
// none when sshd forwards no sockets; both errors say what to do.
func TestLabBackupNeedsSight(t *testing.T) {
	l := lab.Start(t, 1)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "unseen", DiskMiB: 8}))
	r := backend.BackupRequest{VM: id, Checkpoint: "berth-00000010-1"}
	_, err := backuper(t, onHost(t, l.Host(1).URI("tcp"))).BeginBackup(t.Context(), r)
	if !errors.Is(err, backend.ErrUnsupported) || !strings.Contains(backend.Hint(err), "ssh") {
		t.Errorf("over TCP: %v; %s", err, backend.Hint(err))
	}
	host1(t, l, `echo "AllowStreamLocalForwarding no" >>`+l.Host(1).Dir+`/ssh/sshd_config; kill -HUP $(cat /run/sshd.pid)`)
	l.Await("sshd", 10*time.Second, func() bool {
		_, err = backuper(t, onHost(t, l.Host(1).URI("ssh"))).BeginBackup(t.Context(), r)
		return !errors.Is(err, backend.ErrUnreachable)
	})
	if !errors.Is(err, backend.ErrUnsupported) || !strings.Contains(backend.Hint(err), "AllowStreamLocalForwarding") {
		t.Errorf("over ssh: %v; %s", err, backend.Hint(err))
	}
	clean(t, l, "unseen")
}

// TestLabSnapshotsAndCheckpoints: where libvirt makes no checkpoint the backup
// goes on without, and says why.
func TestLabSnapshotsAndCheckpoints(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.Define(1, lab.Guest{Name: "snapped", DiskMiB: 8}))
	l.Virsh(1, "snapshot-create-as", "snapped", "old")
	l.Virsh(1, "start", "snapped")
	h := onHost(t, l.Host(1).URI("unix"))
	s := begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-00000011-1"})
	p := s.Point()
	if (p.Checkpoint == "") == (p.NoCheckpoint == "") {
		t.Errorf("checkpoint %q, none because of %q", p.Checkpoint, p.NoCheckpoint)
	}
	t.Logf("checkpoint %q, none because of %q", p.Checkpoint, p.NoCheckpoint)
	kinds := map[string]int{}
	for _, f := range p.Files {
		kinds[f.Kind]++
	}
	if kinds["snapshot"] != 1 {
		t.Errorf("files %v", kinds)
	}
}

// TestLabBackupFiles: NVRAM goes with a backup.
func TestLabBackupFiles(t *testing.T) {
	l := lab.Shared(t)
	host1(t, l, "cd /var/lib/libvirt/images; qemu-img create -q -f qcow2 filed.qcow2 8M; mkdir -p /var/lib/libvirt/qemu/nvram; echo variables >/var/lib/libvirt/qemu/nvram/filed_VARS.fd; truncate -s 1M code.fd")
	text, err := l.Host(1).XML(lab.Guest{Name: "filed", DiskMiB: 8})
	if err != nil {
		t.Fatal(err)
	}
	text = strings.Replace(text, "hvm</type>", "hvm</type><loader readonly='yes' type='pflash'>/var/lib/libvirt/images/code.fd</loader><nvram>/var/lib/libvirt/qemu/nvram/filed_VARS.fd</nvram>", 1)
	id := defineText(t, l, "filed", text)
	t.Cleanup(func() {
		os.RemoveAll(l.Host(1).Dir + "/lib/images/filed.qcow2") //nolint:errcheck // the lab goes soon
	})
	s := begin(t, onHost(t, l.Host(1).URI("ssh")), backend.BackupRequest{VM: id})
	got := map[string]string{}
	for _, f := range s.Point().Files {
		got[f.Kind+" "+f.Path] = string(f.Content)
	}
	if got["nvram /var/lib/libvirt/qemu/nvram/filed_VARS.fd"] != "variables\n" || len(got) != 1 {
		t.Errorf("files %q", got)
	}
}

// TestLabBackupReadsOn: the export stays the same while the guest writes and
// the reader comes back over new connections, here and over ssh.
func TestLabBackupReadsOn(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "restless", OS: true, DiskMiB: 64, Words: "writer"}))
	h := onHost(t, l.Host(1).URI("ssh"))
	s := begin(t, h, backend.BackupRequest{VM: id})
	dir := t.TempDir()
	copyExport(t, s.Point().Disks[0].Access, dir+"/0")
	image := l.Host(1).Dir + "/lib/images/restless.qcow2"
	for _, n := range []string{"1", "2"} {
		before := sizeOnDisk(t, image)
		l.Await("the guest's writing", 30*time.Second, func() bool { return sizeOnDisk(t, image) != before })
		copyExport(t, s.Point().Disks[0].Access, dir+"/"+n)
		same(t, dir+"/0", dir+"/"+n)
	}
	if err := exec.Command("e2fsck", "-fp", dir+"/0").Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() > 1 { // 1: it replayed the journal
			t.Errorf("e2fsck: %v", err)
		}
	}
}

// TestLabBackupOfAStuckQEMU fails in bounded time, and holds up nobody else's.
func TestLabBackupOfAStuckQEMU(t *testing.T) {
	l := lab.Start(t, 1)
	stuck := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "stuck", DiskMiB: 8}))
	well := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "sound", DiskMiB: 8}))
	h := onHost(t, l.Host(1).URI("unix"))
	l.StopQEMU(1, "stuck")
	defer l.ContQEMU(1, "stuck")
	failed := make(chan error, 1)
	go func() {
		_, err := backuper(t, h).BeginBackup(t.Context(), backend.BackupRequest{VM: stuck, Checkpoint: "berth-00000012-1"})
		failed <- err
	}()
	commit(t, begin(t, h, backend.BackupRequest{VM: well}))
	if v := vm(t, h, well); v == nil {
		t.Error("the list is not whole")
	}
	select {
	case err := <-failed:
		t.Errorf("it did not wait for the others: %v", err)
	default:
	}
	select {
	case err := <-failed:
		if !errors.Is(err, backend.ErrTimeout) {
			t.Errorf("BeginBackup: %v, want ErrTimeout", err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("BeginBackup of a stuck QEMU does not return")
	}
	l.ContQEMU(1, "stuck")
	l.Await("its answer", 60*time.Second, func() bool {
		_, err := backuper(t, h).BackupFacts(t.Context(), stuck)
		return err == nil
	})
	clean(t, l, "stuck")
}
