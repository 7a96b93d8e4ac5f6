package model

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// requestDeadline is how long the queue may take to accept a change; starting
// an engine is part of a submission.
const requestDeadline = 30 * time.Second

// queueRequest is one change of the queue, from the answer Yes to the state
// that shows it. Its steps are done in turn; the first that fails ends it.
type queueRequest struct {
	ids   []backend.JobID // whose rows show it pending
	doing string          // "holding"
	done  string          // "web-01: held"
	steps []queueStep
}

// queueStep is a part of a request, with the entries that it leaves in the
// trail.
type queueStep struct {
	what  string // for what is said when a later step fails
	audit []auditLine
	do    func(context.Context, backend.Queue) error
	back  func(*App) []queueStep // what takes it back; nil: nothing does
}

// auditLine is one entry of the trail.
type auditLine struct {
	key                backend.Key
	name, verb, detail string
}

// requestMsg is the answer to a request, and the state after it.
type requestMsg struct {
	req      *queueRequest
	state    backend.QueueState
	stateErr error
	err      error
	auditErr error
}

var errStepLeft = errors.New("not done: an earlier part failed")

// request begins a change of the queue.
func (a *App) request(r *queueRequest) tea.Cmd {
	s := a.Queue
	if err := s.Missing(); err != nil {
		return a.Warn(err.Error())
	}
	for _, id := range r.ids {
		s.pending[id] = r.doing
	}
	s.requests++
	records := make([][]func(error) error, len(r.steps))
	for i := range r.steps {
		for _, l := range r.steps[i].audit {
			records[i] = append(records[i], a.recorder(l.key, l.name, l.verb, l.detail))
		}
	}
	q, parent := s.q, s.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, requestDeadline)
		defer cancel()
		m := requestMsg{req: r}
		m.err, m.auditErr = r.carryOut(ctx, q, records)
		m.state, m.stateErr = q.State(ctx)
		return m
	}
}

// carryOut does the steps and writes down how each ended.
func (r *queueRequest) carryOut(ctx context.Context, q backend.Queue, records [][]func(error) error) (err, auditErr error) {
	for i := range r.steps {
		outcome := errStepLeft
		if err == nil {
			outcome = r.steps[i].do(ctx, q)
			err = outcome
			if err != nil && i > 0 {
				err = fmt.Errorf("%w (done before that: %s)", err, r.saidBefore(i))
			}
		}
		for _, record := range records[i] {
			auditErr = errors.Join(auditErr, record(outcome))
		}
	}
	return err, auditErr
}

func (r *queueRequest) saidBefore(n int) string {
	var said []string
	for _, s := range r.steps[:n] {
		said = append(said, s.what)
	}
	return strings.Join(said, "; ")
}

func (a *App) onRequest(m requestMsg) tea.Cmd {
	s, r := a.Queue, m.req
	s.requests--
	for _, id := range r.ids {
		delete(s.pending, id)
	}
	cmds := []tea.Cmd{a.auditFailed(m.auditErr)}
	if m.stateErr == nil && s.take(m.state) {
		cmds = append(cmds, a.queueChanged())
	}
	if m.err != nil {
		return tea.Batch(append(cmds, a.Bad(m.err.Error()))...)
	}
	a.Events.Add(LogEntry{At: a.clock.Now(), Level: LevelOK, Kind: "queue", Text: r.done})
	a.undo = r.inverse()
	return tea.Batch(append(cmds, a.OK(a.undoable(r.done)))...)
}

// inverse takes a request back, part by part from the last; nil where a part
// cannot be.
func (r *queueRequest) inverse() *undoStep {
	for i := range r.steps {
		if r.steps[i].back == nil {
			return nil
		}
	}
	return &undoStep{Label: "undoes it", Run: func(a *App) tea.Cmd {
		back := &queueRequest{ids: r.ids, doing: "undoing"}
		for i := len(r.steps) - 1; i >= 0; i-- {
			back.steps = append(back.steps, r.steps[i].back(a)...)
		}
		if len(back.steps) == 0 {
			return a.Warn("nothing is left to undo: the job has ended")
		}
		back.done = back.saidBefore(len(back.steps))
		return a.request(back)
	}}
}

// queueChanged brings a new state of the queue to what is made from it.
func (a *App) queueChanged() tea.Cmd {
	a.noteQueue()
	if a.Screen == ScreenJob {
		return a.explain()
	}
	return nil
}

// onQueue brings the queue's own messages on.
func (a *App) onQueue(msg tea.Msg) tea.Cmd {
	changed, cmd := a.Queue.Update(msg)
	if changed {
		cmd = tea.Batch(cmd, a.queueChanged())
	}
	return tea.Batch(cmd, a.reviveEngine())
}

// jobsAudit is an entry for each job.
func jobsAudit(jobs []*backend.Job, verb, detail string) []auditLine {
	out := make([]auditLine, len(jobs))
	for i, j := range jobs {
		out[i] = auditLine{backend.Key{Host: jobPlace(j), UUID: j.VM}, j.Name, verb, detail}
	}
	return out
}

// jobPlace is the host that a job's VM is defined on.
func jobPlace(j *backend.Job) string {
	if j.RunsOn != "" {
		return j.RunsOn
	}
	return j.Home
}

func jobIDs(jobs []*backend.Job) []backend.JobID {
	ids := make([]backend.JobID, len(jobs))
	for i, j := range jobs {
		ids[i] = j.ID
	}
	return ids
}

// jobsName names jobs in a message: the one, or how many.
func jobsName(jobs []*backend.Job) string {
	if len(jobs) == 1 {
		return backend.Clean(jobs[0].Name)
	}
	return fmt.Sprintf("%d jobs", len(jobs))
}

// change begins the same change of several jobs.
func (a *App) change(jobs []*backend.Job, c backend.JobChange, verb, detail, doing, done string) tea.Cmd {
	if len(jobs) > 1 {
		a.Queue.ClearMarks() // they have served their purpose
	}
	return a.request(&queueRequest{ids: jobIDs(jobs), doing: doing, done: jobsName(jobs) + ": " + done,
		steps: []queueStep{changeStep(jobs, c, verb, detail, done)}})
}

func changeStep(jobs []*backend.Job, c backend.JobChange, verb, detail, done string) queueStep {
	ids := jobIDs(jobs)
	return queueStep{what: jobsName(jobs) + ": " + done, audit: jobsAudit(jobs, verb, detail),
		do: func(ctx context.Context, q backend.Queue) error { return q.Change(ctx, ids, c) }, back: changeBack(ids, c)}
}

// changeBack is how a change is taken back, or nil: a hold by a release, a
// release by a hold.
func changeBack(ids []backend.JobID, c backend.JobChange) func(*App) []queueStep {
	v := &jobRelease
	switch {
	case equalChange(c, jobHold.change):
	case equalChange(c, jobRelease.change):
		v = &jobHold
	default:
		return nil
	}
	return func(a *App) []queueStep {
		jobs, _ := ableJobs(v, a.living(ids))
		if len(jobs) == 0 {
			return nil
		}
		return []queueStep{changeStep(jobs, v.change, "queue "+v.id, "", v.done)}
	}
}

func equalChange(a, b backend.JobChange) bool { return reflect.DeepEqual(a, b) }
