package model

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

func TestQueueWhatIfShowsAndApplies(t *testing.T) {
	h, q := queueHarness(t, func(q *fakeQueue, _ *Options) {
		q.think = func(h backend.Hypothesis, st backend.QueueState) backend.QueueState {
			if h.Policy != nil {
				st.Jobs[2].ETA, st.Jobs[3].ETA = st.Jobs[3].ETA, st.Jobs[2].ETA
				st.Jobs[4].ETA = time.Time{}
			}
			return st
		}
	})
	h.keys("j", "j", "w")
	f := h.form()
	if f.Preview.Lines[0].Text != "nothing changes for the jobs that wait" {
		t.Fatalf("lines: %+v", f.Preview.Lines)
	}
	h.keys("right") // sjf→... whichever comes after hrrn
	if !f.Preview.Busy {
		t.Fatal("nothing is thought through")
	}
	h.pass(time.Second)
	got := map[string]string{}
	for i := range f.Preview.Shifts {
		got[f.Preview.Shifts[i].Job.Name] = f.Preview.Shifts[i].Text()
	}
	if got["w1"] != "10m later" || got["w2"] != "10m sooner" || got["w3"] != "no start known" {
		t.Fatalf("shifts: %v", got)
	}
	h.focus("priority")
	h.text("7x")
	if f.Wrong() == nil {
		t.Fatal("a wrong priority was accepted")
	}
	h.keys("backspace")
	h.focus("out")
	h.keys("right")
	h.pass(time.Second)
	last := q.hypo[len(q.hypo)-1]
	if last.Policy == nil || len(last.HostOut) != 1 || *last.Change.Priority != 7 || len(last.Jobs) != 1 {
		t.Fatalf("hypothesis: %+v", last)
	}
	h.keys("tab")
	if f.Focus != FocusNo {
		t.Fatalf("focus %d", f.Focus)
	}
	h.keys("right", "enter")
	if got := strings.Join(q.done, ";"); got != "policy priority easy;[3] priority=7 ;drain hv1 true" {
		t.Fatalf("done: %s", got)
	}
	h.wantStatus("hv1: drained")
}

func TestQueueWhatIfSaysNoByDefaultAndWhenNothingChanged(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("w")
	f := h.form()
	f.Focus = FocusYes
	h.keys("enter")
	h.wantStatus("nothing is changed yet")
	f.Focus = FocusNo
	h.keys("enter")
	if len(q.done) != 0 || len(h.app.Overlays) != 0 {
		t.Fatalf("done: %v", q.done)
	}
}

func TestQueuePreviewOfAnOlderFormIsNotShown(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("w", "right")
	f := h.form()
	h.send(previewMsg{form: f, version: f.Preview.Version - 1, base: &q.state, err: errors.New("old")})
	if f.Preview.Err != nil {
		t.Fatal("the answer to an older question is shown")
	}
	h.keys("esc")
	h.pass(time.Second) // the tick of the closed form
	for _, x := range q.hypo {
		if x.Policy != nil && len(h.app.Overlays) == 0 && f.Preview.Version == 0 {
			t.Fatal("a closed form thinks on")
		}
	}
}

func TestSubmitFormValidatesAndShowsWhereItLands(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("1", "ctrl+a", "Q")
	f := h.form()
	if len(f.Intro) != 2 || !strings.Contains(f.Intro[1], "c runs already") {
		t.Fatalf("intro: %q", f.Intro)
	}
	if l := f.Preview.Lines; len(l) < 2 || !strings.Contains(l[0].Text, "a: #9, starts") {
		t.Fatalf("lines: %+v", f.Preview.Lines)
	}
	for id, bad := range map[string]string{"priority": "0", "estimate": "soon", "begin": "yesterday", "after": "nosuch", "nice": "x"} {
		h.focus(id)
		x := f.Field(id)
		old := x.Input.Value()
		h.text(bad)
		if x.Err == nil && id != "priority" {
			t.Errorf("%s: %q was accepted", id, bad)
		}
		if id == "priority" && x.Err == nil { // 500
			t.Errorf("a priority of %s was accepted", x.Text())
		}
		x.Input.SetValue(old)
		x.Err = nil
	}
	for id, text := range map[string]string{"estimate": "2h30m", "limit": "4h", "begin": "+1h", "after": "w1,2", "tags": "web db"} {
		h.focus(id)
		h.text(text)
	}
	h.focus("host")
	h.keys("right")
	h.focus("hold")
	h.keys(" ")
	h.pass(time.Second)
	f.Focus = FocusYes
	h.keys("enter")
	if len(q.specs) != 2 {
		t.Fatalf("submitted %+v; status %q", q.specs, h.status())
	}
	s := q.specs[1]
	if s.Name != "b" || s.Priority != 50 || s.Estimate != 150*time.Minute || s.Limit != 4*time.Hour || !s.Begin.Equal(h.now.Add(time.Hour)) && s.Begin.Before(queueStart) ||
		fmt.Sprint(s.After) != "[3 2]" || !s.Hold || s.Host != "hv1" || fmt.Sprint(s.Tags) != "[web db]" {
		t.Fatalf("spec: %+v", s)
	}
}

func TestSubmitRefusesWhatCannotBeQueued(t *testing.T) {
	h, _ := queueHarness(t, func(q *fakeQueue, o *Options) {
		j := job(7, "a", 4, queueStart)
		j.VM = o.Hosts[0].(*fakeHost).vms[0].UUID
		q.state.Jobs = append(q.state.Jobs, j)
	})
	h.keys("1", "Q")
	h.wantStatus("a is in the queue already, as job 7")
	r := h.app.VMs.Selected()
	if got := StateText(r); got != "queued #4 03:40" {
		t.Fatalf("the row says %q", got)
	}
}

func TestChangeFormSetsOnlyWhatWasChanged(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("j", "j", "e")
	f := h.form()
	f.Focus = FocusYes
	h.keys("enter")
	h.wantStatus("nothing is changed yet")
	h.keys("tab") // round to the first
	h.focus("estimate")
	h.keys("backspace", "backspace")
	h.text("3h")
	h.focus("host")
	h.keys("left")
	h.pass(time.Second)
	f.Focus = FocusYes
	h.keys("enter")
	if len(q.done) != 1 || q.done[0] != `[3] estimate=3h0m0s host="hv2" ` {
		t.Fatalf("done: %q", q.done)
	}
}

func TestParseBegin(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"": {}, "14:30": now.Add(150 * time.Minute), "11:00": now.Add(23 * time.Hour), "+2h": now.Add(2 * time.Hour), "+1d": now.Add(24 * time.Hour),
		"2026-03-02 08:00": now.Add(20 * time.Hour), "2026-03-02": now.Add(12 * time.Hour),
	} {
		if got, err := ParseBegin(in, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v (%v), not %v", in, got, err, want)
		}
	}
	for _, in := range []string{"2020-01-01", "25:00", "soon", "+x"} {
		if got, err := ParseBegin(in, now); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
}
