package model

import (
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// Go turns to a screen.
func (a *App) Go(s ScreenID) tea.Cmd {
	if s == a.Screen {
		return nil
	}
	if a.Screen == ScreenDetail {
		a.Detail.Leave()
	}
	a.last, a.Screen = a.Screen, s
	a.Events.Look(s == ScreenEvents)
	a.want()
	cmd := a.lookAtScreens()
	if s == ScreenDetail {
		return tea.Batch(cmd, a.Detail.Open(a.Detail.Key, a.Detail.Tab))
	}
	return cmd
}

// lookAtScreens tells the queue, the backups and the images whether they are
// looked at.
func (a *App) lookAtScreens() tea.Cmd {
	return tea.Batch(a.Queue.Show(a.Screen == ScreenQueue || a.Screen == ScreenJob), a.Backups.Show(isBackupScreen(a.Screen)),
		a.Images.Show(isImageScreen(a.Screen)))
}

// openDetail turns to a VM's detail.
func (a *App) openDetail(k backend.Key, t Tab) tea.Cmd {
	if a.Screen != ScreenDetail {
		a.last, a.Screen = a.Screen, ScreenDetail
		a.Events.Look(false)
	}
	cmd := tea.Batch(a.lookAtScreens(), a.Detail.Open(k, t))
	a.want()
	return cmd
}

// Escape peels one layer: marks, then a filter, then the screen.
func (a *App) Escape() tea.Cmd {
	switch {
	case a.Screen == ScreenDetail && a.Detail.Search.Text != "":
		a.Detail.Search = Search{}
	case a.Screen == ScreenConnect:
	case a.Screen == ScreenJob:
		a.last = ScreenVMs
		cmd := a.Go(ScreenQueue)
		a.last = ScreenVMs
		return cmd
	case a.Screen == ScreenQueue && a.Queue.peel():
	case isImageScreen(a.Screen) && a.peelImages():
	case isBackupScreen(a.Screen):
		if peeled, cmd := a.peelBackups(); peeled {
			return cmd
		}
		return a.leave()
	case a.Screen != ScreenVMs:
		return a.leave()
	case len(a.VMs.marks) > 0:
		a.VMs.ClearMarks()
	case a.fromHost != nil:
		before := *a.fromHost
		a.fromHost = nil
		return tea.Batch(a.filter(before), a.Go(ScreenHosts))
	case a.VMs.filterText != "":
		return a.filter("")
	}
	return nil
}

// leave goes back to the screen before this one.
func (a *App) leave() tea.Cmd {
	back := a.last
	if back == a.Screen || back == ScreenConnect {
		back = ScreenVMs
	}
	cmd := a.Go(back)
	a.last = ScreenVMs
	return cmd
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

// Quit ends the program. What the hypervisor has accepted goes on.
func (a *App) Quit() tea.Cmd {
	a.quit()
	return tea.Quit
}

// open opens what is selected.
func (a *App) open() tea.Cmd {
	switch a.Screen {
	case ScreenHosts:
		return a.openHost()
	case ScreenEvents:
		return a.openEvent()
	case ScreenQueue:
		if j := a.Queue.Selected(); j != nil {
			return a.openJob(j.ID)
		}
	case ScreenBackups, ScreenCatalogue, ScreenSchedules, ScreenPoints:
		return a.openBackup()
	case ScreenImages, ScreenPools:
		return a.openImage()
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
	case ScreenDetail:
		a.Detail.Scroll(k)
	case ScreenConnect:
		a.Connect.Top = scrolled(a.Connect.Top, a.Connect.Lines, a.Connect.Page, k)
	case ScreenJob:
		a.Job.Top = scrolled(a.Job.Top, a.Job.Lines, a.Job.Page, k)
	case ScreenQueue:
		a.Queue.moveBy(n)
	case ScreenBackups, ScreenCatalogue, ScreenSchedules, ScreenPoints:
		a.backupList().Move(n)
	case ScreenImages, ScreenPools:
		a.imageList().Move(n)
	default:
		a.moveList(n)
	}
	return nil
}

// moveList moves the selection of the hosts or the events.
func (a *App) moveList(n int) {
	switch a.Screen {
	case ScreenHosts:
		a.Hosts.Move(n)
	case ScreenEvents:
		a.Events.Move(n)
	}
}

// Click selects a row of the list by its place on the screen, or a host, or
// an event; twice on the same row opens it.
func (a *App) Click(i int) tea.Cmd {
	if len(a.Overlays) > 0 {
		return nil
	}
	switch a.Screen {
	case ScreenVMs:
		again := a.VMs.top+i == a.VMs.index
		a.VMs.Select(a.VMs.top + i)
		if r := a.VMs.Selected(); again && r != nil {
			return a.openDetail(r.Key(), TabOverview)
		}
	case ScreenHosts:
		a.Hosts.Move(a.Hosts.top + i - a.Hosts.index)
	case ScreenEvents:
		a.Events.Move(a.Events.top + i - a.Events.index)
	case ScreenQueue:
		if j := a.Queue.clicked(i); j != nil {
			return a.openJob(j.ID)
		}
	case ScreenBackups, ScreenCatalogue, ScreenSchedules, ScreenPoints:
		if l := a.backupList(); l.click(l.Top() + i) {
			return a.openBackup()
		}
	case ScreenImages, ScreenPools:
		if l := a.imageList(); l.click(l.Top() + i) {
			return a.openImage()
		}
	}
	return nil
}

// Wheel scrolls what is under the mouse by n lines.
func (a *App) Wheel(n int) tea.Cmd {
	if len(a.Overlays) > 0 {
		k := tea.KeyMsg{Type: tea.KeyDown}
		if n < 0 {
			k.Type, n = tea.KeyUp, -n
		}
		var cmds []tea.Cmd
		for range n {
			cmds = append(cmds, a.key(k))
		}
		return tea.Batch(cmds...)
	}
	switch a.Screen {
	case ScreenVMs:
		a.VMs.Scroll(n)
		a.want()
	case ScreenDetail:
		a.Detail.ScrollBy(n)
	case ScreenJob:
		a.Job.Top = max(0, min(a.Job.Top+n, a.Job.Lines-a.Job.Page))
	case ScreenQueue:
		a.Queue.wheel(n)
	case ScreenBackups, ScreenCatalogue, ScreenSchedules, ScreenPoints:
		a.backupList().scroll(n)
	case ScreenImages, ScreenPools:
		a.imageList().scroll(n)
	default:
		a.moveList(n)
	}
	return nil
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
