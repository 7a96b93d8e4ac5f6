package model

import (
	"slices"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

// imageHarness shows the images of a host: one that a runs on, its backing
// file, one that the VM that is off uses, an orphan, one that is missing.
func imageHarness(t *testing.T, change func(*fakeBackups, *fakeStore, *Options)) (*harness, *fakeBackups, *fakeStore) {
	t.Helper()
	h, b, s := backupHarness(t, func(b *fakeBackups, s *fakeStore, o *Options) {
		s.image("base.qcow2").BackedBy = []string{"/pool/a.qcow2"}
		i := s.image("a.qcow2")
		i.Backing, i.Users = []string{"/pool/base.qcow2"}, []backend.ImageUser{{VM: vmA().UUID, Name: "a", Target: "vda", Active: true}}
		s.image("c.qcow2").Users = []backend.ImageUser{{VM: vmC().UUID, Name: "c", Target: "vda"}}
		s.image("orphan.qcow2").Real = 7 << 30
		s.image("lost.qcow2").Missing = true
		if change != nil {
			change(b, s, o)
		}
	})
	h.keys("6")
	return h, b, s
}

func (h *harness) images() (out string) {
	l := h.app.Images.list.picker
	for i := range l.Len() {
		r := h.app.Images.Image(i)
		out += strings.Repeat(">", r.Depth) + strings.TrimSuffix(r.Name, ".qcow2") + " "
	}
	return strings.TrimSpace(out)
}

func (h *harness) selectImage(name string) {
	h.t.Helper()
	h.app.Images.list.choose(ImageKey{"hv1", "/pool/" + name})
	if got := h.app.Images.Selected(); got == nil || got.Name != name {
		h.t.Fatalf("selected %+v", got)
	}
}

func TestImagesSortFilterAndTree(t *testing.T) {
	h, _, _ := imageHarness(t, nil)
	if orphans, missing := h.app.Images.Alarms(); orphans != 1 || missing != 1 {
		t.Errorf("%d orphans and %d missing are counted, not one each", orphans, missing)
	}
	if got := h.images(); got != "a base c lost orphan" {
		t.Fatalf("by name: %s", got)
	}
	h.keys("t")
	if got := h.images(); got != "base >a c lost orphan" {
		t.Fatalf("as trees: %s", got)
	}
	h.keys("t", ">", ">", ">")
	if got := h.images(); !strings.HasPrefix(got, "orphan ") {
		t.Fatalf("by real size: %s", got)
	}
	h.keys("/")
	h.text("is:orphan")
	if got := h.images(); got != "orphan" {
		t.Fatalf("is:orphan: %s", got)
	}
	h.keys("esc", "/")
	h.text("vm:a")
	if got := h.images(); got != "a" {
		t.Fatalf("vm:a: %s", got)
	}
	h.keys("esc", "/")
	h.text("is:nosuch")
	if _, err := h.app.imageFilter().Filter(); err == nil {
		t.Error("is:nosuch is taken")
	}
}

func TestChainsThatBiteTheirTailEnd(t *testing.T) {
	h, _, _ := imageHarness(t, func(_ *fakeBackups, s *fakeStore, _ *Options) {
		s.images[0].Backing, s.images[3].Backing = []string{"/pool/a.qcow2"}, []string{"/pool/orphan.qcow2"}
	})
	h.keys("t")
	if got := strings.Fields(h.images()); len(got) != 5 {
		t.Fatalf("shown: %v", got)
	}
}

func TestOnlyWhatNothingUsesIsDeletedAndItsNameTyped(t *testing.T) {
	h, _, s := imageHarness(t, nil)
	for name, why := range map[string]string{"a.qcow2": "a has it as vda", "c.qcow2": "c has it as vda", "base.qcow2": "backing file of a.qcow2", "lost.qcow2": "not there"} {
		h.selectImage(name)
		h.keys("D")
		h.wantStatus(why)
	}
	h.selectImage("orphan.qcow2")
	h.keys("D")
	c := h.confirm()
	h.text("orphan")
	h.keys("enter")
	if c.Focus == FocusYes {
		t.Fatal("half a name is enough")
	}
	h.text(".qcow2")
	s.images[3].Users = []backend.ImageUser{{Name: "new", Target: "vdb"}} // it is taken before the last word
	h.pass(15 * time.Second)
	h.keys("enter", "enter")
	h.wantStatus("in use: new")
	s.images[3].Users = nil
	h.pass(15 * time.Second)
	h.keys("D")
	h.text("orphan.qcow2")
	h.keys("enter", "enter")
	if got := strings.Join(s.said, "; "); got != "delete /pool/orphan.qcow2" {
		t.Fatalf("said: %s", got)
	}
}

func TestResize(t *testing.T) {
	h, _, s := imageHarness(t, nil)
	h.selectImage("c.qcow2")
	resize := func(text string) {
		h.keys("s")
		h.app.Overlays[0].(*Prompt).Input.SetValue("")
		h.text(text)
		h.keys("enter")
	}
	resize("+5G")
	resize("8G")
	if c := h.confirm(); c.Type != "c.qcow2" || !c.Danger {
		t.Fatalf("asked %+v", c)
	}
	h.text("c.qcow2")
	h.keys("enter", "enter")
	h.selectImage("a.qcow2")
	resize("8G")
	h.wantStatus("an image in use cannot be made smaller")
	h.selectImage("base.qcow2")
	h.keys("s")
	h.wantStatus("backing file")
	if got := strings.Join(s.said, "; "); got != "resize /pool/c.qcow2 15 shrink=false; resize /pool/c.qcow2 8 shrink=true" {
		t.Fatalf("said: %s", got)
	}
}

func TestCopyToSeveralPlacesAndConvert(t *testing.T) {
	h, b, _ := imageHarness(t, nil)
	h.selectImage("a.qcow2")
	h.keys("c")
	h.wantStatus("back the VM up instead")
	h.selectImage("orphan.qcow2")
	h.keys("c")
	to := &h.form().Field("to").Input
	to.SetValue("/mnt/one/, /mnt/two/x.qcow2")
	h.press()
	if len(b.specs) != 1 || b.specs[0].Kind != backend.TransferCopy || !slices.Equal(b.specs[0].Image.Targets, []string{"/mnt/one/orphan.qcow2", "/mnt/two/x.qcow2"}) || b.specs[0].Image.Source != "/pool/orphan.qcow2" {
		t.Fatalf("ordered %+v, status %q", b.specs, h.status())
	}
	h.keys("c")
	for text, why := range map[string]string{"mnt/x": "from / on", "/pool/orphan.qcow2": "the image itself", "/pool/c.qcow2": "there already", "/x,/x": "twice", "": "where to"} {
		h.form().Field("to").Input.SetValue(text)
		h.press()
		h.wantStatus(why)
	}
	h.keys("esc", "C")
	f := h.form()
	f.Field("format").Value = 1
	h.press()
	h.wantStatus("raw cannot be compressed")
	f.Field("compress").On = false
	h.press()
	if n := len(b.specs); n != 2 || b.specs[1].Kind != backend.TransferConvert || b.specs[1].Image.To != "raw" {
		t.Fatalf("ordered %+v, status %q", b.specs, h.status())
	}
	h.keys("*", "c") // all: those in use are left out
	if f := h.form(); !strings.Contains(strings.Join(f.Intro, " "), "left out: a.qcow2") {
		t.Fatalf("intro %q", f.Intro)
	}
	h.form().Field("to").Input.SetValue("/mnt/x")
	h.press()
	h.wantStatus("several images go to a folder")
}

func TestCreateAnImageAndAnOverlay(t *testing.T) {
	h, _, s := imageHarness(t, nil)
	h.keys("n")
	f := h.form()
	h.press()
	h.wantStatus("a name is missing")
	f.Field("name").Input.SetValue("new.qcow2")
	h.press()
	h.wantStatus("size")
	f.Field("size").Input.SetValue("20G")
	h.press()
	h.selectImage("orphan.qcow2")
	h.keys("o")
	h.press()
	want := `create default/new.qcow2 qcow2 21474836480 on ""; create default/orphan-overlay.qcow2 qcow2 0 on "/pool/orphan.qcow2"`
	if got := strings.Join(s.said, "; "); got != want {
		t.Fatalf("said: %s\nwant: %s", got, want)
	}
}

func TestPools(t *testing.T) {
	h, _, s := imageHarness(t, nil)
	h.keys("tab", "S", "enter", "S", "y") // default: No, then yes
	h.wantStatus("stopped (u undoes it)")
	h.keys("j", "s")
	h.wantStatus("started")
	h.keys("r")
	h.wantStatus("it does not run")
	h.keys("A", "u", "U")
	h.text("off")
	h.keys("enter", "enter", "n")
	f := h.form()
	f.Field("name").Input.SetValue("fast")
	f.Field("path").Input.SetValue("/srv/fast")
	h.press()
	want := "destroy default; start off; autostart-on off; autostart-off off; undefine off; define fast /srv/fast"
	if got := strings.Join(s.said, "; "); got != want {
		t.Fatalf("said: %s\nwant: %s", got, want)
	}
}

func TestImagesAreAskedOnlyWhileTheyAreShown(t *testing.T) {
	h, _, s := imageHarness(t, nil)
	before := s.asked
	h.pass(35 * time.Second)
	if n := s.asked - before; n != 3 {
		t.Errorf("asked %d times in 35 s", n)
	}
	h.keys("1")
	before = s.asked
	h.pass(time.Minute)
	if s.asked != before {
		t.Error("asked though nobody looks")
	}
	s.storeErr = backend.ErrTimeout
	h.keys("6")
	if len(h.app.Images.Troubles()) != 1 || h.images() == "" {
		t.Error("a failure is not told, or takes away what was known")
	}
}
