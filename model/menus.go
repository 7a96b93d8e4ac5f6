package model

import (
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// actionMenu lists everything that can be done to the targets, and why what
// cannot be done cannot.
func (a *App) actionMenu() tea.Cmd {
	rows := a.targets()
	if len(rows) == 0 {
		return a.Warn("no VM is selected")
	}
	meant := keys(rows)
	m := &Menu{Title: rows[0].Name}
	if len(rows) > 1 {
		m.Title = fmt.Sprintf("%d marked VMs", len(rows))
	}
	for i := range a.actions {
		x := &a.actions[i]
		if (x.Group != GroupVM && x.Group != GroupMore) || x.ID == "actions" {
			continue
		}
		it := MenuItem{Label: x.Label, Note: x.Help, Why: x.Disabled(a), Run: func(a *App) tea.Cmd {
			if !slices.Equal(meant, keys(a.targets())) {
				return a.Warn(fmt.Sprintf("%s: the selection has changed meanwhile; choose again", x.Label))
			}
			return a.run(x, tea.KeyMsg{})
		}}
		if len(x.Keys) > 0 {
			it.Key = x.Keys[0]
		}
		m.Items = append(m.Items, it)
	}
	a.Push(m)
	return nil
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
	a.VMs.Columns = ids
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

// open opens what is selected.
func (a *App) open() tea.Cmd {
	switch a.Screen {
	case ScreenHosts:
		return a.openHost()
	case ScreenEvents:
		return a.openEvent()
	default:
		if r := a.VMs.Selected(); r != nil {
			return a.openDetail(r.Key(), TabOverview)
		}
	}
	return nil
}

// openHost shows a host's VMs; back brings the hosts and the filter that was
// there. For a host that does not answer it says why.
func (a *App) openHost() tea.Cmd {
	s := a.Hosts.Selected()
	if s == nil {
		return nil
	}
	if s.Err != nil {
		a.Push(&Notice{Title: s.Host.Name() + " does not answer", Text: s.Host.URI() + "\n\n" + s.Err.Error()})
		return nil
	}
	before := a.VMs.filterText
	cmd := tea.Batch(a.Go(ScreenVMs), a.filter("host:"+quoteTerm(s.Host.Name())))
	a.fromHost = &before
	return cmd
}

// openEvent shows an event in full, and offers the VM it is about.
func (a *App) openEvent() tea.Cmd {
	e := a.Events.Selected()
	if e == nil {
		return nil
	}
	n := &Notice{Title: strings.TrimSpace(e.Host + " " + e.VM), Text: e.At.Format("2006-01-02 15:04:05") + "  " + e.Kind + "\n\n" + e.Text}
	if k := e.Key; a.Fleet.Row(k) != nil {
		n.Open = func(a *App) tea.Cmd { return a.openDetail(k, TabOverview) }
	}
	a.Push(n)
	return nil
}

// quoteTerm puts quotes round what the filter would take apart.
func quoteTerm(s string) string {
	for _, r := range s {
		if r == ' ' || r == '!' || r == '/' || r == ',' {
			return `"` + s + `"`
		}
	}
	return s
}

// move moves the selection or scrolls, as the screen has it.
func (a *App) move(n int, k tea.KeyMsg) tea.Cmd {
	switch a.Screen {
	case ScreenVMs:
		a.VMs.Move(n)
		a.want()
	case ScreenHosts:
		a.Hosts.Move(n)
	case ScreenEvents:
		a.Events.Move(n)
	case ScreenDetail:
		a.Detail.Scroll(k)
	case ScreenConnect:
		a.Connect.Top = scrolled(a.Connect.Top, a.Connect.Lines, a.Connect.Page, k)
	}
	return nil
}

// back leaves the screen; the list of VMs is the last, and leaving it quits.
func (a *App) back() tea.Cmd {
	switch a.Screen {
	case ScreenVMs, ScreenConnect:
		if a.Screen == ScreenVMs && a.fromHost != nil {
			a.VMs.ClearMarks()
			return a.Escape()
		}
		if n := len(a.Tasks.Active()); n > 0 {
			a.Push(newConfirm(Confirm{Title: "Quit?", Yes: "Quit",
				Body:  []string{fmt.Sprintf("%d actions are under way. What the hosts have accepted goes on; what still waits for its turn is dropped.", n)},
				OnYes: func(a *App, _ *Confirm) tea.Cmd { return a.Quit() }}))
			return nil
		}
		return a.Quit()
	}
	return a.Escape()
}

func (a *App) showXML() tea.Cmd {
	if a.Screen == ScreenDetail {
		if a.Detail.Tab == TabXML {
			return a.Detail.ToggleStored()
		}
		return a.Detail.Show(TabXML)
	}
	return a.openDetail(a.one().Key(), TabXML)
}

func (a *App) nextHit(step int) tea.Cmd {
	if a.Detail.Search.Text == "" {
		return a.Info("nothing is searched for: / searches")
	}
	if !a.Detail.Next(step) {
		return a.Info("not found: " + a.Detail.Search.Text)
	}
	return nil
}

// retry tries all connections again.
func (a *App) retry() tea.Cmd {
	cmds := []tea.Cmd{a.Fleet.PollNow()}
	for _, t := range a.Attempts {
		cmds = append(cmds, a.tryURI(t.URI))
	}
	return tea.Batch(cmds...)
}

// startDemo fills the fleet with simulated hosts.
func (a *App) startDemo() tea.Cmd {
	if a.opt.StartDemo == nil {
		return a.Warn("no demo is built in")
	}
	if a.Demo {
		return a.Go(ScreenVMs)
	}
	a.Demo, a.Attempts = true, nil
	var cmds []tea.Cmd
	for _, h := range a.opt.StartDemo() {
		if a.Fleet.HostState(h.Name()) != nil {
			continue
		}
		a.demoHosts[h.Name()] = true
		a.added = append(a.added, h)
		cmds = append(cmds, a.Fleet.Add(h))
	}
	return tea.Batch(append(cmds, a.Go(ScreenVMs))...)
}

func (a *App) askURI() tea.Cmd {
	a.promptURI("qemu+ssh://")
	return nil
}

func (a *App) promptURI(value string) {
	a.Push(newPrompt("Connect to", "qemu:///system, qemu+ssh://user@host/system, qemu+tcp://host/system, …", value,
		func(a *App, uri string) tea.Cmd { return a.tryURI(uri) }))
}

// hostNames are the fleet's host names, for completion.
func (a *App) hostNames() []string {
	var out []string
	for _, s := range a.Fleet.hosts {
		out = append(out, s.Host.Name())
	}
	return out
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
