package model

import (
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
)

// Line is the "/" line: a filter on the list, a search in the XML. It acts
// while it is typed.
type Line struct {
	Input  textinput.Model
	Search bool // it searches the detail rather than filter a list
	list   filtered
	before string // what esc brings back
	fresh  bool   // the text is the one before: the first character typed replaces it
}

// filtered is a list that a Line filters.
type filtered interface {
	TypeFilter(text string) error
	Filter() (text string, err error)
	Move(n int)
}

// Problem is what is wrong with the filter as typed, or nil.
func (l *Line) Problem() error {
	if l.Search {
		return nil
	}
	_, err := l.list.Filter()
	return err
}

func (a *App) openLine() tea.Cmd {
	l := &Line{Input: newInput(""), list: a.VMs}
	switch {
	case a.Screen == ScreenQueue:
		l.list = a.Queue
	case isBackupScreen(a.Screen):
		l.list = a.backupFilter()
	case isImageScreen(a.Screen):
		l.list = a.imageFilter()
	}
	if a.Screen == ScreenDetail {
		if a.Detail.Tab != TabXML {
			cmd := a.Detail.Show(TabXML)
			l.Search = true
			a.Line = l
			return cmd
		}
		l.Search = true
		l.before = a.Detail.Search.Text
	} else {
		l.before, _ = l.list.Filter()
		l.Input.SetValue(l.before)
		l.Input.CursorEnd()
		l.fresh = l.before != ""
	}
	a.Line = l
	return nil
}

func (l *Line) key(a *App, k tea.KeyMsg) tea.Cmd {
	switch k.String() {
	case "esc", "ctrl+g":
		a.Line = nil
		return l.apply(a, l.before)
	case "enter":
		if err := l.Problem(); err != nil {
			return a.Warn(err.Error()) // and the line stays open
		}
		a.Line = nil
		if l.Search && len(a.Detail.Search.Hits) == 0 && l.Input.Value() != "" {
			return a.Info("not found: " + l.Input.Value())
		}
		return nil
	case "up", "down":
		if !l.Search {
			l.list.Move(map[string]int{"up": -1, "down": 1}[k.String()])
		}
		return nil
	}
	if l.fresh && k.Type == tea.KeyRunes {
		l.Input.SetValue("")
	}
	l.fresh = false
	l.Input, _ = l.Input.Update(k)
	return l.apply(a, l.Input.Value())
}

// apply filters or searches by text. What is wrong with a filter is shown
// beside the line, not as a message, while it is typed.
func (l *Line) apply(a *App, text string) tea.Cmd {
	if l.Search {
		d := a.Detail
		d.Search.Text = text
		d.Search.Find(d.XML)
		if len(d.Search.Hits) > 0 {
			d.Next(0)
		}
		return nil
	}
	_ = l.list.TypeFilter(text) // kept by the list and drawn beside the line
	a.want()
	return nil
}
