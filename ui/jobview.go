package ui

import (
	"fmt"
	"strings"
	"time"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// shownAhead is how many of the jobs ahead a job's page lists.
const shownAhead = 12

// pageJob is the job of the page, as fresh as can be had.
func (r *Root) pageJob() *backend.Job {
	if j := r.app.Queue.Job(r.app.Job.ID); j != nil {
		return j
	}
	if r.app.Job.HasData {
		return &r.app.Job.Data.Job
	}
	return nil
}

func (r *Root) jobTitle() []segment {
	j := r.pageJob()
	if j == nil {
		return []segment{{r.st(themes.RoleMuted, "Job "+fmt.Sprint(r.app.Job.ID)), 0}}
	}
	glyph, word, role := r.jobState(j)
	segs := []segment{
		{r.st(themes.RoleTitle, backend.Clean(j.Name)), 0},
		{r.st(role, glyph+" "+word), 1},
		{r.st(themes.RoleMuted, fmt.Sprintf("job %d", j.ID)), 2},
	}
	if j.Position > 0 {
		waiting, _ := r.app.Queue.Counts(model.SectionWaiting)
		segs = append(segs, segment{fmt.Sprintf("#%d of %d", j.Position, waiting), 2})
	}
	if j.Owner != "" {
		segs = append(segs, segment{r.st(themes.RoleMuted, "of "+backend.Clean(j.Owner)), 4})
	}
	return append(segs, r.engineSegment())
}

func (r *Root) jobBody(w, h int) string {
	top := max(0, min(r.app.Job.Top, len(r.detail)-h))
	return widget.Block(r.detail[top:min(len(r.detail), top+h)], w, h)
}

// jobLines are all lines of a job's page; worked out in layout.
func (r *Root) jobLines(w int) []string {
	p, j := &r.app.Job, r.pageJob()
	if j == nil {
		return r.notYet(p.Err, w)
	}
	var head []string
	for _, l := range widget.Wrap(model.Headline(j, r.app.Now()), max(10, w-2)) {
		head = append(head, " "+l)
	}
	if p.Err != nil {
		head = append(head, r.notYet(p.Err, w)...)
	}
	if !p.HasData {
		return append(head, append([]string{""}, r.jobFacts(j, w)...)...)
	}
	e := &p.Data
	if w < 110 {
		out := append(head, r.explainHosts(e, w)...)
		out = append(out, r.explainSooner(e, w)...)
		out = append(out, r.explainAhead(e, w)...)
		out = append(out, r.explainFactors(e, w)...)
		out = append(out, "")
		out = append(out, r.jobFacts(j, w)...)
		return append(out, r.explainEvents(e, w)...)
	}
	half := w / 2
	left := append(append(r.explainHosts(e, half), r.explainSooner(e, half)...), r.explainAhead(e, half)...)
	right := append(append([]string{""}, r.jobFacts(j, w-half-1)...), r.explainFactors(e, w-half-1)...)
	right = append(right, r.explainEvents(e, w-half-1)...)
	n := max(len(left), len(right))
	return append(head, widget.Beside(widget.FitLines(left, half, n), widget.FitLines(right, w-half-1, n), 1)...)
}

// explainHosts says for each host whether the job fits now, what is short and
// by how much, and when it could start there.
func (r *Root) explainHosts(e *backend.Explanation, w int) []string {
	if model.SectionOf(e.Job.State) != model.SectionWaiting || len(e.Hosts) == 0 {
		return nil
	}
	out := []string{"", r.section("Where it could run")}
	names := 8
	for i := range e.Hosts {
		names = max(names, min(widget.Width(e.Hosts[i].Host), max(8, w/5)))
	}
	now := r.app.Now()
	out = append(out, widget.Fit("   "+r.st(themes.RoleHeader, widget.Fit("HOST", names)+" "+widget.FitRight("EARLIEST", 9)+"  NOW"), w))
	for i := range e.Hosts {
		f := &e.Hosts[i]
		glyph, role := r.look.Glyphs.Cross, themes.RoleWarn
		if f.Fits && f.Why.Code == backend.WhyNone {
			glyph, role = r.look.Glyphs.Check, themes.RoleOK
		}
		when := model.Unknown
		if !f.At.IsZero() {
			when = model.Starts(f.At, now)
		}
		left := " " + r.st(role, glyph) + " " + r.st(themes.RoleHost, widget.Fit(backend.Clean(f.Host), names)) + " " + widget.FitRight(when, 9) + "  "
		for k, l := range widget.Wrap(fitText(f), max(10, w-widget.Width(left))) {
			if k > 0 {
				left = strings.Repeat(" ", widget.Width(left))
			}
			out = append(out, left+l)
		}
	}
	return out
}

// fitText is what keeps a job off a host, in words.
func fitText(f *backend.HostFit) string {
	var parts []string
	for _, s := range f.Short {
		parts = append(parts, shortText(s))
	}
	if f.Why.Code != backend.WhyNone {
		text := backend.Clean(f.Why.String())
		if f.Why.Detail != "" {
			text += ": " + backend.Clean(f.Why.Detail)
		}
		if f.Why.Code != backend.WhyResources || len(parts) == 0 {
			parts = append(parts, text)
		}
	}
	if len(parts) == 0 {
		if f.Fits {
			return "fits now"
		}
		return "does not fit"
	}
	return strings.Join(parts, "; ")
}

// shortText is one shortage: "mem 4.0G short: needs 8.0G, 4.0G free".
func shortText(s backend.Shortage) string {
	lack := uint64(0)
	if s.Need > s.Free {
		lack = s.Need - s.Free
	}
	figure := amount
	if s.Dimension == "cpu" {
		figure = func(n uint64) string { return fmt.Sprint(n) }
	}
	return fmt.Sprintf("%s %s short: needs %s, %s free", s.Dimension, figure(lack), figure(s.Need), figure(s.Free))
}

func (r *Root) explainSooner(e *backend.Explanation, w int) []string {
	if len(e.Sooner) == 0 {
		return nil
	}
	out := []string{"", r.section("What would start it sooner")}
	now := r.app.Now()
	for _, s := range e.Sooner {
		gain := ""
		if !e.Job.ETA.IsZero() && !s.ETA.IsZero() {
			gain = ", " + model.Duration(max(e.Job.ETA.Sub(s.ETA), 0)) + " sooner"
		}
		out = append(out, widget.Fit(" "+r.look.Glyphs.Arrow+" "+backend.Clean(s.Text)+r.st(themes.RoleMuted, ": "+model.Starts(s.ETA, now)+gain), w))
	}
	return out
}

func (r *Root) explainAhead(e *backend.Explanation, w int) []string {
	var out []string
	now := r.app.Now()
	if n := len(e.Ahead); n > 0 {
		out = append(out, "", r.section(fmt.Sprintf("Ahead of it (%d)", n)))
		names := 8
		for i := range e.Ahead[:min(n, shownAhead)] {
			names = max(names, min(widget.Width(e.Ahead[i].Name), max(8, w-46)))
		}
		for i := range e.Ahead[:min(n, shownAhead)] {
			j := &e.Ahead[i]
			glyph, word, role := r.jobState(j)
			out = append(out, widget.Fit(" "+r.st(role, glyph)+" "+widget.FitRight("#"+itoa(j.Position), 4)+" "+widget.Fit(backend.Clean(j.Name), names)+" "+widget.FitRight(jobSize(j), 13)+"  "+
				widget.FitRight(jobWhen(j, now), 9)+"  "+r.st(themes.RoleMuted, word), w))
		}
		if n > shownAhead {
			out = append(out, r.st(themes.RoleMuted, fmt.Sprintf("   and %d more", n-shownAhead)))
		}
	}
	if len(e.Blocks) > 0 {
		out = append(out, "", r.section("Waiting for it"), " "+r.jobNames(e.Blocks))
	}
	return out
}

// jobNames names jobs by number, and by name where they are known.
func (r *Root) jobNames(ids []backend.JobID) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = fmt.Sprint(id)
		if j := r.app.Queue.Job(id); j != nil {
			parts[i] += " " + backend.Clean(j.Name)
		}
	}
	return strings.Join(parts, ", ")
}

func (r *Root) explainFactors(e *backend.Explanation, w int) []string {
	if len(e.Factors) == 0 {
		return nil
	}
	out := []string{"", r.section("Its place under " + backend.Clean(model.PolicyText(r.app.Queue.State.Policy)))}
	for _, f := range e.Factors {
		out = append(out, widget.Fit(" "+r.st(themes.RoleMuted, widget.Fit(backend.Clean(f.Name), 10))+" "+widget.FitRight(fmt.Sprintf("%.4g", f.Value), 9)+"  "+backend.Clean(f.Text), w))
	}
	if e.Job.Score != 0 {
		out = append(out, " "+r.st(themes.RoleMuted, widget.Fit("together", 10))+" "+widget.FitRight(fmt.Sprintf("%.4g", e.Job.Score), 9))
	}
	return out
}

// jobFacts are what a person chose about a job, and what became of it.
func (r *Root) jobFacts(j *backend.Job, w int) []string {
	now := r.app.Now()
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.In(now.Location()).Format("2006-01-02 15:04:05")
	}
	out := []string{r.section("Job"),
		r.field("needs", fmt.Sprintf("%d vCPU, %s memory, %s disk", j.Size.VCPU, amount(j.Size.Memory), amount(j.Size.Disk))),
		r.field("priority", priorities(j)),
		r.field("estimate", estimates(j)),
	}
	add := func(on bool, name, value string) {
		if on {
			out = append(out, widget.Fit(r.field(name, value), w))
		}
	}
	add(j.Limit > 0, "limit", model.Duration(j.Limit)+", then it is shut down")
	add(j.Host != "", "only on", backend.Clean(j.Host))
	add(len(j.After) > 0, "after", r.jobNames(j.After))
	add(!j.Begin.IsZero(), "not before", at(j.Begin))
	add(j.Held, "held", "until it is released")
	add(j.Preemptible, "preemptible", fmt.Sprintf("put aside %d times so far", j.Preempted))
	add(len(j.Tags) > 0, "tags", backend.Clean(strings.Join(j.Tags, " ")))
	add(len(j.Near) > 0, "near", backend.Clean(strings.Join(j.Near, " ")))
	add(len(j.Apart) > 0, "apart from", backend.Clean(strings.Join(j.Apart, " ")))
	add(true, "submitted", at(j.Submitted)+", by "+backend.Clean(j.Owner))
	add(!j.Promised.IsZero(), "promised", at(j.Promised))
	add(!j.Started.IsZero(), "started", at(j.Started))
	add(!j.Ended.IsZero(), "ended", at(j.Ended))
	add(j.Extended > 0, "extended", fmt.Sprintf("%d times beyond its estimate", j.Extended))
	add(j.Attempts > 0, "refused", fmt.Sprintf("%d times; tried again %s", j.Attempts, model.When(j.NextTry, now)))
	if j.Words != "" {
		for i, l := range widget.Wrap(backend.Clean(j.Words), max(10, w-14)) {
			out = append(out, r.field([2]string{"words", ""}[min(i, 1)], r.st(themes.RoleWarn, l)))
		}
	}
	return out
}

func priorities(j *backend.Job) string {
	text := itoa(j.Priority)
	if j.Nice != 0 {
		text += fmt.Sprintf(", nice %d", j.Nice)
	}
	if j.Front > 0 {
		text += ", moved before all others"
	}
	return text
}

func estimates(j *backend.Job) string {
	switch {
	case j.Expected == 0 && j.Estimate == 0:
		return "none: open-ended"
	case j.Estimate == 0:
		return model.Duration(j.Expected) + ", from earlier runs"
	case j.Expected != j.Estimate && j.Expected > 0:
		return model.Duration(j.Estimate) + " as told, " + model.Duration(j.Expected) + " used"
	}
	return model.Duration(j.Estimate)
}

func (r *Root) explainEvents(e *backend.Explanation, w int) []string {
	if len(e.Events) == 0 {
		return nil
	}
	out := []string{"", r.section("What happened")}
	now := r.app.Now()
	for i := len(e.Events) - 1; i >= 0; i-- {
		v := &e.Events[i]
		what := strings.TrimSpace(backend.Clean(v.What) + " " + backend.Clean(v.Host))
		if v.Who != "" {
			what += " by " + backend.Clean(v.Who)
		}
		if v.Detail != "" {
			what += ": " + backend.Clean(v.Detail)
		}
		left := widget.Fit(eventTime(v.At, now), 9)
		for _, l := range widget.Wrap(what, max(10, w-12)) {
			out = append(out, " "+r.st(themes.RoleMuted, left)+" "+l)
			left = strings.Repeat(" ", 9)
		}
	}
	return out
}

func eventTime(at, now time.Time) string {
	if now.Sub(at) < 12*time.Hour {
		return at.In(now.Location()).Format("15:04:05")
	}
	return model.When(at, now)
}
