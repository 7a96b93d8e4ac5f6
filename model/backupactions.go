package model

import (
	"context"
	"errors"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

var (
	onTransfers = []ScreenID{ScreenBackups}
	onCatalogue = []ScreenID{ScreenCatalogue}
	onSchedules = []ScreenID{ScreenSchedules}
	onPoints    = []ScreenID{ScreenPoints}
	onBackups   = []ScreenID{ScreenBackups, ScreenCatalogue, ScreenSchedules, ScreenPoints}
	onBackupTab = []ScreenID{ScreenBackups, ScreenCatalogue, ScreenSchedules}
)

// BackupTabs are the screens that tab turns through.
func BackupTabs() []ScreenID { return onBackupTab }

func backupActions() []Action {
	shift := func(part float64) func(*App) tea.Cmd {
		return func(a *App) tea.Cmd { a.Backups.Catalogue.shift(part, a.Now()); return nil }
	}
	zoom := func(by int) func(*App) tea.Cmd {
		return func(a *App) tea.Cmd { a.Backups.Catalogue.setZoom(by, a.Now()); return nil }
	}
	now := func(a *App) tea.Cmd { a.Backups.Catalogue.follow = true; return nil }
	verb := func(v *transferVerb) func(*App) string {
		return func(a *App) string { return a.transferWhy(v.can) }
	}
	return []Action{
		{ID: "backup", Keys: []string{"b"}, Label: "Back up", Help: "Back the VM up, or all that are marked; a form asks for the rest", Group: GroupBackup, On: []ScreenID{ScreenVMs, ScreenDetail, ScreenBackups, ScreenCatalogue, ScreenPoints}, Hint: 10, Why: (*App).backupWhy, Run: (*App).backUp},
		{ID: "backup-restore", Keys: []string{"r"}, Label: "Restore", Help: "Restore a point: as a copy, in place or only disks; a summary comes before anything happens", Group: GroupBackup, On: []ScreenID{ScreenCatalogue, ScreenPoints}, Hint: 5, Why: (*App).restoreWhy, Run: (*App).restore},
		{ID: "vm-restore", Label: "Restore from backup", Help: "Restore the VM from one of its points", Group: GroupBackup, On: onVM, Why: (*App).restoreWhy, Run: (*App).restore},
		{ID: "points", Label: "Points in time", Help: "The points that the VM can be restored to", Group: GroupBackup, On: onVM, Why: (*App).pointsWhy, Run: (*App).vmPoints},
		{ID: "backup-verify", Keys: []string{"v"}, Label: "Verify", Help: "Read points or the whole repository back and compare; a sample will do", Group: GroupBackup, On: []ScreenID{ScreenBackups, ScreenCatalogue, ScreenPoints}, Hint: 9, Why: (*App).verifyWhy, Run: (*App).verify},
		{ID: "backup-forget", Keys: []string{"f"}, Label: "Forget old", Help: "Forget points by rules of retention; which ones go is shown first", Group: GroupBackup, On: []ScreenID{ScreenCatalogue, ScreenPoints}, Hint: 13, Why: (*App).forgetWhy, Run: (*App).forget},
		{ID: "backup-tab", Keys: []string{"tab"}, Label: "Next tab", Help: "Transfers, catalogue, schedules in turn", Group: GroupBackup, On: onBackupTab, Hint: 2, Silent: true, Run: func(a *App) tea.Cmd { return a.turnBackups(1) }},
		{ID: "backup-tab-back", Keys: []string{"shift+tab"}, Label: "Tab before", Help: "The same the other way round", Group: GroupBackup, On: onBackupTab, Silent: true, Run: func(a *App) tea.Cmd { return a.turnBackups(-1) }},

		{ID: "transfer-pause", Keys: []string{"p"}, Label: "Pause/resume", Help: "Pause a transfer, or let it go on; its point in time is kept", Group: GroupBackup, On: onTransfers, Hint: 5, Why: (*App).pauseTransferWhy, Run: (*App).pauseTransfer},
		{ID: "transfer-limit", Keys: []string{"l"}, Label: "Limit", Help: "How many bytes a second it may read", Group: GroupBackup, On: onTransfers, Hint: 6, Why: func(a *App) string { return a.transferWhy(transferLives) }, Run: (*App).askLimit},
		{ID: "transfer-cancel", Keys: []string{"c", "x"}, Label: "Cancel", Help: "Give a transfer up, or end a job that somebody else started", Group: GroupBackup, On: onTransfers, Hint: 7, Why: (*App).cancelTransferWhy, Run: (*App).cancelTransfer},
		{ID: "transfer-retry", Keys: []string{"R"}, Label: "Retry", Help: "Order again what failed or was cancelled", Group: GroupBackup, On: onTransfers, Hint: 8, Why: verb(&transferRetry), Run: func(a *App) tea.Cmd { return a.runTransferVerb(&transferRetry) }},
		{ID: "leftovers", Keys: []string{"L"}, Label: "Clean leftovers", Help: "Remove what broken-off backups left on the hosts: jobs, scratch files, checkpoints", Group: GroupBackup, On: onBackups, Hint: 1, Why: (*App).leftoversWhy, Run: (*App).cleanLeftovers},
		{ID: "backup-engine", Keys: []string{"E"}, Label: "Start engine", Help: "Start the engine that makes backups, when none runs", Group: GroupBackup, On: onBackups, Hint: 1, Why: (*App).backupEngineWhy, Run: (*App).startBackupEngine},
		{ID: "backup-vm", Keys: []string{"V"}, Label: "Its VM", Help: "Open the VM's detail", Group: GroupBackup, On: []ScreenID{ScreenBackups, ScreenCatalogue, ScreenPoints}, Why: (*App).backupVMWhy, Run: (*App).openBackupVM},

		{ID: "catalogue-in", Keys: []string{"+", "z"}, Label: "Zoom in", Help: "Catalogue: less time, in more detail", Group: GroupBackup, On: onCatalogue, Hint: 6, Silent: true, Run: zoom(-1)},
		{ID: "catalogue-out", Keys: []string{"-", "Z"}, Label: "Zoom out", Help: "Catalogue: more time at once", Group: GroupBackup, On: onCatalogue, Hint: 7, Silent: true, Run: zoom(1)},
		{ID: "catalogue-back", Keys: []string{"left", "h"}, Label: "Back in time", Help: "Catalogue: scroll back in time", Group: GroupBackup, On: onCatalogue, Silent: true, Run: shift(-0.25)},
		{ID: "catalogue-forth", Keys: []string{"right", "l"}, Label: "Forth in time", Help: "Catalogue: scroll forth in time", Group: GroupBackup, On: onCatalogue, Silent: true, Run: shift(0.25)},
		{ID: "catalogue-now", Keys: []string{"n", "0"}, Label: "Now", Help: "Catalogue: back to now", Group: GroupBackup, On: onCatalogue, Silent: true, Run: now},
		{ID: "backup-sort", Keys: []string{">"}, Label: "Sort by next", Help: "Catalogue: by need, name, host, age or size; points: by time, new data and so on", Group: GroupBackup, On: []ScreenID{ScreenCatalogue, ScreenPoints}, Run: func(a *App) tea.Cmd { return a.sortBackups(1) }},
		{ID: "backup-sort-back", Keys: []string{"<"}, Label: "Sort by previous", Help: "The same the other way round", Group: GroupBackup, On: []ScreenID{ScreenCatalogue, ScreenPoints}, Silent: true, Run: func(a *App) tea.Cmd { return a.sortBackups(-1) }},
		{ID: "points-invert", Keys: []string{"I"}, Label: "Invert order", Help: "Points: turn the order round", Group: GroupBackup, On: onPoints, Run: func(a *App) tea.Cmd {
			a.Backups.Points.desc = !a.Backups.Points.desc
			a.Backups.rebuildPoints()
			return nil
		}},
		{ID: "backup-reread", Keys: []string{"F"}, Label: "Read repository", Help: "Read the repositories' catalogues anew, as after another machine has written there", Group: GroupBackup, On: onBackups, Why: (*App).rereadWhy, Run: (*App).reread},

		{ID: "schedule-new", Keys: []string{"n"}, Label: "New schedule", Help: "Add a schedule", Group: GroupBackup, On: onSchedules, Hint: 5, Why: (*App).backupsRefuse, Run: (*App).newSchedule},
		{ID: "schedule-edit", Keys: []string{"e"}, Label: "Change", Help: "Change the schedule", Group: GroupBackup, On: onSchedules, Hint: 6, Why: (*App).scheduleWhy, Run: (*App).editSchedule},
		{ID: "schedule-toggle", Keys: []string{"d"}, Label: "Disable/enable", Help: "Keep a schedule from running by itself, or let it again", Group: GroupBackup, On: onSchedules, Hint: 7, Why: (*App).scheduleWhy, Run: (*App).toggleSchedules},
		{ID: "schedule-run", Keys: []string{"r"}, Label: "Run now", Help: "Run the schedule now", Group: GroupBackup, On: onSchedules, Hint: 8, Why: (*App).scheduleWhy, Run: (*App).runSchedules},
		{ID: "schedule-remove", Keys: []string{"x"}, Label: "Remove", Help: "Forget the schedule; its backups stay", Group: GroupBackup, On: onSchedules, Hint: 9, Why: (*App).scheduleWhy, Run: (*App).removeSchedules},
	}
}

// isBackupScreen reports whether a screen is made of what Backups knows.
func isBackupScreen(s ScreenID) bool {
	return s == ScreenBackups || s == ScreenCatalogue || s == ScreenSchedules || s == ScreenPoints
}

// turnBackups turns to another tab of the backups. What was shown before them
// stays the view that - brings back.
func (a *App) turnBackups(step int) tea.Cmd {
	at := 0
	for i, s := range onBackupTab {
		if s == a.Screen {
			at = i
		}
	}
	last := a.last
	cmd := a.Go(onBackupTab[(at+step+len(onBackupTab))%len(onBackupTab)])
	a.last = last
	return cmd
}

// ShowBackupTab turns to a tab, as a click on it does.
func (a *App) ShowBackupTab(s ScreenID) tea.Cmd {
	last := a.last
	cmd := a.Go(s)
	a.last = last
	return cmd
}

// backupList is the list of the screen of backups that is shown.
func (a *App) backupList() pickList {
	s := a.Backups
	switch a.Screen {
	case ScreenCatalogue:
		return &s.Catalogue.picker
	case ScreenSchedules:
		return &s.Schedules.picker
	case ScreenPoints:
		return &s.Points.picker
	}
	return &s.list.picker
}

// SetBackupPage tells how many lines of the screen's list there is room for.
func (a *App) SetBackupPage(n int) { a.backupList().setPage(n) }

// openBackup opens what is selected on a screen of backups.
func (a *App) openBackup() tea.Cmd {
	s := a.Backups
	switch a.Screen {
	case ScreenBackups:
		if r := s.SelectedRow(); r != nil {
			a.Push(a.transferNotice(r))
		}
	case ScreenCatalogue:
		if v := s.Catalogue.Selected(); v != nil {
			return a.openPoints(v.UUID)
		}
	case ScreenPoints:
		if p := s.Points.Selected(); p != nil {
			a.Push(&Notice{Title: p.Name + " of " + p.At.In(a.clock.Now().Location()).Format("2006-01-02 15:04:05"), Text: strings.Join(PointFacts(p, a.clock.Now()), "\n")})
		}
	case ScreenSchedules:
		if c := s.Schedules.Selected(); c != nil {
			a.Push(&Notice{Title: ScheduleName(c), Text: strings.Join(ScheduleFacts(c, a.clock.Now()), "\n")})
		}
	}
	return nil
}

// peelBackups removes one layer of a screen of backups: marks, filter, the
// points of one VM. It reports whether there was one.
func (a *App) peelBackups() (bool, tea.Cmd) {
	l := a.backupList()
	if all, _ := l.Marks(); all > 0 {
		l.ClearMarks()
		return true, nil
	}
	if text, _ := a.backupFilter().Filter(); text != "" {
		_ = a.backupFilter().TypeFilter("") // the empty filter has no error
		return true, nil
	}
	if a.Screen == ScreenPoints && a.pointsFrom == ScreenCatalogue {
		return true, a.ShowBackupTab(ScreenCatalogue)
	}
	return false, nil
}

// backupFilter is the filter of the screen of backups that is shown.
func (a *App) backupFilter() filtered { return backupFilter{a, a.Screen} }

type backupFilter struct {
	a      *App
	screen ScreenID
}

// TypeFilter implements filtered.
func (f backupFilter) TypeFilter(text string) error {
	s := f.a.Backups
	var err error
	switch f.screen {
	case ScreenCatalogue:
		err = s.Catalogue.filter.set(text, catalogueKeys, catalogueTexts)
		s.rebuildCatalogue()
	case ScreenSchedules:
		err = s.Schedules.filter.set(text, scheduleKeys, scheduleTexts)
		s.rebuildSchedules()
	case ScreenPoints:
		err = s.Points.filter.set(text, pointKeys, pointTexts)
		s.rebuildPoints()
	default:
		err = s.list.filter.set(text, transferKeys, transferTexts)
		s.rebuildTransfers()
	}
	return err
}

// Filter implements filtered.
func (f backupFilter) Filter() (string, error) {
	s := f.a.Backups
	switch f.screen {
	case ScreenCatalogue:
		return s.Catalogue.filter.text, s.Catalogue.filter.err
	case ScreenSchedules:
		return s.Schedules.filter.text, s.Schedules.filter.err
	case ScreenPoints:
		return s.Points.filter.text, s.Points.filter.err
	}
	return s.list.filter.text, s.list.filter.err
}

// Move implements filtered.
func (f backupFilter) Move(n int) { f.a.backupList().Move(n) }

// BackupList is the place of the list of the screen of backups that is shown,
// and its filter as typed.
func (a *App) BackupList() (ListView, string) {
	text, _ := a.backupFilter().Filter()
	return a.backupList(), text
}

func (a *App) sortBackups(step int) tea.Cmd {
	s := a.Backups
	if a.Screen == ScreenPoints {
		n := len(pointOrders)
		s.Points.by = (s.Points.by + step + n) % n
		s.rebuildPoints()
		return a.Info("by " + pointOrders[s.Points.by].name)
	}
	n := int(catalogueOrders)
	s.Catalogue.SortBy = CatalogueOrder((int(s.Catalogue.SortBy) + step + n) % n)
	s.rebuildCatalogue()
	return a.Info("by " + s.Catalogue.SortBy.String())
}

func (a *App) pointsWhy() string {
	if why := a.Backups.Missing(); why != nil {
		return why.Error()
	}
	if a.one() == nil {
		return "no VM is selected"
	}
	return ""
}

func (a *App) vmPoints() tea.Cmd { return a.openPoints(a.one().UUID) }

// backupRow is the row of the VM that a screen of backups has selected, or nil.
func (a *App) backupRow() *Row {
	if a.Screen == ScreenBackups {
		if r := a.Backups.SelectedRow(); r != nil {
			if r.Job != nil {
				return a.Fleet.Row(backend.Key{Host: r.Job.Host, UUID: r.Job.VM})
			}
			return a.Fleet.Row(r.Transfer.Spec.VM)
		}
		return nil
	}
	if v, _ := a.restoreVM(); v != nil && v.Row != nil {
		return a.Fleet.Row(v.Row.Key())
	}
	return nil
}

// BackupRow is the row of the VM that a screen of backups has selected, or nil.
func (a *App) BackupRow() *Row { return a.backupRow() }

func (a *App) backupVMWhy() string {
	if a.backupRow() == nil {
		return "none of the connected hosts has the VM"
	}
	return ""
}

func (a *App) openBackupVM() tea.Cmd { return a.openDetail(a.backupRow().Key(), TabOverview) }

func (a *App) rereadWhy() string {
	if err := a.Backups.Missing(); err != nil {
		return err.Error()
	}
	if len(a.repoRefs()) == 0 {
		return "no repository is known yet"
	}
	return ""
}

// rereadEach is how long the reading of one repository may take.
const rereadEach = 4 * requestDeadline

// reread reads the catalogues of all repositories anew.
func (a *App) reread() tea.Cmd {
	refs := a.repoRefs()
	s := a.Backups
	b, parent := s.b, s.ctx
	s.requests++
	return tea.Batch(a.Info("reading "+plural(len(refs), "repository", "repositories")), func() tea.Msg {
		var errs error
		for _, r := range refs {
			ctx, cancel := context.WithTimeout(parent, rereadEach)
			errs = errors.Join(errs, b.Refresh(ctx, r))
			cancel()
		}
		return result(func(a *App) tea.Cmd {
			s.requests--
			cmds := []tea.Cmd{s.AskNow()}
			if errs != nil {
				return tea.Batch(append(cmds, a.Bad(errs.Error()))...)
			}
			return tea.Batch(append(cmds, a.OK(plural(len(refs), "repository", "repositories")+" read"))...)
		})
	})
}
