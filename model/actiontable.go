package model

import (
	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

var (
	onVMs    = []ScreenID{ScreenVMs}
	onVM     = []ScreenID{ScreenVMs, ScreenDetail}
	onDetail = []ScreenID{ScreenDetail}
	onLists  = []ScreenID{ScreenVMs, ScreenHosts, ScreenEvents, ScreenQueue, ScreenBackups, ScreenCatalogue, ScreenSchedules, ScreenPoints, ScreenImages, ScreenPools}
	onQueue  = []ScreenID{ScreenQueue}
	onJob    = []ScreenID{ScreenQueue, ScreenJob}
	onMarks  = []ScreenID{ScreenVMs, ScreenQueue, ScreenBackups, ScreenCatalogue, ScreenSchedules, ScreenPoints, ScreenImages, ScreenPools}
)

// actionTable is everything a person can do. Keys follow k9s, vi and the
// libvirt consoles that people know.
func actionTable() []Action {
	var t []Action
	for _, part := range [][]Action{moveActions(), powerActions(), vmActions(), queueActions(), backupActions(), imageActions(), markActions(), viewActions(), programActions()} {
		t = append(t, part...)
	}
	return t
}

func moveActions() []Action {
	move := func(id, help string, by func(*App) int, keys ...string) Action {
		return Action{ID: id, Keys: keys, Label: help, Help: help, Group: GroupMove, Silent: true,
			On:  []ScreenID{ScreenVMs, ScreenHosts, ScreenEvents, ScreenQueue, ScreenDetail, ScreenJob, ScreenConnect, ScreenBackups, ScreenCatalogue, ScreenSchedules, ScreenPoints, ScreenImages, ScreenPools},
			Key: func(a *App, k tea.KeyMsg) tea.Cmd { return a.move(by(a), k) }}
	}
	return []Action{
		move("down", "Down", func(*App) int { return 1 }, "j", "down"),
		move("up", "Up", func(*App) int { return -1 }, "k", "up"),
		move("half-down", "Half a page down", func(a *App) int { return a.VMs.page / 2 }, "ctrl+d"),
		move("half-up", "Half a page up", func(a *App) int { return -a.VMs.page / 2 }, "ctrl+u"),
		move("page-down", "A page down", func(a *App) int { return a.VMs.page }, "pgdown", "ctrl+f"),
		move("page-up", "A page up", func(a *App) int { return -a.VMs.page }, "pgup", "ctrl+b"),
		move("first", "To the first", func(*App) int { return -1 << 30 }, "g", "home"),
		move("last", "To the last", func(*App) int { return 1 << 30 }, "G", "end"),
		{ID: "open", Keys: []string{"enter"}, Label: "Open", Help: "Open what is selected: the VM's detail, the host's VMs, the event in full, why a job waits, what there is to restore a VM from", Group: GroupMove, On: onLists, Hint: 1, Run: (*App).open},
		{ID: "next-tab", Keys: []string{"tab", "right", "l"}, Label: "Next tab", Help: "The next page of the detail", Group: GroupMove, On: onDetail, Hint: 1, Silent: true, Run: func(a *App) tea.Cmd { return a.Detail.Turn(1) }},
		{ID: "previous-tab", Keys: []string{"shift+tab", "left", "h"}, Label: "Previous tab", Help: "The page before", Group: GroupMove, On: onDetail, Silent: true, Run: func(a *App) tea.Cmd { return a.Detail.Turn(-1) }},
		{ID: "scroll-right", Keys: []string{"L", "shift+right"}, Label: "Right", Help: "Long lines of the XML and the log: further right", Group: GroupMove, On: onDetail, Silent: true, Run: func(a *App) tea.Cmd { a.Detail.Sideways(20); return nil }},
		{ID: "scroll-left", Keys: []string{"H", "shift+left"}, Label: "Left", Help: "Back to the left", Group: GroupMove, On: onDetail, Silent: true, Run: func(a *App) tea.Cmd { a.Detail.Sideways(-20); return nil }},
		{ID: "next-hit", Keys: []string{"n"}, Label: "Next hit", Help: "The next line that the search found", Group: GroupMove, On: onDetail, Silent: true, Run: func(a *App) tea.Cmd { return a.nextHit(1) }},
		{ID: "previous-hit", Keys: []string{"N"}, Label: "Previous hit", Help: "The hit before", Group: GroupMove, On: onDetail, Silent: true, Run: func(a *App) tea.Cmd { return a.nextHit(-1) }},
	}
}

// verbID is a verb's command. virsh's own name tells saving a VM from :save,
// which keeps the settings.
func verbID(v backend.Verb) string {
	switch v {
	case backend.VerbSave:
		return "managedsave"
	case backend.VerbSaveRemove:
		return "managedsave-remove"
	}
	return string(v)
}

// verbAction is an action that carries out a verb on the marked VMs or the
// selected one.
func verbAction(v backend.Verb, hint int, help string, keys ...string) Action {
	return Action{ID: verbID(v), Keys: keys, Label: v.Info().Label, Help: help, Group: GroupVM, Verb: v, Hint: hint, On: onVM,
		Why: func(a *App) string { return a.verbDisabled(v) },
		Run: func(a *App) tea.Cmd { return a.runVerb(v) }}
}

func powerActions() []Action {
	return []Action{
		verbAction(backend.VerbStart, 5, "Start; a saved VM resumes from its saved state", "s"),
		verbAction(backend.VerbStartPaused, 0, "Start and stay paused before the first instruction", "P"),
		verbAction(backend.VerbStartFresh, 0, "Throw a saved state away and boot", "B"),
		verbAction(backend.VerbShutdown, 6, "Ask the guest to power off, by agent if it has one, else by ACPI", "S"),
		verbAction(backend.VerbShutdownACPI, 0, "Press the guest's power button"),
		verbAction(backend.VerbShutdownAgent, 0, "Ask the guest's agent to power off"),
		verbAction(backend.VerbReboot, 13, "Ask the guest to reboot", "R"),
		verbAction(backend.VerbReset, 0, "Press the reset button", "T"),
		verbAction(backend.VerbDestroy, 7, "Force off, as by pulling the power cord", "D"),
		{ID: "pause", Keys: []string{"p"}, Label: "Pause/resume", Help: "Pause, or resume what is paused", Group: GroupVM, On: onVM, Hint: 8, Why: (*App).pauseDisabled, Run: (*App).pause},
		verbAction(backend.VerbSuspend, 0, "Pause: the guest stands still"),
		verbAction(backend.VerbResume, 0, "Let a paused guest go on"),
		verbAction(backend.VerbSave, 0, "Write the guest's memory to disk and stop it (managed save)", "v"),
		verbAction(backend.VerbRestore, 0, "Start from the saved state"),
		verbAction(backend.VerbSaveRemove, 0, "Delete the saved state", "V"),
	}
}

func vmActions() []Action {
	return []Action{
		{ID: "console", Keys: []string{"c"}, Label: "Console", Help: "The serial console, in this terminal; ^] leaves it", Group: GroupMore, On: onVM, Hint: 9, Why: (*App).consoleDisabled, Run: (*App).console},
		{ID: "ssh", Keys: []string{"o"}, Label: "Ssh", Help: "Ssh to the guest's address", Group: GroupMore, On: onVM, Hint: 10, Why: (*App).sshDisabled, Run: (*App).ssh},
		{ID: "edit", Keys: []string{"e"}, Label: "Edit XML", Help: "Edit the stored definition in your editor; a diff is shown before it is defined", Group: GroupMore, On: onVM, Hint: 14, Why: (*App).editDisabled, Run: (*App).edit},
		{ID: "xml", Keys: []string{"x"}, Label: "XML", Help: "Show the definition; / searches, n and N step, again shows the stored one", Group: GroupMore, On: onVM, Hint: 15, Why: (*App).noVM, Run: (*App).showXML},
		{ID: "screenshot", Keys: []string{"i"}, Label: "Screenshot", Help: "Save a picture of the guest's display to a file", Group: GroupMore, On: onVM, Why: (*App).screenshotDisabled, Run: (*App).screenshot},
		{ID: "autostart", Keys: []string{"A"}, Label: "Autostart", Help: "Start with the host, or no longer", Group: GroupMore, On: onVM, Why: (*App).autostartDisabled, Run: (*App).autostart},
		{ID: "rename", Keys: []string{"f2"}, Label: "Rename", Help: "Give the VM another name; it must be off", Group: GroupMore, On: onVM, Verb: backend.VerbRename, Why: func(a *App) string { return a.verbDisabledOn(backend.VerbRename, a.one()) }, Run: (*App).rename},
		{ID: "undefine", Keys: []string{"U"}, Label: "Delete", Help: "Delete the VM: choose what goes with it, then type its name", Group: GroupMore, On: onVM, Verb: backend.VerbUndefine, Why: func(a *App) string { return a.verbDisabledOn(backend.VerbUndefine, a.one()) }, Run: (*App).undefine},
		{ID: "copy", Keys: []string{"y"}, Label: "Copy", Help: "Copy the name, UUID, address or XML to your clipboard (OSC 52)", Group: GroupMore, On: onVM, Why: (*App).noVM, Run: (*App).copyMenu},
		{ID: "actions", Keys: []string{"a"}, Label: "All actions", Help: "A menu of everything that can be done to the VM, the job, the backup or the image", Group: GroupMore, On: append([]ScreenID{ScreenVMs, ScreenDetail, ScreenQueue, ScreenJob, ScreenImages, ScreenPools}, onBackups...), Hint: 4, Run: (*App).actionMenu},
		{ID: "undo", Keys: []string{"u"}, Label: "Undo", Help: "Take back the last pause, resume, rename, autostart, hold, release, priority, policy, drain, limit or change of a schedule", Group: GroupMore, Run: (*App).Undo},
		{ID: "give-up", Keys: []string{"X"}, Label: "Stop waiting", Help: "Stop waiting for what is under way on the VM", Group: GroupMore, On: onVM, Why: (*App).nothingPending, Run: (*App).giveUp},
	}
}

func markActions() []Action {
	mark := func(id, help string, f func(marker), keys ...string) Action {
		return Action{ID: id, Keys: keys, Label: help, Help: help, Group: GroupMarks, On: onMarks,
			Run: func(a *App) tea.Cmd { f(a.marker()); return nil }}
	}
	all := []Action{
		mark("mark", "Mark or unmark, and go on", marker.Mark, " "),
		mark("mark-range", "Mark from the last mark to here", marker.MarkRange, "ctrl+@"),
		mark("mark-all", "Mark all shown", marker.MarkAll, "ctrl+a"),
		mark("invert-marks", "Invert the marks", marker.InvertMarks, "*"),
		mark("clear-marks", "Remove all marks", marker.ClearMarks, "\\"),
	}
	all[0].Hint, all[0].Label = 11, "Mark"
	return all
}

func viewActions() []Action {
	screen := func(key string, s ScreenID, help string) Action {
		return Action{ID: map[ScreenID]string{ScreenVMs: "vms", ScreenHosts: "hosts", ScreenEvents: "events", ScreenQueue: "queue", ScreenBackups: "backups", ScreenImages: "images"}[s], Keys: []string{key}, Label: s.String(), Help: help, Group: GroupView,
			Run: func(a *App) tea.Cmd { return a.Go(s) }}
	}
	return []Action{
		screen("1", ScreenVMs, "The list of VMs"),
		screen("2", ScreenHosts, "The hosts"),
		screen("3", ScreenEvents, "Events, and what berth did"),
		screen("4", ScreenQueue, "The queue: VMs that wait for a berth, and until when"),
		screen("5", ScreenBackups, "Backups: what is under way, what there is to restore, what is planned"),
		screen("6", ScreenImages, "Disk images and storage pools"),
		{ID: "last-view", Keys: []string{"-"}, Label: "Last view", Help: "Back to the view before this one", Group: GroupView, On: everyScreenBut(ScreenCatalogue), Run: func(a *App) tea.Cmd { return a.Go(a.last) }},
		{ID: "filter", Keys: []string{"/"}, Label: "Filter", Help: "Filter the list (web !test state:running tag:x cpu>50 /regex/), or search the XML; in the queue: state:queued host: tag: reason:; in the catalogue is:old; of images is:orphan", Group: GroupView, Hint: 3, On: append([]ScreenID{ScreenVMs, ScreenDetail, ScreenQueue, ScreenImages, ScreenPools}, onBackups...), Run: (*App).openLine},
		{ID: "sort-next", Keys: []string{">"}, Label: "Sort by next", Help: "Sort by the next column", Group: GroupView, On: onVMs, Run: func(a *App) tea.Cmd { a.VMs.SortNext(1); a.want(); return nil }},
		{ID: "sort-previous", Keys: []string{"<"}, Label: "Sort by previous", Help: "Sort by the column before", Group: GroupView, On: onVMs, Run: func(a *App) tea.Cmd { a.VMs.SortNext(-1); a.want(); return nil }},
		{ID: "sort-invert", Keys: []string{"I"}, Label: "Invert order", Help: "Turn the order round", Group: GroupView, On: onVMs, Run: func(a *App) tea.Cmd { a.VMs.Sort(a.VMs.SortBy); a.want(); return nil }},
		{ID: "sort", Keys: []string{"O"}, Label: "Sort by…", Help: "Choose the column to sort by", Group: GroupView, On: onVMs, Run: (*App).sortMenu},
		{ID: "columns", Keys: []string{"C"}, Label: "Columns", Help: "Choose and order the columns", Group: GroupView, On: onVMs, Run: (*App).columnMenu},
		{ID: "theme", Label: "Theme", Help: "Choose the theme, with a live preview", Group: GroupView, Run: (*App).themeMenu},
	}
}

func programActions() []Action {
	return []Action{
		{ID: "palette", Keys: []string{":"}, Label: "Command", Help: "Type a command: tab completes", Group: GroupProgram, Hint: 12, Silent: true, Run: (*App).openPalette},
		{ID: "help", Keys: []string{"?", "f1"}, Label: "Help", Help: "This page", Group: GroupProgram, Hint: 2, Run: func(a *App) tea.Cmd { a.Push(&HelpPage{}); return nil }},
		{ID: "escape", Keys: []string{"esc"}, Label: "Back one layer", Help: "Peel one layer: search, marks, filter, screen", Group: GroupProgram, Silent: true, Run: (*App).Escape},
		{ID: "refresh", Keys: []string{"ctrl+r", "f5"}, Label: "Refresh", Help: "Ask all hosts now", Group: GroupProgram, Run: (*App).refreshAll},
		{ID: "repaint", Keys: []string{"ctrl+l"}, Label: "Repaint", Help: "Draw the screen anew", Group: GroupProgram, Run: func(a *App) tea.Cmd { a.term.Repaint(); return nil }},
		{ID: "mouse", Keys: []string{"m"}, Label: "Mouse", Help: "Let the terminal have the mouse, so that text can be selected, or take it back", Group: GroupProgram, Run: (*App).toggleMouse},
		{ID: "cost", Keys: []string{"$"}, Label: "Cost", Help: "What berth itself costs: CPU, memory, poll time", Group: GroupProgram, Run: (*App).toggleCost},
		{ID: "save", Label: "Save settings", Help: "Keep theme, columns, order, filter, mouse and refresh for the next time", Group: GroupProgram, Run: (*App).save},
		{ID: "retry", Keys: []string{"r"}, Label: "Retry", Help: "Try the connections again", Group: GroupProgram, On: []ScreenID{ScreenConnect}, Hint: 1, Run: (*App).retry},
		{ID: "demo", Keys: []string{"d"}, Label: "Demo", Help: "Try berth on a simulated fleet", Group: GroupProgram, On: []ScreenID{ScreenConnect}, Hint: 2, Run: (*App).startDemo},
		{ID: "connect", Keys: []string{"c"}, Label: "Connect to…", Help: "Connect to another URI", Group: GroupProgram, On: []ScreenID{ScreenConnect, ScreenHosts}, Hint: 3, Run: (*App).askURI},
		{ID: "background", Keys: []string{"ctrl+z"}, Label: "Background", Help: "Give the terminal back to the shell; fg returns", Group: GroupProgram, Run: (*App).background},
		{ID: "back", Keys: []string{"q"}, Label: "Back", Help: "Back; on the list of VMs, quit", Group: GroupProgram, Hint: 16, Run: (*App).back},
		{ID: "quit", Keys: []string{"ctrl+c"}, Label: "Quit", Help: "Quit at once; what the hosts have accepted goes on", Group: GroupProgram, Run: (*App).Quit},
	}
}

// everyScreenBut are all screens but one.
func everyScreenBut(not ScreenID) []ScreenID {
	var out []ScreenID
	for s := ScreenVMs; s <= ScreenConnect; s++ {
		if s != not {
			out = append(out, s)
		}
	}
	return out
}

// refreshAll asks all hosts anew, and what else the screen is made from.
func (a *App) refreshAll() tea.Cmd {
	cmds := []tea.Cmd{a.Info("asking all hosts"), a.Fleet.PollNow()}
	switch {
	case isBackupScreen(a.Screen):
		cmds = append(cmds, a.Backups.AskNow(), a.Backups.askJobs(), a.Backups.askLeftovers())
	case isImageScreen(a.Screen):
		cmds = append(cmds, a.Images.AskNow())
	}
	return tea.Batch(cmds...)
}
