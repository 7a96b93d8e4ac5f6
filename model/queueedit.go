package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

var editVerb = jobVerb{id: "set", label: "Change", can: lives}

// editJob opens the form that changes what was chosen about the targets. Only
// the fields that are changed are set, so that several jobs keep the rest.
func (a *App) editJob() tea.Cmd {
	if cmd, slid := a.jobSlid(); slid {
		return cmd
	}
	jobs, left := ableJobs(&editVerb, a.jobTargets())
	ids, fields := jobIDs(jobs), a.jobFields(*jobs[0], false)
	f := &Form{Title: "Change " + jobsName(jobs), Yes: "Change", Fields: fields, Intro: left}
	if len(jobs) > 1 {
		f.Intro = append([]string{"Shown is the first, " + backend.Clean(jobs[0].Name) + "; only what is changed here is set for all."}, left...)
	}
	was := a.jobFields(*jobs[0], false)
	f.Think = func(f *Form) (backend.Hypothesis, bool) {
		c, said, err := a.jobChange(f, was)
		return backend.Hypothesis{Jobs: ids, Change: c}, err == nil && len(said) > 0
	}
	f.Filled = func(f *Form) error {
		_, said, err := a.jobChange(f, was)
		if err == nil && len(said) == 0 {
			return errors.New("nothing is changed yet")
		}
		return err
	}
	f.OnYes = func(a *App, f *Form) tea.Cmd {
		c, said, err := a.jobChange(f, was)
		if err != nil {
			return a.Warn(err.Error())
		}
		jobs := a.living(ids)
		if len(jobs) == 0 {
			return a.Warn("the job has ended meanwhile")
		}
		text := strings.Join(said, " ")
		return a.change(jobs, c, "queue set", text, "changing", text)
	}
	a.Push(f)
	return nil
}

// jobChange is what a form changes, against how its fields were, and in words.
func (a *App) jobChange(f *Form, was []Field) (c backend.JobChange, said []string, err error) {
	for i := range was {
		x, old := &f.Fields[i], &was[i]
		if x.Text() == old.Text() && x.On == old.On && x.Value == old.Value {
			continue
		}
		said = append(said, x.ID+"="+fieldText(x))
		err = errors.Join(err, a.setField(&c, x))
	}
	return c, said, err
}

func fieldText(x *Field) string {
	switch x.Kind {
	case FieldSwitch:
		return fmt.Sprint(x.On)
	case FieldChoice:
		return x.Chosen()
	}
	return x.Text()
}

func (a *App) setField(c *backend.JobChange, x *Field) (err error) {
	switch x.ID {
	case "priority":
		c.Priority = new(int)
		*c.Priority, err = parsePriority(x.Text())
	case "nice":
		c.Nice = new(int)
		*c.Nice, err = parseNice(x.Text())
	case "estimate":
		d, e := parseSpan(x.Text())
		c.Estimate, err = &d, e
	case "limit":
		d, e := parseSpan(x.Text())
		c.Limit, err = &d, e
	case "begin":
		t, e := ParseBegin(x.Text(), a.clock.Now())
		c.Begin, err = &t, e
	case "host":
		host := x.Chosen()
		if host == anywhere {
			host = ""
		}
		c.Host = &host
	case "preemptible":
		on := x.On
		c.Preemptible = &on
	case "tags":
		tags := slices.Clone(words(x.Text()))
		c.Tags = &tags
	}
	return err
}
