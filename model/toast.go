package model

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// Level is how much a message matters.
type Level uint8

// The levels, rising.
const (
	LevelInfo Level = iota
	LevelOK
	LevelWarn
	LevelBad
)

// Toast is the message on the status line, there for a while.
type Toast struct {
	Level Level
	Text  string
	Until time.Time
}

// toastEnd clears the status line; it is void when a newer toast is there.
type toastEnd struct{ n int }

// Info shows a message that needs no attention.
func (a *App) Info(text string) tea.Cmd { return a.toast(LevelInfo, text, 4*time.Second) }

// OK shows that something was done.
func (a *App) OK(text string) tea.Cmd { return a.toast(LevelOK, text, 5*time.Second) }

// Warn shows why something cannot be done.
func (a *App) Warn(text string) tea.Cmd { return a.toast(LevelWarn, text, 8*time.Second) }

// Bad shows that something failed, and keeps it in the event list.
func (a *App) Bad(text string) tea.Cmd {
	a.Events.Add(LogEntry{At: a.clock.Now(), Level: LevelBad, Kind: "berth", Text: text})
	return a.bad(text)
}

// bad shows a failure that the event list has already.
func (a *App) bad(text string) tea.Cmd { return a.toast(LevelBad, text, 20*time.Second) }

func (a *App) toast(l Level, text string, d time.Duration) tea.Cmd {
	a.toasts++
	n := a.toasts
	a.Status = Toast{Level: l, Text: backend.Clean(text), Until: a.clock.Now().Add(d)}
	return a.clock.After(d, toastEnd{n})
}
