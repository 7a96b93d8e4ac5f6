package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// jobVerb is something that can be done to jobs of the queue.
type jobVerb struct {
	id, label   string
	doing, done string
	warn        string // what the confirmation says; a verb without is asked about only for several jobs
	yes         string // the confirmation's button, where the label is not it
	danger      bool
	change      backend.JobChange
	// can says why it makes no sense on a job, or nil.
	can func(*backend.Job) error
}

// Why a verb makes no sense on a job. They are made once: with many jobs
// marked they are asked for often.
var (
	errEnded      = errors.New("it has ended")
	errNotWait    = errors.New("it does not wait")
	errHeld       = errors.New("it is held already")
	errNotHeld    = errors.New("it is not held")
	errNothing    = errors.New("nothing went wrong with it that a retry could heal")
	errCancelling = errors.New("it is being cancelled; by force, as by pulling the power cord, it ends at once")
)

func waits(j *backend.Job) error {
	switch {
	case j.State.Ended():
		return errEnded
	case SectionOf(j.State) != SectionWaiting:
		return errNotWait
	}
	return nil
}

func lives(j *backend.Job) error {
	if j.State.Ended() {
		return errEnded
	}
	return nil
}

var (
	jobHold = jobVerb{id: "hold", label: "Hold", doing: "holding", done: "held back", change: backend.JobChange{Hold: true},
		can: func(j *backend.Job) error {
			if j.Held {
				return errHeld
			}
			return waits(j)
		}}
	jobRelease = jobVerb{id: "release", label: "Release", doing: "releasing", done: "released", change: backend.JobChange{Release: true},
		can: func(j *backend.Job) error {
			if !j.Held && j.State != backend.JobHeld {
				return errNotHeld
			}
			return waits(j)
		}}
	jobTop   = jobVerb{id: "top", label: "Move to top", doing: "moving up", done: "moved to the top", change: backend.JobChange{Top: true}, can: waits}
	jobRetry = jobVerb{id: "requeue", label: "Retry", doing: "retrying", done: "queued again", change: backend.JobChange{Retry: true},
		can: func(j *backend.Job) error {
			if j.State == backend.JobError || j.State == backend.JobFailed || (j.State.Waiting() && j.Attempts > 0) {
				return nil
			}
			return errNothing
		}}
	jobCancel = jobVerb{id: "cancel", label: "Cancel", doing: "cancelling", done: "being cancelled", yes: "Cancel it",
		warn:   "A job that waits leaves the queue and loses its place. One that runs has its guest asked to power off.",
		change: backend.JobChange{Cancel: true}, can: func(j *backend.Job) error {
			if j.Cancel && !j.State.Ended() {
				return errCancelling
			}
			return lives(j)
		}}
	jobForce = jobVerb{id: "force-cancel", label: "Cancel by force", doing: "forcing off", done: "being forced off", yes: "Force it off", danger: true,
		warn:   "A running guest is cut off as by pulling the power cord: what it has not written to disk is lost.",
		change: backend.JobChange{Cancel: true, Force: true}, can: lives}
)

// queueRefuses says why nothing can be changed in the queue now, or "".
func (a *App) queueRefuses() string {
	switch {
	case a.Queue.Missing() != nil:
		return a.Queue.Missing().Error()
	case a.opt.ReadOnly || a.ReadOnly():
		return errReadOnly.Error()
	case !a.Queue.HasData:
		return "the queue has not answered yet"
	}
	return ""
}

// jobDisabled says why a verb can be done on none of the targets.
func (a *App) jobDisabled(v *jobVerb) string {
	if why := a.queueRefuses(); why != "" {
		return why
	}
	return noneCan(a.jobTargets(), "no job is selected", "marked jobs", v.can)
}

// runJobVerb does a verb on the targets, after a question where it ends
// something or is meant for several.
func (a *App) runJobVerb(v *jobVerb) tea.Cmd {
	if cmd, slid := a.jobSlid(); slid {
		return cmd
	}
	targets := a.jobTargets()
	can, left := ableJobs(v, targets)
	if len(targets) == 1 && v.warn == "" {
		return a.change(can, v.change, "queue "+v.id, "", v.doing, v.done)
	}
	a.Push(a.confirmJobs(v, can, left))
	return nil
}

func ableJobs(v *jobVerb, jobs []*backend.Job) (can []*backend.Job, left []string) {
	return ableOf(jobs, func(j *backend.Job) string { return j.Name }, v.can)
}

// confirmJobs asks whether a verb is to be done, and lists every job.
func (a *App) confirmJobs(v *jobVerb, jobs []*backend.Job, left []string) *Confirm {
	c := Confirm{Title: fmt.Sprintf("%s: %s?", v.label, jobsName(jobs)), Yes: v.label, Danger: v.danger}
	if v.yes != "" && len(jobs) == 1 {
		c.Yes = v.yes
	}
	if v.warn != "" {
		c.Body = []string{v.warn}
	}
	for _, j := range jobs {
		name := fmt.Sprintf("%s, %s", j.Name, j.State)
		if j.State.Holds() {
			name += " on " + j.RunsOn
			c.Danger = c.Danger || v.warn != ""
		}
		c.Names = append(c.Names, name)
	}
	c.Names = append(c.Names, left...)
	ids := jobIDs(jobs) // not the jobs: they may have changed or gone by the time of the answer
	c.OnYes = func(a *App, _ *Confirm) tea.Cmd { return a.changeNow(v, ids) }
	return newConfirm(c)
}

// changeNow does a verb on the jobs that still are as it needs them.
func (a *App) changeNow(v *jobVerb, ids []backend.JobID) tea.Cmd {
	var jobs []*backend.Job
	for _, id := range ids {
		if j := a.Queue.Job(id); j != nil && v.can(j) == nil {
			jobs = append(jobs, j)
		}
	}
	if len(jobs) == 0 {
		return a.Warn(fmt.Sprintf("%s: nothing is left that it could be done to", v.label))
	}
	return a.change(jobs, v.change, "queue "+v.id, "", v.doing, v.done)
}

// jobSlid refuses once when another job than the person selected is under the
// cursor, because theirs left the list.
func (a *App) jobSlid() (tea.Cmd, bool) {
	s := a.Queue
	if a.Screen != ScreenQueue || len(s.list.marks) > 0 || !s.Slid() {
		return nil, false
	}
	was := "the selected job"
	if j := s.Job(s.list.cursor); j != nil {
		was = j.Name
	}
	s.Move(0)
	return a.Warn(fmt.Sprintf("%s left the list; this is %s: the same key again acts on it", was, s.Selected().Name)), true
}

// The priority's steps.
const priorityStep = 10

var priorityVerb = jobVerb{id: "priority", label: "Priority", can: lives}

// bumpPriority raises or lowers the priority of every target.
func (a *App) bumpPriority(by int) tea.Cmd {
	if cmd, slid := a.jobSlid(); slid {
		return cmd
	}
	can, _ := ableJobs(&priorityVerb, a.jobTargets())
	byValue := map[int][]*backend.Job{}
	for _, j := range can {
		p := max(0, min(j.Priority+by, 100))
		byValue[p] = append(byValue[p], j)
	}
	var cmds []tea.Cmd
	for p := 0; p <= 100; p++ {
		if jobs := byValue[p]; len(jobs) > 0 {
			cmds = append(cmds, a.setPriority(jobIDs(jobs), p))
		}
	}
	return tea.Batch(cmds...)
}

// askPriority asks for a priority for the targets.
func (a *App) askPriority() tea.Cmd {
	if cmd, slid := a.jobSlid(); slid {
		return cmd
	}
	can, _ := ableJobs(&priorityVerb, a.jobTargets())
	ids := jobIDs(can)
	p := newPrompt("Priority of "+jobsName(can), "0 to 100, more is sooner; 50 unless told.", strconv.Itoa(can[0].Priority), func(a *App, text string) tea.Cmd {
		n, err := parsePriority(text)
		if err != nil {
			return a.Warn(err.Error())
		}
		return a.setPriority(ids, n)
	})
	p.Check = func(text string) error { _, err := parsePriority(text); return err }
	a.Push(p)
	return nil
}

func parsePriority(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 0 || n > 100 {
		return 0, errors.New("a priority is a number from 0 to 100")
	}
	return n, nil
}

// setPriority gives the jobs that still live a priority.
func (a *App) setPriority(ids []backend.JobID, p int) tea.Cmd {
	jobs := a.living(ids)
	if len(jobs) == 0 {
		return a.Warn("priority: the job has ended")
	}
	if len(jobs) > 1 {
		a.Queue.ClearMarks()
	}
	r := &queueRequest{ids: jobIDs(jobs), doing: "priority " + strconv.Itoa(p), done: fmt.Sprintf("%s: priority %d", jobsName(jobs), p)}
	r.steps = []queueStep{priorityStepOf(jobs, p)}
	return a.request(r)
}

func priorityStepOf(jobs []*backend.Job, p int) queueStep {
	ids := jobIDs(jobs)
	was := map[int][]backend.JobID{}
	for _, j := range jobs {
		was[j.Priority] = append(was[j.Priority], j.ID)
	}
	return queueStep{what: fmt.Sprintf("priority %d for %s", p, jobsName(jobs)), audit: jobsAudit(jobs, "queue priority", strconv.Itoa(p)),
		do: func(ctx context.Context, q backend.Queue) error {
			return q.Change(ctx, ids, backend.JobChange{Priority: &p})
		},
		back: func(a *App) (steps []queueStep) {
			for _, p := range slices.Sorted(maps.Keys(was)) {
				if jobs := a.living(was[p]); len(jobs) > 0 {
					steps = append(steps, priorityStepOf(jobs, p))
				}
			}
			return steps
		}}
}

// drainMenu offers the hosts to keep new jobs off, or let them on again.
func (a *App) drainMenu() tea.Cmd {
	m := &Menu{Title: "Drain a host: keep new jobs off it"}
	at := ""
	if j := a.job(); j != nil {
		at = JobHost(j)
	} else if h := a.Hosts.Selected(); h != nil && a.Screen == ScreenHosts {
		at = h.Host.Name()
	}
	for i := range a.Queue.State.Hosts {
		h := &a.Queue.State.Hosts[i]
		name, drained := h.Name, h.Drained
		it := MenuItem{Label: name, Note: "takes new jobs; choosing it keeps them off",
			Run: func(a *App) tea.Cmd { return a.confirmDrain(name, !drained) }}
		if drained {
			it.Note = "drained; choosing it lets jobs on again"
		}
		if name == at {
			m.Index = i
		}
		m.Items = append(m.Items, it)
	}
	if len(m.Items) == 0 {
		return a.Warn("the queue knows no host yet")
	}
	a.Push(m)
	return nil
}

// confirmDrain asks before a host is drained; letting jobs on again needs no
// question.
func (a *App) confirmDrain(host string, on bool) tea.Cmd {
	if !on {
		return a.drain(host, false)
	}
	a.Push(newConfirm(Confirm{Title: "Drain " + host + "?", Yes: "Drain",
		Body:  []string{"No new job starts there. What runs goes on. What waits for this host alone waits until it is let on again."},
		OnYes: func(a *App, _ *Confirm) tea.Cmd { return a.drain(host, true) }}))
	return nil
}

func (a *App) drain(host string, on bool) tea.Cmd {
	step := drainStep(host, on)
	return a.request(&queueRequest{done: step.what, steps: []queueStep{step}})
}

func drainStep(host string, on bool) queueStep {
	s := queueStep{what: host + ": drained, takes no new jobs", audit: []auditLine{{key: backend.Key{Host: host}, verb: "queue drain"}}}
	if !on {
		s.what, s.audit[0].verb = host+": takes new jobs again", "queue undrain"
	}
	s.do = func(ctx context.Context, q backend.Queue) error { return q.Drain(ctx, host, on) }
	s.back = func(*App) []queueStep { return []queueStep{drainStep(host, !on)} }
	return s
}
