package model

import (
	"fmt"
	"strings"
	"testing"

	"berth/backend"
)

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
