package model

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/audit"
)

var queueStart = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// queueHarness shows the queue's screen with two jobs that run and three that
// wait.
func queueHarness(t *testing.T, change func(*fakeQueue, *Options)) (*harness, *fakeQueue) {
	t.Helper()
	q := newFakeQueue(queueStart, job(1, "r1", 0, queueStart), job(2, "r2", 0, queueStart),
		job(3, "w1", 1, queueStart), job(4, "w2", 2, queueStart), job(5, "w3", 3, queueStart))
	opt := Options{Hosts: hosts(newFakeHost("hv1", "-a", "-b", "c")), Queue: q}
	if change != nil {
		change(q, &opt)
	}
	h := newHarness(t, opt)
	h.keys("4")
	return h, q
}

func (h *harness) form() *Form {
	h.t.Helper()
	if n := len(h.app.Overlays); n > 0 {
		if f, ok := h.app.Overlays[n-1].(*Form); ok {
			return f
		}
	}
	h.t.Fatalf("no form is open; status %q", h.status())
	return nil
}

// focus moves a form's focus to a field.
func (h *harness) focus(id string) {
	h.t.Helper()
	f := h.form()
	for range len(f.Fields) + 2 {
		if f.Focus >= 0 && f.Fields[f.Focus].ID == id {
			return
		}
		h.keys("tab")
	}
	h.t.Fatalf("the form has no field %q", id)
}

func (h *harness) selectedJob() string {
	if j := h.app.Queue.Selected(); j != nil {
		return j.Name
	}
	return ""
}

func TestQueueWithoutOneSaysWhy(t *testing.T) {
	h, _ := queueHarness(t, func(_ *fakeQueue, o *Options) { o.Queue, o.QueueErr = nil, errors.New("no state folder") })
	if err := h.app.Queue.Missing(); err == nil || err.Error() != "no state folder" {
		t.Fatalf("missing: %v", err)
	}
	h.keys("H")
	h.wantStatus("no state folder")
	h.keys("1", "Q")
	h.wantStatus("no state folder")
}

func TestQueueSelectionBelongsToTheJob(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("j", "j", "j") // w2
	if h.selectedJob() != "w2" {
		t.Fatalf("selected %s", h.selectedJob())
	}
	q.edit(func(st *backend.QueueState) { // w2 moves to the front, and a new job comes before everything
		j := st.Jobs
		st.Jobs = []backend.Job{job(9, "new", 0, queueStart), j[0], j[1], j[3], j[2], j[4]}
	})
	h.pass(time.Second)
	if h.selectedJob() != "w2" || len(h.app.Queue.list.jobs) != 6 {
		t.Fatalf("selected %s of %d", h.selectedJob(), len(h.app.Queue.list.jobs))
	}
	q.edit(func(st *backend.QueueState) { st.Jobs = append(st.Jobs[:3:3], st.Jobs[4:]...) }) // w2 vanishes
	h.pass(time.Second)
	h.keys("H")
	h.wantStatus("the selected job left the list; this is w1")
	if len(q.done) != 0 {
		t.Fatalf("done: %v", q.done)
	}
}

func TestQueueAnswersOfAnOlderGenerationAreDropped(t *testing.T) {
	h, q := queueHarness(t, nil)
	old := h.app.Queue.gen
	h.run(h.app.Queue.AskNow())
	late := q.state
	late.Revision, late.Jobs = 99, nil
	h.send(queueMsg{gen: old, state: late})
	if len(h.app.Queue.State.Jobs) != 5 {
		t.Fatal("an answer to an older question was taken")
	}
	early := q.state
	early.Revision, early.Jobs = 0, nil
	h.send(queueMsg{gen: h.app.Queue.gen, state: early})
	if len(h.app.Queue.State.Jobs) != 5 {
		t.Fatal("an older state was taken over a newer one")
	}
}

func TestQueueIsAskedByOneQuestionAtATimeAndSeldomWhileHidden(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("1")
	before := q.asked
	h.pass(30 * time.Second)
	if n := q.asked - before; n != 0 {
		t.Fatalf("asked %d times though nothing changed", n)
	}
	q.edit(func(*backend.QueueState) {})
	h.pass(4 * time.Second)
	if n := q.asked - before; n != 1 {
		t.Fatalf("asked %d times after one change", n)
	}
	ticks := 0
	for _, d := range h.due {
		if _, ok := d.msg.(queueTick); ok {
			ticks++
		}
	}
	if ticks != 1 {
		t.Fatalf("%d questions are armed", ticks)
	}
}

func TestQueueThatFailsKeepsTheLastStateAndHeals(t *testing.T) {
	h, q := queueHarness(t, nil)
	q.edit(func(*backend.QueueState) {})
	q.err = errors.New("database is locked")
	h.pass(time.Second)
	s := h.app.Queue
	if _, stale := s.Stale(); !stale || s.Err == nil || len(s.State.Jobs) != 5 {
		t.Fatalf("stale %t, error %v, %d jobs", stale, s.Err, len(s.State.Jobs))
	}
	q.err = nil
	h.pass(20 * time.Second)
	if s.Err != nil {
		t.Fatal(s.Err)
	}
}

func TestQueueCancelAsksAndSaysNoByDefault(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("x") // r1 runs
	c := h.confirm()
	if c.Focus != FocusNo || !c.Danger {
		t.Fatalf("focus %d, danger %t", c.Focus, c.Danger)
	}
	h.keys("enter")
	if len(q.done) != 0 {
		t.Fatalf("done: %v", q.done)
	}
	h.keys("x", "y")
	h.keys("X", "y")
	if got := strings.Join(q.done, ";"); got != "[1] cancel ;[1] cancel force " {
		t.Fatalf("done: %s", got)
	}
}

func TestQueueHoldActsAtOnceOnOneAndAsksForMany(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("H")
	h.wantStatus("it does not wait")
	h.keys("j", "j", "H")
	h.wantStatus("w1: held back")
	h.keys("\\", "ctrl+a", "H")
	c := h.confirm()
	if len(c.Names) != 5 || !strings.Contains(c.Names[2], "left out") {
		t.Fatalf("names: %q", c.Names)
	}
	h.keys("y")
	if got := strings.Join(q.done, ";"); got != "[3] hold ;[4 5] hold " {
		t.Fatalf("done: %s", got)
	}
	if n, _ := h.app.Queue.Marks(); n != 0 {
		t.Fatal("the marks stay after they were acted on")
	}
}

func TestQueueRequestsShowPendingAndFailuresSayWhatToDo(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("j", "j")
	cmd := h.app.RunID("hold")
	if got := h.app.Queue.Pending(3); got != "holding" {
		t.Fatalf("pending %q", got)
	}
	q.doErr = &backend.OpError{Op: "hold", Target: "w1", Err: errors.New("database is locked"), Hint: "try again"}
	h.run(cmd)
	h.wantStatus("hold w1: database is locked; try again")
	if h.app.Queue.Pending(3) != "" || h.app.Queue.Requests() != 0 {
		t.Fatal("a request that ended is still shown")
	}
}

func TestQueuePriorityKeysAndPrompt(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("j", "j", "]", "[", "p")
	h.keys("backspace", "backspace")
	h.text("101")
	h.keys("enter")
	if p, ok := h.app.Overlays[0].(*Prompt); !ok || p.Err == nil {
		t.Fatal("a priority of 101 was accepted")
	}
	h.keys("backspace", "enter")
	if got := strings.Join(q.done, ";"); got != "[3] priority=60 ;[3] priority=50 ;[3] priority=10 " {
		t.Fatalf("done: %s", got)
	}
}

func TestQueueFilter(t *testing.T) {
	h, _ := queueHarness(t, nil)
	for expr, want := range map[string]int{"": 5, "w": 3, "state:run": 2, "!state:queued": 2, "host:hv2": 3, "reason:res": 3, "w1 host:hv2": 1, "/^r[12]$/": 2, "name:w*": 3} {
		if err := h.app.Queue.TypeFilter(expr); err != nil || len(h.app.Queue.list.jobs) != want {
			t.Errorf("%q shows %d jobs (%v), not %d", expr, len(h.app.Queue.list.jobs), err, want)
		}
	}
	for _, bad := range []string{"nosuch:1", "state:flying", "/(/", "host:"} {
		var wrong *FilterError
		if err := h.app.Queue.TypeFilter(bad); !errors.As(err, &wrong) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	h.app.Queue.ClearMarks()
	h.keys("/")
	h.text("w2")
	h.keys("enter", "ctrl+a")
	h.run(h.app.Queue.Show(true))
	_ = h.app.Queue.TypeFilter("r1")
	if all, hidden := h.app.Queue.Marks(); all != 1 || hidden != 1 {
		t.Fatalf("%d marked, %d hidden", all, hidden)
	}
	if j := h.app.Queue.Targets(); len(j) != 1 || j[0].Name != "r1" {
		t.Fatal("a job that is marked and hidden is acted on")
	}
	h.keys("esc", "esc", "esc")
	if h.app.Screen != ScreenVMs {
		t.Fatalf("esc left us on %s", h.app.Screen)
	}
}

func TestQueueWhyFollowsTheQueue(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("j", "j", "enter")
	if h.app.Screen != ScreenJob || !h.app.Job.HasData || h.app.Job.Data.Job.Name != "w1" {
		t.Fatalf("screen %s, %+v", h.app.Screen, h.app.Job)
	}
	h.send(explainMsg{gen: h.app.Job.gen - 1, err: errors.New("late")})
	if h.app.Job.Err != nil {
		t.Fatal("an answer about another job was taken")
	}
	before := q.explain
	q.edit(func(st *backend.QueueState) { st.Jobs[2].Position = 2 })
	h.pass(time.Second)
	if q.explain != before+1 {
		t.Fatalf("explained %d times after one change", q.explain-before)
	}
	h.keys("t")
	if len(q.done) != 1 || q.done[0] != "[3] top " {
		t.Fatalf("done: %v", q.done)
	}
	q.edit(func(st *backend.QueueState) { st.Jobs = st.Jobs[:2] })
	h.pass(time.Second)
	if !errors.Is(h.app.Job.Err, backend.ErrNoJob) {
		t.Fatalf("error %v", h.app.Job.Err)
	}
	h.keys("esc")
	if h.app.Screen != ScreenQueue {
		t.Fatalf("esc left us on %s", h.app.Screen)
	}
}

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

func TestQueueReadOnlyThinksButDoesNothing(t *testing.T) {
	h, q := queueHarness(t, func(_ *fakeQueue, o *Options) { o.ReadOnly = true })
	for _, id := range []string{"hold", "release", "cancel", "force-cancel", "top", "requeue", "priority", "priority-up", "set", "drain"} {
		h.run(h.app.RunID(id))
		h.wantStatus("read-only")
	}
	h.keys("w")
	h.form()
	if len(q.done) != 0 {
		t.Fatalf("done: %v", q.done)
	}
}

func TestQueueIsAudited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	h, _ := queueHarness(t, func(_ *fakeQueue, o *Options) { o.Trail = audit.Open(path, os.Getenv) })
	h.keys("j", "j", "H", "]", "d", "enter", "y")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"verb":"queue hold","vm":"w1"`, `"verb":"queue priority","vm":"w1"`, `"detail":"60"`, `"verb":"queue drain"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in the trail:\n%s", want, b)
		}
	}
}

func TestGanttPacksLanesAndMoves(t *testing.T) {
	h, q := queueHarness(t, nil)
	q.edit(func(st *backend.QueueState) {
		st.Jobs[1].LastStart, st.Jobs[1].Expected, st.Jobs[1].Estimate = queueStart.Add(-2*time.Hour), time.Hour, time.Hour // overrun
		st.Jobs[3].ETA = st.Jobs[2].ETA.Add(time.Hour)                                                                      // right after w1
		st.Jobs[4].ETA = time.Time{}
	})
	h.pass(time.Second)
	h.keys("tab")
	h.app.Queue.SetGanttPage(10)
	g := &h.app.Queue.Gantt
	var text []string
	for _, l := range g.Lines() {
		s := l.Host + ":"
		for _, b := range l.Bars {
			s += " " + b.Job.Name
			if !b.Over.IsZero() {
				s += "!"
			}
			if b.To.Before(b.From) {
				t.Errorf("%s ends before it starts", b.Job.Name)
			}
		}
		text = append(text, s)
	}
	if got := strings.Join(text, "|"); got != "hv1:|hv1: r2!|hv1: r1|hv2:|hv2: w1 w2" {
		t.Fatalf("lanes: %s", got)
	}
	if g.Unplaced != 1 {
		t.Fatalf("%d without a start", g.Unplaced)
	}
	h.keys("j", "l")
	if h.selectedJob() != "w2" {
		t.Fatalf("selected %s", h.selectedJob())
	}
	from, _ := g.Window(h.now)
	h.keys(">")
	if after, _ := g.Window(h.now); !after.After(from) {
		t.Fatal("the window does not move")
	}
	h.keys("n", "z")
	a, b := g.Window(h.now)
	if b.Sub(a) >= 4*time.Hour || h.now.Before(a) || h.now.After(b) {
		t.Fatalf("window %s to %s", a, b)
	}
	h.keys("enter")
	if h.app.Screen != ScreenJob || h.app.Job.Data.Job.Name != "w2" {
		t.Fatal("enter does not open the bar's job")
	}
}

func TestQueueHostileAndOddJobsBreakNothing(t *testing.T) {
	h, q := queueHarness(t, nil)
	q.edit(func(st *backend.QueueState) {
		odd := job(8, "\x1b[31mred\u202e", 0, queueStart)
		odd.LastStart, odd.Expected = time.Time{}, 0
		odd.RunsOn = "nowhere"
		st.Jobs = append(st.Jobs, odd, backend.Job{ID: 10, State: "strange"}, backend.Job{ID: 11, State: backend.JobDone})
		st.Hosts = append(st.Hosts, backend.QueueHost{})
	})
	h.pass(time.Second)
	for range 9 {
		for i := range h.app.Actions() {
			_ = h.app.Actions()[i].Disabled(h.app)
		}
		h.keys("tab", "tab", "j")
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

func TestWhen(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for want, at := range map[string]time.Time{"14:05": now.Add(125 * time.Minute), "Mon 08:00": now.Add(20 * time.Hour), "1 Apr": now.Add(31 * 24 * time.Hour), "Mar 2028": now.Add(735 * 24 * time.Hour), Unknown: {}} {
		if got := When(at, now); got != want {
			t.Errorf("%v reads %q, not %q", at, got, want)
		}
	}
}

func BenchmarkQueueTake(b *testing.B) {
	now := time.Now()
	var jobs []backend.Job
	for i := range 10000 {
		jobs = append(jobs, job(i+1, fmt.Sprintf("vm-%d", i), max(0, i-20), now))
	}
	q := NewQueue(b.Context(), WallClock(), newFakeQueue(now), nil)
	st := backend.QueueState{Jobs: jobs}
	b.ReportAllocs()
	for range b.N {
		st.Revision++
		q.take(st)
	}
}

func TestQueueTakesAPersonsWordForALostHostOnlyWithItsNameTyped(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("F")
	h.wantStatus("its host is not lost")
	q.edit(func(st *backend.QueueState) { st.Jobs[0].State = backend.JobUnknown })
	h.pass(time.Second)
	h.keys("F", "enter")
	if len(q.done) != 0 || len(h.app.Overlays) != 1 {
		t.Fatalf("done: %v", q.done)
	}
	h.text("hv1")
	h.keys("enter", "enter")
	if len(q.done) != 1 || q.done[0] != "fenced hv1" {
		t.Fatalf("done: %v", q.done)
	}
}

func TestQueueOpensWhereWhatRunsEndsAndStepsByPart(t *testing.T) {
	var jobs []backend.Job
	for i := range 30 {
		jobs = append(jobs, job(i+1, fmt.Sprintf("r%d", i), 0, queueStart))
	}
	for i := range 30 {
		jobs = append(jobs, job(i+40, fmt.Sprintf("w%d", i), i+1, queueStart))
	}
	ended := job(99, "done", 0, queueStart)
	ended.State = backend.JobDone
	h, _ := queueHarness(t, func(q *fakeQueue, _ *Options) { q.state.Jobs = append(jobs, ended) })
	s := h.app.Queue
	s.SetPage(20)
	if h.selectedJob() != "w0" || s.Line()-s.Top() != 10 {
		t.Fatalf("%s is selected, on line %d of the screen", h.selectedJob(), s.Line()-s.Top())
	}
	for _, step := range []struct{ key, want string }{{"J", "done"}, {"J", "done"}, {"K", "w0"}, {"j", "w1"}, {"K", "w0"}, {"K", "r0"}, {"K", "r0"}, {"}", "w0"}} {
		h.keys(step.key)
		if h.selectedJob() != step.want {
			t.Fatalf("%s selects %s, not %s", step.key, h.selectedJob(), step.want)
		}
	}
}
