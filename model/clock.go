package model

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// Clock tells the time and sends messages later. Everything in the model that
// waits goes through it, so that tests need not.
type Clock struct {
	Now   func() time.Time
	After func(time.Duration, tea.Msg) tea.Cmd
}

// WallClock is the real one.
func WallClock() Clock {
	return Clock{
		Now:   time.Now,
		After: func(d time.Duration, m tea.Msg) tea.Cmd { return tea.Tick(d, func(time.Time) tea.Msg { return m }) },
	}
}
