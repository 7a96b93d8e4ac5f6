package model

import (
	"context"
	"fmt"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// Shift is what a hypothesis would change for one job that waits, before it or
// after it.
type Shift struct {
	Job            *backend.Job // as it would be
	Fresh          bool         // it is not in the queue yet
	OldPos, NewPos int          // 0: does not wait
	OldETA, NewETA time.Time
	OldHost        string
	Moves          Direction
}

// Direction is which way a job's start would move.
type Direction uint8

// The directions.
const (
	Same Direction = iota
	Sooner
	Later
	Lost   // its start would not be known any more
	Gained // its start would be known at last
)

// By is how much later it would start; negative is sooner.
func (s *Shift) By() time.Duration {
	if s.OldETA.IsZero() || s.NewETA.IsZero() {
		return 0
	}
	return s.NewETA.Sub(s.OldETA)
}

// Text is the shift in words: "34m sooner".
func (s *Shift) Text() string {
	switch s.Moves {
	case Lost:
		return "no start known"
	case Gained:
		return "gets a start"
	}
	if s.Fresh {
		return "new"
	}
	if s.OldPos == 0 && s.NewPos > 0 {
		return "put aside"
	}
	return shiftText(s.By())
}

type (
	previewTick struct {
		form    *Form
		version int
	}
	previewMsg struct {
		form    *Form
		version int
		base    *backend.QueueState
		next    backend.QueueState
		err     error
	}
)

// formChanged notes that a form changed, and asks soon what would follow.
func (a *App) formChanged(f *Form) tea.Cmd {
	p := &f.Preview
	p.Version++
	if f.Think == nil {
		return a.foresee(f)
	}
	p.Busy = true
	return a.clock.After(previewPause, previewTick{f, p.Version})
}

// onPreviewTick asks, unless more was typed or an answer is awaited, which
// then asks again.
func (a *App) onPreviewTick(m previewTick) tea.Cmd {
	p := &m.form.Preview
	if p.Version != m.version || p.asked != 0 || !a.isOpen(m.form) {
		return nil
	}
	return a.think(m.form)
}

func (a *App) isOpen(o Overlay) bool {
	for _, x := range a.Overlays {
		if x == o {
			return true
		}
	}
	return false
}

// think asks what would follow from a form. What is there now is worked out
// by the same question with nothing changed, so that both stand on the same
// ground whether or not an engine runs.
func (a *App) think(f *Form) tea.Cmd {
	p, s := &f.Preview, a.Queue
	h, ok := f.Think(f)
	if !ok || s.q == nil || f.fieldsWrong() {
		p.Busy, p.Known, p.Lines, p.Shifts, p.Err = false, false, nil, nil, nil
		return nil
	}
	p.asked, p.Busy = p.Version, true
	q, parent, version, base := s.q, s.ctx, p.Version, p.base
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, followDeadline)
		defer cancel()
		m := previewMsg{form: f, version: version, base: base}
		if m.base == nil {
			st, err := q.WhatIf(ctx, backend.Hypothesis{})
			if err != nil {
				m.err = err
				return m
			}
			m.base = &st
		}
		m.next, m.err = q.WhatIf(ctx, h)
		return m
	}
}

func (f *Form) fieldsWrong() bool {
	for i := range f.Fields {
		if f.Fields[i].Err != nil {
			return true
		}
	}
	return false
}

func (a *App) onPreview(m previewMsg) tea.Cmd {
	p := &m.form.Preview
	p.asked = 0
	if m.base != nil {
		p.base = m.base
	}
	if p.Version != m.version { // changed meanwhile: this is an answer to an old question
		return a.think(m.form)
	}
	p.Busy, p.Err = false, m.err
	if m.err != nil {
		p.Known, p.Lines, p.Shifts = false, nil, nil
		return nil
	}
	p.Known = true
	p.Shifts = Compare(m.base, &m.next)
	p.Lines = append(landings(p.Shifts, a.clock.Now()), summary(p.Shifts)...)
	return nil
}

// Compare tells what would change for every job that waits in either state,
// in the order of the later one.
func Compare(old, next *backend.QueueState) []Shift {
	was := make(map[backend.JobID]*backend.Job, len(old.Jobs))
	for i := range old.Jobs {
		was[old.Jobs[i].ID] = &old.Jobs[i]
	}
	var out []Shift
	for i := range next.Jobs {
		j := &next.Jobs[i]
		before := was[j.ID]
		wait := SectionOf(j.State) == SectionWaiting
		waited := before != nil && SectionOf(before.State) == SectionWaiting
		if !wait && !waited && before != nil {
			continue
		}
		s := Shift{Job: j, Fresh: before == nil, NewPos: j.Position, NewETA: startOf(j)}
		if before != nil {
			s.OldPos, s.OldETA, s.OldHost = before.Position, startOf(before), JobHost(before)
		}
		s.Moves = direction(&s)
		out = append(out, s)
	}
	return out
}

// startOf is when a job starts or did.
func startOf(j *backend.Job) time.Time {
	if SectionOf(j.State) == SectionRunning {
		return j.LastStart
	}
	return j.ETA
}

func direction(s *Shift) Direction {
	switch {
	case s.Fresh:
		return Same
	case s.OldETA.IsZero() && s.NewETA.IsZero():
		return Same
	case s.NewETA.IsZero():
		return Lost
	case s.OldETA.IsZero():
		return Gained
	case s.By() <= -time.Second:
		return Sooner
	case s.By() >= time.Second:
		return Later
	}
	return Same
}

// shownLandings is how many new jobs a preview tells one by one.
const shownLandings = 6

// landings says where jobs that are not in the queue yet would land.
func landings(shifts []Shift, now time.Time) []PreviewLine {
	var out []PreviewLine
	n := 0
	for i := range shifts {
		if s := &shifts[i]; s.Fresh {
			if n++; n <= shownLandings {
				out = append(out, landing(s.Job, now))
			}
		}
	}
	if more := n - shownLandings; more > 0 {
		out = append(out, PreviewLine{LevelInfo, fmt.Sprintf("and %d more", more)})
	}
	return out
}

func landing(j *backend.Job, now time.Time) PreviewLine {
	name := backend.Clean(j.Name) + ": "
	switch eta := startOf(j); {
	case j.State == backend.JobRejected:
		return PreviewLine{LevelBad, name + "fits no host, not even an empty one"}
	case SectionOf(j.State) == SectionRunning, !eta.IsZero() && !eta.After(now):
		return PreviewLine{LevelOK, name + "starts at once on " + backend.Clean(JobHost(j))}
	case !eta.IsZero():
		return PreviewLine{LevelOK, fmt.Sprintf("%s#%d, starts %s on %s, in %s", name, j.Position, When(eta, now), backend.Clean(JobHost(j)), Duration(eta.Sub(now)))}
	}
	text := fmt.Sprintf("%s#%d, no start known", name, j.Position)
	if j.Why.Code != backend.WhyNone {
		text += ": " + backend.Clean(j.Why.String())
	}
	return PreviewLine{LevelWarn, text}
}

// summary says in few words whom a hypothesis helps and whom it harms.
func summary(shifts []Shift) []PreviewLine {
	n := map[Direction]int{}
	sum, worst := map[Direction]time.Duration{}, map[Direction]time.Duration{}
	for i := range shifts {
		s := &shifts[i]
		n[s.Moves]++
		sum[s.Moves] += s.By().Abs()
		worst[s.Moves] = max(worst[s.Moves], s.By().Abs())
	}
	var out []PreviewLine
	add := func(d Direction, l Level, word string) {
		switch {
		case n[d] == 1:
			out = append(out, PreviewLine{l, fmt.Sprintf("1 job starts %s %s", Duration(worst[d]), word)})
		case n[d] > 1:
			out = append(out, PreviewLine{l, fmt.Sprintf("%d jobs start %s: %s on average, %s at most", n[d], word, Duration(sum[d]/time.Duration(n[d])), Duration(worst[d]))})
		}
	}
	add(Sooner, LevelOK, "sooner")
	add(Later, LevelWarn, "later")
	if n[Lost] > 0 {
		out = append(out, PreviewLine{LevelBad, plural(n[Lost], "job loses its known start", "jobs lose their known start")})
	}
	if n[Gained] > 0 {
		out = append(out, PreviewLine{LevelOK, plural(n[Gained], "job gets a known start", "jobs get a known start")})
	}
	if len(out) == 0 {
		out = append(out, PreviewLine{LevelInfo, "nothing changes for the jobs that wait"})
	}
	return out
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
