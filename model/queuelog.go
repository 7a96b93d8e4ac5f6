package model

import (
	"context"
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// shownLog is how many of the latest events the queue's log shows.
const shownLog = 300

// logReadMsg is the answer to the question for the queue's log.
type logReadMsg struct {
	gen    int
	job    backend.JobID
	events []backend.JobEvent
	err    error
}

// queueLog asks for what happened: to the job of the page, or to all.
func (a *App) queueLog() tea.Cmd {
	q, parent := a.Queue.q, a.ctx
	want := backend.LogQuery{Limit: shownLog}
	if a.Screen == ScreenJob {
		want.Job = a.Job.ID
	}
	a.logGen++
	gen := a.logGen
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, followDeadline)
		defer cancel()
		events, err := q.Log(ctx, want)
		return logReadMsg{gen: gen, job: want.Job, events: events, err: err}
	}
}

func (a *App) onLogRead(m logReadMsg) tea.Cmd {
	if m.gen != a.logGen || (a.Screen != ScreenQueue && a.Screen != ScreenJob) {
		return nil
	}
	if m.err != nil {
		return a.Bad(m.err.Error())
	}
	if len(m.events) == 0 {
		return a.Info("the queue's log is empty")
	}
	n := &Notice{Title: "What happened in the queue, the latest first"}
	if m.job != 0 {
		n.Title = fmt.Sprintf("What happened to job %d, the latest first", m.job)
	}
	var b strings.Builder
	for i := len(m.events) - 1; i >= 0; i-- {
		b.WriteString(a.logLine(&m.events[i]) + "\n")
	}
	n.Text = strings.TrimSuffix(b.String(), "\n")
	a.Push(n)
	return nil
}

func (a *App) logLine(e *backend.JobEvent) string {
	line := e.At.In(a.clock.Now().Location()).Format("2006-01-02 15:04:05") + "  "
	if e.Job != 0 {
		line += fmt.Sprintf("%s (job %d) ", backend.Clean(e.Name), e.Job)
	}
	line += backend.Clean(e.What)
	if e.Host != "" {
		line += " on " + backend.Clean(e.Host)
	}
	if e.Who != "" {
		line += " by " + backend.Clean(e.Who)
	}
	if e.Detail != "" {
		line += ": " + backend.Clean(e.Detail)
	}
	return line
}
