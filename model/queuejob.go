package model

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// JobPage is one job in depth: why it waits, until when, what would start it
// sooner. It asks anew whenever the queue has changed.
type JobPage struct {
	ID      backend.JobID
	Data    backend.Explanation
	HasData bool
	Err     error

	Top   int
	Lines int // written by SetScroll
	Page  int

	gen    int // answers about another job or an older visit are dropped
	asking bool
	again  bool // the queue has changed meanwhile
}

// explainMsg is the answer to one question about a job.
type explainMsg struct {
	gen  int
	data backend.Explanation
	err  error
}

// SetScroll tells how many lines there are and how many fit.
func (p *JobPage) SetScroll(lines, page int) {
	p.Lines, p.Page = lines, page
	p.Top = max(0, min(p.Top, lines-page))
}

// openJob turns to a job's page.
func (a *App) openJob(id backend.JobID) tea.Cmd {
	p := &a.Job
	*p = JobPage{ID: id, gen: p.gen + 1, Page: p.Page}
	return tea.Batch(a.Go(ScreenJob), a.explain())
}

// explain asks about the page's job, one question at a time.
func (a *App) explain() tea.Cmd {
	p, s := &a.Job, a.Queue
	if s.q == nil || p.ID == 0 {
		return nil
	}
	if p.asking {
		p.again = true
		return nil
	}
	p.asking = true
	q, ctx, gen, id := s.q, s.ctx, p.gen, p.ID
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, followDeadline)
		defer cancel()
		e, err := q.Explain(ctx, id)
		return explainMsg{gen: gen, data: e, err: err}
	}
}

func (a *App) onExplain(m explainMsg) tea.Cmd {
	p := &a.Job
	if m.gen != p.gen {
		return nil
	}
	p.asking = false
	switch {
	case m.err == nil:
		p.Data, p.HasData, p.Err = m.data, true, nil
	case errors.Is(m.err, context.Canceled):
		return nil
	default:
		p.Err = m.err
	}
	if p.again && a.Screen == ScreenJob {
		p.again = false
		return a.explain()
	}
	return nil
}

// job is the job that an action on a single one is meant for.
func (a *App) job() *backend.Job {
	switch a.Screen {
	case ScreenJob:
		if j := a.Queue.Job(a.Job.ID); j != nil {
			return j
		}
		if a.Job.HasData {
			return &a.Job.Data.Job
		}
		return nil
	case ScreenQueue:
		return a.Queue.Selected()
	}
	return nil
}

// jobTargets are the jobs that an action is meant for on this screen.
func (a *App) jobTargets() []*backend.Job {
	if a.Screen == ScreenJob {
		if j := a.job(); j != nil {
			return []*backend.Job{j}
		}
		return nil
	}
	return a.Queue.Targets()
}

// Headline is what a job does or waits for, in one sentence.
func Headline(j *backend.Job, now time.Time) string {
	switch SectionOf(j.State) {
	case SectionRunning:
		return runningLine(j, now)
	case SectionEnded:
		text := string(j.State)
		if !j.Ended.IsZero() {
			text += " " + Duration(now.Sub(j.Ended)) + " ago"
		}
		if j.Words != "" {
			text += ": " + backend.Clean(j.Words)
		}
		return text
	}
	text := "waits"
	if j.State == backend.JobReserved {
		text = "a place is promised"
	}
	if j.Why.Code != backend.WhyNone {
		text += ": " + backend.Clean(j.Why.String())
	}
	if j.Why.Detail != "" {
		text += ", " + backend.Clean(j.Why.Detail)
	}
	if j.ETA.IsZero() {
		return text + "; nobody can say when it starts"
	}
	if d := j.ETA.Sub(now); d > 0 {
		return text + fmt.Sprintf("; starts %s on %s, in %s", When(j.ETA, now), backend.Clean(j.ETAHost), Duration(d))
	}
	return text + "; starts now on " + backend.Clean(j.ETAHost)
}

func runningLine(j *backend.Job, now time.Time) string {
	text := fmt.Sprintf("%s on %s", j.State, backend.Clean(j.RunsOn))
	if j.Words != "" {
		text += " (" + backend.Clean(j.Words) + ")"
	}
	p := ProgressOf(j, now)
	switch {
	case j.LastStart.IsZero():
		return text
	case p.Expected == 0:
		return text + " for " + Duration(p.Elapsed) + ", open-ended"
	case p.Over > 0:
		return text + fmt.Sprintf(" for %s, %s longer than estimated", Duration(p.Elapsed), Duration(p.Over))
	}
	return text + fmt.Sprintf(" for %s of %s, %s left", Duration(p.Elapsed), Duration(p.Expected), Duration(p.Left()))
}
