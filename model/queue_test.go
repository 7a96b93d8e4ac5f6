package model

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/backend"
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
	h.pass(time.Second)
	if q.patience > queuePace.wait || q.patience < queuePace.wait/2 {
		t.Fatalf("a change is waited for %v", q.patience)
	}
	h.keys("1")
	h.pass(4 * time.Second)
	if q.patience > queuePace.hiddenWait || q.patience < queuePace.hiddenWait/2 {
		t.Fatalf("while hidden a change is waited for %v", q.patience)
	}
	before := q.asked
	q.edit(func(*backend.QueueState) {})
	h.pass(followHidden)
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
	s.SetPage(100)
	if h.selectedJob() != "r0" || s.Top() != 0 {
		t.Fatalf("with room for all, %s is selected and line %d is on top", h.selectedJob(), s.Top())
	}
	s.SetPage(20)
	for _, step := range []struct{ key, want string }{{"J", "done"}, {"J", "done"}, {"K", "w0"}, {"j", "w1"}, {"K", "w0"}, {"K", "r0"}, {"K", "r0"}, {"}", "w0"}} {
		h.keys(step.key)
		if h.selectedJob() != step.want {
			t.Fatalf("%s selects %s, not %s", step.key, h.selectedJob(), step.want)
		}
	}
}

func TestQueueLogIsReadInTheBackgroundAndClean(t *testing.T) {
	h, _ := queueHarness(t, nil)
	h.keys("L")
	n, ok := h.app.Overlays[0].(*Notice)
	if !ok || !strings.Contains(n.Text, "w1 (job 3) submitted by alice") || strings.Contains(n.Text, "\x1b") || strings.Index(n.Text, "policy") > strings.Index(n.Text, "w1") {
		t.Fatalf("%+v", h.app.Overlays[0])
	}
	h.keys("esc")
	h.send(logReadMsg{gen: h.app.logGen - 1, events: []backend.JobEvent{{What: "old"}}})
	h.keys("1")
	h.send(logReadMsg{gen: h.app.logGen, events: []backend.JobEvent{{What: "late"}}})
	if len(h.app.Overlays) != 0 {
		t.Fatal("a log that nobody waits for any more came up")
	}
}
