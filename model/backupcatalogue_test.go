package model

import (
	"slices"
	"testing"
	"time"

	"berth/backend"
)

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

func TestTheListOfVMsFiltersAndSortsByBackup(t *testing.T) {
	h, _, _ := backupHarness(t, func(b *fakeBackups, s *fakeStore, o *Options) {
		o.Settings.Columns = DefaultColumnIDs() // as the command line fills them in
		b.state.Points = []backend.Point{point("1", vmA(), backupNow, 3), point("2", vmB(), backupNow, 90)}
	})
	h.keys("1")
	for expr, want := range map[string]string{"backup:none": "c", "backup:old,none": "b c", "backup:fresh": "a", "!backup:fresh": "b c", "": "a b c",
		"backup_age<4h": "a", "backup_age>4h": "b", "!backup_age>4h": "a"} {
		h.run(h.app.filter(expr))
		if h.names() != want {
			t.Errorf("%q shows %q, want %q", expr, h.names(), want)
		}
	}
	h.run(h.app.filter(""))
	if !slices.Contains(h.app.VMs.Columns, "backup") {
		t.Errorf("backups are made here and the list shows %v", h.app.VMs.Columns)
	}
	h.run(h.app.Command("columns name,cpu"))
	h.pass(30 * time.Second)
	if slices.Contains(h.app.VMs.Columns, "backup") {
		t.Error("a column that a person took away came back")
	}
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
