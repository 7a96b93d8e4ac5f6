package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/backend"
)

// keepWith has a VM of a rig backed up with files of its own.
func (r *rig) keepWith(name string, files ...backend.PointFile) {
	r.Helper()
	r.known(func(s *fakeState) {
		vm := s.VMs[name]
		vm.XML = strings.Replace(vm.XML, "</devices>", "<tpm model='tpm-crb'><backend type='emulator'/></tpm></devices>", 1)
		vm.Files = files
	})
	r.start()
	r.ends(r.backup(name), backend.TransferDone)
	r.stop()
}

// A copy has the state of the TPM with it at once, in folders that are made for
// it; when the restore fails nothing of them is left.
func TestACopyHasItsTPM(t *testing.T) {
	r := newRig(t)
	r.vm("web1", false)
	r.keepWith("web1", backend.PointFile{Kind: "tpm", Path: "tpm2/tpm2-00.permall", Content: []byte("sealed")}, backend.PointFile{Kind: "tpm", Path: "../../escape", Content: []byte("x")})
	states := func() (list []string) {
		err := filepath.Walk(filepath.Join(r.host.dir, "swtpm"), func(p string, info os.FileInfo, err error) error {
			if err == nil && !info.IsDir() {
				list = append(list, p)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	r.host.hook = func(op string) error {
		if op == "define" {
			return backend.ErrInvalid
		}
		return nil
	}
	r.start()
	r.ends(r.restore("copy"), backend.TransferFailed)
	left, err := os.ReadDir(filepath.Join(r.host.dir, "swtpm"))
	if err != nil || len(left) > 0 {
		t.Errorf("a restore that failed left %v, %v", left, err)
	}
	r.stop()
	r.host.hook = nil
	r.start()
	x := r.ends(r.restore("copy"), backend.TransferDone)
	var u backend.UUID
	r.known(func(s *fakeState) { u = s.VMs["copy"].UUID })
	want := filepath.Join(r.host.dir, "swtpm", u.String(), "tpm2", "tpm2-00.permall")
	if got := states(); !slices.Equal(got, []string{want}) || x.Words != "" {
		t.Errorf("the states are %q (%s), want %s", got, x.Words, want)
	}
	if b, err := os.ReadFile(want); err != nil || string(b) != "sealed" {
		t.Errorf("it holds %q, %v", b, err)
	}
}

// Snapshots whose files are there still are redefined, parents first; of the
// others it is said why not.
func TestSnapshotsAreRedefinedWhereThatIsSound(t *testing.T) {
	r := newRig(t)
	r.vm("web1", false)
	base := filepath.Join(r.host.dir, "images", "base.qcow2")
	if err := os.WriteFile(base, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var vda string
	r.known(func(s *fakeState) { vda = s.VMs["web1"].Disks["vda"] })
	snap := func(name, parent, memory, kind, file string) backend.PointFile {
		text := fmt.Sprintf("<domainsnapshot><name>%s</name><parent><name>%s</name></parent>%s<disks><disk name='vda' snapshot='%s'/><disk name='vdb' snapshot='no'/></disks>"+
			"<domain><devices><disk><source file='%s'/><target dev='vda'/></disk></devices></domain></domainsnapshot>", name, parent, memory, kind, file)
		return backend.PointFile{Kind: "snapshot", Path: name, Content: []byte(strings.Replace(text, "<parent><name></name></parent>", "", 1))}
	}
	r.keepWith("web1",
		snap("second", "first", "<memory snapshot='no'/>", "external", base),
		snap("first", "", "", "external", base),
		snap("inside", "", "", "internal", vda), snap("of-inside", "inside", "", "external", base),
		snap("ram", "", "<memory snapshot='internal'/>", "external", base),
		snap("gone", "", "", "external", base+".gone"),
		snap("overwritten", "", "", "external", vda),
		snap("a", "b", "", "external", base), snap("b", "a", "", "external", base))
	r.start()
	x := r.ends(r.restore(""), backend.TransferDone)
	r.known(func(s *fakeState) {
		if got := s.VMs["web1"].Snapshots; !slices.Equal(got, []string{"first", "second"}) {
			t.Errorf("redefined: %q", got)
		}
	})
	for _, want := range []string{
		"snapshot inside is left out: it was inside the image of vda", "snapshot of-inside is left out: its parent is",
		"snapshot ram is left out: the memory", "gone is left out: " + base + ".gone, in which it was kept, is gone",
		"overwritten is left out: " + vda + ", in which it was kept, was written anew", "2 snapshots are left out: each is another's parent",
	} {
		if !strings.Contains(x.Words, want) {
			t.Errorf("it does not say %q: %s", want, x.Words)
		}
	}
	r.known(func(s *fakeState) { s.VMs["web1"].Snapshots = append(s.VMs["web1"].Snapshots, "inside") })
	x = r.ends(r.restore(""), backend.TransferDone)
	if !strings.Contains(x.Words, "snapshot inside is listed still, but is not to be gone back to") || strings.Contains(x.Words, "snapshot first") {
		t.Errorf("once more: %s", x.Words)
	}
	r.known(func(s *fakeState) {
		if got := s.VMs["web1"].Snapshots; len(got) != 3 {
			t.Errorf("those that were there were redefined: %q", got)
		}
	})
	x = r.ends(r.restore("copy"), backend.TransferDone)
	if !strings.Contains(x.Words, "snapshot first is left out: it is of the VM that this is a copy of") {
		t.Errorf("of a copy: %s", x.Words)
	}
}
