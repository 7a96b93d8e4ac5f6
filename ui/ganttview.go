package ui

import (
	"strings"
	"time"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// The lines around the lanes of the Gantt view: the axis above, the selected
// job below.
const (
	ganttAbove = 2
	ganttBelow = 2
)

// ganttGutter is the room left of the lanes, for the cursor.
const ganttGutter = 2

func ganttLanes(h int) int { return max(1, h-ganttAbove-ganttBelow) }

// ganttBody draws the queue over time: hosts down, time across.
func (r *Root) ganttBody(w, h int) string {
	g, now := &r.app.Queue.Gantt, r.app.Now()
	room := max(1, w-ganttGutter-1)
	from, to := g.Window(now)
	nowX := widget.TimeX(now, from, to, room)
	ticks := widget.Ticks(from.In(now.Location()), to, room)
	lines := []string{
		strings.Repeat(" ", ganttGutter) + r.st(themes.RoleMuted, widget.TickLabels(ticks, room)) + " ",
		r.ganttRuler(ticks, nowX, room, w),
	}
	all, n := g.Lines(), ganttLanes(h)
	for i := g.Top(); i < min(len(all), g.Top()+n); i++ {
		lines = append(lines, r.ganttLine(&all[i], from, to, nowX, room, w))
	}
	if len(all) == 0 {
		lines = append(lines, widget.FitCenter(r.st(themes.RoleMuted, "No host is known to the queue yet."), w))
	}
	for len(lines) < h-ganttBelow {
		lines = append(lines, "")
	}
	lines = append(lines, r.ganttFoot(w, len(all), n)...)
	return widget.Block(lines, w, h)
}

// ganttRuler is the axis, with a mark at each label and at now.
func (r *Root) ganttRuler(ticks []widget.Tick, nowX, room, w int) string {
	gl := &r.look.Glyphs
	cells := make([]string, room)
	for i := range cells {
		cells[i] = gl.HLine
	}
	for _, t := range ticks {
		cells[t.X] = gl.TeeTop
	}
	line := strings.Repeat(gl.HLine, ganttGutter)
	if nowX < 0 || nowX >= room {
		return widget.Fit(r.st(themes.RoleBorder, line+strings.Join(cells, "")+gl.HLine), w)
	}
	return widget.Fit(r.st(themes.RoleBorder, line+strings.Join(cells[:nowX], ""))+r.st(themes.RoleAccent, gl.SortDesc)+
		r.st(themes.RoleBorder, strings.Join(cells[nowX+1:], "")+gl.HLine), w)
}

func (r *Root) ganttLine(l *model.GanttLine, from, to time.Time, nowX, room, w int) string {
	if l.Head {
		return r.ganttHead(l.Host, w)
	}
	selected := r.app.Queue.Selected()
	gutter := strings.Repeat(" ", ganttGutter)
	var b strings.Builder
	used := 0
	for i := firstBar(l.Bars, from); i < len(l.Bars) && used < room; i++ {
		bar := &l.Bars[i]
		if !bar.From.Before(to) {
			break
		}
		x0 := max(used, widget.TimeX(bar.From, from, to, room))
		x1 := min(room, max(x0+1, widget.TimeX(bar.To, from, to, room)))
		if x0 >= room {
			break
		}
		b.WriteString(r.ganttGap(used, x0, nowX))
		on := selected != nil && bar.Job.ID == selected.ID
		if on {
			gutter = r.st(themes.RoleAccent, r.look.Glyphs.Cursor) + " "
		}
		b.WriteString(r.ganttBar(bar, on, ganttSpan{x0, x1, nowX, room, from, to}))
		used = x1
	}
	b.WriteString(r.ganttGap(used, room, nowX))
	return gutter + b.String() + " "
}

// firstBar is the first bar that ends after from; bars of a lane do not
// overlap, so they are in the order of their ends too.
func firstBar(bars []model.GanttBar, from time.Time) int {
	lo, hi := 0, len(bars)
	for lo < hi {
		if mid := (lo + hi) / 2; bars[mid].To.After(from) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// ganttGap is the empty part of a lane, with the line of now in it.
func (r *Root) ganttGap(x0, x1, nowX int) string {
	if nowX < x0 || nowX >= x1 {
		return strings.Repeat(" ", max(0, x1-x0))
	}
	return strings.Repeat(" ", nowX-x0) + r.st(themes.RoleAccent, r.look.Glyphs.VLine) + strings.Repeat(" ", x1-nowX-1)
}

// ganttSpan is where a bar lies on the screen, and what the screen shows.
type ganttSpan struct {
	x0, x1, nowX, room int
	from, to           time.Time
}

// ganttBar draws one bar: its ends in brackets, its name, and a filling that
// tells what ran, what is left, what is promised and what is only expected.
func (r *Root) ganttBar(bar *model.GanttBar, selected bool, s ganttSpan) string {
	g := &r.look.Glyphs
	n := s.x1 - s.x0
	cells := make([]string, n)
	overX := s.room + 1
	if !bar.Over.IsZero() {
		overX = widget.TimeX(bar.Over, s.from, s.to, s.room)
	}
	for i := range cells {
		cells[i] = r.barFill(bar.Kind, s.x0+i, s.nowX, overX)
	}
	open, shut := "[", "]"
	if selected {
		open, shut = g.Cursor, "]"
	}
	if bar.From.Before(s.from) {
		open = "<"
	}
	if bar.To.After(s.to) {
		shut = g.More
	}
	look := r.barLook(bar)
	if selected {
		look = r.styles.Get(themes.RoleCursor).On(themes.Style{})
	}
	if n == 1 {
		if selected {
			return look.Render(g.Cursor)
		}
		return look.Render(cells[0])
	}
	// Some of the filling always shows: it tells the kind without colours.
	name, width := widget.Cut(backend.Clean(bar.Job.Name), n-2-max(1, (n-2)/5), g.Ellipsis)
	if n < 6 {
		name, width = "", 0
	}
	text := open + name + strings.Join(cells[1+width:n-1], "") + shut
	return look.Render(text)
}

func (r *Root) barFill(kind model.BarKind, x, nowX, overX int) string {
	fill := widget.StackGlyphs(&r.look.Glyphs)
	switch {
	case kind == model.BarReserved:
		return fill[2]
	case kind == model.BarProjected:
		return fill[3]
	case x >= overX && x <= nowX:
		return "/"
	case x <= nowX:
		return fill[0]
	}
	return fill[1]
}

func (r *Root) barLook(bar *model.GanttBar) themes.Style {
	switch {
	case bar.Kind == model.BarReserved:
		return r.styles.Get(themes.RoleAccent)
	case bar.Kind == model.BarProjected:
		return r.styles.Get(themes.RoleMuted)
	case !bar.Over.IsZero():
		return r.styles.Get(themes.RoleWarn)
	}
	return r.styles.Get(themes.RoleOK)
}

// ganttHead is a host's heading: what it has left now. It has no bars of its
// own, which would look like jobs.
func (r *Root) ganttHead(host string, w int) string {
	h := r.app.Queue.HostByName(host)
	line := " " + r.st(themes.RoleHost, backend.Clean(host))
	if h != nil {
		glyph, word, role := r.queueHostState(h)
		free := h.Free()
		text := itoa(free.VCPU) + " of " + itoa(h.Capacity.VCPU) + " vCPU, " + amount(free.Memory) + " of " + amount(h.Capacity.Memory) + " free"
		if h.Trouble != "" {
			text = backend.Clean(h.Trouble)
		}
		line = " " + r.st(role, glyph) + line
		if word != "" {
			line += " " + r.st(role, word)
		}
		line += "  " + r.st(themes.RoleMuted, text)
	}
	line += " "
	return widget.Fit(line+r.st(themes.RoleBorder, strings.Repeat(r.look.Glyphs.HLine, max(0, w-widget.Width(line)))), w)
}

// ganttFoot tells of the selected job, and how far down the lanes are.
func (r *Root) ganttFoot(w, all, page int) []string {
	s := r.app.Queue
	note := ""
	if n := s.Gantt.Unplaced; n > 0 {
		note = " " + count(n, "job") + " without a known start "
	}
	if all > page {
		note += " " + itoa(s.Gantt.Top()+1) + "-" + itoa(min(all, s.Gantt.Top()+page)) + " of " + itoa(all) + " "
	}
	ruler := r.st(themes.RoleBorder, strings.Repeat(r.look.Glyphs.HLine, max(0, w-widget.Width(note)))) + r.st(themes.RoleMuted, note)
	j := s.Selected()
	if j == nil {
		return []string{ruler, ""}
	}
	glyph, word, role := r.jobState(j)
	return []string{ruler, " " + r.st(role, glyph+" "+word) + "  " + r.st(themes.RoleTitle, backend.Clean(j.Name)) + "  " + jobSize(j) + "  " +
		r.st(themes.RoleMuted, model.Headline(j, r.app.Now()))}
}

// jobSize is what a job needs, in few words.
func jobSize(j *backend.Job) string {
	return itoa(j.Size.VCPU) + " vCPU " + amount(j.Size.Memory)
}
