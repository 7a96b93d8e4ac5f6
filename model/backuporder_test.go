package model

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"berth/backend"
)

func TestBackUpMarkedVMs(t *testing.T) {
	h, b, _ := backupHarness(t, func(_ *fakeBackups, _ *fakeStore, o *Options) { o.BackupLimit = 1 << 20 }, transfer(1, backend.TransferBackup, backend.TransferRunning, vmB()))
	h.keys("1", "ctrl+a", "b")
	f := h.app.Overlays[0].(*Form)
	if !strings.Contains(strings.Join(f.Intro, "|"), "a, c|left out: b is being backed up already") {
		t.Fatalf("intro %q", f.Intro)
	}
	f.Field("tags").Input.SetValue("nightly, web")
	f.Field("full").On = true
	h.keys("shift+tab", "enter") // to Yes, and press it
	if len(b.specs) != 2 {
		t.Fatalf("ordered %+v; status %q", b.specs, h.status())
	}
	s := b.specs[0]
	if s.Kind != backend.TransferBackup || s.Name != "a" || s.Repo.URL != "/backup" || !s.Backup.Full || s.Backup.NoQuiesce || s.Limit != 1<<20 || !slices.Equal(s.Backup.Tags, []string{"nightly", "web"}) {
		t.Errorf("ordered %+v", s)
	}
	if n, _ := h.app.VMs.Marks(); n != 0 {
		t.Error("the marks stay")
	}
}

func TestABackupNeedsARepository(t *testing.T) {
	h, b, _ := backupHarness(t, func(b *fakeBackups, _ *fakeStore, _ *Options) { b.state.Repos = nil })
	h.keys("1", "b", "shift+tab", "enter")
	h.wantStatus("which repository?")
	f := h.app.Overlays[0].(*Form)
	f.Focus = 1
	h.text("backup")
	if f.Field("where").Err == nil {
		t.Error("a relative path is taken")
	}
	for range 6 {
		h.keys("backspace")
	}
	h.text("sftp://nas/backup")
	f.Focus = FocusYes
	h.keys("enter")
	if len(b.specs) != 1 || b.specs[0].Repo.URL != "sftp://nas/backup" {
		t.Fatalf("ordered %+v, status %q", b.specs, h.status())
	}
}

func TestVerifyASample(t *testing.T) {
	h, b, _ := backupHarness(t, func(b *fakeBackups, _ *fakeStore, _ *Options) {
		b.state.Points = []backend.Point{point("p1", vmA(), backupNow, 3), point("p2", vmA(), backupNow, 4)}
	})
	h.keys("tab", "/")
	h.text("vm:a")
	h.keys("enter", "enter", "v")
	f := h.app.Overlays[0].(*Form)
	f.Field("sample").Input.SetValue("5%")
	f.Focus = FocusYes
	h.keys("enter")
	if len(b.specs) != 1 || b.specs[0].Verify.Sample != 5 || !slices.Equal(b.specs[0].Verify.Points, []string{"p1"}) {
		t.Fatalf("ordered %+v", b.specs)
	}
	h.keys("v")
	f = h.app.Overlays[0].(*Form)
	h.keys("left") // the whole repository
	f.Focus = FocusYes
	h.keys("enter")
	if len(b.specs) != 2 || len(b.specs[1].Verify.Points) != 0 || b.specs[1].Repo.URL != "/backup" {
		t.Fatalf("ordered %+v", b.specs)
	}
}

func TestForgetShowsWhatGoesAndAsks(t *testing.T) {
	h, b, _ := backupHarness(t, func(b *fakeBackups, _ *fakeStore, o *Options) {
		for i := range 5 {
			b.state.Points = append(b.state.Points, point(fmt.Sprint("p", i), vmA(), backupNow, 3+24*i))
		}
		o.Retain = func(points []backend.Point, keep backend.Retention) map[string]string {
			out := map[string]string{}
			for i := range min(keep.Last, len(points)) {
				out[points[i].ID] = "last"
			}
			return out
		}
	})
	h.keys("tab", "/")
	h.text("vm:a")
	h.keys("enter", "f")
	f := h.app.Overlays[0].(*Form)
	if got := f.Preview.Lines[0].Text; got != "2 of 5 points would be forgotten, 3 kept." {
		t.Fatalf("previewed %q", got)
	}
	h.keys("backspace")
	h.text("1") // as it is typed
	if got := f.Preview.Lines[0].Text; got != "4 of 5 points would be forgotten, 1 kept." {
		t.Fatalf("previewed %q", got)
	}
	f.Focus = FocusYes
	h.keys("enter")
	c := h.confirm()
	if len(c.Names) != 4 || !c.Danger {
		t.Fatalf("asked about %q", c.Names)
	}
	h.keys("enter") // No
	if len(b.specs) != 0 {
		t.Fatalf("No ordered %+v", b.specs)
	}
	h.keys("f")
	f = h.app.Overlays[0].(*Form)
	f.Focus = FocusYes
	h.keys("enter", "y")
	if len(b.specs) != 1 || b.specs[0].Kind != backend.TransferForget || b.specs[0].Keep.Last != 3 || b.specs[0].VM.UUID != vmA().UUID {
		t.Fatalf("ordered %+v", b.specs)
	}
}

func TestAPassphraseIsAskedForAndHandedOverOnceForEachTransfer(t *testing.T) {
	var got []string
	removed := 0
	h, b, _ := backupHarness(t, func(b *fakeBackups, _ *fakeStore, o *Options) {
		b.state.Repos[0].Encrypted = true
		o.HandOver = func(p []byte) (string, func() error, error) {
			got = append(got, string(p))
			return fmt.Sprintf("/run/berth/handover-%d", len(got)), func() error { removed++; return nil }, nil
		}
	})
	order := func() {
		h.keys("1", "ctrl+a", "b")
		h.press()
	}
	order()
	if !strings.Contains(h.prompt().Title, "Passphrase of /backup") || len(b.specs) != 0 {
		t.Fatalf("asked %q, ordered %+v", h.prompt().Title, b.specs)
	}
	h.text("secret")
	h.keys("enter")
	if len(b.specs) != 3 || b.specs[0].Repo.PassphraseFile == b.specs[2].Repo.PassphraseFile || !slices.Equal(got, []string{"secret", "secret", "secret"}) {
		t.Fatalf("handed over %q, ordered %+v", got, b.specs)
	}
	if removed != 0 {
		t.Error("what was handed over was taken away")
	}
	b.doErr = backend.ErrBusy
	order()
	h.text("secret")
	h.keys("enter")
	h.wantStatus(backend.ErrBusy.Error())
	if removed != 3 {
		t.Errorf("%d files were removed after nothing was ordered", removed)
	}
	order()
	h.keys("esc")
	if len(b.specs) != 3 {
		t.Errorf("esc ordered %+v", b.specs[3:])
	}
}

// prompt is the one that is open.
func (h *harness) prompt() *Prompt {
	h.t.Helper()
	if n := len(h.app.Overlays); n > 0 {
		if p, ok := h.app.Overlays[n-1].(*Prompt); ok {
			return p
		}
	}
	h.t.Fatalf("no prompt is open; status %q", h.status())
	return nil
}
