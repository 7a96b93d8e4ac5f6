package model

import (
	"context"
	"errors"
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// undoStep takes back the last action that can be taken back.
type undoStep struct {
	Label string
	Run   func(*App) tea.Cmd
}

// ended tells how tasks ended: on the status line, in the event list, and
// with a question where there is an obvious next step.
func (a *App) ended(tasks []*Task) tea.Cmd {
	var cmds []tea.Cmd
	failed := 0
	for _, t := range tasks {
		e := LogEntry{At: t.Ended, Host: t.Key.Host, VM: t.Name, Key: t.Key, Kind: "action", Level: LevelOK, Text: t.Action.Verb.Info().Done}
		if t.Err != nil {
			e.Level, e.Text = LevelBad, t.Err.Error()
			failed++
		}
		if errors.Is(t.Err, context.Canceled) {
			e.Level, e.Text = LevelWarn, fmt.Sprintf("%s: given up; what the host had accepted is not undone", t.Action.Verb)
		}
		a.Events.Add(e)
		cmds = append(cmds, a.tellEnd(t))
	}
	if failed > 1 {
		cmds = append(cmds, a.bad(fmt.Sprintf("%d actions failed: %s lists them", failed, a.KeyFor("events"))))
	}
	return tea.Batch(cmds...)
}

func (a *App) tellEnd(t *Task) tea.Cmd {
	switch {
	case errors.Is(t.Err, context.Canceled):
		return a.Info(t.Name + ": no longer waited for")
	case errors.Is(t.Err, errIgnored):
		a.offerForceOff(t)
		return a.bad(t.Err.Error())
	case t.Err != nil:
		return a.bad(t.Err.Error())
	}
	a.undo = inverse(t)
	return a.OK(a.undoable(fmt.Sprintf("%s: %s", t.Name, t.Action.Verb.Info().Done)))
}

// undoable is text with the key that takes back what it tells of, where one does.
func (a *App) undoable(text string) string {
	if a.undo == nil {
		return text
	}
	return fmt.Sprintf("%s (%s %s)", text, a.KeyFor("undo"), a.undo.Label)
}

// offerForceOff asks, when nothing else is being asked, whether a guest that
// ignored its shutdown should be forced off.
func (a *App) offerForceOff(t *Task) {
	if len(a.Overlays) > 0 || a.Palette != nil || a.Line != nil {
		return
	}
	r := a.Fleet.Row(t.Key)
	if r == nil || a.refuse(backend.VerbDestroy, r) != nil {
		return
	}
	c := a.confirmVerb(backend.VerbDestroy, []*Row{r})
	c.Body = append([]string{fmt.Sprintf("The guest was asked to shut down %s ago and has not.", Duration(a.clock.Now().Sub(t.Started)))}, c.Body...)
	c.Unasked = true
	a.Push(c)
}

// inverse is the action that takes t back, or nil where nothing does.
func inverse(t *Task) *undoStep {
	back := backend.Action{UUID: t.Action.UUID, Name: t.Name}
	switch t.Action.Verb {
	case backend.VerbSuspend:
		back.Verb = backend.VerbResume
	case backend.VerbResume:
		back.Verb = backend.VerbSuspend
	case backend.VerbAutostartOn:
		back.Verb = backend.VerbAutostartOff
	case backend.VerbAutostartOff:
		back.Verb = backend.VerbAutostartOn
	case backend.VerbRename:
		back.Verb, back.New, back.Name = backend.VerbRename, t.Name, t.Action.New
	default:
		return nil
	}
	key := t.Key
	return &undoStep{Label: "undoes it", Run: func(a *App) tea.Cmd { return a.startAction(key, back) }}
}

// Undo takes back the last action that can be taken back.
func (a *App) Undo() tea.Cmd {
	u := a.undo
	if u == nil {
		return a.Info("nothing to undo")
	}
	a.undo = nil
	return u.Run(a)
}
