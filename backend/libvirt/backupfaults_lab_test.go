package libvirt_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest/lab"
	"berth/backend/libvirt"
)

// freezeEnv makes this binary a process that freezes a guest and stays so.
const freezeEnv = "BERTH_TEST_FREEZE"

// freezeForEver is what a berth does that hangs between freeze and thaw.
func freezeForEver() {
	uri, text, _ := strings.Cut(os.Getenv(freezeEnv), " ")
	id, err := backend.ParseUUID(text)
	if err == nil {
		var h *libvirt.Host
		if h, err = libvirt.New(libvirt.Options{URI: uri}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		h.WhileFrozen(func() {
			fmt.Println("frozen")
			select {}
		})
		_, err = h.BeginBackup(context.Background(), backend.BackupRequest{VM: id, Quiesce: true})
	}
	fmt.Println(err)
	os.Exit(1)
}

// freezeStatus asks the guest's agent.
func freezeStatus(l lab.T, name string) string {
	l.Helper()
	return l.Virsh(1, "qemu-agent-command", name, `{"execute":"guest-fsfreeze-status"}`)
}

// TestLabFrozenGuestIsThawed whatever becomes of the process that froze it.
func TestLabFrozenGuestIsThawed(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "chilled", OS: true, DiskMiB: 16, Words: "writer"}))
	h := onHost(t, l.Host(1).URI("unix"))
	agent := func() bool {
		f, err := backuper(t, h).BackupFacts(t.Context(), id)
		return err == nil && f.Agent
	}
	l.Await("the agent", 30*time.Second, agent)
	for _, transport := range []string{"unix", "ssh"} {
		t.Run("killed over "+transport, func(t *testing.T) {
			l := lab.T{TB: t, Lab: l.Lab}
			cmd := exec.Command(os.Args[0], "-test.run=^$")
			cmd.Env = append(os.Environ(), freezeEnv+"="+l.Host(1).URI(transport)+" "+id.String())
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, _ := bufio.NewReader(out).ReadString('\n')
			if line != "frozen\n" {
				t.Fatalf("it said %q", line)
			}
			if s := freezeStatus(l, "chilled"); !strings.Contains(s, "frozen") {
				t.Errorf("the guest is %s", s)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			cmd.Wait() //nolint:errcheck // it was killed
			l.Await("the thaw", 20*time.Second, func() bool { return strings.Contains(freezeStatus(l, "chilled"), "thawed") })
		})
	}
	t.Run("left over", func(t *testing.T) {
		l := lab.T{TB: t, Lab: l.Lab}
		dirs, _ := filepath.Glob(l.Host(1).Dir + "/lib/qemu/domain-*-chilled")
		if len(dirs) != 1 {
			t.Fatalf("its folders are %q", dirs)
		}
		note, err := json.Marshal(map[string]any{"vm": id.String(), "since": time.Now().Add(-time.Hour)})
		if err == nil {
			err = os.WriteFile(dirs[0]+"/berth-frozen.json", note, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		l.Virsh(1, "domfsfreeze", "chilled")
		left := leftovers(t, h)
		if len(left) != 1 || left[0].Kind != "frozen" || left[0].VM != id {
			t.Fatalf("left over: %+v", left)
		}
		if err := backuper(t, h).CleanUp(t.Context(), left[0]); err != nil {
			t.Fatal(err)
		}
		if s := freezeStatus(l, "chilled"); !strings.Contains(s, "thawed") {
			t.Errorf("the guest is %s", s)
		}
		if left := leftovers(t, h); len(left) > 0 {
			t.Errorf("left over: %+v", left)
		}
	})
	t.Run("begin thaws what was left", func(t *testing.T) {
		l := lab.T{TB: t, Lab: l.Lab}
		dirs, _ := filepath.Glob(l.Host(1).Dir + "/lib/qemu/domain-*-chilled")
		if err := os.WriteFile(dirs[0]+"/berth-frozen.json", []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		l.Virsh(1, "domfsfreeze", "chilled")
		s := begin(t, h, backend.BackupRequest{VM: id, Quiesce: true})
		if p := s.Point(); !p.Quiesced {
			t.Errorf("it is not quiesced: %s", p.NotQuiesced)
		}
		if s := freezeStatus(l, "chilled"); !strings.Contains(s, "thawed") {
			t.Errorf("the guest is %s", s)
		}
	})
}

func leftovers(t testing.TB, h backend.Host, alive ...string) []backend.Leftover {
	t.Helper()
	left, err := backuper(t, h).Leftovers(t.Context(), alive)
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// TestLabKilledQEMU: after kill -9 the checkpoint is of no use, which is said
// with ErrBitmap; a full backup with a new checkpoint mends it.
func TestLabKilledQEMU(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "shot", OS: true, DiskMiB: 16}))
	h := onHost(t, l.Host(1).URI("unix"))
	commit(t, begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-0000000b-1"}))
	if err := l.Host(1).Signal(t.Context(), "shot", syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.Await("its end", 20*time.Second, func() bool { return vm(t, h, id).State == backend.Shutoff })
	l.Virsh(1, "start", "shot")
	r := backend.BackupRequest{VM: id, Since: "berth-0000000b-1", Checkpoint: "berth-0000000b-2"}
	if _, err := backuper(t, h).BeginBackup(t.Context(), r); !errors.Is(err, backend.ErrBitmap) {
		t.Fatalf("BeginBackup: %v", err)
	}
	clean(t, l, "shot", "berth-0000000b-1")
	r = backend.BackupRequest{VM: id, Checkpoint: "berth-0000000b-3", Drop: []string{"berth-0000000b-1"}}
	s := begin(t, h, r)
	if s.Point().NoCheckpoint != "" {
		t.Errorf("no checkpoint: %s", s.Point().NoCheckpoint)
	}
	commit(t, s)
	clean(t, l, "shot", "berth-0000000b-3")
	s = begin(t, h, backend.BackupRequest{VM: id, Since: "berth-0000000b-3", Checkpoint: "berth-0000000b-4"})
	if !s.Point().Disks[0].Incremental {
		t.Errorf("it is not incremental: %+v", s.Point().Disks[0])
	}
	for _, gone := range []string{"berth-0000000b-9", "no such"} {
		if _, err := backuper(t, h).BeginBackup(t.Context(), backend.BackupRequest{VM: id, Since: gone}); !errors.Is(err, backend.ErrBusy) {
			t.Errorf("BeginBackup while one is under way: %v", err)
		}
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := backuper(t, h).BeginBackup(t.Context(), backend.BackupRequest{VM: id, Since: "berth-0000000b-9"}); !errors.Is(err, backend.ErrBitmap) {
		t.Errorf("from a checkpoint that is not there: %v", err)
	}
}

// TestLabBackupResumed: another process takes up a job by its token; without
// the token the job, its scratch file and its checkpoint are left over.
func TestLabBackupResumed(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "resumed", DiskMiB: 16}))
	h := onHost(t, l.Host(1).URI("unix"))
	s := begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-0000000c-1"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other := onHost(t, l.Host(1).URI("ssh"))
	again, err := backuper(t, other).ResumeBackup(t.Context(), id, s.Token())
	if err != nil {
		t.Fatal(err)
	}
	if again.Token() != s.Token() || len(again.Point().Disks) != 1 || again.Point().At.Sub(s.Point().At) != 0 {
		t.Errorf("it was %+v and is %+v", s.Point(), again.Point())
	}
	copyExport(t, again.Point().Disks[0].Access, t.TempDir()+"/disk")
	if left := leftovers(t, other, s.Token()); len(left) > 0 {
		t.Errorf("left over while it is alive: %+v", left)
	}
	left := leftovers(t, other)
	kinds := map[string]backend.Leftover{}
	for _, x := range left {
		kinds[x.Kind] = x
	}
	if len(left) != 2 || kinds["job"].VM != id || kinds["checkpoint"].What != "berth-0000000c-1" {
		t.Fatalf("left over: %+v", left)
	}
	for _, x := range left {
		if err := backuper(t, h).CleanUp(t.Context(), x); err != nil {
			t.Errorf("CleanUp of %+v: %v", x, err)
		}
	}
	clean(t, l, "resumed")
	if _, err := backuper(t, h).ResumeBackup(t.Context(), id, s.Token()); !errors.Is(err, backend.ErrNoJob) {
		t.Errorf("ResumeBackup of one that has ended: %v", err)
	}
	if err := again.Watch(t.Context()); !errors.Is(err, backend.ErrNoJob) {
		t.Errorf("Watch of one that has ended: %v", err)
	}
	scratch := l.Host(1).Dir + "/lib/images/.berth-000000000000-vda.scratch"
	if err := os.WriteFile(scratch, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if left = leftovers(t, other); len(left) != 1 || left[0].Kind != "scratch" {
		t.Fatalf("left over: %+v", left)
	}
	if err := backuper(t, other).CleanUp(t.Context(), left[0]); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(scratch); err == nil {
		t.Error("the scratch file is there still")
	}
	host1(t, l, "mkdir -p /var/lib/libvirt/leftpool; virsh -q pool-create-as leftpool dir --target /var/lib/libvirt/leftpool; touch /var/lib/libvirt/leftpool/.berth-000000000001-vda.scratch")
	t.Cleanup(func() { l.Virsh(1, "pool-destroy", "leftpool") })
	if left = leftovers(t, h); len(left) != 1 || left[0].What != "/var/lib/libvirt/leftpool/.berth-000000000001-vda.scratch" {
		t.Errorf("in a pool that no VM has a file in: %+v", left)
	} else if err := backuper(t, h).CleanUp(t.Context(), left[0]); err != nil {
		t.Error(err)
	}
	if err := backuper(t, h).CleanUp(t.Context(), backend.Leftover{Kind: "scratch", What: "/etc/passwd"}); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("CleanUp of somebody else's file: %v", err)
	}
}

// guestExec is the agent's command that runs a line of shell in the guest.
func guestExec(line string) string {
	b, err := json.Marshal(map[string]any{"execute": "guest-exec", "arguments": map[string]any{"path": "/bin/sh", "arg": []string{"-c", line}}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// guestRuns runs a line of shell in the guest of host 1, to its end.
func guestRuns(l lab.T, name, line string) {
	l.Helper()
	var out string
	l.Await("the agent", 30*time.Second, func() bool {
		var err error
		out, err = l.Host(1).Virsh(l.Context(), "qemu-agent-command", name, guestExec(line))
		return err == nil
	})
	var started struct{ Return struct{ PID int } }
	if err := json.Unmarshal([]byte(out), &started); err != nil {
		l.Fatal(err)
	}
	ask := fmt.Sprintf(`{"execute":"guest-exec-status","arguments":{"pid":%d}}`, started.Return.PID)
	l.Await(line, 60*time.Second, func() bool {
		out = l.Virsh(1, "qemu-agent-command", name, ask)
		return strings.Contains(out, `"exited":true`)
	})
	if !strings.Contains(out, `"exitcode":0`) {
		l.Fatalf("%s: %s", line, out)
	}
}

// TestLabScratchFull: a scratch file that fills its file system pauses the
// guest; the session says so before, or at least then, and the guest goes on.
func TestLabScratchFull(t *testing.T) {
	l := lab.Start(t, 1)
	hv := l.Host(1)
	if _, err := hv.Run(t.Context(), "bash", "-ec", "mkdir /var/lib/libvirt/small && mount -t tmpfs -o size=90m none /var/lib/libvirt/small"); err != nil {
		t.Fatal(err)
	}
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "full", OS: true, DiskMiB: 256}))
	h := onHost(t, hv.URI("unix"))
	guestRuns(l, "full", "dd if=/dev/urandom of=/mnt/big bs=1M count=24; sync")
	fill := func(mib string) {
		if _, err := hv.Run(t.Context(), "dd", "if=/dev/zero", "of=/var/lib/libvirt/small/ballast", "bs=1M", "status=none", "count="+mib); err != nil {
			t.Fatal(err)
		}
	}
	r := backend.BackupRequest{VM: id, Checkpoint: "berth-0000000d-1", ScratchDir: "/var/lib/libvirt/small"}
	fill("60")
	if _, err := backuper(t, h).BeginBackup(t.Context(), r); !errors.Is(err, backend.ErrNoRoom) {
		t.Fatalf("BeginBackup without room: %v", err)
	}
	clean(t, l, "full")
	fill("0")
	s := begin(t, h, r)
	if err := s.Watch(t.Context()); err != nil {
		t.Errorf("Watch: %v", err)
	}
	fill("88")
	if err := s.Watch(t.Context()); !errors.Is(err, backend.ErrNoRoom) {
		t.Errorf("Watch with 2 MiB left: %v", err)
	}
	l.Virsh(1, "qemu-agent-command", "full", guestExec("dd if=/dev/zero of=/mnt/big bs=1M count=24 conv=notrunc; sync"))
	l.Await("the guest's pause", 60*time.Second, func() bool { return vm(t, h, id).State == backend.Paused })
	if err := s.Watch(t.Context()); !errors.Is(err, backend.ErrNoRoom) {
		t.Errorf("Watch of a paused guest: %v", err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	clean(t, l, "full")
	if v := vm(t, h, id); v.State != backend.Running {
		t.Errorf("afterwards it is %s", v.State)
	}
	if found, _ := hv.Run(t.Context(), "bash", "-c", "ls -A /var/lib/libvirt/small"); strings.TrimSpace(found) != "ballast" {
		t.Errorf("left behind: %s", found)
	}
}
