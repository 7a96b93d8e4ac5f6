package model

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/audit"
)

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
