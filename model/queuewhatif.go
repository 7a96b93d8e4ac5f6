package model

import (
	"context"
	"errors"
	"slices"
	"strconv"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// QueueWords are the words of a policy that the scheduler knows.
type QueueWords struct{ Orders, Backfills, Placements []string }

// wordHelps say what the words of a policy mean to a person.
var wordHelps = map[string]string{
	"fcfs":     "first come, first served",
	"sjf":      "the shortest estimate first",
	"hrrn":     "who waited longest against its length first",
	"priority": "by priority, raised by age",
	"aged":     "berth's own: short ones first, and nobody waits for ever",

	"none":         "nobody overtakes the first in the queue",
	"easy":         "who does not delay the first may overtake it",
	"sjbf":         "the same, the shortest first",
	"conservative": "who delays nobody may overtake",

	"first": "the first host that has room",
	"best":  "the host with the least left over",
	"worst": "the host with the most left over",
	"dot":   "the host whose room is most like what the job needs",
	"snug":  "berth's own: little left over, nothing stranded",
}

// nobody is the choice of a host where none is meant.
const nobody = "no host"

// whatIf opens the form that thinks a change of the queue through.
func (a *App) whatIf() tea.Cmd {
	f := a.whatIfForm()
	a.Push(f)
	return a.think(f)
}

func (a *App) whatIfForm() *Form {
	p, words := a.Queue.State.Policy, a.opt.QueueWords
	choice := func(id string, values []string, now, help string) Field {
		x := choiceField(id, id, values, now, help)
		x.Helps = wordHelps
		return x
	}
	f := &Form{Title: "What if?", Yes: "Do it", Fields: []Field{
		choice("order", words.Orders, p.Order, "who comes first"),
		choice("backfill", words.Backfills, p.Backfill, "who may overtake a job that does not fit yet"),
		choice("placement", words.Placements, p.Placement, "which host a job gets"),
		switchField("preempt", "preempt", p.Preempt, "important jobs put preemptible ones aside"),
		switchField("nplus1", "N+1", p.NPlus1, "keep room to take up the loss of any one host"),
	}}
	jobs, _ := ableJobs(&priorityVerb, a.jobTargets())
	ids := jobIDs(jobs)
	if len(jobs) > 0 {
		f.Fields = append(f.Fields, textField("priority", "priority", "", "as it is, "+strconv.Itoa(jobs[0].Priority),
			"of "+jobsName(jobs)+": 0 to 100, more is sooner", optional(func(s string) error { _, err := parsePriority(s); return err })))
	}
	f.Fields = append(f.Fields, a.hostChoices()...)
	f.Think = func(f *Form) (backend.Hypothesis, bool) { h := hypothesis(f, p, ids); return h, true }
	f.Filled = func(f *Form) error {
		if emptyHypothesis(hypothesis(f, p, ids)) {
			return errors.New("nothing is changed yet: choose another policy, priority or host")
		}
		return nil
	}
	f.OnYes = func(a *App, f *Form) tea.Cmd { return a.makeTrue(hypothesis(f, p, ids)) }
	return f
}

// hostChoices are the fields that take a host out or let one in again.
func (a *App) hostChoices() []Field {
	in, out := []string{nobody}, []string{nobody}
	for i := range a.Queue.State.Hosts {
		if h := &a.Queue.State.Hosts[i]; h.Drained {
			out = append(out, h.Name)
		} else {
			in = append(in, h.Name)
		}
	}
	var fields []Field
	if len(in) > 1 {
		fields = append(fields, choiceField("out", "take out", in, nobody, "no new job starts on this host"))
	}
	if len(out) > 1 {
		fields = append(fields, choiceField("in", "let in", out, nobody, "a drained host takes new jobs again"))
	}
	return fields
}

// optional is a check that an empty field passes.
func optional(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
}

// hypothesis is what a filled form asks about; was is the policy in force.
func hypothesis(f *Form, was backend.QueuePolicy, ids []backend.JobID) backend.Hypothesis {
	var h backend.Hypothesis
	p := backend.QueuePolicy{Order: f.Field("order").Chosen(), Backfill: f.Field("backfill").Chosen(), Placement: f.Field("placement").Chosen(),
		Preempt: f.Field("preempt").On, NPlus1: f.Field("nplus1").On}
	if p != was {
		h.Policy = &p
	}
	if x := f.Field("priority"); x != nil && x.Text() != "" {
		if n, err := parsePriority(x.Text()); err == nil {
			h.Jobs, h.Change = ids, backend.JobChange{Priority: &n}
		}
	}
	if x := f.Field("out"); x != nil && x.Value > 0 {
		h.HostOut = []string{x.Chosen()}
	}
	if x := f.Field("in"); x != nil && x.Value > 0 {
		h.HostIn = []string{x.Chosen()}
	}
	return h
}

func emptyHypothesis(h backend.Hypothesis) bool {
	return h.Policy == nil && len(h.Jobs) == 0 && len(h.HostOut) == 0 && len(h.HostIn) == 0
}

// PolicyText is a policy in few words: "hrrn + easy, placement best".
func PolicyText(p backend.QueuePolicy) string {
	text := p.Order
	if p.Backfill != "" && p.Backfill != "none" {
		text += " + " + p.Backfill
	}
	if p.Placement != "" {
		text += ", placement " + p.Placement
	}
	if p.Preempt {
		text += ", preempting"
	}
	if p.NPlus1 {
		text += ", N+1"
	}
	return text
}

// makeTrue does what a hypothesis was about, part by part.
func (a *App) makeTrue(h backend.Hypothesis) tea.Cmd {
	r := &queueRequest{}
	if h.Policy != nil {
		r.steps = append(r.steps, policyStep(*h.Policy, a.Queue.State.Policy))
	}
	if jobs := a.living(h.Jobs); len(jobs) > 0 {
		r.ids, r.doing = jobIDs(jobs), "changing"
		r.steps = append(r.steps, priorityStepOf(jobs, *h.Change.Priority))
	}
	for _, host := range h.HostOut {
		r.steps = append(r.steps, drainStep(host, true))
	}
	for _, host := range h.HostIn {
		r.steps = append(r.steps, drainStep(host, false))
	}
	if len(r.steps) == 0 {
		return a.Warn("nothing is left to do: the job has ended")
	}
	r.done = r.saidBefore(len(r.steps))
	return a.request(r)
}

func policyStep(p, was backend.QueuePolicy) queueStep {
	return queueStep{what: "policy " + PolicyText(p), audit: []auditLine{{verb: "queue policy", detail: PolicyText(p)}},
		do:   func(ctx context.Context, q backend.Queue) error { return q.SetPolicy(ctx, p) },
		back: func(*App) []queueStep { return []queueStep{policyStep(was, p)} }}
}

// living are those of the jobs that have not ended.
func (a *App) living(ids []backend.JobID) []*backend.Job {
	var jobs []*backend.Job
	for _, id := range ids {
		if j := a.Queue.Job(id); j != nil && lives(j) == nil {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// defaultWords are the policy's words where nobody told them.
func defaultWords(w QueueWords) QueueWords {
	if len(w.Orders) == 0 {
		w.Orders = []string{"fcfs", "sjf", "hrrn", "priority", "aged"}
	}
	if len(w.Backfills) == 0 {
		w.Backfills = []string{"none", "easy", "sjbf", "conservative"}
	}
	if len(w.Placements) == 0 {
		w.Placements = []string{"first", "best", "worst", "dot", "snug"}
	}
	return QueueWords{slices.Clone(w.Orders), slices.Clone(w.Backfills), slices.Clone(w.Placements)}
}
