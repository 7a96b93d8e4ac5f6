package model

import (
	"fmt"

	tea "github.com/charmbracelet/bubbletea"
)

// Overlay is what lies over a screen and takes the keys while it does: a
// confirmation, a menu, a prompt, the help page. The topmost is the last.
type Overlay interface {
	// Key handles one key. done closes the overlay.
	Key(a *App, k tea.KeyMsg) (done bool, cmd tea.Cmd)
}

// MenuItem is one choice of a Menu.
type MenuItem struct {
	Key   string // a key that chooses it at once; may be empty
	Label string
	Note  string // beside the label, muted
	Why   string // why it cannot be chosen now; empty when it can
	On    bool   // for menus of switches: whether it is on
	Run   func(*App) tea.Cmd
}

// Menu is a list to choose one item from.
type Menu struct {
	Title string
	Items []MenuItem
	Index int
	// Switches makes it a list of switches: space toggles and the menu stays.
	Switches bool
	// Moved, when set, is called whenever another item is under the cursor, for previews.
	Moved func(*App, int) tea.Cmd
	// Cancelled, when set, is called when the menu is left without a choice.
	Cancelled func(*App) tea.Cmd
	// Reorder, when set, moves the item under the cursor by ±1.
	Reorder func(a *App, i, by int) tea.Cmd
}

// Key implements Overlay.
func (m *Menu) Key(a *App, k tea.KeyMsg) (bool, tea.Cmd) {
	switch s := k.String(); s {
	case "esc", "q", "ctrl+g":
		if m.Cancelled != nil {
			return true, m.Cancelled(a)
		}
		return true, nil
	case "up", "k", "ctrl+p", "shift+tab":
		return false, m.move(a, -1)
	case "down", "j", "ctrl+n", "tab":
		return false, m.move(a, 1)
	case "home", "g":
		return false, m.move(a, -len(m.Items))
	case "end", "G":
		return false, m.move(a, len(m.Items))
	case "shift+up", "K":
		return false, m.reorder(a, -1)
	case "shift+down", "J":
		return false, m.reorder(a, 1)
	case "enter":
		if m.Switches {
			return true, nil
		}
		return m.choose(a, m.Index)
	case " ":
		return m.choose(a, m.Index)
	default:
		for i, it := range m.Items {
			if it.Key == s {
				m.Index = i
				return m.choose(a, i)
			}
		}
	}
	return false, nil
}

func (m *Menu) move(a *App, n int) tea.Cmd {
	m.Index = max(0, min(m.Index+n, len(m.Items)-1))
	if m.Moved != nil {
		return m.Moved(a, m.Index)
	}
	return nil
}

func (m *Menu) reorder(a *App, by int) tea.Cmd {
	j := m.Index + by
	if m.Reorder == nil || j < 0 || j >= len(m.Items) {
		return nil
	}
	cmd := m.Reorder(a, m.Index, by)
	m.Items[m.Index], m.Items[j] = m.Items[j], m.Items[m.Index]
	m.Index = j
	return cmd
}

func (m *Menu) choose(a *App, i int) (bool, tea.Cmd) {
	if i >= len(m.Items) {
		return true, nil
	}
	it := &m.Items[i]
	if it.Why != "" {
		a.Warn(fmt.Sprintf("%s: %s", it.Label, it.Why))
		return false, nil
	}
	if m.Switches {
		it.On = !it.On
		return false, it.Run(a)
	}
	a.pop(m)
	return false, it.Run(a)
}

// ChooseItem chooses a menu's item with the mouse.
func (a *App) ChooseItem(m *Menu, i int) tea.Cmd {
	m.Index = i
	_, cmd := m.choose(a, i)
	return cmd
}

// HelpPage is the list of all keys, scrolled.
type HelpPage struct {
	Top   int
	Lines int // how many lines the page has; written by the renderer's layout through SetHelpSize
	Page  int
}

// Key implements Overlay.
func (h *HelpPage) Key(_ *App, k tea.KeyMsg) (bool, tea.Cmd) {
	switch k.String() {
	case "esc", "q", "?", "enter":
		return true, nil
	}
	h.Top = scrolled(h.Top, h.Lines, h.Page, k)
	return false, nil
}

// Notice is a text to be read in full.
type Notice struct {
	Title, Text string
	Top         int
	Lines, Page int                // written through layout, as for HelpPage
	Open        func(*App) tea.Cmd // what enter opens; nil when it only leaves
}

// Key implements Overlay.
func (n *Notice) Key(a *App, k tea.KeyMsg) (bool, tea.Cmd) {
	switch k.String() {
	case "enter":
		if n.Open != nil {
			return true, n.Open(a)
		}
		return true, nil
	case "esc", "q":
		return true, nil
	}
	n.Top = scrolled(n.Top, n.Lines, n.Page, k)
	return false, nil
}

// scrolled applies a movement key to the first line shown of n lines on a
// page of the given height.
func scrolled(top, n, page int, k tea.KeyMsg) int {
	page = max(page, 1)
	switch k.String() {
	case "j", "down":
		top++
	case "k", "up":
		top--
	case "ctrl+d":
		top += max(1, page/2)
	case "ctrl+u":
		top -= max(1, page/2)
	case "pgdown", " ", "ctrl+f":
		top += max(1, page-1)
	case "pgup", "ctrl+b":
		top -= max(1, page-1)
	case "g", "home":
		top = 0
	case "G", "end":
		top = n
	}
	return max(0, min(top, n-page))
}
