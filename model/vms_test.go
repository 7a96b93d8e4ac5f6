package model

import (
	"testing"
	"time"

	"berth/backend"
)

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

func TestSelectionComesBackAfterAFilter(t *testing.T) {
	h := newHarness(t, Options{Hosts: hosts(newFakeHost("hv1", "a", "b", "c"))})
	h.keys("G", "/a", "esc")
	if r := h.app.VMs.Selected(); r.Name != "c" {
		t.Fatalf("c was selected, now %s is", r.Name)
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

func TestFiguresRightAfterAPollDoNotMakeARate(t *testing.T) {
	at := time.Unix(1000, 0)
	r := &Row{VM: backend.VM{State: backend.Running, Disk: backend.DiskCounter{At: at, ReadBytes: 1 << 20}}, Rates: UnknownRates()}
	r.Rates.DiskRead = 5000
	r.TakeFigures(&backend.Figures{Disk: backend.DiskCounter{At: at.Add(200 * time.Microsecond), ReadBytes: 1<<20 + 4096}})
	if r.Rates.DiskRead != 5000 {
		t.Fatalf("one request in 200 µs reads as %.0f bytes a second", r.Rates.DiskRead)
	}
	r.TakeFigures(&backend.Figures{Disk: backend.DiskCounter{At: at.Add(time.Second), ReadBytes: 1<<20 + 4096}})
	if r.Rates.DiskRead != 4096 {
		t.Fatalf("%.0f bytes a second, want 4096", r.Rates.DiskRead)
	}
}
