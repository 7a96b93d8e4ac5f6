package backup

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/engine/clock"
)

// Whatever fails, the host is as it was: the definition, the images, the
// variable store, and nothing beside them.
func TestARestoreThatFailsChangesNothing(t *testing.T) {
	for _, name := range []string{"", "copy"} {
		for _, op := range []string{"poll", "room", "make", "image", "rename", "write", "define"} {
			if name == "copy" && op == "rename" {
				continue
			}
			t.Run(name+" "+op, func(t *testing.T) {
				t.Parallel()
				r := newRestored(t)
				was, before := r.image("web1", "vda"), r.everything()
				r.host.hook = func(o string) error {
					if o == op {
						return backend.ErrNoRoom
					}
					return nil
				}
				r.start()
				id := r.restore(name)
				r.until("its failure", func(s *backend.BackupsState) bool {
					x := r.transfer(id)
					return x.State.Ended() || strings.Contains(x.Words, "cleaning up waits")
				})
				r.host.hook = nil
				r.nudge(id) // what could not be undone either is tried again
				failed := r.ends(id, backend.TransferFailed)
				if !strings.Contains(failed.Words, backend.ErrNoRoom.Error()) {
					t.Errorf("it says %q", failed.Words)
				}
				if after := r.everything(); after != before {
					t.Errorf("before:\n%s\nafter:\n%s", before, after)
				}
				if !bytes.Equal(was, r.image("web1", "vda")) {
					t.Error("the image is another")
				}
			})
		}
	}
}

// nudge has a transfer that waits tried again at once.
func (r *rig) nudge(id backend.TransferID) {
	r.Helper()
	if x := r.transfer(id); !x.State.Ended() {
		if err := r.c.Change(r.Context(), []backend.TransferID{id}, backend.TransferChange{Retry: true}); err != nil && !errors.Is(err, backend.ErrState) {
			r.Fatal(err)
		}
	}
}

// everything is what the host has: its files and definitions.
func (r *rig) everything() string {
	r.Helper()
	var b strings.Builder
	for _, pattern := range []string{"images/*", "images/.*", "*.fd*"} {
		files, err := filepath.Glob(filepath.Join(r.host.dir, pattern))
		if err != nil {
			r.Fatal(err)
		}
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				r.Fatal(err)
			}
			b.WriteString(filepath.Base(f) + " " + info.ModTime().String() + "\n")
		}
	}
	r.known(func(s *fakeState) {
		for _, vm := range []string{"web1", "copy"} {
			if v := s.VMs[vm]; v != nil {
				b.WriteString(v.XML + "\n")
			}
		}
	})
	return b.String()
}

func TestWhatARestoreRefuses(t *testing.T) {
	r := newRestored(t)
	r.vm("other", true)
	r.start()
	r.known(func(s *fakeState) { s.VMs["web1"].Running = true })
	if x := r.ends(r.restore(""), backend.TransferFailed); !strings.Contains(x.Words, "running") {
		t.Errorf("over a VM that runs: %s", x.Words)
	}
	if x := r.ends(r.restore("other"), backend.TransferFailed); !strings.Contains(x.Words, "another VM of that name") {
		t.Errorf("under a name that is taken: %s", x.Words)
	}
	x := r.ends(r.restore("copy", func(s *backend.TransferSpec) {
		s.Restore.Disks = map[string]string{"vda": filepath.Join(r.host.dir, "images", "other-vda.raw")}
	}), backend.TransferFailed)
	if !strings.Contains(x.Words, "already") {
		t.Errorf("over another's image: %s", x.Words)
	}
	x = r.ends(r.restore("copy", func(s *backend.TransferSpec) { s.Restore.Disks = map[string]string{"vdz": "/x"} }), backend.TransferFailed)
	if !strings.Contains(x.Words, "no disk vdz") {
		t.Errorf("a disk that there is not: %s", x.Words)
	}
	x = r.ends(r.restore("alone", func(s *backend.TransferSpec) {
		s.Restore.DisksOnly, s.Restore.Disks = true, map[string]string{"vdb": filepath.Join(r.host.dir, "images", "alone.raw")}
	}), backend.TransferDone)
	got, err := os.ReadFile(filepath.Join(r.host.dir, "images", "alone.raw"))
	if err != nil || !bytes.Equal(got, content(2, 3<<20+512)) {
		t.Errorf("a disk alone: %v, %s", err, x.Words)
	}
	r.known(func(s *fakeState) {
		if s.VMs["alone"] != nil {
			t.Error("it was defined")
		}
	})
}

func TestDefinitionOfACopy(t *testing.T) {
	d, err := parseDefinition(`<domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web1</name><uuid>11111111-1111-1111-1111-111111111111</uuid><title>web1 of Ann</title><genid>22222222-2222-2222-2222-222222222222</genid>
  <sysinfo type='smbios'><system><entry name='uuid'>11111111-1111-1111-1111-111111111111</entry><entry name='serial'>a &amp; b</entry></system></sysinfo>
  <os><type>hvm</type><nvram template='/t'>/var/lib/libvirt/qemu/nvram/web1_VARS.fd</nvram></os>
  <devices><emulator>/usr/bin/qemu</emulator>
    <disk type='block' device='disk'><driver name='qemu' type='qcow2'/><source dev='/dev/x' index='2'><slices/></source><backingStore type='file'/><target dev='vda' bus='virtio'/><alias name='virtio-disk0'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><target dev='vnet3'/><model type='virtio'/></interface>
    <serial type='pty'><log file='/var/log/web1.log' append='off'/></serial>
    <serial type='pty'><log file='/var/log/shared.log'/></serial>
    <channel type='unix'><source mode='bind' path='/run/libvirt/qemu/channel/7-web1/x'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc' port='5901' autoport='no'/><vsock model='virtio'><cid auto='no' address='3'/></vsock>
  </devices>
  <qemu:commandline><qemu:arg value='-x'/></qemu:commandline></domain>`)
	if err != nil {
		t.Fatal(err)
	}
	d.rename("copy<1>", uuidOf("copy"))
	if err := d.setDisk("vda", "/images/copy & vda.raw", "raw"); err != nil {
		t.Fatal(err)
	}
	text := d.String()
	for _, gone := range []string{"11111111", "2222", "52:54", "vnet3", "id='7'", `id="7"`, "web1", "/dev/x", "backingStore", "slices", "5901", "7-web1", "shared.log", "alias"} {
		if strings.Contains(text, gone) {
			t.Errorf("it still has %s:\n%s", gone, text)
		}
	}
	for _, want := range []string{"<name>copy&lt;1&gt;</name>", `<qemu:arg value="-x"`, `xmlns:qemu="http`, "a &amp; b", "copy&lt;1&gt;_VARS.fd", `file="/images/copy &amp; vda.raw"`,
		`auto="yes"`, `type="file" device="disk"`, `<driver name="qemu" type="raw"`, "org.qemu.guest_agent.0", "/var/log/copy&lt;1&gt;.log", uuidOf("copy").String()} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %s:\n%s", want, text)
		}
	}
	if _, err := parseDefinition(text); err != nil {
		t.Error(err)
	}
	if err := d.setDisk("vdz", "/x", "raw"); !errors.Is(err, backend.ErrInvalid) {
		t.Error(err)
	}
}

func FuzzParseXML(f *testing.F) {
	f.Add("<domain><name>x</name></domain>")
	f.Add("<a b='c' d:e='&lt;'><!-- x --><![CDATA[y]]></a>")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseXML(text)
		if err != nil {
			return
		}
		again, err := parseXML(n.String())
		if err == nil && again.String() != n.String() {
			t.Errorf("%q became %q, then %q", text, n.String(), again.String())
		}
	})
}

// Two restores within a second set aside two files, and what one that failed
// undoes is its own doing alone.
func TestRestoresSetAsideUnderNamesOfTheirOwn(t *testing.T) {
	r := newRestored(t)
	at := time.Now()
	r.opt.Clock = standing{at}
	r.start()
	path := func() (p string) {
		r.known(func(s *fakeState) { p = s.VMs["web1"].Disks["vda"] })
		return p
	}()
	for range 2 {
		r.ends(r.restore(""), backend.TransferDone)
	}
	kept, err := filepath.Glob(path + ".before-restore-*")
	if err != nil || len(kept) != 2 {
		t.Errorf("set aside: %q, %v", kept, err)
	}
	before := r.everything()
	r.host.hook = func(op string) error { // somebody takes the name in between
		if op == "rename" {
			return fs.ErrExist
		}
		return nil
	}
	r.ends(r.restore(""), backend.TransferFailed)
	r.host.hook = nil
	if after := r.everything(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// standing is a clock that stands still but for its timers.
type standing struct{ at time.Time }

func (c standing) Now() time.Time { return c.at }

func (c standing) Timer(d time.Duration) (<-chan time.Time, func() bool) {
	return clock.Wall{}.Timer(d)
}
