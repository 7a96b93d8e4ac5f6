package model

import (
	"context"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// reviveEvery is the least time between two attempts to bring back an engine
// that was lost: one that cannot live is not started in a circle.
const reviveEvery = time.Minute

// engineWhy says why an engine cannot be started from here, or "".
func (a *App) engineWhy() string {
	if why := a.queueRefuses(); why != "" {
		return why
	}
	if _, ok := a.Queue.q.(backend.EngineStarter); !ok {
		return "this queue has no engine of its own"
	}
	if a.Queue.State.Engine.Running {
		return "it runs already"
	}
	return ""
}

// startEngine starts the queue's engine.
func (a *App) startEngine() tea.Cmd {
	return a.request(&queueRequest{done: "the queue's engine runs", steps: []queueStep{{
		what: "engine started", audit: []auditLine{{verb: "queue engine"}},
		do: func(ctx context.Context, q backend.Queue) error { return startEngineOf(ctx, q) }}}})
}

func startEngineOf(ctx context.Context, q backend.Queue) error {
	if s, ok := q.(backend.EngineStarter); ok {
		return s.StartEngine(ctx)
	}
	return backend.ErrUnsupported
}

// reviveEngine brings back an engine that was lost while jobs need one. One
// that a person has stopped stays so.
func (a *App) reviveEngine() tea.Cmd {
	s := a.Queue
	if !s.State.Engine.Lost || a.engineWhy() != "" || !s.unended() || s.clock.Now().Sub(s.revived) < reviveEvery {
		return nil
	}
	s.revived = s.clock.Now()
	return tea.Batch(a.Warn("the queue's engine was lost; starting it again"), a.startEngine())
}

// unended reports whether any job lives.
func (s *Queue) unended() bool {
	for i := range s.State.Jobs {
		if !s.State.Jobs[i].State.Ended() {
			return true
		}
	}
	return false
}
