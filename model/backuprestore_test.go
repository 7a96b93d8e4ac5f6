package model

import (
	"strings"
	"testing"
	"time"

	"berth/backend"
)

// pointsOf shows the points of a VM, of which there are two.
func pointsOf(t *testing.T, vm backend.VM, change func(*fakeBackups, *fakeStore, *Options)) (*harness, *fakeBackups, *fakeStore) {
	t.Helper()
	h, b, s := backupHarness(t, func(b *fakeBackups, s *fakeStore, o *Options) {
		b.state.Points = []backend.Point{point("p1", vm, backupNow, 3), point("p2", vm, backupNow, 40)}
		if change != nil {
			change(b, s, o)
		}
	})
	h.run(h.app.openPoints(vm.UUID))
	return h, b, s
}

// press presses a form's Yes.
func (h *harness) press() {
	h.form().Focus = FocusYes
	h.keys("enter")
}

func TestRestoreACopy(t *testing.T) {
	h, b, _ := pointsOf(t, vmA(), nil)
	h.keys("j", "r", "c")
	f := h.form()
	if got := f.Field("name").Text(); got != "a-restored" {
		t.Errorf("the name offered is %q", got)
	}
	f.Focus = 0
	for range len("-restored") {
		h.keys("backspace")
	}
	if f.Field("name").Err == nil {
		t.Error("the name of a VM that is there is taken")
	}
	h.text("2")
	f.Field("start").On = true
	h.press()
	c := h.confirm()
	text := strings.Join(append(c.Body, c.Names...), "\n")
	for _, part := range []string{"/backup: 2026-11-21 11:00:00", "A new VM a2 is defined on hv1", "3.0G are written", "pool default on hv1 has 50G free", "never verified", "It is started then", "vda: 20G qcow2, 3.0G of data, to pool default"} {
		if !strings.Contains(text, part) {
			t.Errorf("the summary does not say %q:\n%s", part, text)
		}
	}
	h.keys("enter") // No
	if len(b.specs) != 0 {
		t.Fatalf("No ordered %+v", b.specs)
	}
	h.keys("r", "c")
	h.press()
	h.keys("y")
	if len(b.specs) != 1 {
		t.Fatalf("ordered %+v", b.specs)
	}
	s := b.specs[0]
	if s.Kind != backend.TransferRestore || s.VM.Host != "hv1" || s.Restore.Point != "p2" || s.Restore.NewName != "a-restored" || s.Restore.Pool != "default" || s.Restore.Start || s.Repo.URL != "/backup" {
		t.Errorf("ordered %+v", s)
	}
}

func TestRestoreInPlaceOnlyWhileItIsOffAndWithItsNameTyped(t *testing.T) {
	h, _, _ := pointsOf(t, vmA(), nil)
	h.keys("r", "i")
	h.wantStatus("it must be off")
	h, b, s := pointsOf(t, vmC(), nil)
	h.keys("r", "i")
	h.press()
	c := h.confirm()
	if c.Type != "c" || !c.Danger || !strings.Contains(strings.Join(c.Body, " "), "set aside") {
		t.Fatalf("asked %+v", c)
	}
	h.keys("tab", "tab", "enter") // to Yes, without the name
	if len(b.specs) != 0 {
		t.Fatal("it went without the name")
	}
	c.Focus = FocusInput
	h.text("c")
	h.keys("enter")
	s.vm(vmC().UUID).State = backend.Running // it is started before the last word
	h.pass(2 * time.Second)
	h.keys("enter")
	if len(b.specs) != 0 {
		t.Fatal("it went though the VM runs")
	}
	h.wantStatus("it must be off")
	s.vm(vmC().UUID).State = backend.Shutoff
	h.pass(2 * time.Second)
	h.keys("r", "i")
	h.press()
	h.text("c")
	h.keys("enter", "enter")
	if len(b.specs) != 1 || b.specs[0].VM != (backend.Key{Host: "hv1", UUID: vmC().UUID}) || b.specs[0].Restore.NewName != "" {
		t.Fatalf("ordered %+v, status %q", b.specs, h.status())
	}
}

func TestRestoreDisksOnly(t *testing.T) {
	h, b, _ := pointsOf(t, vmA(), nil)
	h.keys("r", "d")
	f := h.form()
	if got := f.Field("disk-vda").Text(); got != "/pool/a-vda-20261123-000000.qcow2" {
		t.Errorf("the path offered is %q", got)
	}
	f.Field("disk-vda").Input.SetValue("")
	h.press()
	h.wantStatus("nothing would be restored")
	f.Field("disk-vda").Input.SetValue("/mnt/x.qcow2")
	h.press()
	h.keys("y")
	if len(b.specs) != 1 || !b.specs[0].Restore.DisksOnly || b.specs[0].Restore.Disks["vda"] != "/mnt/x.qcow2" {
		t.Fatalf("ordered %+v, status %q", b.specs, h.status())
	}
}

func TestWithoutRoomNothingIsOrdered(t *testing.T) {
	h, b, s := pointsOf(t, vmA(), nil)
	s.pools[0].Available = 1 << 30
	h.keys("r", "c")
	if l := h.form().Preview.Lines; l[1].Level != LevelBad {
		t.Errorf("previewed %+v", l)
	}
	h.press()
	h.wantStatus("Not enough room: pool default on hv1 has 1.0G free")
	h.form() // is there again, for another place
	s.pools[0].Available = 90 << 30
	h.press()
	h.confirm()
	if len(b.specs) != 0 {
		t.Fatalf("ordered %+v", b.specs)
	}
}

func TestARestoreDoesNotComeUpOverSomethingElse(t *testing.T) {
	h, _, _ := pointsOf(t, vmA(), nil)
	h.keys("r")
	m := h.app.Overlays[0].(*Menu)
	cmd := m.Items[0].Run(h.app) // the host is asked
	h.app.Overlays = nil
	h.keys("1")
	h.run(cmd)
	if len(h.app.Overlays) != 0 {
		t.Fatalf("%T came up over the list of VMs", h.app.Overlays[0])
	}
}

func TestADamagedPointIsSaidToBe(t *testing.T) {
	h, _, _ := pointsOf(t, vmA(), func(b *fakeBackups, _ *fakeStore, _ *Options) { b.state.Points[0].Damaged = "chunk 9c41 of vda" })
	h.keys("r", "c")
	h.press()
	if c := h.confirm(); !c.Danger || !strings.Contains(strings.Join(c.Body, " "), "THE POINT IS DAMAGED: chunk 9c41 of vda") {
		t.Fatalf("asked %+v", c)
	}
}

func TestAPointThatGoesEndsTheWizard(t *testing.T) {
	h, b, _ := pointsOf(t, vmA(), nil)
	h.keys("r", "c")
	h.press()
	b.edit(func(st *backend.BackupsState) { st.Points = st.Points[1:] })
	h.pass(2 * time.Second)
	h.keys("y")
	h.wantStatus("that point is gone")
	if len(b.specs) != 0 {
		t.Fatalf("ordered %+v", b.specs)
	}
}

func TestACopyGoesWhereItsDisksWereOrWhereRoomIs(t *testing.T) {
	p := &backend.Point{Host: "hv1", Disks: []backend.PointDisk{{Path: "/vms/a.qcow2"}}}
	base := backend.Pool{Name: "base", Path: "/base", Active: true, Available: 9 << 40}
	std := backend.Pool{Name: "default", Path: "/pool", Active: true, Available: 1 << 30}
	vms := backend.Pool{Name: "vms", Path: "/vms/", Active: true, Available: 1 << 20}
	down := backend.Pool{Name: "down", Path: "/vms"}
	fast := backend.Pool{Name: "fast", Path: "/fast", Active: true, Available: 10 << 40}
	for _, c := range []struct {
		host  string
		pools []backend.Pool
		want  string
	}{
		{"hv1", []backend.Pool{base, std, vms, fast}, "vms"},
		{"hv2", []backend.Pool{base, std, vms, fast}, "default"},
		{"hv1", []backend.Pool{base, down, fast}, "fast"},
		{"hv1", []backend.Pool{down}, asItWas},
	} {
		r := restorePlan{host: c.host, pools: c.pools}
		if got := r.defaultPool(p); got != c.want {
			t.Errorf("on %s of %d pools: %s, want %s", c.host, len(c.pools), got, c.want)
		}
	}
}
