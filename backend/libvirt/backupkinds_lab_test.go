package libvirt_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

// diskKind is a VM with one disk of some kind.
type diskKind struct {
	name  string
	make  string // shell on the host that makes the disk, filled with 0x5a from 1 MiB to 3 MiB
	disk  string // its XML
	read  string // shell on the host that writes its content as a raw image to $1 while the VM is off; empty: it cannot
	size  int64
	full  string // why each backup is full; empty: it goes on incrementally
	plain string // what a scratch file must not hold in clear; empty: it may
	off   string // why it is not backed up while the VM is off; empty: it is
}

const fileDisk = `<disk type='file' device='disk'><driver name='qemu' type='%s'/><source file='%s'>%s</source><target dev='vda' bus='virtio'/></disk>`

const secretID = "5f8e5f0e-1f6c-4c62-9f6a-7f3f6a0f1f01"

var diskKinds = []diskKind{{
	name: "overlay", size: 8 << 20,
	make: `qemu-img create -q -f raw k-base.raw 8M; qemu-io -f raw -c 'write -q -P 0x5a 1M 2M' k-base.raw; qemu-img create -q -f qcow2 -b k-base.raw -F raw k-overlay.qcow2`,
	disk: fmt.Sprintf(fileDisk, "qcow2", "/var/lib/libvirt/images/k-overlay.qcow2", ""),
	read: `qemu-img convert -f qcow2 -O raw k-overlay.qcow2 "$1"`,
}, {
	name: "snapshots", size: 8 << 20,
	make: `qemu-img create -q -f qcow2 k-snap.qcow2 8M; qemu-io -c 'write -q -P 0x11 0 8M' k-snap.qcow2; qemu-img snapshot -c one k-snap.qcow2
qemu-io -c 'write -q -z -u 0 8M' -c 'write -q -P 0x5a 1M 2M' k-snap.qcow2; qemu-img snapshot -c two k-snap.qcow2`,
	disk: fmt.Sprintf(fileDisk, "qcow2", "/var/lib/libvirt/images/k-snap.qcow2", ""),
	read: `qemu-img convert -f qcow2 -O raw k-snap.qcow2 "$1"`,
}, {
	name: "v2", size: 8 << 20,
	make: `qemu-img create -q -f qcow2 -o compat=0.10 k-v2.qcow2 8M; qemu-io -c 'write -q -P 0x5a 1M 2M' k-v2.qcow2`,
	disk: fmt.Sprintf(fileDisk, "qcow2", "/var/lib/libvirt/images/k-v2.qcow2", ""),
	read: `qemu-img convert -f qcow2 -O raw k-v2.qcow2 "$1"`,
	full: "version 2",
}, {
	name: "block", size: 8 << 20,
	make: `truncate -s 8M k-loop.img; losetup $LOOP k-loop.img; qemu-io -f raw -c 'write -q -P 0x5a 1M 2M' $LOOP`,
	disk: `<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='$LOOP'/><target dev='vda' bus='virtio'/></disk>`,
	read: `dd if=$LOOP of="$1" bs=1M status=none`,
	full: "keeps no record",
}, {
	name: "qcow2 on a block device", size: 8 << 20,
	make: `truncate -s 16M k-loop2.img; losetup $LOOP2 k-loop2.img; qemu-img create -q -f qcow2 $LOOP2 8M; qemu-io -f qcow2 -c 'write -q -P 0x5a 1M 2M' $LOOP2`,
	disk: `<disk type='block' device='disk'><driver name='qemu' type='qcow2'/><source dev='$LOOP2'/><target dev='vda' bus='virtio'/></disk>`,
	read: `qemu-img convert -f qcow2 -O raw $LOOP2 "$1"`,
}, {
	name: "volume", size: 8 << 20,
	make: `mkdir -p ../kinds; virsh -q pool-create-as kinds dir --target /var/lib/libvirt/kinds; virsh -q vol-create-as kinds v.qcow2 8M --format qcow2; qemu-img amend -f qcow2 -o compat=1.1 ../kinds/v.qcow2; qemu-io -c 'write -q -P 0x5a 1M 2M' ../kinds/v.qcow2`,
	disk: `<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='kinds' volume='v.qcow2'/><target dev='vda' bus='virtio'/></disk>`,
	read: `qemu-img convert -f qcow2 -O raw ../kinds/v.qcow2 "$1"`,
}, {
	name: "encrypted", size: 8 << 20, plain: "ZZZZZZZZZZZZZZZZ",
	make: `printf s3cret >k-key; for i in 1 2 3 4 5; do qemu-img create -q -f qcow2 --object secret,id=s,file=k-key -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 k-luks.qcow2 8M && break; done
qemu-io --object secret,id=s,file=k-key --image-opts -c 'write -q -P 0x5a 1M 2M' driver=qcow2,file.filename=k-luks.qcow2,encrypt.key-secret=s
printf '<secret private="no"><uuid>` + secretID + `</uuid><usage type="volume"><volume>/k-luks</volume></usage></secret>' >/tmp/secret.xml; virsh -q secret-define /tmp/secret.xml; virsh -q secret-set-value ` + secretID + ` --file k-key --plain`,
	disk: fmt.Sprintf(fileDisk, "qcow2", "/var/lib/libvirt/images/k-luks.qcow2", "<encryption format='luks'><secret type='passphrase' uuid='"+secretID+"'/></encryption>"),
	off:  "encrypted",
}}

// guestWrites has the QEMU itself write as its guest would.
func guestWrites(l lab.T, name, command string) {
	l.Helper()
	if out := l.Virsh(1, "qemu-monitor-command", name, "--hmp", `qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "`+command+`"`); strings.TrimSpace(out) != "" {
		l.Fatalf("%s: %s", command, out)
	}
}

// loops finds two loop devices of this machine that nobody uses; they are let
// go of when the test ends.
func loops(t *testing.T) (pair [2]string) {
	t.Helper()
	for i := range pair {
		scratch := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(scratch, make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("losetup", "--show", "-f", scratch).CombinedOutput()
		if err != nil {
			t.Skipf("no loop devices: %s", out)
		}
		pair[i] = strings.TrimSpace(string(out))
	}
	for _, d := range pair {
		if out, err := exec.Command("losetup", "-d", d).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		t.Cleanup(func() { exec.Command("losetup", "-d", d).Run() }) //nolint:errcheck // it may never have been taken
	}
	return pair
}

// TestLabKindsOfDisks: each kind is backed up while its VM runs, in full and
// then as far as it keeps a record of changes, and from its image when it is off;
// what is read is what QEMU's own tools read.
func TestLabKindsOfDisks(t *testing.T) {
	l := lab.Start(t, 1)
	pair := loops(t)
	fill := strings.NewReplacer("$LOOP2", pair[1], "$LOOP", pair[0]).Replace
	h := onHost(t, l.Host(1).URI("unix"))
	for i, k := range diskKinds {
		t.Run(k.name, func(t *testing.T) {
			l := lab.T{TB: t, Lab: l.Lab}
			host1(t, l, "cd /var/lib/libvirt/images; "+fill(k.make))
			vm := fmt.Sprintf("kind%d", i)
			text, err := l.Host(1).XML(lab.Guest{Name: vm})
			if err != nil {
				t.Fatal(err)
			}
			id := defineText(t, l, vm, strings.Replace(text, "</devices>", fill(k.disk)+"</devices>", 1))
			l.Virsh(1, "start", vm)
			k.running(t, l, h, vm, id)
			l.Virsh(1, "destroy", vm)
			k.resting(t, l, h, id, fill)
		})
	}
}

func (k *diskKind) running(t *testing.T, l lab.T, h backend.Host, name string, id backend.UUID) {
	t.Helper()
	dir := t.TempDir()
	s := begin(t, h, backend.BackupRequest{VM: id, Checkpoint: "berth-0000000a-1"})
	p := s.Point()
	if len(p.Disks) != 1 || p.Disks[0].Access.Size != k.size || p.Disks[0].Incremental {
		t.Fatalf("point %+v", p)
	}
	if (p.Checkpoint == "") != (k.full != "") || !strings.Contains(p.NoCheckpoint+p.Disks[0].WhyFull, k.full) {
		t.Errorf("checkpoint %q, none because of %q; it is full because of %q", p.Checkpoint, p.NoCheckpoint, p.Disks[0].WhyFull)
	}
	guestWrites(l, name, "write -P 0x77 1M 1M") // what was there before goes into the scratch file
	copyExport(t, p.Disks[0].Access, dir+"/full")
	if left := leftovers(t, h, s.Token()); len(left) > 0 {
		t.Errorf("left over while it is alive: %+v", left)
	}
	pattern(t, dir+"/full", k.size, map[int64]byte{1: 0x5a, 2: 0x5a})
	if k.plain != "" {
		k.secret(t, l)
	}
	commit(t, s)
	since := p.Checkpoint
	guestWrites(l, name, "write -P 0x33 5M 64k")
	s = begin(t, h, backend.BackupRequest{VM: id, Since: since, Checkpoint: "berth-0000000a-2", Drop: []string{since}})
	p = s.Point()
	if d := p.Disks[0]; d.Incremental != (k.full == "") || (d.WhyFull == "") != (k.full == "") && since != "" {
		t.Errorf("it is incremental: %v, full because of %q", d.Incremental, d.WhyFull)
	}
	if p.Disks[0].Incremental {
		if m := dirtyMap(t, p.Disks[0].Access); !strings.Contains(m, "dirty") || !strings.Contains(m, "clean") {
			t.Errorf("the map of changes: %s", m)
		}
	}
	copyExport(t, p.Disks[0].Access, dir+"/next")
	pattern(t, dir+"/next", k.size, map[int64]byte{1: 0x77, 2: 0x5a})
	commit(t, s)
	var left []string
	if p.Checkpoint != "" {
		left = append(left, p.Checkpoint)
	}
	clean(t, l, name, left...)
}

// secret looks for what the guest had written in every file of the host's folder.
func (k *diskKind) secret(t *testing.T, l lab.T) {
	t.Helper()
	files, _ := filepath.Glob(l.Host(1).Dir + "/lib/images/.berth-*.scratch")
	if len(files) != 1 {
		t.Fatalf("scratch files: %q", files)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), k.plain) {
		t.Error("the scratch file of an encrypted disk holds its content in clear")
	}
}

func (k *diskKind) resting(t *testing.T, l lab.T, h backend.Host, id backend.UUID, fill func(string) string) {
	t.Helper()
	if k.off != "" {
		f, err := backuper(t, h).BackupFacts(t.Context(), id)
		if err != nil || !strings.Contains(f.Disks[0].Skip, k.off) {
			t.Errorf("facts %+v, %v", f, err)
		}
		return
	}
	s := begin(t, h, backend.BackupRequest{VM: id, Since: "berth-0000000a-2", Drop: []string{"berth-0000000a-2"}})
	p := s.Point()
	dir := t.TempDir()
	copyExport(t, p.Disks[0].Access, dir+"/got")
	host1(t, l, "cd /var/lib/libvirt/images; set -- "+dir+"/want; "+fill(k.read))
	same(t, dir+"/got", dir+"/want")
	commit(t, s)
}

// pattern checks the first byte of some MiB, and that the first one is zero.
func pattern(t *testing.T, path string, size int64, want map[int64]byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) != size {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	want[0] = 0
	for at, v := range want {
		if b[at<<20] != v || b[at<<20|1<<19] != v {
			t.Errorf("at %d MiB it holds %#x and %#x, want %#x", at, b[at<<20], b[at<<20|1<<19], v)
		}
	}
}
