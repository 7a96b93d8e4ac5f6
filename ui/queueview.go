package ui

import (
	"fmt"
	"strings"
	"time"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// The columns of the queue's list.
const (
	colMark = iota
	colPos
	colName
	colState
	colPrio
	colVCPU
	colMem
	colDisk
	colEst
	colWait
	colETA
	colHost
	colReason
	colOwner
	colTags
)

// queueColumns fits the columns to the width and to what is in them.
func (r *Root) queueColumns(w int) []widget.Column {
	widths := r.app.Queue.Widths()
	specs := []widget.ColumnSpec{
		colMark:   {Min: 2},
		colPos:    {Title: "POS", Min: max(3, min(widths.Pos, 6)), Right: true, Priority: 1},
		colName:   {Title: "NAME", Min: max(8, min(widths.Name, max(12, w/5))), Max: max(8, min(widths.Name, 40))},
		colState:  {Title: "ST", Min: 9},
		colPrio:   {Title: "PRIO", Min: 5, Right: true, Priority: 8},
		colVCPU:   {Title: "VCPU", Min: 4, Right: true, Priority: 4},
		colMem:    {Title: "MEM", Min: 5, Right: true, Priority: 3},
		colDisk:   {Title: "DISK", Min: 5, Right: true, Priority: 9},
		colEst:    {Title: "EST", Min: 5, Right: true, Priority: 5},
		colWait:   {Title: "WAIT", Min: 5, Right: true, Priority: 6},
		colETA:    {Title: "ETA", Min: r.etaWidth(), Max: 9, Right: true},
		colHost:   {Title: "HOST", Min: max(5, min(widths.Host, max(7, w/10))), Max: max(5, min(widths.Host, 24)), Priority: 2},
		colReason: {Title: "REASON", Min: max(10, min(max(widths.Reason, 14, min(28, w/4)), max(17, w/4))), Max: 60, Flex: 1},
		colOwner:  {Title: "OWNER", Min: 6, Max: 10, Priority: 11},
		colTags:   {Title: "TAGS", Min: 8, Max: 16, Priority: 12, Flex: 1},
	}
	if w < 60 {
		specs[colReason].Priority = 7
	}
	return widget.Layout(w, specs)
}

// etaWidth is wider where an ETA on the screen is of another day.
func (r *Root) etaWidth() int {
	s, now, width := r.app.Queue, r.app.Now(), 5
	lines := s.Lines()
	for _, l := range lines[s.Top():min(len(lines), s.Top()+s.Page())] {
		if l.Job != nil {
			width = max(width, widget.Width(jobWhen(l.Job, now)))
		}
	}
	return width
}

// jobWhen is when a job starts, should end, or did end.
func jobWhen(j *backend.Job, now time.Time) string {
	switch model.SectionOf(j.State) {
	case model.SectionWaiting:
		return model.Starts(j.ETA, now)
	case model.SectionEnded:
		return model.When(j.Ended, now)
	}
	return model.When(j.Ends(), now)
}

// queueBody draws the screen: hosts on top, below them the list or the Gantt
// view.
func (r *Root) queueBody(w, h int) string {
	s := r.app.Queue
	if text := r.queueAbsent(); text != nil {
		return widget.Block(r.centered(text, w, h), w, h)
	}
	if s.AsGantt {
		return r.ganttBody(w, h)
	}
	lines := r.queueHosts(w, h)
	return strings.Join(append(lines, r.queueTable(w, h-len(lines))), "\n")
}

// queueAbsent says why there is nothing to show, and what to do; nil when
// there is something.
func (r *Root) queueAbsent() []string {
	s := r.app.Queue
	switch {
	case s.Missing() != nil:
		return []string{"There is no queue here.", "", backend.Clean(s.Missing().Error()), "", "berth queue submit VM puts a VM in the queue of this machine; berth --demo shows a living one."}
	case !s.HasData && s.Err != nil:
		return []string{"The queue does not answer.", "", backend.Clean(s.Err.Error()), "", "It is asked again with growing waits."}
	case !s.HasData:
		return []string{"Asking the queue…"}
	case len(s.State.Jobs) == 0 && len(s.State.Hosts) == 0:
		return []string{"The queue is empty.", "", r.app.KeyFor("submit") + " on the list of VMs puts one in it; so does berth queue submit."}
	}
	return nil
}

// centered wraps text into the middle of w × h cells.
func (r *Root) centered(text []string, w, h int) []string {
	room := max(10, min(72, w-4))
	var lines []string
	for i, t := range text {
		look := r.styles.Get(themes.RoleMuted)
		if i == 0 {
			look = r.styles.Get(themes.RoleTitle)
		}
		for _, l := range widget.Wrap(t, room) {
			lines = append(lines, widget.FitCenter(look.Render(l), w))
		}
	}
	above := max(0, (h-len(lines))/3)
	return append(make([]string, above), lines...)
}

func (r *Root) queueTable(w, h int) string {
	s := r.app.Queue
	lines := s.Lines()
	t := widget.TableView{Columns: r.queueColumns(w), Rows: len(lines), Top: s.Top(), Cursor: s.Line(), Empty: r.emptyQueue()}
	t.StyleFrom(r.styles, &r.look.Glyphs)
	now := r.app.Now()
	t.Line = func(i int) (string, bool) {
		if lines[i].Job != nil {
			return "", false
		}
		return r.queueHeading(lines[i].Section, w), true
	}
	t.RowStyle = func(i int) themes.Style {
		switch id := lines[i].Job.ID; {
		case s.Flashing(id, now):
			return r.styles.Get(themes.RoleFlash)
		case s.Marked(id):
			return r.styles.Get(themes.RoleMarked)
		}
		return themes.Style{}
	}
	t.Cells = func(i int) []widget.Cell {
		r.cells = r.cells[:0]
		for k := range t.Columns {
			r.cells = append(r.cells, r.jobCell(lines[i].Job, t.Columns[k].Index, t.Columns[k].Width, now))
		}
		return r.cells
	}
	return t.Render(w, h)
}

func (r *Root) emptyQueue() string {
	if r.app.Queue.Filtered() {
		return "No job matches the filter. esc removes it."
	}
	return "The queue is empty. " + r.app.KeyFor("submit") + " on the list of VMs puts one in it."
}

// queueHeading parts the sections of the list.
func (r *Root) queueHeading(sec model.Section, w int) string {
	all, shown := r.app.Queue.Counts(sec)
	n := itoa(all)
	if shown != all {
		n = itoa(shown) + " of " + n
	}
	text, more := "", ""
	switch sec {
	case model.SectionRunning:
		text, more = n+" running", "ETA is when they should end"
	case model.SectionWaiting:
		text, more = n+" waiting", "in the order in which they would start"
	default:
		text, more = n+" ended lately", "the latest first"
	}
	line := r.look.Glyphs.HLine
	left := r.st(themes.RoleBorder, strings.Repeat(line, 2)) + " " + r.st(themes.RoleAccent, text)
	if w >= 60 {
		left += r.st(themes.RoleMuted, ", "+more)
	}
	return left + " " + r.st(themes.RoleBorder, strings.Repeat(line, max(0, w-widget.Width(left)-2)))
}

// jobCell draws one cell of a job's row.
func (r *Root) jobCell(j *backend.Job, col, width int, now time.Time) widget.Cell {
	glyph, word, role := r.jobState(j)
	look := r.styles.Get(role)
	sec := model.SectionOf(j.State)
	figures := themes.Style{}
	if sec == model.SectionEnded {
		figures = r.styles.Get(themes.RoleOff)
	}
	plain := func(text string) widget.Cell { return widget.Cell{Text: text, Style: figures} }
	switch col {
	case colMark:
		mark := " "
		if r.app.Queue.Marked(j.ID) {
			mark = r.look.Glyphs.Marked
		}
		return widget.Cell{Text: mark + glyph, Style: look}
	case colPos:
		if j.Position > 0 && sec == model.SectionWaiting {
			return plain(itoa(j.Position))
		}
		return plain("")
	case colName:
		return plain(backend.Clean(j.Name))
	case colState:
		return widget.Cell{Text: word, Style: look}
	case colPrio:
		return plain(priorityText(j))
	case colVCPU:
		return plain(itoa(j.Size.VCPU))
	case colMem:
		return plain(model.Bytes(float64(j.Size.Memory)))
	case colDisk:
		return plain(model.Bytes(float64(j.Size.Disk)))
	case colEst:
		return plain(estimate(j))
	case colWait:
		return plain(model.Duration(model.Waited(j, now)))
	case colETA:
		return plain(jobWhen(j, now))
	case colHost:
		return widget.Cell{Text: backend.Clean(model.JobHost(j)), Style: r.styles.Get(themes.RoleHost)}
	case colReason:
		return r.reasonCell(j, width, now)
	case colOwner:
		return plain(backend.Clean(j.Owner))
	case colTags:
		return plain(backend.Clean(strings.Join(j.Tags, " ")))
	}
	return widget.Cell{}
}

// priorityText is the effective priority under the policy in force, or the
// one that its owner chose where the policy makes none.
func priorityText(j *backend.Job) string {
	switch {
	case j.Score == 0 || model.SectionOf(j.State) != model.SectionWaiting:
		return itoa(j.Priority)
	case j.Score < 10:
		return fmt.Sprintf("%.2f", j.Score)
	case j.Score < 100:
		return fmt.Sprintf("%.1f", j.Score)
	}
	return model.Count(j.Score)
}

// estimate is how long a job is believed to run.
func estimate(j *backend.Job) string {
	d := j.Expected
	if d == 0 {
		d = j.Estimate
	}
	if d == 0 {
		return "open"
	}
	return model.Duration(d)
}

// reasonCell says why a job waits, how far one is that runs, and how one
// ended.
func (r *Root) reasonCell(j *backend.Job, width int, now time.Time) widget.Cell {
	switch model.SectionOf(j.State) {
	case model.SectionWaiting:
		return widget.Cell{Text: waitText(j, width), Style: r.styles.Get(themes.RoleText)}
	case model.SectionEnded:
		if j.Words != "" && j.State != backend.JobDone {
			return widget.Cell{Text: backend.Clean(j.Words), Style: r.styles.Get(themes.RoleBad)}
		}
		if j.Started.IsZero() {
			return widget.Cell{}
		}
		return widget.Cell{Text: "ran " + model.Duration(j.Ended.Sub(j.Started)), Style: r.styles.Get(themes.RoleOff)}
	}
	if j.State == backend.JobError {
		return widget.Cell{Text: "needs you: " + backend.Clean(j.Words), Style: r.styles.Get(themes.RoleBad)}
	}
	return r.progressCell(j, width, now)
}

// waitText is the reason, and what more there is to say where there is room.
func waitText(j *backend.Job, width int) string {
	text := j.Why.String()
	if j.Why.Detail != "" && widget.Width(text)+4 < width {
		text += ": " + j.Why.Detail
	}
	if text == "" && j.State == backend.JobReserved {
		text = "host and start promised"
	}
	return backend.Clean(text)
}

// progressCell is the bar of elapsed and left time against the estimate.
func (r *Root) progressCell(j *backend.Job, width int, now time.Time) widget.Cell {
	p := model.ProgressOf(j, now)
	look := r.styles.Get(themes.RoleSpark)
	var label string
	fraction := p.Fraction()
	switch {
	case j.LastStart.IsZero():
		return widget.Cell{Text: backend.Clean(j.Words), Style: r.styles.Get(themes.RoleWarn)}
	case p.Expected == 0:
		return widget.Cell{Text: model.Duration(p.Elapsed) + ", open-ended", Style: r.styles.Get(themes.RoleMuted)}
	case p.Over > 0:
		label, look = "+"+model.Duration(p.Over)+" over", r.styles.Get(themes.RoleWarn)
	default:
		label = model.Duration(p.Left()) + " left"
	}
	barW := max(4, min(20, width-widget.Width(label)-1))
	bar := widget.Gauge(fraction, barW, "", widget.GaugeStyle{Glyphs: &r.look.Glyphs})
	if p.Over > 0 { // the mark of what has outlived its estimate is a shape too
		bar = strings.Repeat(r.look.Glyphs.BarFull, barW-1) + r.look.Glyphs.More
	}
	return widget.Cell{Text: bar + " " + label, Style: look}
}

// jobState is a job's state as a shape, a word and a look.
func (r *Root) jobState(j *backend.Job) (string, string, themes.Role) {
	g := &r.look.Glyphs
	if doing := r.app.Queue.Pending(j.ID); doing != "" {
		return g.Starting, doing, themes.RoleInfo
	}
	word := string(j.State)
	if j.Cancel && !j.State.Ended() {
		return g.Starting, "ending", themes.RoleInfo
	}
	switch j.State {
	case backend.JobHeld:
		return g.Paused, word, themes.RoleWarn
	case backend.JobQueued:
		return g.Off, word, themes.RoleText
	case backend.JobReserved:
		return g.Lock, word, themes.RoleAccent
	case backend.JobStarting, backend.JobMigrating, backend.JobStopping, backend.JobPreempted, backend.JobFencing, backend.JobRecovery:
		return g.Starting, word, themes.RoleInfo
	case backend.JobRunning:
		return g.Running, word, themes.RoleOK
	case backend.JobUnknown:
		return g.Unknown, word, themes.RoleBad
	case backend.JobDone:
		return g.Check, word, themes.RoleOff
	case backend.JobCancelled:
		return g.Cross, word, themes.RoleOff
	case backend.JobTimeout:
		return g.Crashed, word, themes.RoleWarn
	case backend.JobFailed, backend.JobRejected, backend.JobError:
		return g.Crashed, word, themes.RoleBad
	}
	return g.Unknown, word, themes.RoleMuted
}
