package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

func (a *app) showJobCommand() *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:   "show JOB",
		Short: "Show why a job waits, until when, and what would start it sooner",
		Long: "Show one job: why it waits, which host lacks what, who is ahead, when it will\n" +
			"start, what would start it sooner, and what happened to it so far.\n\n" +
			"JSON has the keys of berth queue list, and: factors (name value text), hosts\n" +
			"(host fits short reason at), ahead and blocks (job numbers), sooner (text eta)\n" +
			"and events as berth queue log prints them.",
		Args: withUsage(func(cmd *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				return fmt.Errorf("show what? Give one JOB")
			case 1:
				return nil
			}
			return fmt.Errorf("show takes one JOB, and there are %d: %s", len(args), strings.Join(args, " "))
		}),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runShowJob(cmd, output, args[0]) },
	}
	textOrJSON(cmd, &output)
	a.completeJobs(cmd, func(*backend.Job) bool { return true })
	return cmd
}

func (a *app) runShowJob(cmd *cobra.Command, format, arg string) error {
	if err := checkFormat(format, "text", "json"); err != nil {
		return err
	}
	return a.withQueue(cmd, func(q backend.Queue) error {
		st, err := q.State(cmd.Context())
		if err != nil {
			return err
		}
		id, err := findJob(&st, arg)
		if err != nil {
			return err
		}
		e, err := q.Explain(cmd.Context(), id)
		if err != nil {
			return err
		}
		if format == "json" {
			return encodeJSON(a.Stdout, newExplanationRecord(&e, st.At))
		}
		a.engineTrouble(&st)
		return printExplanation(a.Stdout, &e, st.At)
	})
}

// explanationRecord is everything about one job, in JSON.
type explanationRecord struct {
	jobRecord
	Factors []factorRecord  `json:"factors"`
	Hosts   []fitRecord     `json:"hosts"`
	Ahead   []backend.JobID `json:"ahead"`
	Blocks  []backend.JobID `json:"blocks"`
	Sooner  []remedyRecord  `json:"sooner"`
	Events  []eventRecord   `json:"events"`
}

type factorRecord struct {
	Name  string   `json:"name"`
	Value *float64 `json:"value"`
	Text  string   `json:"text"`
}

type fitRecord struct {
	Host   string          `json:"host"`
	Fits   bool            `json:"fits"`
	Short  []shortRecord   `json:"short"`
	Reason *backend.Reason `json:"reason"`
	At     *string         `json:"at"`
}

type shortRecord struct {
	Dimension string `json:"dimension"`
	Need      uint64 `json:"need"`
	Free      uint64 `json:"free"`
}

type remedyRecord struct {
	Text string  `json:"text"`
	ETA  *string `json:"eta"`
}

func newExplanationRecord(e *backend.Explanation, now time.Time) explanationRecord {
	rec := explanationRecord{
		jobRecord: newJobRecord(&e.Job, now), Factors: []factorRecord{}, Hosts: []fitRecord{}, Ahead: []backend.JobID{},
		Blocks: append([]backend.JobID{}, e.Blocks...), Sooner: []remedyRecord{}, Events: []eventRecord{},
	}
	for _, f := range e.Factors {
		rec.Factors = append(rec.Factors, factorRecord{backend.Clean(f.Name), rounded(f.Value, 4), backend.Clean(f.Text)})
	}
	for i := range e.Hosts {
		rec.Hosts = append(rec.Hosts, newFitRecord(&e.Hosts[i]))
	}
	for _, j := range e.Ahead {
		rec.Ahead = append(rec.Ahead, j.ID)
	}
	for _, r := range e.Sooner {
		rec.Sooner = append(rec.Sooner, remedyRecord{backend.Clean(r.Text), stamp(r.ETA)})
	}
	for i := range e.Events {
		rec.Events = append(rec.Events, newEventRecord(&e.Events[i]))
	}
	return rec
}

func newFitRecord(h *backend.HostFit) fitRecord {
	rec := fitRecord{Host: backend.Clean(h.Host), Fits: h.Fits, Short: []shortRecord{}, At: stamp(h.At)}
	for _, s := range h.Short {
		rec.Short = append(rec.Short, shortRecord{s.Dimension, s.Need, s.Free})
	}
	if h.Why.Code != backend.WhyNone {
		why := h.Why
		why.Host, why.Detail = backend.Clean(why.Host), backend.Clean(why.Detail)
		rec.Reason = &why
	}
	return rec
}

// printExplanation writes one job for people.
func printExplanation(w io.Writer, e *backend.Explanation, now time.Time) error {
	p := &labelled{}
	p.job(&e.Job, now)
	p.asked(&e.Job, now)
	if e.Job.State.Waiting() {
		p.waiting(e, now)
	}
	for _, id := range e.Blocks {
		p.line("Waits for it", fmt.Sprintf("job %d", id))
	}
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return err
	}
	if len(e.Events) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	for i := range e.Events {
		if err := printEventText(w, &e.Events[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *labelled) job(j *backend.Job, now time.Time) {
	p.line("Job", fmt.Sprint(j.ID))
	p.line("VM", j.Name, "defined on "+j.Home)
	p.line("State", jobStateText(j), sinceText(j.Since, now))
	if j.Words != "" {
		p.line("Error", j.Words)
	}
	p.line("Size", fmt.Sprintf("%d vCPU, %s memory, %s disk", j.Size.VCPU, model.Bytes(float64(j.Size.Memory)), model.Bytes(float64(j.Size.Disk))))
	p.line("Submitted", j.Submitted.Local().Format(time.DateTime), "by "+j.Owner)
	if !j.Started.IsZero() {
		p.line("Started", j.Started.Local().Format(time.DateTime), "after "+model.Duration(waited(j, now)))
	}
	if !j.Ended.IsZero() {
		p.line("Ended", j.Ended.Local().Format(time.DateTime))
	}
	if j.RunsOn != "" && !j.State.Waiting() {
		p.line("Host", j.RunsOn)
	}
	if ends := j.Ends(); !ends.IsZero() {
		p.line("Ends", clockText(ends, now), leftText(ends, now))
	}
	if j.Preempted > 0 {
		p.line("Put aside", fmt.Sprintf("%d times, having run for %s", j.Preempted, model.Duration(j.Ran)))
	}
}

// asked is what a person chose, without what is as usual.
func (p *labelled) asked(j *backend.Job, now time.Time) {
	nice := ""
	if j.Nice != 0 {
		nice = fmt.Sprintf("nice %d", j.Nice)
	}
	p.line("Priority", fmt.Sprint(j.Priority), nice)
	estimate := estimateText(j)
	switch {
	case estimate == openEnd:
		estimate = "none: open-ended"
	case j.Estimate == 0 && j.Limit == 0:
		estimate += ", from earlier runs"
	}
	p.line("Estimate", estimate)
	if j.Extended > 0 {
		p.line("", fmt.Sprintf("outlived and extended %d times", j.Extended))
	}
	if j.Limit > 0 {
		p.line("Limit", model.Duration(j.Limit))
	}
	p.line("Only on", j.Host)
	if !j.Begin.IsZero() && j.State.Waiting() {
		p.line("Begin", "not before "+clockText(j.Begin, now))
	}
	var after []string
	for _, id := range j.After {
		after = append(after, fmt.Sprintf("job %d", id))
	}
	p.line("After", strings.Join(after, ", "))
	p.line("Tags", strings.Join(j.Tags, " "))
	p.line("Near", strings.Join(j.Near, " "))
	p.line("Apart from", strings.Join(j.Apart, " "))
	if j.Preemptible {
		p.line("Preemptible", "yes")
	}
}

func (p *labelled) waiting(e *backend.Explanation, now time.Time) {
	j := &e.Job
	p.line("Waits for", j.Why.String(), j.Why.Detail)
	if j.Position > 0 {
		p.line("Position", fmt.Sprint(j.Position))
	}
	if j.ETA.IsZero() {
		p.line("Starts", "not known")
	} else {
		p.line("Starts", clockText(j.ETA, now), leftText(j.ETA, now), onHost(j.ETAHost))
	}
	if !j.Promised.IsZero() {
		p.line("Promised", clockText(j.Promised, now))
	}
	if !j.NextTry.IsZero() {
		p.line("Tried again", clockText(j.NextTry, now), fmt.Sprintf("after %d refused starts", j.Attempts))
	}
	for _, f := range e.Factors {
		p.line("Factor", fmt.Sprintf("%-9s %10.2f", f.Name, f.Value), f.Text)
	}
	for i := range e.Hosts {
		p.line("Host "+e.Hosts[i].Host, fitText(&e.Hosts[i], now))
	}
	p.ahead(e.Ahead, now)
	for _, r := range e.Sooner {
		p.line("Sooner", r.Text, clockText(r.ETA, now))
	}
}

// maxAhead bounds how many of those ahead are named.
const maxAhead = 10

func (p *labelled) ahead(jobs []backend.Job, now time.Time) {
	for i := range jobs[:min(len(jobs), maxAhead)] {
		j := &jobs[i]
		p.line("Ahead", fmt.Sprintf("%d %s", j.ID, j.Name), string(j.State), etaText(j, now))
	}
	if more := len(jobs) - maxAhead; more > 0 {
		p.line("", fmt.Sprintf("and %d more", more))
	}
}

// fitText says in a sentence whether the job fits the host now.
func fitText(h *backend.HostFit, now time.Time) string {
	var parts []string
	for _, s := range h.Short {
		parts = append(parts, shortText(s))
	}
	if h.Why.Code != backend.WhyNone {
		why := h.Why.String()
		if h.Why.Detail != "" {
			why += ": " + h.Why.Detail
		}
		parts = append(parts, why)
	}
	if h.Fits && len(parts) == 0 {
		return "fits now"
	}
	text := strings.Join(parts, "; ")
	if at := clockText(h.At, now); at != "" {
		text += "; fits at " + at
	}
	return strings.TrimPrefix(text, "; ")
}

// shortText reads "lacks 2.0G memory: needs 4.0G, free 2.0G".
func shortText(s backend.Shortage) string {
	lack := s.Need - min(s.Need, s.Free)
	if s.Dimension == "cpu" {
		return fmt.Sprintf("lacks %d vCPU: needs %d, free %d", lack, s.Need, s.Free)
	}
	what := map[string]string{"mem": "memory"}[s.Dimension]
	if what == "" {
		what = s.Dimension
	}
	size := func(n uint64) string { return model.Bytes(float64(n)) }
	return fmt.Sprintf("lacks %s %s: needs %s, free %s", size(lack), what, size(s.Need), size(s.Free))
}

func sinceText(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return "for " + model.Duration(now.Sub(t))
}

func leftText(t, now time.Time) string {
	if t.After(now) {
		return "in " + model.Duration(t.Sub(now))
	}
	return ""
}

func onHost(name string) string {
	if name == "" {
		return ""
	}
	return "on " + name
}
