package model

import (
	"sort"
	"time"

	"berth/backend"
)

// BarKind is what a bar of the Gantt view stands for.
type BarKind uint8

// The kinds of bars.
const (
	BarRunning   BarKind = iota
	BarReserved          // host and start are promised
	BarProjected         // as the policy in force would have it
)

// GanttBar is one job's time on a host.
type GanttBar struct {
	Job      *backend.Job
	Kind     BarKind
	From, To time.Time
	Over     time.Time // from when on it has outlived its estimate; zero: it has not
	Open     bool      // it has no end
}

// GanttLine is one line of the Gantt view: a host's heading, or a lane of bars
// that do not overlap, by time.
type GanttLine struct {
	Host string
	Head bool
	Bars []GanttBar
}

// Gantt is the queue over time: hosts down, time across. Lines are worked out
// only while it is shown.
type Gantt struct {
	lines    []GanttLine
	place    map[backend.JobID]ganttPlace
	Unplaced int // waiting jobs whose start is not known

	start  time.Time // of the left edge, unless it follows now
	follow bool
	zoom   int // index into spans
	zoomed bool
	top    int
	page   int
	state  *backend.QueueState
	match  func(*backend.Job) bool // the filter
	dirty  bool
}

type ganttPlace struct{ line, bar int }

// spans are the widths of the window that zooming steps through.
var spans = []time.Duration{
	15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	2 * 24 * time.Hour, 4 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 30 * 24 * time.Hour, 90 * 24 * time.Hour, 365 * 24 * time.Hour,
}

// never is later than every bar's end.
const never = 100 * 365 * 24 * time.Hour

func (g *Gantt) init() { g.follow, g.page, g.zoom = true, 10, 4 }

func (g *Gantt) take(st *backend.QueueState) { g.state, g.dirty = st, true }

// prepare works the lines out anew if the state has changed.
func (g *Gantt) prepare(now time.Time) {
	if !g.dirty || g.state == nil {
		return
	}
	g.dirty = false
	byHost := map[string][]GanttBar{}
	var hosts []string
	for i := range g.state.Hosts {
		hosts = append(hosts, g.state.Hosts[i].Name)
		byHost[g.state.Hosts[i].Name] = nil
	}
	g.Unplaced = 0
	for i := range g.state.Jobs {
		if !g.match(&g.state.Jobs[i]) {
			continue
		}
		b, host, ok := barOf(&g.state.Jobs[i], now)
		if !ok {
			if SectionOf(g.state.Jobs[i].State) == SectionWaiting {
				g.Unplaced++
			}
			continue
		}
		if _, known := byHost[host]; !known {
			hosts = append(hosts, host)
		}
		byHost[host] = append(byHost[host], b)
	}
	g.lines = g.lines[:0]
	for _, h := range hosts {
		g.lines = append(g.lines, GanttLine{Host: h, Head: true})
		g.lines = append(g.lines, lanes(h, byHost[h])...)
	}
	g.index()
	g.fit(now)
}

// barOf is a job's bar and its host; false when it has none.
func barOf(j *backend.Job, now time.Time) (GanttBar, string, bool) {
	b := GanttBar{Job: j}
	switch {
	case j.State.Holds() && j.RunsOn != "":
		p := ProgressOf(j, now)
		b.From, b.To, b.Open = j.LastStart, j.Ends(), p.Expected == 0
		if b.From.IsZero() {
			b.From = j.Since
		}
		if p.Over > 0 {
			b.Over = now.Add(-p.Over)
		}
	case SectionOf(j.State) == SectionWaiting && !j.ETA.IsZero() && j.ETAHost != "":
		b.Kind, b.From, b.Open = BarProjected, later(j.ETA, now), j.Expected == 0
		if j.State == backend.JobReserved {
			b.Kind = BarReserved
		}
		b.To = b.From.Add(max(j.Expected-j.Ran, time.Second))
		return open(b), j.ETAHost, true
	default:
		return b, "", false
	}
	b.To = later(b.To, now)
	return open(b), j.RunsOn, true
}

func open(b GanttBar) GanttBar {
	if b.Open {
		b.To = b.From.Add(never)
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lanes packs bars into as few lanes as can be, the earliest on top.
func lanes(host string, bars []GanttBar) []GanttLine {
	sort.SliceStable(bars, func(i, k int) bool { return bars[i].From.Before(bars[k].From) })
	var out []GanttLine
next:
	for _, b := range bars {
		for i := range out {
			if last := out[i].Bars[len(out[i].Bars)-1]; !last.To.After(b.From) {
				out[i].Bars = append(out[i].Bars, b)
				continue next
			}
		}
		out = append(out, GanttLine{Host: host, Bars: []GanttBar{b}})
	}
	return out
}

func (g *Gantt) index() {
	g.place = make(map[backend.JobID]ganttPlace, len(g.state.Jobs))
	for i := range g.lines {
		for k := range g.lines[i].Bars {
			g.place[g.lines[i].Bars[k].Job.ID] = ganttPlace{i, k}
		}
	}
}

// fit chooses the first zoom: what shows most of the ends that are known.
func (g *Gantt) fit(now time.Time) {
	if g.zoomed {
		return
	}
	var ends []time.Duration
	for i := range g.lines {
		for _, b := range g.lines[i].Bars {
			if !b.Open {
				ends = append(ends, b.To.Sub(now))
			}
		}
	}
	if len(ends) == 0 {
		return
	}
	sort.Slice(ends, func(i, k int) bool { return ends[i] < ends[k] })
	want := ends[len(ends)*3/4]
	g.zoom = 0
	for g.zoom < len(spans)-1 && spans[g.zoom]*5/6 < want {
		g.zoom++
	}
	g.zoomed = true
}

// Lines returns the lines. The slice is the view's own.
func (g *Gantt) Lines() []GanttLine { return g.lines }

// Top is the first line on the screen.
func (g *Gantt) Top() int { return g.top }

// Window is the time that is shown.
func (g *Gantt) Window(now time.Time) (from, to time.Time) {
	from = g.start
	if g.follow {
		from = now.Add(-spans[g.zoom] / 6)
	}
	return from, from.Add(spans[g.zoom])
}

// setZoom steps through the spans; what is at anchor stays where it is.
func (g *Gantt) setZoom(by int, anchor, now time.Time) {
	from, to := g.Window(now)
	at := anchor.Sub(from).Seconds() / to.Sub(from).Seconds()
	if at < 0 || at > 1 {
		anchor, at = from.Add(to.Sub(from)/2), 0.5
	}
	g.zoom, g.zoomed = max(0, min(g.zoom+by, len(spans)-1)), true
	if !g.follow {
		g.start = anchor.Add(-time.Duration(at * float64(spans[g.zoom])))
	}
}

// shift moves the window by a part of its width.
func (g *Gantt) shift(part float64, now time.Time) {
	from, _ := g.Window(now)
	g.follow, g.start = false, from.Add(time.Duration(part*float64(spans[g.zoom])))
}

// toNow lets the window follow the time again.
func (g *Gantt) toNow() { g.follow = true }

// showLine scrolls so that a line is on the screen, with its host's heading
// where that is just above.
func (g *Gantt) showLine(i int) {
	from := i
	if i > 0 && g.lines[i-1].Head && g.page > 1 {
		from--
	}
	g.top = min(g.top, from)
	g.top = max(g.top, i-g.page+1)
	g.clamp()
}

func (g *Gantt) clamp() { g.top = max(0, min(g.top, len(g.lines)-g.page)) }

// showBar moves the window so that some of a bar shows.
func (g *Gantt) showBar(b *GanttBar, now time.Time) {
	from, to := g.Window(now)
	if b.From.Before(to) && b.To.After(from) {
		return
	}
	g.follow, g.start = false, b.From.Add(-spans[g.zoom]/4)
}

// SetGanttPage tells how many lines of the Gantt view there is room for, and
// prepares them.
func (s *Queue) SetGanttPage(n int) {
	g := &s.Gantt
	g.page = max(1, n)
	g.prepare(s.clock.Now())
	g.clamp()
}

// ganttStep moves the selection: along the lane by dx, over the lanes by dy.
func (s *Queue) ganttStep(dx, dy int) {
	g, now := &s.Gantt, s.clock.Now()
	g.prepare(now)
	at, ok := ganttPlace{-1, 0}, false
	if j := s.Selected(); j != nil {
		at, ok = g.place[j.ID]
	}
	var to ganttPlace
	switch {
	case !ok:
		to = g.firstPlace()
	case dx != 0:
		to = ganttPlace{at.line, max(0, min(at.bar+dx, len(g.lines[at.line].Bars)-1))}
	default:
		to = g.vertical(at, dy, now)
	}
	if to.line < 0 {
		return
	}
	b := &g.lines[to.line].Bars[to.bar]
	s.SelectJob(b.Job.ID)
	g.showLine(to.line)
	g.showBar(b, now)
}

func (g *Gantt) firstPlace() ganttPlace {
	for i := range g.lines {
		if len(g.lines[i].Bars) > 0 {
			return ganttPlace{i, 0}
		}
	}
	return ganttPlace{-1, 0}
}

// vertical finds the bar nearest in time, dy lanes further.
func (g *Gantt) vertical(at ganttPlace, dy int, now time.Time) ganttPlace {
	step := 1
	if dy < 0 {
		step, dy = -1, -dy
	}
	when := later(g.lines[at.line].Bars[at.bar].From, now)
	line := at.line
	for i := line + step; i >= 0 && i < len(g.lines) && dy > 0; i += step {
		if len(g.lines[i].Bars) > 0 {
			line = i
			dy--
		}
	}
	if line == at.line {
		return at
	}
	best, gap := 0, time.Duration(1<<62)
	for k := range g.lines[line].Bars {
		b := &g.lines[line].Bars[k]
		d := time.Duration(0)
		if b.From.After(when) {
			d = b.From.Sub(when)
		} else if b.To.Before(when) {
			d = when.Sub(b.To)
		}
		if d < gap {
			best, gap = k, d
		}
	}
	return ganttPlace{line, best}
}
