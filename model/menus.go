package model

import (
	"fmt"
	"slices"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// actionMenu lists everything that can be done to the targets, and why what
// cannot be done cannot.
func (a *App) actionMenu() tea.Cmd {
	switch {
	case a.Screen == ScreenQueue || a.Screen == ScreenJob:
		return a.jobMenu()
	case isBackupScreen(a.Screen):
		return a.screenMenu(GroupBackup)
	case isImageScreen(a.Screen):
		return a.screenMenu(GroupImage)
	}
	rows := a.targets()
	if len(rows) == 0 {
		return a.Warn("no VM is selected")
	}
	meant := keys(rows)
	m := &Menu{Title: rows[0].Name}
	if len(rows) > 1 {
		m.Title = fmt.Sprintf("%d marked VMs", len(rows))
	}
	same := func(a *App) bool { return slices.Equal(meant, keys(a.targets())) }
	a.addActions(m, same, func(x *Action) bool { return x.Group == GroupVM || x.Group == GroupMore })
	a.Push(m)
	return nil
}

// jobMenu lists everything that can be done to the jobs.
func (a *App) jobMenu() tea.Cmd {
	jobs := a.jobTargets()
	if len(jobs) == 0 {
		return a.Warn("no job is selected")
	}
	meant := jobIDs(jobs)
	m := &Menu{Title: backend.Clean(jobs[0].Name)}
	if len(jobs) > 1 {
		m.Title = fmt.Sprintf("%d marked jobs", len(jobs))
	}
	same := func(a *App) bool { return slices.Equal(meant, jobIDs(a.jobTargets())) }
	a.addActions(m, same, func(x *Action) bool { return x.Group == GroupQueue && x.on(a.Screen) && !x.Silent })
	a.Push(m)
	return nil
}

// screenMenu lists everything that a group of actions can do on this screen.
func (a *App) screenMenu(g Group) tea.Cmd {
	m := &Menu{Title: a.Screen.String()}
	list := a.backupList
	if g == GroupImage {
		list = a.imageList
	}
	screen, meant := a.Screen, list().meant()
	same := func(a *App) bool { return a.Screen == screen && list().meant() == meant }
	a.addActions(m, same, func(x *Action) bool { return x.Group == g && x.on(a.Screen) && !x.Silent })
	a.Push(m)
	return nil
}

// addActions lists actions in a menu; same tells whether what they act on is
// still what the menu was opened for.
func (a *App) addActions(m *Menu, same func(*App) bool, listed func(*Action) bool) {
	for i := range a.actions {
		x := &a.actions[i]
		if !listed(x) || x.ID == "actions" {
			continue
		}
		it := MenuItem{Label: x.Label, Note: x.Help, Why: x.Disabled(a), Run: func(a *App) tea.Cmd {
			if !same(a) {
				return a.Warn(fmt.Sprintf("%s: the selection has changed meanwhile; choose again", x.Label))
			}
			return a.run(x, tea.KeyMsg{})
		}}
		if len(x.Keys) > 0 {
			it.Key = x.Keys[0]
		}
		m.Items = append(m.Items, it)
	}
}

func (a *App) sortMenu() tea.Cmd {
	m := &Menu{Title: "Sort by"}
	for _, c := range Columns() {
		it := MenuItem{Label: c.ID, Note: c.Help, On: c.ID == a.VMs.SortBy, Run: func(a *App) tea.Cmd { return a.sortBy(c.ID) }}
		if it.On {
			m.Index = len(m.Items)
		}
		m.Items = append(m.Items, it)
	}
	a.Push(m)
	return nil
}

// sortBy orders the list by a column.
func (a *App) sortBy(id string) tea.Cmd {
	if _, ok := ColumnByID(id); !ok {
		return a.Warn(fmt.Sprintf("no column is called %q: :sort shows them", id))
	}
	a.VMs.Sort(id)
	a.want()
	return nil
}

// SortByHeader orders by a shown column, as a click on its title does.
func (a *App) SortByHeader(id string) tea.Cmd {
	if a.Screen != ScreenVMs || len(a.Overlays) > 0 {
		return nil
	}
	return a.sortBy(id)
}

// columnMenu switches columns on and off and moves them.
func (a *App) columnMenu() tea.Cmd {
	m := &Menu{Title: "Columns", Switches: true}
	ids := slices.Clone(a.VMs.Columns)
	for _, c := range Columns() {
		if !slices.Contains(ids, c.ID) {
			ids = append(ids, c.ID)
		}
	}
	for _, id := range ids {
		c, ok := ColumnByID(id)
		if !ok {
			continue
		}
		it := MenuItem{Label: c.ID, Note: c.Help, On: slices.Contains(a.VMs.Columns, id),
			Run: func(a *App) tea.Cmd { a.takeColumns(m); return nil }}
		if id == "name" {
			it.Why = "always shown: a row must be told from another"
		}
		m.Items = append(m.Items, it)
	}
	m.Reorder = func(a *App, i, by int) tea.Cmd {
		// The menu swaps its items after this; the columns follow from them then.
		items := slices.Clone(m.Items)
		items[i], items[i+by] = items[i+by], items[i]
		a.takeColumns(&Menu{Items: items})
		return nil
	}
	a.Push(m)
	return nil
}

// takeColumns shows the columns that are on in a menu, in its order. The name
// stays, so that a row can be told from another.
func (a *App) takeColumns(m *Menu) {
	var ids []string
	for _, it := range m.Items {
		if it.On || it.Label == "name" {
			ids = append(ids, it.Label)
		}
	}
	a.VMs.choose(ids)
}

// themeMenu shows each theme while the cursor is on it.
func (a *App) themeMenu() tea.Cmd {
	before, themed := a.Theme, a.themed
	m := &Menu{Title: "Theme"}
	for _, name := range a.opt.Themes {
		if name == a.Theme {
			m.Index = len(m.Items)
		}
		m.Items = append(m.Items, MenuItem{Label: name, Run: func(a *App) tea.Cmd { return a.setTheme(name) }})
	}
	m.Moved = func(a *App, i int) tea.Cmd { a.Theme, a.themed = m.Items[i].Label, true; return nil }
	m.Cancelled = func(a *App) tea.Cmd { a.Theme, a.themed = before, themed; return nil }
	a.Push(m)
	return nil
}

func (a *App) setTheme(name string) tea.Cmd {
	if !slices.Contains(a.opt.Themes, name) {
		return a.Warn(fmt.Sprintf("no theme is called %q", name))
	}
	a.Theme, a.themed = name, true
	return a.Info("theme " + name + "; :save keeps it")
}

// copyMenu offers what can be copied of the selected VM.
func (a *App) copyMenu() tea.Cmd {
	r := a.one()
	m := &Menu{Title: "Copy " + r.Name}
	add := func(key, label, text string) {
		it := MenuItem{Key: key, Label: label, Note: text, Run: func(a *App) tea.Cmd { return a.copyText(label, text) }}
		if text == "" {
			it.Why = "not known"
		}
		m.Items = append(m.Items, it)
	}
	add("n", "name", r.Name)
	add("u", "UUID", r.UUID.String())
	ip := ""
	if len(r.Addresses) > 0 {
		ip = r.Addresses[0]
	}
	add("i", "address", ip)
	add("h", "host", r.Host)
	k := r.Key()
	m.Items = append(m.Items, MenuItem{Key: "x", Label: "XML", Note: "the stored definition", Run: func(a *App) tea.Cmd { return a.copyXML(k) }})
	a.Push(m)
	return nil
}

// consoleHost returns the selected VM's host as one that opens consoles.
func (a *App) consoleHost(r *Row) (backend.Consoler, bool) {
	s := a.Fleet.HostState(r.Host)
	if s == nil {
		return nil, false
	}
	c, ok := s.Host.(backend.Consoler)
	return c, ok
}
