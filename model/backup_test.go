package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

var backupNow = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC) // the harness begins then

// backupHarness has one host with storage, whose VMs are a, b and the one that
// is off, c, and shows the transfers.
func backupHarness(t *testing.T, change func(*fakeBackups, *fakeStore, *Options), transfers ...backend.Transfer) (*harness, *fakeBackups, *fakeStore) {
	t.Helper()
	s := newFakeStore(newFakeHost("hv1", "a", "b", "-c"))
	b := newFakeBackups(backupNow, transfers...)
	opt := Options{Hosts: []backend.Host{s}, Backups: b}
	if change != nil {
		change(b, s, &opt)
	}
	h := newHarness(t, opt)
	h.pass(2 * time.Second)
	h.keys("5")
	return h, b, s
}

// the VMs of the harness, before it is made.
func vmA() backend.VM { return newFakeHost("hv1", "a", "b", "-c").vms[0] }
func vmB() backend.VM { return newFakeHost("hv1", "a", "b", "-c").vms[1] }
func vmC() backend.VM { return newFakeHost("hv1", "a", "b", "-c").vms[2] }

func TestAnOldAnswerOfTheBackupsIsDropped(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	gen := h.app.Backups.gen
	h.keys("ctrl+r")
	h.run(h.app.refreshAll())
	old := b.state
	old.Transfers, old.Revision = nil, 99
	h.send(backupsMsg{gen: gen, state: old})
	if h.app.Backups.Transfer(1) == nil {
		t.Fatal("an answer to a question that was given up was shown")
	}
	b.state.Revision = 5
	h.pass(2 * time.Second)
	older := b.state
	older.Revision, older.Transfers = 4, nil
	h.send(backupsMsg{gen: h.app.Backups.gen, state: older})
	if h.app.Backups.Transfer(1) == nil {
		t.Fatal("an older state replaced a newer one")
	}
}

func TestBackupsAreAskedRarelyWhileNobodyLooks(t *testing.T) {
	h, b, s := backupHarness(t, nil)
	if b.patience > backupsPace.wait {
		t.Errorf("waits %s for a change while shown", b.patience)
	}
	h.keys("1")
	h.pass(time.Minute)
	before := b.asked
	h.pass(30 * time.Second)
	if n := b.asked - before; n > 11 || n < 2 {
		t.Errorf("asked %d times in half a minute that nobody looks", n)
	}
	if b.patience < backupsPace.wait {
		t.Errorf("waits %s for a change while hidden", b.patience)
	}
	_ = s
}

func TestFailingBackupsKeepTheLastDataAndSayWhy(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	b.err = errors.New("database is locked")
	h.pass(5 * time.Second)
	if s := h.app.Backups; s.Err == nil || s.Transfer(1) == nil {
		t.Fatalf("err %v, transfer %v", s.Err, s.Transfer(1))
	}
	if _, stale := h.app.Backups.Stale(); !stale {
		t.Error("figures that cannot be had look fresh")
	}
	h.keys("p") // and what is known can be acted on
	b.err = nil
	h.pass(15 * time.Second)
	if h.app.Backups.Err != nil {
		t.Error("it answers again, and the error stays")
	}
}

func TestPauseResumeAndUndo(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()), transfer(2, backend.TransferBackup, backend.TransferDone, vmB()))
	h.keys("p")
	h.wantStatus("backup of a: paused (u undoes it)")
	h.keys("u")
	h.wantStatus("goes on")
	h.keys("l")
	h.text("x")
	if p := h.app.Overlays[0].(*Prompt); p.Err == nil {
		t.Error("x is no limit")
	}
	h.keys("backspace")
	h.text("50M")
	h.keys("enter")
	h.wantStatus("at most 50M/s")
	h.keys("u")
	h.wantStatus("no limit")
	if got := strings.Join(b.done, "; "); got != "[1] pause; [1] resume; [1] limit=52428800; [1] limit=0" {
		t.Fatalf("done: %s", got)
	}
	h.keys("j", "p")
	h.wantStatus("it has ended")
	h.keys("R")
	h.wantStatus("it ended well")
}

func TestCancelAsksAndActsOnWhatWasMeant(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()), transfer(2, backend.TransferBackup, backend.TransferRunning, vmB()))
	h.keys("c", "enter") // No
	if len(b.done) != 0 {
		t.Fatalf("enter on the default did %v", b.done)
	}
	h.keys("c")
	b.edit(func(st *backend.BackupsState) { st.Transfers[0].State = backend.TransferDone })
	h.pass(2 * time.Second)
	h.keys("y")
	h.wantStatus("nothing is left")
	h.keys(" ", " ", "c") // both are marked
	if c := h.confirm(); len(c.Names) != 2 || !strings.Contains(strings.Join(c.Names, " "), "left out: a: it has ended") {
		t.Fatalf("asked about %q", c.Names)
	}
	h.keys("y")
	if got := strings.Join(b.done, "; "); got != "[2] cancel" {
		t.Fatalf("done: %s", got)
	}
}

func TestASelectedTransferThatGoesIsNotReplacedSilently(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()), transfer(2, backend.TransferBackup, backend.TransferRunning, vmB()))
	h.keys("j")
	b.edit(func(st *backend.BackupsState) { st.Transfers = st.Transfers[:1] })
	h.pass(2 * time.Second)
	h.keys("p")
	if len(b.done) != 0 {
		t.Fatalf("p acted on another transfer: %v", b.done)
	}
	h.wantStatus("left the list")
	h.keys("p")
	if got := strings.Join(b.done, "; "); got != "[1] pause" {
		t.Fatalf("done: %s", got)
	}
}

func TestAFailureIsToldOnceWithItsReason(t *testing.T) {
	h, b, _ := backupHarness(t, nil, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	b.edit(func(st *backend.BackupsState) {
		st.Transfers[0].State, st.Transfers[0].Words = backend.TransferFailed, "no space\x1b[31m left"
	})
	h.pass(2 * time.Second)
	h.wantStatus("backup of a: failed: no space�[31m left")
	n := 0
	for _, e := range h.app.Events.Entries() {
		if strings.Contains(e.Text, "no space") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("told %d times in the events", n)
	}
	if r := h.app.Backups.SelectedRow(); h.app.NextStep(r.Transfer) != "R tries it again" {
		t.Errorf("next step: %q", h.app.NextStep(r.Transfer))
	}
}

func TestReadOnlyAndMissingBackupsSayWhyNothingCanBeDone(t *testing.T) {
	h, b, s := backupHarness(t, func(_ *fakeBackups, s *fakeStore, o *Options) {
		o.ReadOnly, s.readOnly = true, true
		s.jobs = []backend.DomainJob{{Host: "hv1", VM: vmB().UUID, Name: "b", Kind: "backup"}}
		s.image("x.qcow2")
	}, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	for _, k := range []string{"p", "l", "c", "v", "b", "R", "E"} {
		h.keys(k)
		h.wantStatus("read-only")
	}
	h.keys("j", "c")
	h.wantStatus("read-only")
	h.keys("6")
	for _, k := range []string{"c", "C", "n", "o", "s", "D", "R"} {
		h.keys(k)
		h.wantStatus("read-only")
	}
	h.keys("tab")
	for _, k := range []string{"s", "S", "r", "n", "A", "U"} {
		h.keys(k)
		h.wantStatus("read-only")
	}
	if len(b.done)+len(s.said) != 0 {
		t.Fatalf("done %v %v", b.done, s.said)
	}
	h, _, _ = backupHarness(t, func(_ *fakeBackups, _ *fakeStore, o *Options) {
		o.Backups, o.BackupsErr = nil, errors.New("no database here")
	})
	h.keys("b")
	h.wantStatus("no database here")
}

func TestJobsOfOthersShowAndCanBeEnded(t *testing.T) {
	h, _, s := backupHarness(t, func(_ *fakeBackups, s *fakeStore, _ *Options) {
		s.jobs = []backend.DomainJob{
			{Host: "hv1", VM: vmB().UUID, Name: "b", Kind: "block-copy", Disk: "vda", Done: 100, Total: 1000, At: backupNow},
			{Host: "hv1", VM: vmA().UUID, Name: "a", Kind: "backup", Mine: true},
		}
	}, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	if all, _ := h.app.Backups.Counts(SectionRunning); all != 2 {
		t.Fatalf("%d under way: berth's own job is its transfer, not a second line", all)
	}
	s.jobs[0].Done, s.jobs[0].At = 600, backupNow.Add(5*time.Second)
	h.pass(3 * time.Second)
	h.keys("G")
	r := h.app.Backups.SelectedRow()
	if r.Job == nil || r.Job.Rate != 100 {
		t.Fatalf("selected %+v", r)
	}
	h.keys("p")
	h.wantStatus("somebody else started it")
	h.keys("c")
	if c := h.confirm(); !c.Danger || !strings.Contains(c.Body[0], "Berth did not start it") {
		t.Fatalf("asked %+v", c)
	}
	h.keys("y")
	if got := strings.Join(s.said, "; "); got != "abort block-copy of b" {
		t.Fatalf("said: %s", got)
	}
	h.pass(3 * time.Second)
	if all, _ := h.app.Backups.Counts(SectionRunning); all != 1 {
		t.Errorf("%d under way after it was ended", all)
	}
}

func TestLeftoversAreOfferedUnlessTheyMayBeInUse(t *testing.T) {
	h, b, s := backupHarness(t, func(_ *fakeBackups, s *fakeStore, _ *Options) {
		s.left = []backend.Leftover{
			{Host: "hv1", VM: vmA().UUID, Name: "a", Kind: "scratch", What: "/pool/a.scratch", Size: 1 << 20},
			{Host: "hv1", VM: vmB().UUID, Name: "b", Kind: "checkpoint", What: "berth-1"},
		}
	}, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	if l := h.app.Backups.Leftovers(); len(l) != 1 || l[0].Name != "b" {
		t.Fatalf("offered: %+v", l)
	}
	h.keys("L", "n")
	if len(s.said) != 0 {
		t.Fatalf("No did %v", s.said)
	}
	h.keys("L")
	b.edit(func(st *backend.BackupsState) {
		st.Transfers = append(st.Transfers, transfer(2, backend.TransferBackup, backend.TransferRunning, vmB()))
	})
	h.pass(2 * time.Second)
	h.keys("y") // b is being backed up meanwhile
	h.wantStatus("nothing is left over any more")
	b.edit(func(st *backend.BackupsState) { st.Transfers = nil })
	h.pass(2 * time.Second)
	h.keys("L", "y")
	if len(s.said) != 2 {
		t.Fatalf("said: %v", s.said)
	}
}

func TestALostEngineIsStartedAgainOnceAMinute(t *testing.T) {
	h, b, _ := backupHarness(t, func(b *fakeBackups, _ *fakeStore, _ *Options) {
		b.state.Engine, b.doErr = backend.EngineState{Lost: true}, errors.New("cannot fork")
	}, transfer(1, backend.TransferBackup, backend.TransferRunning, vmA()))
	h.pass(30 * time.Second)
	if got := strings.Join(b.done, " "); got != "engine" {
		t.Fatalf("done: %s", got)
	}
	b.doErr = nil
	h.pass(time.Minute)
	if !h.app.Backups.State.Engine.Running {
		t.Fatal("the engine was not started again")
	}
}

func TestFreshness(t *testing.T) {
	a, bb, c := vmA(), vmB(), vmC()
	for _, tt := range []struct {
		name      string
		points    []backend.Point
		schedules []backend.Schedule
		want      Freshness
		text      string
	}{
		{"none", nil, nil, FreshNone, "! none"},
		{"fresh", []backend.Point{point("1", a, backupNow, 3)}, nil, FreshOK, "3h0m"},
		{"old", []backend.Point{point("1", a, backupNow, 30)}, nil, FreshOld, "! 1d6h"},
		{"damaged", []backend.Point{broken(point("1", a, backupNow, 3))}, nil, FreshDamaged, "! damaged"},
		{"an older good one counts", []backend.Point{broken(point("1", a, backupNow, 3)), point("2", a, backupNow, 9)}, nil, FreshOK, "9h0m"},
		{"the schedule's own limit", []backend.Point{point("1", a, backupNow, 3)}, []backend.Schedule{{All: true, Cron: "@daily", Fresh: 2 * time.Hour}}, FreshOld, "! 3h0m"},
		{"twice the schedule's interval", []backend.Point{point("1", a, backupNow, 40)}, []backend.Schedule{{All: true, Cron: "0 2 * * *"}}, FreshOK, "1d16h"},
		{"a weekend in the interval", []backend.Point{point("1", a, backupNow, 95)}, []backend.Schedule{{VMs: []backend.Key{a.Key()}, Cron: "0 2 * * 1-5"}}, FreshOK, "3d23h"},
		{"a disabled schedule promises nothing", []backend.Point{point("1", a, backupNow, 40)}, []backend.Schedule{{All: true, Cron: "@weekly", Disabled: true}}, FreshOld, "! 1d16h"},
		{"another host's schedule", []backend.Point{point("1", a, backupNow, 40)}, []backend.Schedule{{All: true, Hosts: []string{"hv9"}, Cron: "@weekly"}}, FreshOld, "! 1d16h"},
		{"of another VM", []backend.Point{point("1", bb, backupNow, 1), point("2", c, backupNow, 1)}, nil, FreshNone, "! none"},
	} {
		h, _, _ := backupHarness(t, func(b *fakeBackups, _ *fakeStore, _ *Options) {
			b.state.Points, b.state.Schedules = tt.points, tt.schedules
		})
		row := h.app.Fleet.Row(a.Key())
		if got := row.Backup; got.Fresh != tt.want || got.Text(backupNow) != tt.text {
			t.Errorf("%s: %s %q, want %s %q", tt.name, got.Fresh, got.Text(backupNow), tt.want, tt.text)
		}
	}
	h, b, _ := backupHarness(t, func(b *fakeBackups, _ *fakeStore, _ *Options) { b.state.Repos = nil })
	if n := h.app.Backups.NotFresh; n != 0 {
		t.Errorf("%d VMs stand out though nobody makes backups here", n)
	}
	b.edit(func(st *backend.BackupsState) {
		st.Points = []backend.Point{point("1", a, backupNow, 25), point("2", bb, backupNow, 1), point("3", c, backupNow, 1)}
	})
	h.pass(2 * time.Second)
	if n := h.app.Backups.NotFresh; n != 0 {
		t.Errorf("%d stand out at first", n)
	}
	h.pass(2 * time.Hour) // points age though nothing changes
	if n := h.app.Backups.NotFresh; n != 1 {
		t.Errorf("%d stand out after two hours", n)
	}
}

func broken(p backend.Point) backend.Point {
	p.Damaged = "chunk 9c41"
	return p
}

func TestTheCatalogueOrdersByNeedAndKeepsVMsThatAreGone(t *testing.T) {
	gone := vmA()
	gone.Name, gone.UUID[5] = "gone", 9
	h, _, _ := backupHarness(t, func(b *fakeBackups, _ *fakeStore, _ *Options) {
		b.state.Points = []backend.Point{point("1", vmA(), backupNow, 3), point("2", vmB(), backupNow, 90), point("3", gone, backupNow, 900)}
	})
	h.keys("tab")
	names := func() (out string) {
		c := &h.app.Backups.Catalogue
		for i := range c.Len() {
			out += c.VM(i).Name + " "
		}
		return out
	}
	if got := names(); got != "c b a gone " {
		t.Fatalf("by need: %s", got)
	}
	h.keys(">")
	if got := names(); got != "a b c gone " {
		t.Fatalf("by name: %s", got)
	}
	h.keys("/")
	h.text("is:old")
	if got := names(); got != "b " {
		t.Fatalf("is:old shows %s", got)
	}
	h.keys("esc", "/")
	h.text("!is:gone vm:?")
	h.keys("enter")
	if got := names(); got != "a b c " {
		t.Fatalf("shown: %s", got)
	}
	h.keys("esc")
	h.keys("enter")
	if h.app.Screen != ScreenPoints {
		t.Fatalf("enter leads to %s", h.app.Screen)
	}
	h.keys("esc")
	if h.app.Screen != ScreenCatalogue {
		t.Fatalf("esc leads to %s", h.app.Screen)
	}
	h.keys("esc")
	if h.app.Screen != ScreenVMs {
		t.Fatalf("esc leads to %s", h.app.Screen)
	}
}

func TestZoomAndShiftKeepNowUntilMoved(t *testing.T) {
	h, _, _ := backupHarness(t, func(b *fakeBackups, _ *fakeStore, _ *Options) {
		b.state.Points = []backend.Point{point("1", vmA(), backupNow, 24*20)}
	})
	h.keys("tab")
	c := &h.app.Backups.Catalogue
	from, to := c.Window(h.now)
	if h.now.Before(from) || h.now.After(to) || from.After(backupNow.Add(-20*24*time.Hour)) {
		t.Fatalf("the first window is %s to %s", from, to)
	}
	h.keys("+", "+")
	from2, to2 := c.Window(h.now)
	if to2.Sub(from2) >= to.Sub(from) || h.now.Before(from2) || h.now.After(to2) {
		t.Fatalf("zoomed in: %s to %s", from2, to2)
	}
	h.keys("left", "left", "left", "left", "left")
	middle := func() time.Time { f, t := c.Window(h.now); return f.Add(t.Sub(f) / 2) }
	was := middle()
	h.keys("-")
	if d := middle().Sub(was); d.Abs() > time.Minute {
		t.Errorf("zooming moved the middle by %s", d)
	}
	for range 40 {
		h.keys("-")
	}
	h.keys("0")
	if f, to := c.Window(h.now); h.now.Before(f) || h.now.After(to) {
		t.Error("0 does not bring now back")
	}
}

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

func TestSchedules(t *testing.T) {
	h, b, _ := backupHarness(t, nil)
	h.keys("shift+tab", "n")
	f := h.app.Overlays[0].(*Form)
	f.Field("name").Input.SetValue("nightly")
	f.Focus = 1
	h.text("x")
	if f.Field("cron").Err == nil {
		t.Error("0 2 * * *x is taken for a time")
	}
	h.keys("backspace")
	f.Focus = 2
	h.text("x")
	if f.Field("which").Err == nil {
		t.Error("allx is taken for a VM")
	}
	h.keys("backspace")
	if !strings.Contains(f.Preview.Lines[0].Text, "3 VMs") || !strings.Contains(f.Preview.Lines[1].Text, "Tue 24 Nov 02:00") {
		t.Errorf("previewed %+v", f.Preview.Lines)
	}
	f.Focus = FocusYes
	h.keys("enter")
	if len(b.puts) != 1 || !b.puts[0].All || b.puts[0].Cron != "0 2 * * *" || b.puts[0].Keep.Daily != 7 || b.puts[0].Name != "nightly" {
		t.Fatalf("put %+v, status %q", b.puts, h.status())
	}
	h.keys("d")
	h.wantStatus("nightly: disabled (u undoes it)")
	h.keys("u")
	if n := len(b.puts); n != 3 || b.puts[1].Disabled != true || b.puts[2].Disabled {
		t.Fatalf("put %+v", b.puts)
	}
	h.keys("r", "y", "x", "enter", "x", "y")
	if got := strings.Join(b.done, "; "); got != "run 1; remove 1" {
		t.Fatalf("done: %s", got)
	}
	h.keys("e")
	f = h.app.Overlays[0].(*Form)
	f.Field("which").Input.SetValue("a, hv1/b")
	f.Focus = FocusYes
	h.keys("enter")
	if s := b.puts[len(b.puts)-1]; s.ID != 1 || s.All || len(s.VMs) != 2 || s.VMs[1].UUID != vmB().UUID {
		t.Fatalf("put %+v, status %q", s, h.status())
	}
}

func TestWhichVMsReadsWhatItWrites(t *testing.T) {
	h, _, _ := backupHarness(t, nil)
	for _, text := range []string{"all", "all on hv1", "tag:web", "tag:web on hv1", "a, b", "hv1/a"} {
		var c backend.Schedule
		if err := h.app.parseWhich(text, &c); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := WhichVMs(&c); got != text {
			t.Errorf("%q is written as %q", text, got)
		}
	}
	for _, text := range []string{"", "nosuch", "tag:", "all on", "all on hv9", "a on hv1", ","} {
		if err := h.app.parseWhich(text, &backend.Schedule{}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestKeepAndSizesAreReadAsTheyAreWritten(t *testing.T) {
	for _, text := range []string{"", "last=3", "last=3 daily=7 within=30d tag=gold tag=b", "weekly 4, yearly=1"} {
		r, err := parseKeep(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		f := &Form{Fields: keepFields(r)}
		if back, err := keepOf(f); err != nil || fmt.Sprint(back) != fmt.Sprint(r) {
			t.Errorf("%q: %+v, then %+v, %v", text, r, back, err)
		}
	}
	for _, text := range []string{"last", "last=x", "nosuch=3", "last=-1"} {
		if _, err := parseKeep(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	for _, n := range []int64{0, 5000, 4096, 50 << 20, 1<<30 + 1} {
		if back, err := parseLimit(limitText(n)); err != nil || back != n {
			t.Errorf("%d is %q, read as %d, %v", n, limitText(n), back, err)
		}
	}
	if _, err := parseLimit("50"); err == nil {
		t.Error("50 bytes a second are taken")
	}
	for text, want := range map[string]float64{"": 0, "5%": 5, "0.5": 0.5, "100": 0} {
		if got, err := parseSample(text); err != nil || got != want {
			t.Errorf("sample %q: %g, %v", text, got, err)
		}
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

func TestARemovedScheduleComesBack(t *testing.T) {
	h, b, _ := backupHarness(t, func(b *fakeBackups, _ *fakeStore, _ *Options) {
		b.state.Schedules = []backend.Schedule{{ID: 7, Name: "nightly", Cron: "@daily", All: true}}
	})
	h.keys("shift+tab", "x", "y")
	h.wantStatus("nightly: removed (u undoes it)")
	h.keys("u")
	if len(b.puts) != 1 || b.puts[0].ID != 0 || b.puts[0].Name != "nightly" || !b.puts[0].All {
		t.Fatalf("put %+v", b.puts)
	}
}

func TestTheListOfVMsFiltersAndSortsByBackup(t *testing.T) {
	h, _, _ := backupHarness(t, func(b *fakeBackups, s *fakeStore, _ *Options) {
		b.state.Points = []backend.Point{point("1", vmA(), backupNow, 3), point("2", vmB(), backupNow, 90)}
	})
	h.keys("1")
	for expr, want := range map[string]string{"backup:none": "c", "backup:old,none": "b c", "backup:fresh": "a", "!backup:fresh": "b c", "": "a b c"} {
		h.run(h.app.filter(expr))
		if h.names() != want {
			t.Errorf("%q shows %q, want %q", expr, h.names(), want)
		}
	}
	h.run(h.app.filter(""))
	h.run(h.app.Command("sort backup desc"))
	if got := h.names(); got != "c b a" {
		t.Errorf("by backup: %s", got)
	}
}

func TestAVMWithoutDisksNeedsNoBackup(t *testing.T) {
	h, _, _ := backupHarness(t, func(_ *fakeBackups, s *fakeStore, _ *Options) { s.vms[1].Disks = 0 })
	if got := h.app.Fleet.Row(h.app.VMs.Visible()[1].Key()).Backup; got.Fresh != FreshUnused || h.app.Backups.NotFresh != 2 {
		t.Errorf("b is %q, %d stand out", got.Fresh, h.app.Backups.NotFresh)
	}
}
