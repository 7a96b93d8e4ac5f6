package model

import (
	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// marker is a list whose entries can be marked.
type marker interface {
	Mark()
	MarkRange()
	MarkAll()
	InvertMarks()
	ClearMarks()
}

func (a *App) marker() marker {
	switch a.Screen {
	case ScreenQueue:
		return a.Queue
	case ScreenBackups, ScreenCatalogue, ScreenSchedules, ScreenPoints:
		return a.backupList()
	case ScreenImages, ScreenPools:
		return a.imageList()
	}
	return a.VMs
}

// jobAction is an action that does a verb to the marked jobs or the selected
// one.
func jobAction(v *jobVerb, hint int, help string, keys ...string) Action {
	return Action{ID: v.id, Keys: keys, Label: v.label, Help: help, Group: GroupQueue, Hint: hint, On: onJob,
		Why: func(a *App) string { return a.jobDisabled(v) }, Run: func(a *App) tea.Cmd { return a.runJobVerb(v) }}
}

func queueActions() []Action {
	priority := func(a *App) string { return a.jobDisabled(&priorityVerb) }
	return []Action{
		{ID: "submit", Keys: []string{"Q"}, Label: "Queue", Help: "Put the VM in the queue: it starts when there is room; a form asks for the rest", Group: GroupQueue, On: onVM, Hint: 10, Why: (*App).submitDisabled, Run: (*App).submit},
		{ID: "gantt", Keys: []string{"tab"}, Label: "Gantt/list", Help: "The queue over time, hosts down; again: the list", Group: GroupQueue, On: onQueue, Hint: 5, Why: (*App).noQueueWhy, Run: (*App).toggleGantt},
		{ID: "whatif", Keys: []string{"w"}, Label: "What if?", Help: "Another policy or priority, or a host less: see the new order and starts before saying yes", Group: GroupQueue, On: onJob, Hint: 6, Why: (*App).whatIfDisabled, Run: (*App).whatIf},
		jobAction(&jobHold, 7, "Keep a waiting job back", "H"),
		jobAction(&jobRelease, 7, "Let a held job wait for its turn again", "R"),
		jobAction(&jobTop, 8, "Move a waiting job before all others", "t"),
		{ID: "priority", Keys: []string{"p"}, Label: "Priority", Help: "Set the priority, 0 to 100", Group: GroupQueue, On: onJob, Hint: 9, Why: priority, Run: (*App).askPriority},
		{ID: "priority-up", Keys: []string{"]", "+"}, Label: "Priority up", Help: "Raise the priority by 10", Group: GroupQueue, On: onJob, Why: priority, Run: func(a *App) tea.Cmd { return a.bumpPriority(priorityStep) }},
		{ID: "priority-down", Keys: []string{"["}, Label: "Priority down", Help: "Lower the priority by 10", Group: GroupQueue, On: onJob, Why: priority, Run: func(a *App) tea.Cmd { return a.bumpPriority(-priorityStep) }},
		{ID: "set", Keys: []string{"e"}, Label: "Change", Help: "Change estimate, limit, host, begin, tags and the rest, in a form", Group: GroupQueue, On: onJob, Why: func(a *App) string { return a.jobDisabled(&editVerb) }, Run: (*App).editJob},
		jobAction(&jobCancel, 10, "Take it out of the queue, or shut its guest down if it runs", "x"),
		jobAction(&jobForce, 0, "End it as by pulling the power cord", "X"),
		jobAction(&jobRetry, 11, "Queue a job again that failed or needs a person", "r"),
		{ID: "drain", Keys: []string{"d"}, Label: "Drain host", Help: "Keep new jobs off a host, or let them on again", Group: GroupQueue, On: []ScreenID{ScreenQueue, ScreenJob, ScreenHosts}, Hint: 12, Why: (*App).queueRefuses, Run: (*App).drainMenu},
		{ID: "engine", Keys: []string{"E"}, Label: "Start engine", Help: "Start the engine that starts what waits, when none runs", Group: GroupQueue, On: onJob, Hint: 1, Why: (*App).engineWhy, Run: (*App).startEngine},
		{ID: "log", Keys: []string{"L"}, Label: "Log", Help: "What happened in the queue, or to the job whose page is open", Group: GroupQueue, On: onJob, Why: (*App).noQueueWhy, Run: (*App).queueLog},
		{ID: "fence", Keys: []string{"F"}, Label: "Host is off", Help: "Give your word that a host which does not answer is switched off, so that its jobs run elsewhere", Group: GroupQueue, On: onJob, Why: (*App).fenceWhy, Run: (*App).fence},
		{ID: "job-vm", Keys: []string{"v"}, Label: "Its VM", Help: "Open the VM's detail", Group: GroupQueue, On: onJob, Hint: 13, Why: (*App).jobVMWhy, Run: (*App).openJobVM},
		{ID: "section-next", Keys: []string{"J", "}"}, Label: "Next part", Help: "To the first job that waits, then to the first that has ended", Group: GroupQueue, On: onQueue, Silent: true, Why: (*App).listWhy, Run: func(a *App) tea.Cmd { a.Queue.list.toSection(1); return nil }},
		{ID: "section-previous", Keys: []string{"K", "{"}, Label: "Part before", Help: "To the first job of this part, then of the one before", Group: GroupQueue, On: onQueue, Silent: true, Why: (*App).listWhy, Run: func(a *App) tea.Cmd { a.Queue.list.toSection(-1); return nil }},
		{ID: "gantt-earlier", Keys: []string{"left", "h"}, Label: "Bar before", Help: "Gantt: the bar before on this lane", Group: GroupQueue, On: onQueue, Silent: true, Why: (*App).ganttWhy, Run: func(a *App) tea.Cmd { a.Queue.ganttStep(-1, 0); return nil }},
		{ID: "gantt-later", Keys: []string{"right", "l"}, Label: "Bar after", Help: "Gantt: the bar after it", Group: GroupQueue, On: onQueue, Silent: true, Why: (*App).ganttWhy, Run: func(a *App) tea.Cmd { a.Queue.ganttStep(1, 0); return nil }},
		{ID: "gantt-back", Keys: []string{"<", "shift+left"}, Label: "Back in time", Help: "Gantt: scroll back in time", Group: GroupQueue, On: onQueue, Silent: true, Why: (*App).ganttWhy, Run: func(a *App) tea.Cmd { a.Queue.Gantt.shift(-0.25, a.Now()); return nil }},
		{ID: "gantt-forth", Keys: []string{">", "shift+right"}, Label: "Forth in time", Help: "Gantt: scroll forth in time", Group: GroupQueue, On: onQueue, Silent: true, Why: (*App).ganttWhy, Run: func(a *App) tea.Cmd { a.Queue.Gantt.shift(0.25, a.Now()); return nil }},
		{ID: "gantt-now", Keys: []string{"n", "0"}, Label: "Now", Help: "Gantt: back to now", Group: GroupQueue, On: onQueue, Silent: true, Why: (*App).ganttWhy, Run: func(a *App) tea.Cmd { a.Queue.Gantt.toNow(); return nil }},
		{ID: "gantt-in", Keys: []string{"z"}, Label: "Zoom in", Help: "Gantt: less time, in more detail", Group: GroupQueue, On: onQueue, Silent: true, Why: (*App).ganttWhy, Run: func(a *App) tea.Cmd { return a.ganttZoom(-1) }},
		{ID: "gantt-out", Keys: []string{"Z"}, Label: "Zoom out", Help: "Gantt: more time at once", Group: GroupQueue, On: onQueue, Silent: true, Why: (*App).ganttWhy, Run: func(a *App) tea.Cmd { return a.ganttZoom(1) }},
	}
}

func (a *App) noQueueWhy() string {
	if err := a.Queue.Missing(); err != nil {
		return err.Error()
	}
	return ""
}

// whatIfDisabled says why nothing can be thought through: a read-only screen
// may think, though not act.
func (a *App) whatIfDisabled() string {
	if why := a.noQueueWhy(); why != "" {
		return why
	}
	if !a.Queue.HasData {
		return "the queue has not answered yet"
	}
	return ""
}

func (a *App) ganttWhy() string {
	if !a.Queue.AsGantt {
		return "only in the Gantt view: " + a.KeyFor("gantt") + " shows it"
	}
	return ""
}

func (a *App) listWhy() string {
	if a.Queue.AsGantt {
		return "only in the list: " + a.KeyFor("gantt") + " shows it"
	}
	return ""
}

func (a *App) toggleGantt() tea.Cmd {
	s := a.Queue
	s.AsGantt = !s.AsGantt
	if s.AsGantt {
		s.Gantt.prepare(a.Now())
		if j := s.Selected(); j != nil {
			if at, ok := s.Gantt.place[j.ID]; ok {
				s.Gantt.showLine(at.line)
			}
		}
	}
	return nil
}

func (a *App) ganttZoom(by int) tea.Cmd {
	anchor := a.Now()
	if j := a.Queue.Selected(); j != nil {
		if at, ok := a.Queue.Gantt.place[j.ID]; ok {
			anchor = a.Queue.Gantt.lines[at.line].Bars[at.bar].From
		}
	}
	a.Queue.Gantt.setZoom(by, anchor, a.Now())
	return nil
}

// jobRow is the row of a job's VM, or nil when no host has it.
func (a *App) jobRow(j *backend.Job) *Row {
	for _, host := range []string{j.RunsOn, j.Home} {
		if r := a.Fleet.Row(backend.Key{Host: host, UUID: j.VM}); r != nil {
			return r
		}
	}
	return nil
}

func (a *App) jobVMWhy() string {
	switch j := a.job(); {
	case j == nil:
		return "no job is selected"
	case a.jobRow(j) == nil:
		return "none of the connected hosts has the VM"
	}
	return ""
}

func (a *App) openJobVM() tea.Cmd { return a.openDetail(a.jobRow(a.job()).Key(), TabOverview) }

// JobRow is the row of the VM of the job that is looked at, or nil.
func (a *App) JobRow() *Row {
	if j := a.job(); j != nil {
		return a.jobRow(j)
	}
	return nil
}

// peel removes one layer of the queue's screen: marks, filter, Gantt view. It
// reports whether there was one.
func (s *Queue) peel() bool {
	switch {
	case len(s.list.marks) > 0:
		s.ClearMarks()
	case s.list.filterText != "":
		_ = s.TypeFilter("") // the empty filter has no error
	case s.AsGantt:
		s.AsGantt = false
	default:
		return false
	}
	return true
}

// moveBy moves the selection in the view that is shown.
func (s *Queue) moveBy(n int) {
	if s.AsGantt {
		s.ganttStep(0, n)
		return
	}
	s.Move(n)
}

// clicked selects what is on line i of the list's screen; the job is to be
// opened when it was selected already.
func (s *Queue) clicked(i int) *backend.Job {
	if s.AsGantt || !s.SelectLine(s.list.top+i) {
		return nil
	}
	return s.Selected()
}

// wheel scrolls the view that is shown.
func (s *Queue) wheel(n int) {
	if s.AsGantt {
		s.Gantt.top += n
		s.Gantt.clamp()
		return
	}
	s.Scroll(n)
}

// noteQueue writes on every VM's row what the queue has to say of it.
func (a *App) noteQueue() {
	if a.noteRows() {
		a.VMs.Rebuild()
	}
}

func (a *App) noteRows() (changed bool) {
	if !a.Queue.HasData {
		return false
	}
	now := a.clock.Now()
	for k, r := range a.Fleet.rows {
		note := ""
		if j := a.Queue.Active(k); j != nil {
			note = queueNote(j, r, now)
		}
		if note != r.Queued {
			r.Queued, changed = note, true
		}
	}
	return changed
}
