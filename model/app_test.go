package model

import (
	"strings"
	"testing"
	"time"

	"berth/backend"
)

func hosts(hs ...*fakeHost) []backend.Host {
	out := make([]backend.Host, len(hs))
	for i, h := range hs {
		out[i] = h
	}
	return out
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

func TestAKeyThatCannotActSaysWhy(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "-a"))})
	h.keys("S")
	h.wantStatus("a is shut off")
	h.keys("W")
	h.wantStatus("does nothing here")
	h.keys("2", "s")
	h.wantStatus("not on this screen")
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
