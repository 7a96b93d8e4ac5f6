package model

import (
	"errors"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

func TestQueueALostEngineIsSeenAndStartedAgain(t *testing.T) {
	h, q := queueHarness(t, nil)
	// A killed engine writes nothing: the revision stays as it is.
	q.state.Engine = backend.EngineState{Lost: true}
	h.pass(queuePace.wait + followEvery)
	if got := strings.Join(q.done, ";"); got != "engine" {
		t.Fatalf("done: %s", got)
	}
	h.pass(queuePace.wait + followEvery)
	if !h.app.Queue.State.Engine.Running {
		t.Fatal("the screen does not show the engine that runs again")
	}
}

func TestQueueAnEngineThatCannotLiveIsNotStartedInACircle(t *testing.T) {
	h, q := queueHarness(t, nil)
	q.doErr = errors.New("no space left on device")
	q.state.Engine = backend.EngineState{Lost: true}
	h.pass(10 * time.Second)
	if len(q.done) != 1 {
		t.Fatalf("done: %v", q.done)
	}
	h.pass(reviveEvery)
	if len(q.done) != 2 {
		t.Fatalf("after %v, done: %v", reviveEvery, q.done)
	}
}

func TestQueueAStoppedEngineStaysSoUntilAPersonStartsIt(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("E")
	h.wantStatus("it runs already")
	q.state.Engine = backend.EngineState{}
	h.pass(10 * time.Second)
	if len(q.done) != 0 {
		t.Fatalf("done: %v", q.done)
	}
	h.keys("E")
	h.wantStatus("engine runs")
	if got := strings.Join(q.done, ";"); got != "engine" {
		t.Fatalf("done: %s", got)
	}
}

func TestQueueUndo(t *testing.T) {
	h, q := queueHarness(t, nil)
	h.keys("j", "j", "H")
	h.wantStatus("w1: held back (u undoes it)")
	h.keys("u")
	h.wantStatus("w1: released")
	h.keys("]", "u")
	h.keys("t", "u")
	if got := strings.Join(q.done, ";"); got != "[3] hold ;[3] release ;[3] priority=60 ;[3] priority=50 ;[3] top " {
		t.Fatalf("done: %s", got)
	}
	h.wantStatus("nothing to undo")
}

func TestQueueUndoOfManyGivesEachItsOwnPriorityBack(t *testing.T) {
	h, q := queueHarness(t, func(q *fakeQueue, _ *Options) { q.state.Jobs[3].Priority = 20 })
	h.keys("j", "j", " ", " ", "p", "backspace", "backspace")
	h.text("70")
	h.keys("enter", "u")
	if got := strings.Join(q.done, ";"); got != "[3 4] priority=70 ;[4] priority=20 ;[3] priority=50 " {
		t.Fatalf("done: %s", got)
	}
}
