package model

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/model/config"
)

// anywhere is the choice of a host where none is asked for.
const anywhere = "wherever it fits"

// queueable says why a VM cannot be put in the queue, or nil.
func (a *App) queueable(r *Row) error {
	switch {
	case r.Pending != "":
		return fmt.Errorf("%s is %s", r.Name, r.Pending.Info().Doing)
	case r.State.Active():
		return fmt.Errorf("%s runs already", r.Name)
	case !r.Persistent && !r.FactsAt.IsZero():
		return fmt.Errorf("%s is transient: it has no definition to start from", r.Name)
	}
	if j := a.Queue.Active(r.Key()); j != nil {
		return fmt.Errorf("%s is in the queue already, as job %d", r.Name, j.ID)
	}
	return nil
}

// submitDisabled says why none of the targets can be put in the queue.
func (a *App) submitDisabled() string {
	if why := a.queueRefuses(); why != "" {
		return why
	}
	return noneCan(a.targets(), "no VM is selected", "marked VMs", a.queueable)
}

// submit opens the form that puts the targets in the queue.
func (a *App) submit() tea.Cmd {
	if was, is, ok := a.slid(); ok {
		return a.Warn(fmt.Sprintf("%s left the list; this is %s: the same key again acts on it", was, is))
	}
	rows, left := ableOf(a.targets(), nil, a.queueable)
	if len(rows) == 0 {
		return a.Warn("nothing is left that could be queued")
	}
	vms := make([]backend.JobSpec, len(rows))
	for i, r := range rows {
		vms[i] = backend.JobSpec{VM: r.Key(), Name: r.Name}
	}
	f := a.submitForm(vms)
	f.Intro = append(f.Intro, left...)
	a.Push(f)
	return a.think(f)
}

func (a *App) submitForm(vms []backend.JobSpec) *Form {
	f := &Form{Title: "Queue " + vms[0].Name, Yes: "Submit", Fields: a.jobFields(backend.Job{Priority: backend.DefaultPriority}, true)}
	if len(vms) > 1 {
		f.Title = fmt.Sprintf("Queue %d VMs", len(vms))
		names := make([]string, len(vms))
		for i := range vms {
			names[i] = vms[i].Name
		}
		f.Intro = []string{backend.Clean(strings.Join(names, ", "))}
	}
	f.Think = func(f *Form) (backend.Hypothesis, bool) {
		specs, err := a.specs(f, vms)
		return backend.Hypothesis{Submit: specs}, err == nil
	}
	f.Filled = func(f *Form) error {
		_, err := a.specs(f, vms)
		return err
	}
	f.OnYes = func(a *App, f *Form) tea.Cmd {
		specs, err := a.specs(f, vms)
		if err != nil {
			return a.Warn(err.Error())
		}
		return a.submitNow(specs)
	}
	return f
}

// jobFields are the fields of what a person chooses about a job, filled in
// with those of j.
func (a *App) jobFields(j backend.Job, fresh bool) []Field {
	now := a.clock.Now
	duration := optional(func(s string) error { _, err := config.ParseDuration(s); return err })
	hosts := []string{anywhere}
	for i := range a.Queue.State.Hosts {
		hosts = append(hosts, a.Queue.State.Hosts[i].Name)
	}
	at := j.Host
	if at == "" {
		at = anywhere
	}
	begin := ""
	if !j.Begin.IsZero() {
		begin = j.Begin.In(now().Location()).Format("2006-01-02 15:04")
	}
	fields := []Field{
		textField("priority", "priority", strconv.Itoa(j.Priority), "50", "0 to 100, more is sooner", func(s string) error { _, err := parsePriority(s); return err }),
		textField("estimate", "estimate", spanText(j.Estimate), "not known", "how long it will run: 90s, 15m, 2h30m, 3d", duration),
		textField("limit", "limit", spanText(j.Limit), "none", "after which it is shut down", duration),
		choiceField("host", "host", hosts, at, "run it only there"),
		textField("begin", "not before", begin, "at once", "14:30, +2h, 2026-03-01 08:00", func(s string) error { _, err := ParseBegin(s, now()); return err }),
	}
	if fresh {
		fields = append(fields, textField("after", "after", "", "nothing", "jobs that must have ended well first: numbers or names", optional(func(s string) error { _, err := a.parseAfter(s); return err })),
			switchField("hold", "hold", false, "keep it back until it is released"))
	}
	fields = append(fields,
		switchField("preemptible", "preemptible", j.Preemptible, "may be put aside for a much more important one"),
		textField("nice", "nice", strconv.Itoa(j.Nice), "0", "taken off the priority", func(s string) error { _, err := parseNice(s); return err }),
		textField("tags", "tags", strings.Join(j.Tags, " "), "none", "words, parted by blanks or commas", nil))
	if fresh {
		fields = append(fields, textField("near", "near", "", "nobody", "only where jobs with these tags run", nil),
			textField("apart", "apart from", "", "nobody", "never where jobs with these tags run", nil))
	}
	return fields
}

// spanText writes a duration so that it can be read again.
func spanText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	text := strings.TrimSuffix(d.String(), "0s")
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func parseNice(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < -10000 || n > 10000 {
		return 0, errors.New("nice is a whole number")
	}
	return n, nil
}

// parseAfter reads jobs by number or by the name of their VM.
func (a *App) parseAfter(s string) ([]backend.JobID, error) {
	var ids []backend.JobID
	for _, word := range words(s) {
		if n, err := strconv.ParseInt(strings.TrimPrefix(word, "#"), 10, 64); err == nil && n > 0 {
			ids = append(ids, backend.JobID(n)) // it may have ended too long ago to be listed
			continue
		}
		id := backend.JobID(0)
		for i := range a.Queue.State.Jobs {
			if j := &a.Queue.State.Jobs[i]; j.Name == word && !j.State.Ended() {
				id = j.ID
			}
		}
		if id == 0 {
			return nil, fmt.Errorf("no job is called %s", word)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// words parts a text at blanks and commas.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' })
}

// specs is what a filled form asks for each VM.
func (a *App) specs(f *Form, vms []backend.JobSpec) ([]backend.JobSpec, error) {
	var s backend.JobSpec
	var err error
	take := func(e error) { err = errors.Join(err, e) }
	var e error
	s.Priority, e = parsePriority(f.Field("priority").Text())
	take(e)
	s.Estimate, e = parseSpan(f.Field("estimate").Text())
	take(e)
	s.Limit, e = parseSpan(f.Field("limit").Text())
	take(e)
	s.Begin, e = ParseBegin(f.Field("begin").Text(), a.clock.Now())
	take(e)
	s.After, e = a.parseAfter(f.Field("after").Text())
	take(e)
	s.Nice, e = parseNice(f.Field("nice").Text())
	take(e)
	if x := f.Field("host"); x.Value > 0 {
		s.Host = x.Chosen()
	}
	s.Hold, s.Preemptible = f.Field("hold").On, f.Field("preemptible").On
	s.Tags, s.Near, s.Apart = words(f.Field("tags").Text()), words(f.Field("near").Text()), words(f.Field("apart").Text())
	out := make([]backend.JobSpec, len(vms))
	for i := range vms {
		out[i] = s
		out[i].VM, out[i].Name = vms[i].VM, vms[i].Name
	}
	return out, err
}

func parseSpan(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	return config.ParseDuration(s)
}

// submitNow puts VMs in the queue.
func (a *App) submitNow(specs []backend.JobSpec) tea.Cmd {
	name := specs[0].Name
	if len(specs) > 1 {
		name = fmt.Sprintf("%d VMs", len(specs))
		a.VMs.ClearMarks()
	}
	step := queueStep{do: func(ctx context.Context, q backend.Queue) error {
		_, err := q.Submit(ctx, specs)
		return err
	}}
	for i := range specs {
		step.audit = append(step.audit, auditLine{specs[i].VM, specs[i].Name, "queue submit", specText(&specs[i])})
	}
	return a.request(&queueRequest{done: fmt.Sprintf("%s: in the queue (%s shows it)", backend.Clean(name), a.KeyFor("queue")), steps: []queueStep{step}})
}

// specText is what was asked for, for the trail: only what is not usual.
func specText(s *backend.JobSpec) string {
	parts := []string{fmt.Sprintf("priority=%d", s.Priority)}
	add := func(on bool, text string) {
		if on {
			parts = append(parts, text)
		}
	}
	add(s.Estimate > 0, "estimate="+spanText(s.Estimate))
	add(s.Limit > 0, "limit="+spanText(s.Limit))
	add(s.Host != "", "host="+s.Host)
	add(!s.Begin.IsZero(), "begin="+s.Begin.Format(time.RFC3339))
	add(len(s.After) > 0, fmt.Sprintf("after=%v", s.After))
	add(s.Hold, "hold")
	add(s.Preemptible, "preemptible")
	add(s.Nice != 0, fmt.Sprintf("nice=%d", s.Nice))
	add(len(s.Tags) > 0, "tags="+strings.Join(s.Tags, ","))
	add(len(s.Near) > 0, "near="+strings.Join(s.Near, ","))
	add(len(s.Apart) > 0, "apart="+strings.Join(s.Apart, ","))
	return strings.Join(parts, " ")
}
