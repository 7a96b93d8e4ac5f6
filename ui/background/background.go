// Package background keeps Bubble Tea from asking the terminal for its
// background colour.
//
// Bubble Tea v1 asks in an init function, before main runs. Where nobody
// answers (a pseudo-terminal of a script, a serial line) it waits 5 seconds,
// even for --version. lipgloss asks only if it has not been told, so this
// package tells it. Go runs the init functions of independent packages in the
// order of their import paths: "berth/ui/background" sorts before
// "github.com/charmbracelet/bubbletea", and this package must import nothing
// that imports Bubble Tea.
//
// Nothing in berth depends on the answer: themes say themselves whether they
// are dark.
package background

import "github.com/charmbracelet/lipgloss"

func init() { lipgloss.SetHasDarkBackground(true) }
