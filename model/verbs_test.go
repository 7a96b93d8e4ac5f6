package model

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/backend/audit"
)

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

func TestAVMThatRunsElsewhereIsNotStarted(t *testing.T) {
	home, other := newFakeHost("hv1", "-a"), newFakeHost("hv2")
	roams := other.add("a", 1)
	roams.UUID = home.vms[0].UUID
	h := newHarness(t, Options{Hosts: hosts(home, other)})
	h.app.VMs.SelectKey(backend.Key{Host: "hv1", UUID: home.vms[0].UUID})
	for key, v := range map[string]backend.Verb{"s": backend.VerbStart, "P": backend.VerbStartPaused} {
		h.keys(key)
		h.wantStatus("a is running on hv2")
		if len(home.done) > 0 {
			t.Fatalf("%s was done: %+v", v, home.done)
		}
	}
	roams.State = backend.Shutoff
	h.pass(2 * time.Second)
	h.keys("s")
	if len(home.done) != 1 {
		t.Fatalf("it is off there now: %+v", home.done)
	}
}

func TestAHostThatDoesNotAnswerIsNoTwin(t *testing.T) {
	vm := backend.VM{Host: "hv1", Name: "a", UUID: backend.UUID{1}}
	twin := Row{VM: backend.VM{Host: "hv2", Name: "a", UUID: backend.UUID{1}, State: backend.Paused}}
	check := func(v backend.Verb) error { return CheckTwin(v, &vm, slices.Values([]*Row{{VM: vm}, &twin})) }
	if err := check(backend.VerbRestore); !errors.Is(err, ErrTwin) {
		t.Errorf("restoring beside a paused twin: %v", err)
	}
	if err := check(backend.VerbAutostartOn); err != nil {
		t.Errorf("what starts nothing is refused: %v", err)
	}
	if twin.HostDown = true; check(backend.VerbStart) != nil {
		t.Error("nothing can replace a VM of a lost host")
	}
}
