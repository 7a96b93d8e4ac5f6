package model

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/audit"
)

// edit runs the edit of the selected VM with an editor that makes text of text.
func edit(t *testing.T, f *fakeHost, change func(string) string) *harness {
	t.Helper()
	h := newHarness(t, Options{Hosts: hosts(f), Editor: []string{"ed"}, Trail: audit.Open(filepath.Join(t.TempDir(), "audit"), os.Getenv)})
	h.term.exec = func(c tea.ExecCommand) error {
		args := c.(execCommand).Cmd.Args
		path := args[len(args)-1]
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = os.Remove(path) })
		return os.WriteFile(path, []byte(change(string(b))), 0o600)
	}
	h.keys("e")
	return h
}

func TestEditShowsADiffBeforeItIsDefined(t *testing.T) {
	f := newFakeHost("hv1", "-a")
	h := edit(t, f, func(s string) string { return strings.Replace(s, "1024", "2048", 1) })
	c := h.confirm()
	if len(c.Diff) == 0 || len(f.defined) != 0 || c.Focus != FocusNo {
		t.Fatalf("diff %v, defined %d", c.Diff, len(f.defined))
	}
	h.keys("y")
	if len(f.defined) != 1 || !strings.Contains(f.defined[0], "2048") {
		t.Fatalf("defined: %q", f.defined)
	}
}

func TestEditLosesNothingWhenLibvirtRefuses(t *testing.T) {
	f := newFakeHost("hv1", "-a")
	f.refuse = errors.New("XML error: no")
	h := edit(t, f, func(s string) string { return strings.Replace(s, "1024", "2048", 1) })
	h.keys("y")
	c := h.confirm()
	path := c.Body[len(c.Body)-1][strings.LastIndex(c.Body[len(c.Body)-1], " ")+1:]
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), "2048") {
		t.Fatalf("the text is lost: %v", err)
	}
	if c.Title != "Edit a again?" || c.Focus != FocusYes {
		t.Fatalf("asked %q", c.Title)
	}
}

func TestEditRefusesAnotherIdentityAndBadXML(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"name":     func(s string) string { return strings.Replace(s, "<name>a<", "<name>b<", 1) },
		"UUID":     func(s string) string { return strings.Replace(s, "<uuid>0", "<uuid>1", 1) },
		"line":     func(s string) string { return strings.Replace(s, "</memory>", "", 1) },
		"</domain": func(s string) string { return s + "<domain/>" },
	} {
		f := newFakeHost("hv1", "-a")
		h := edit(t, f, change)
		if c := h.confirm(); c.Title != "Edit a again?" || !strings.Contains(strings.Join(c.Body, " "), name) {
			t.Errorf("%s: asked %q %q", name, c.Title, c.Body)
		}
	}
	h := edit(t, newFakeHost("hv1", "-a"), func(s string) string { return s })
	h.wantStatus("nothing was changed")
}

func TestEditNoticesThatSomebodyElseDefinedMeanwhile(t *testing.T) {
	f := newFakeHost("hv1", "-a")
	h := edit(t, f, func(s string) string { return strings.Replace(s, "1024", "2048", 1) })
	f.xml[f.vms[0].UUID] = strings.Replace(f.xml[f.vms[0].UUID], "1024", "512", 1)
	h.keys("y")
	if len(f.defined) != 0 || !strings.Contains(strings.Join(h.confirm().Body, " "), "somebody else") {
		t.Fatal("overwrote somebody else's definition without a word")
	}
}

func TestAnEditorThatFailsLeavesNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "-a")), Editor: []string{"false"}})
	h.term.exec = func(tea.ExecCommand) error { return exec.CommandContext(context.Background(), "false").Run() }
	h.keys("e")
	h.wantStatus("nothing was changed")
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "berth-*")); err != nil || len(left) != 0 {
		t.Fatalf("left behind: %q %v", left, err)
	}
}
