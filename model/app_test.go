package model

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/backend/audit"
)

func hosts(hs ...*fakeHost) []backend.Host {
	out := make([]backend.Host, len(hs))
	for i, h := range hs {
		out[i] = h
	}
	return out
}

func TestListAppearsWithTheFirstPollAndRatesWithTheSecond(t *testing.T) {
	f := newFakeHost("hv1", "web1", "db1", "-old")
	h := newHarness(t, Options{Hosts: hosts(f)})
	if got := h.names(); got != "db1 old web1" {
		t.Fatalf("list: %q", got)
	}
	f.vms[0].CPU = backend.CPUCounter{At: h.now, Used: time.Second}
	h.pass(40 * time.Millisecond) // the second poll follows the first at once
	f.vms[0].CPU = backend.CPUCounter{At: h.now.Add(time.Second), Used: 1500 * time.Millisecond}
	h.pass(time.Second)
	h.app.VMs.SelectKey(f.vms[0].Key())
	if got := h.app.VMs.Selected().Rates.CPU; got < 47 || got > 52 {
		t.Fatalf("CPU %.1f %%, want 50", got)
	}
}

func TestSelectionMarksAndScrollBelongToTheVM(t *testing.T) {
	f := newFakeHost("hv1", "a", "b", "c", "d", "e", "f", "g", "h")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.app.VMs.SetPage(3)
	h.keys("j", "j", "j", " ") // marks d, moves to e
	if r := h.app.VMs.Selected(); r.Name != "e" || !h.app.VMs.Marked(f.vms[3].Key()) {
		t.Fatalf("selected %s", r.Name)
	}
	line := h.app.VMs.Index() - h.app.VMs.Top()
	f.add("aa", 60) // comes before it in the order
	h.pass(2 * time.Second)
	if r := h.app.VMs.Selected(); r.Name != "e" || h.app.VMs.Index()-h.app.VMs.Top() != line {
		t.Fatalf("after a refresh: %s on line %d, not e on %d", r.Name, h.app.VMs.Index()-h.app.VMs.Top(), line)
	}
	h.keys("I")
	if r := h.app.VMs.Selected(); r.Name != "e" {
		t.Fatalf("after sorting: %s", r.Name)
	}
	h.run(h.app.filter("!a"))
	if r := h.app.VMs.Selected(); r.Name != "e" || !h.app.VMs.Marked(f.vms[3].Key()) {
		t.Fatalf("after a filter: %s", r.Name)
	}
	f.vms = append(f.vms[:3], f.vms[4:]...) // d, which is marked, vanishes
	h.pass(2 * time.Second)
	if all, _ := h.app.VMs.Marks(); all != 0 {
		t.Fatalf("%d marks on VMs that are gone", all)
	}
}

func TestMarksRangeAllInvert(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "a", "b", "c", "d"))})
	h.keys(" ", "j", "ctrl+@")
	if n, _ := h.app.VMs.Marks(); n != 3 {
		t.Fatalf("range marks %d, want a b c", n)
	}
	h.keys("*")
	if n, _ := h.app.VMs.Marks(); n != 1 || h.app.VMs.Targets()[0].Name != "d" {
		t.Fatalf("inverted: %d", n)
	}
	h.keys("ctrl+a")
	if n, _ := h.app.VMs.Marks(); n != 4 {
		t.Fatalf("all: %d", n)
	}
	h.run(h.app.filter("a"))
	if all, hidden := h.app.VMs.Marks(); all != 4 || hidden != 3 || len(h.app.VMs.Targets()) != 1 {
		t.Fatalf("%d marked, %d hidden, %d targets", all, hidden, len(h.app.VMs.Targets()))
	}
	h.keys("esc", "esc")
	if n, _ := h.app.VMs.Marks(); n != 0 {
		t.Fatal("esc left the marks")
	}
	if text, _ := h.app.VMs.Filter(); text != "" {
		t.Fatalf("esc left the filter %q", text)
	}
}

func TestAHostThatFailsKeepsItsRowsAndLeavesOthersAlone(t *testing.T) {
	one, two := newFakeHost("hv1", "a"), newFakeHost("hv2", "b")
	h := newHarness(t, Options{Hosts: hosts(one, two)})
	h.pass(2 * time.Second)
	one.pollErr = backend.ErrUnreachable
	before := two.polls
	h.pass(10 * time.Second)
	if h.names() != "a b" {
		t.Fatalf("rows: %q", h.names())
	}
	if n := two.polls - before; n < 9 {
		t.Fatalf("the other host was polled %d times in 10 s", n)
	}
	if n := one.polls; n > 14 {
		t.Fatalf("a dead host was polled %d times in 12 s", n)
	}
	r := h.app.Fleet.Row(one.vms[0].Key())
	since, stale := h.app.Fleet.Stale(r)
	if !stale || h.now.Sub(since) < 9*time.Second {
		t.Fatalf("the row's age: stale %t since %s", stale, since)
	}
	one.pollErr = nil
	h.pass(maxBackoff * 5 / 4)
	if _, stale := h.app.Fleet.Stale(h.app.Fleet.Row(one.vms[0].Key())); stale || h.app.Fleet.HostState("hv1").Err != nil {
		t.Fatal("the host came back and the row did not")
	}
}

func TestAnOldAnswerAboutAnotherVMIsDropped(t *testing.T) {
	f := newFakeHost("hv1", "a", "b")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("enter")
	gen := h.app.Detail.gen
	h.keys("esc", "j", "enter")
	h.send(detailMsg{gen: gen, detail: backend.Detail{Machine: "old"}})
	h.send(xmlMsg{gen: gen, xml: "<old/>"})
	if h.app.Detail.Data.Machine == "old" || h.app.Detail.XML != nil {
		t.Fatal("an answer about the VM left behind was shown")
	}
}

func TestASecondVerbIsRefusedWhileOneIsUnderWay(t *testing.T) {
	f := newFakeHost("hv1", "a")
	f.deaf = true
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("S", "y")
	if r := h.app.VMs.Selected(); r.Pending != backend.VerbShutdown {
		t.Fatalf("pending %q", r.Pending)
	}
	h.keys("p")
	h.wantStatus("still shutting down")
	if len(f.done) != 1 {
		t.Fatalf("done: %v", f.done)
	}
	h.keys("X")
	if h.app.VMs.Selected().Pending != "" {
		t.Fatal("giving up left it pending")
	}
}

func TestDangerAsksAndItsAnswerIsNo(t *testing.T) {
	f := newFakeHost("hv1", "a", "b")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("D", "enter")
	if len(f.done) != 0 || len(h.app.Overlays) != 0 {
		t.Fatal("enter on a fresh question did it")
	}
	h.keys("D", "esc", "D", "n", "D", "q")
	if len(f.done) != 0 {
		t.Fatal("no was taken for yes")
	}
	h.keys("D", "tab", "enter")
	if len(f.done) != 1 || f.done[0].Verb != backend.VerbDestroy || f.done[0].Name != "a" {
		t.Fatalf("done: %+v", f.done)
	}
	h.pass(time.Second)
	if h.app.VMs.Selected().State != backend.Shutoff {
		t.Fatal("the row does not show it")
	}
}

func TestBulkAsksOnceAndListsTheNames(t *testing.T) {
	f := newFakeHost("hv1", "a", "b", "-c")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("ctrl+a", "p")
	c := h.confirm()
	if len(c.Names) != 3 || !strings.HasPrefix(c.Names[0], "a ") || c.Names[2] != "left out: c is shut off" {
		t.Fatalf("names %q body %q", c.Names, c.Body)
	}
	h.keys("y")
	h.pass(2 * time.Second)
	if len(f.done) != 2 || f.vms[0].State != backend.Paused || f.vms[1].State != backend.Paused {
		t.Fatalf("done: %+v", f.done)
	}
}

func TestAtMostFourVerbsAtATimeOnAHost(t *testing.T) {
	f := newFakeHost("hv1")
	for i := range 9 {
		f.add("vm"+string(rune('a'+i)), byte(i+1))
	}
	h := newHarness(t, Options{Hosts: hosts(f)})
	var cmds []tea.Cmd
	for i := range f.vms {
		cmd, err := h.app.Tasks.Start(f.vms[i].Key(), backend.Action{Verb: backend.VerbSuspend, UUID: f.vms[i].UUID})
		if err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	calling := 0
	for _, k := range h.app.Tasks.Active() {
		if k.State == TaskCalling {
			calling++
		}
	}
	if calling != perHost {
		t.Fatalf("%d calls at once, want %d", calling, perHost)
	}
	for _, c := range cmds {
		h.run(c)
	}
	h.pass(2 * time.Second)
	if len(f.done) != 9 || len(h.app.Tasks.Active()) != 0 {
		t.Fatalf("%d done, %d left", len(f.done), len(h.app.Tasks.Active()))
	}
}

func TestAnIgnoredShutdownOffersToForceOff(t *testing.T) {
	f := newFakeHost("hv1", "a")
	f.deaf = true
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("S", "y")
	h.pass(62 * time.Second)
	h.wantStatus("did not follow")
	if c := h.confirm(); c.Title != "Force off a?" || c.Focus != FocusNo {
		t.Fatalf("asked %q, focus %d", c.Title, c.Focus)
	}
	h.keys("y") // meant for what was on the screen before
	if f.vms[0].State == backend.Shutoff {
		t.Fatal("a key that was on its way elsewhere forced it off")
	}
	h.keys("tab", "enter")
	if f.vms[0].State != backend.Shutoff {
		t.Fatal("not forced off")
	}
}

func TestDeletingWantsTheName(t *testing.T) {
	f := newFakeHost("hv1", "-web1")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("U")
	h.text("web2")
	h.keys("enter", "tab", "tab", "enter") // yes is not armed
	if len(f.done) != 0 {
		t.Fatal("deleted by the wrong name")
	}
	h.keys("esc", "U")
	h.text("web1")
	h.keys("enter", "enter")
	if len(f.done) != 1 || f.done[0].Verb != backend.VerbUndefine || f.done[0].Delete.Storage {
		t.Fatalf("done: %+v", f.done)
	}
	h.pass(2 * time.Second)
	if h.names() != "" {
		t.Fatalf("still listed: %s", h.names())
	}
}

func TestReadOnlyRefusesEveryActionThatChanges(t *testing.T) {
	f := newFakeHost("hv1", "a", "-b")
	f.readOnly = true
	h := newHarness(t, Options{Hosts: hosts(f), ReadOnly: true, Editor: []string{"vi"}})
	for _, sel := range []string{"a", "b"} {
		h.app.VMs.SelectKey(f.vms[map[string]int{"a": 0, "b": 1}[sel]].Key())
		for i := range h.app.Actions() {
			x := &h.app.Actions()[i]
			if x.Group != GroupVM && x.Verb == "" && x.ID != "edit" && x.ID != "console" && x.ID != "autostart" {
				continue
			}
			if why := x.Disabled(h.app); why == "" {
				t.Errorf("%s on %s is not refused", x.ID, sel)
			}
		}
	}
	for i := range f.vms {
		for _, v := range backend.Verbs() {
			h.run(h.app.start(v.Verb, []backend.Key{f.vms[i].Key()}))
		}
	}
	if len(f.done) != 0 {
		t.Fatalf("done on a read-only host: %+v", f.done)
	}
}

func TestAKeyThatCannotActSaysWhy(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "-a"))})
	h.keys("S")
	h.wantStatus("a is shut off")
	h.keys("Z")
	h.wantStatus("does nothing here")
	h.keys("2", "s")
	h.wantStatus("not on this screen")
}

func TestRenameChecksTheNameAndCanBeUndone(t *testing.T) {
	f := newFakeHost("hv1", "-a", "-b")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("f2", "backspace")
	h.text("b")
	h.keys("enter")
	if p, ok := h.app.Overlays[0].(*Prompt); !ok || p.Err == nil {
		t.Fatal("a name that is taken was accepted")
	}
	h.keys("backspace")
	h.text("c")
	h.keys("enter")
	if f.vms[0].Name != "c" {
		t.Fatalf("renamed to %q", f.vms[0].Name)
	}
	h.pass(2 * time.Second)
	h.keys("u")
	if f.vms[0].Name != "a" {
		t.Fatalf("undone to %q", f.vms[0].Name)
	}
}

func TestPalette(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "a", "b")), Themes: []string{"dark", "light"}})
	h.keys(":")
	h.text("them")
	if m := h.app.Palette.Matches; len(m) == 0 || m[0].Text != "theme " {
		t.Fatalf("completions of them: %+v", m)
	}
	h.keys("tab")
	h.text("li")
	h.keys("tab", "enter")
	if h.app.Theme != "light" {
		t.Fatalf("theme %q, status %q", h.app.Theme, h.status())
	}
	h.keys(":")
	h.text("sort cpu asc")
	h.keys("enter")
	if h.app.VMs.SortBy != "cpu" || h.app.VMs.Desc {
		t.Fatalf("sorted by %s desc %t", h.app.VMs.SortBy, h.app.VMs.Desc)
	}
	h.keys(":")
	h.text("destory")
	h.keys("enter")
	h.wantStatus("no command")
	h.keys(":")
	h.text("filter nosuchkey:1")
	h.keys("enter")
	h.wantStatus("nosuchkey")
}

func TestTheThemeMenuPreviewsAndEscBringsTheOldBack(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "a")), Themes: []string{"dark", "light"}, Settings: Settings{Theme: "dark"}})
	h.run(h.app.RunID("theme"))
	h.keys("j")
	if h.app.Theme != "light" {
		t.Fatal("no preview")
	}
	h.keys("esc")
	if h.app.Theme != "dark" {
		t.Fatal("esc kept the preview")
	}
}

func TestOnlyTheRowsOnScreenAreAskedForDearFigures(t *testing.T) {
	f := newFakeHost("hv1", "a", "b", "c", "d", "e")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.app.VMs.SetPage(2)
	h.pass(2 * time.Second)
	if len(f.asked) != 2 {
		t.Fatalf("asked for %d VMs, 2 are on screen", len(f.asked))
	}
	h.run(h.app.sortBy("disk_read"))
	h.pass(2 * time.Second)
	if len(f.asked) != 5 {
		t.Fatalf("sorted by a dear figure, asked for %d of 5", len(f.asked))
	}
}

func TestEventsShowAndCauseAnEarlyPoll(t *testing.T) {
	f := newFakeHost("hv1", "a")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.pass(2 * time.Second)
	before := f.polls
	closed := make(chan backend.Event)
	close(closed)
	h.send(eventsMsg{host: "hv1", ch: closed, events: []backend.Event{{Host: "hv1", UUID: f.vms[0].UUID, Name: "a", What: "stopped", Detail: "destroyed", At: h.now}}})
	h.pass(eventJoin)
	if f.polls == before {
		t.Fatal("no early poll after an event")
	}
	if e := h.app.Events.Entries(); len(e) != 1 || e[0].Text != "stopped (destroyed)" {
		t.Fatalf("events: %+v", e)
	}
}

func TestEveryActionIsDescribedAndNoKeyMeansTwoThings(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "a"))})
	ids := map[string]bool{}
	for i := range h.app.Actions() {
		x := &h.app.Actions()[i]
		if x.ID == "" || x.Label == "" || x.Help == "" || (x.Run == nil) == (x.Key == nil) {
			t.Errorf("action %q is not whole", x.ID)
		}
		if ids[x.ID] {
			t.Errorf("two actions are called %s", x.ID)
		}
		ids[x.ID] = true
	}
	for s := ScreenVMs; s <= ScreenConnect; s++ {
		for k, xs := range h.app.byKey {
			n := 0
			for _, x := range xs {
				if x.on(s) {
					n++
				}
			}
			if n > 1 {
				t.Errorf("%s means %d things on the screen %s", k, n, s)
			}
		}
	}
}

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

func TestSSHArgumentsCannotBeMadeByAGuest(t *testing.T) {
	r := &Row{VM: backend.VM{Addresses: []string{"-oProxyCommand=evil", "fe80::1", "10.0.0.7"}}}
	if got := guestAddress(r); got != "10.0.0.7" {
		t.Fatalf("address %q", got)
	}
	got := strings.Join(sshArgs("qemu+ssh://root@hv1:2222/system", "me", "10.0.0.7"), " ")
	if got != "-J root@hv1:2222 -l me -- 10.0.0.7" {
		t.Fatalf("ssh %s", got)
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

func TestCopyUsesOSC52(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "a"))})
	h.keys("y", "n")
	if !strings.HasPrefix(h.term.written.String(), "\x1b]52;c;YQ==") {
		t.Fatalf("written %q", h.term.written.String())
	}
}

func TestKeysThatArriveTogetherAreTakenOneByOne(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "a", "b"))})
	h.keys(":sort cpu")
	if h.app.Palette == nil || h.app.Palette.Input.Value() != "sort cpu" {
		t.Fatalf("palette: %+v", h.app.Palette)
	}
	h.keys("esc", "2G")
	if h.app.Screen != ScreenHosts {
		t.Fatalf("on %s", h.app.Screen)
	}
}

func TestWhenNoHostAnswersThePageSaysWhyUntilOneDoes(t *testing.T) {
	f := newFakeHost("hv1", "a")
	f.pollErr = backend.ErrUnreachable
	h := newHarness(t, Options{Hosts: hosts(f)})
	if h.app.Screen != ScreenConnect || len(h.app.Failures()) != 1 || h.app.Failures()[0].URI != "fake:///hv1" {
		t.Fatalf("on %s, failures %+v", h.app.Screen, h.app.Failures())
	}
	f.pollErr = nil
	h.keys("r")
	if h.app.Screen != ScreenVMs || h.names() != "a" {
		t.Fatalf("on %s with %q", h.app.Screen, h.names())
	}
	f.pollErr = backend.ErrUnreachable // a host that has answered keeps its rows
	h.pass(5 * time.Second)
	if h.app.Screen != ScreenVMs || h.names() != "a" {
		t.Fatalf("on %s with %q", h.app.Screen, h.names())
	}
}

func TestSelectionComesBackAfterAFilter(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "a", "b", "c"))})
	h.keys("G", "/a", "esc")
	if r := h.app.VMs.Selected(); r.Name != "c" {
		t.Fatalf("c was selected, now %s is", r.Name)
	}
}

func TestAnUnaskedVerbNeverHitsTheVMThatSlidUnderTheCursor(t *testing.T) {
	f := newFakeHost("hv1", "a", "b", "c")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.run(h.app.filter("state:running"))
	h.keys("j", "p") // b pauses and leaves the list
	h.pass(2 * time.Second)
	h.keys("p") // meant to resume b
	if len(f.done) != 1 {
		t.Fatalf("done: %+v", f.done)
	}
	h.wantStatus("b left the list; this is c")
	h.keys("p")
	if len(f.done) != 2 || f.done[1].Name != "c" {
		t.Fatalf("done: %+v", f.done)
	}
}

func TestTheActionMenuActsOnWhatItWasOpenedFor(t *testing.T) {
	f := newFakeHost("hv1", "a", "b")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("a")
	f.vms = f.vms[1:] // a vanishes
	h.pass(2 * time.Second)
	h.keys("p")
	if len(f.done) != 0 {
		t.Fatalf("the menu for a acted on %s", f.done[0].Name)
	}
	h.wantStatus("the selection has changed")
}

func TestAShutdownNobodyCouldWatchIsNotCalledIgnored(t *testing.T) {
	f := newFakeHost("hv1", "a")
	f.deaf = true
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("S", "y")
	f.pollErr = backend.ErrUnreachable
	h.pass(3 * time.Minute)
	if len(h.app.Overlays) != 0 || len(h.app.Tasks.Active()) != 1 {
		t.Fatal("something is said about a VM that nobody can see")
	}
	f.vms[0].State, f.vms[0].ID = backend.Shutoff, -1
	f.pollErr = nil
	h.pass(10 * time.Second)
	if k := h.app.Tasks.All()[0]; k.State != TaskDone {
		t.Fatalf("state %d, %v", k.State, k.Err)
	}
}

func TestAVMThatStoppedAndStartedBetweenTwoPollsHasStopped(t *testing.T) {
	f := newFakeHost("hv1", "a")
	f.deaf = true
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("S", "y")
	f.vms[0].ID = 99
	h.pass(2 * time.Second)
	if k := h.app.Tasks.All()[0]; k.State != TaskDone {
		t.Fatalf("state %d, %v", k.State, k.Err)
	}
}

func TestAFilterByDearFiguresAsksForAllVMs(t *testing.T) {
	f := newFakeHost("hv1", "a", "b", "c", "d", "e")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.app.VMs.SetPage(2)
	for i := range f.vms {
		f.figureOf[f.vms[i].UUID] = backend.Figures{UUID: f.vms[i].UUID, AddressesAt: h.now, Addresses: []string{"10.0.0." + string(rune('1'+i))}}
	}
	h.run(h.app.filter("ip:10.0.0.5"))
	h.pass(3 * time.Second)
	if h.names() != "e" {
		t.Fatalf("shown: %q", h.names())
	}
}

func TestACounterReadAgainAtOnceDoesNotMakeARate(t *testing.T) {
	f := newFakeHost("hv1", "a")
	h := newHarness(t, Options{Hosts: hosts(f)})
	read := func(used time.Duration) { f.vms[0].CPU = backend.CPUCounter{At: h.now, Used: used} }
	read(time.Second)
	h.send(pollTick{host: "hv1", early: true})
	h.now = h.now.Add(time.Second)
	read(1500 * time.Millisecond)
	h.send(pollTick{host: "hv1", early: true})
	h.now = h.now.Add(20 * time.Millisecond)
	read(1520 * time.Millisecond) // a whole core, over 20 ms
	h.send(pollTick{host: "hv1", early: true})
	if cpu := h.app.VMs.Visible()[0].Rates.CPU; cpu < 49 || cpu > 51 {
		t.Fatalf("CPU %.0f %%, want 50", cpu)
	}
}

func TestAKeyOfOnesOwnReplacesWhatItDidBefore(t *testing.T) {
	f := newFakeHost("hv1", "a")
	h := newHarness(t, Options{Hosts: hosts(f), Keys: map[string]string{"help": "p", "mark": "space"}})
	h.keys("p")
	if len(f.done) != 0 || len(h.app.Overlays) != 1 {
		t.Fatal("p still pauses")
	}
	h.keys("esc", " ")
	if n, _ := h.app.VMs.Marks(); n != 1 {
		t.Fatal("space does not mark")
	}
}

func TestTheTrailIsWrittenBeforeTheEndAndNotForTheDemo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	for demo, want := range map[bool]int{true: 0, false: 1} {
		f := newFakeHost("hv1", "a")
		h := newHarness(t, Options{Hosts: hosts(f), Demo: demo, Trail: audit.Open(path, os.Getenv)})
		cmd, err := h.app.Tasks.Start(f.vms[0].Key(), backend.Action{Verb: backend.VerbSuspend, UUID: f.vms[0].UUID, Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		h.app.Quit()
		go cmd() // still under way, as Bubble Tea leaves commands
		if err := h.app.Close(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		b, _ := os.ReadFile(path)
		if n := strings.Count(string(b), "\n"); n != want {
			t.Fatalf("demo %t: %d entries, want %d:\n%s", demo, n, want, b)
		}
		_ = os.Remove(path)
	}
}

func TestConnectingTwiceToOneHostIsRefused(t *testing.T) {
	f := newFakeHost("hv1", "a")
	made := 0
	h := newHarness(t, Options{Hosts: hosts(f), Connect: func(uri string, names []string) (backend.Host, error) {
		made++
		n := newFakeHost("hv2", "b")
		return n, nil
	}})
	h.keys(":connect fake:///hv1", "enter")
	h.wantStatus("connected already")
	h.keys(":connect fake:///hv2", "enter", ":connect fake:///hv2", "enter")
	h.wantStatus("connected already")
	if made != 1 || len(h.app.Fleet.Hosts()) != 2 {
		t.Fatalf("%d connections made, %d hosts", made, len(h.app.Fleet.Hosts()))
	}
}

func TestForceOffIsAllowedWhileAShutdownIsWaitedFor(t *testing.T) {
	f := newFakeHost("hv1", "a")
	f.deaf = true
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("S", "y", "D", "y")
	h.pass(2 * time.Second)
	if f.vms[0].State != backend.Shutoff || len(h.app.Tasks.Active()) != 0 {
		t.Fatalf("done: %+v", f.done)
	}
	if k := h.app.Tasks.All()[0]; !errors.Is(k.Err, errReplaced) {
		t.Fatalf("the shutdown ended with %v", k.Err)
	}
}

func TestAMarkThatIsNotShownIsNotActedOn(t *testing.T) {
	f := newFakeHost("hv1", "a", "b")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys(" ")
	h.run(h.app.filter("b"))
	h.keys("p")
	if len(f.done) != 1 || f.done[0].Name != "b" {
		t.Fatalf("done: %+v", f.done)
	}
}

func TestAWrongFilterIsRefusedAndTheLastOneStays(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "a", "b"))})
	h.keys("/a", "enter", "/nosuch:1", "enter")
	if h.app.Line == nil {
		t.Fatal("the line closed on a filter that means nothing")
	}
	h.keys("esc")
	if text, err := h.app.VMs.Filter(); text != "a" || err != nil || h.names() != "a" {
		t.Fatalf("filter %q %v, shown %q", text, err, h.names())
	}
	h.keys(":filter nosuch:1", "enter")
	if text, _ := h.app.VMs.Filter(); text != "a" {
		t.Fatalf("filter %q", text)
	}
}

func TestHostsAndBack(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "a"), newFakeHost("hv2", "b"))})
	h.run(h.app.filter("!x"))
	h.keys("2", "j", "enter")
	if h.names() != "b" {
		t.Fatalf("shown: %q", h.names())
	}
	h.keys("q")
	if h.quit || h.app.Screen != ScreenHosts {
		t.Fatalf("on %s, quit %t", h.app.Screen, h.quit)
	}
	if text, _ := h.app.VMs.Filter(); text != "!x" {
		t.Fatalf("filter %q", text)
	}
}

func TestAHostThatGoesAndComesIsInTheEvents(t *testing.T) {
	f := newFakeHost("hv1", "a")
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.pass(2 * time.Second)
	f.pollErr = backend.ErrUnreachable
	h.pass(3 * time.Second)
	f.pollErr = nil
	h.pass(8 * time.Second)
	var what []string
	for _, e := range h.app.Events.Entries() {
		what = append(what, e.Text)
	}
	if got := strings.Join(what, "; "); !strings.HasPrefix(got, "does not answer (host unreachable); answers again (after ") {
		t.Fatalf("events: %s", got)
	}
}

func TestThePaletteRemembers(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "a"))})
	h.keys(":sort cpu", "enter", ":bogus", "enter", ":", "up")
	if got := h.app.Palette.Input.Value(); got != "bogus" {
		t.Fatalf("up brings %q", got)
	}
	h.keys("up", "up", "down")
	if got := h.app.Palette.Input.Value(); got != "bogus" {
		t.Fatalf("%q", got)
	}
}

func TestDeletingNamesTheStorage(t *testing.T) {
	f := newFakeHost("hv1", "-a")
	f.detail.Disks = []backend.DiskDetail{{Target: "vda", Device: "disk", Source: "/img/a.qcow2", Capacity: 1 << 30}, {Target: "sda", Device: "cdrom", Source: "/img/cd.iso", ReadOnly: true}}
	h := newHarness(t, Options{Hosts: hosts(f)})
	h.keys("U")
	c := h.confirm()
	if len(c.Choices) != 1 || !strings.Contains(c.Choices[0].Label, "/img/a.qcow2 (1.0G)") || strings.Contains(c.Choices[0].Label, "cd.iso") || c.Choices[0].On {
		t.Fatalf("choices: %+v", c.Choices)
	}
	h.keys("tab", "tab") // round to the switch
	for c.Focus != 0 {
		h.keys("tab")
	}
	h.keys(" ", "tab", "a", "enter", "enter")
	if len(f.done) != 1 || !f.done[0].Delete.Storage {
		t.Fatalf("done: %+v", f.done)
	}
}
