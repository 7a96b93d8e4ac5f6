package ui

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

func itoa(n int) string { return strconv.Itoa(n) }

// count is a number and its word, in the plural where it is due.
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return itoa(n) + " " + word + "s"
}

func hostsWord(n int) string { return count(n, "host") }

// segment is a piece of the header; those with the highest rank go first when
// there is no room.
type segment struct {
	text string // may be styled
	rank int
}

// fitSegments joins what fits into exactly w cells.
func fitSegments(segs []segment, w int) string {
	const gap = 2
	for {
		used, worst, rank := 0, -1, 0
		for i, s := range segs {
			used += widget.Width(s.text) + gap
			if s.rank > rank {
				worst, rank = i, s.rank
			}
		}
		if used-gap <= w || worst < 0 {
			break
		}
		segs = append(segs[:worst:worst], segs[worst+1:]...)
	}
	parts := make([]string, len(segs))
	for i, s := range segs {
		parts[i] = s.text
	}
	return widget.Fit(strings.Join(parts, "  "), w)
}

// header tells about the hosts: one in full, several in sum.
func (r *Root) header() string {
	segs := []segment{{r.st(themes.RoleTitle, "berth"), 0}}
	hosts := r.app.Fleet.Hosts()
	if mode := r.mode(); mode != "" {
		segs = append(segs, segment{mode, 1})
	}
	switch len(hosts) {
	case 0:
		segs = append(segs, segment{"no connection", 0})
	case 1:
		segs = append(segs, r.hostSegments(hosts[0])...)
	default:
		segs = append(segs, r.fleetSegments(hosts)...)
	}
	line := fitSegments(segs, r.w)
	return r.framed(line)
}

// mode says whether berth may change anything: rw, ro, or which of the hosts
// are read-only.
func (r *Root) mode() string {
	all, ro := len(r.app.Fleet.Hosts()), 0
	for _, s := range r.app.Fleet.Hosts() {
		if s.Host.ReadOnly() {
			ro++
		}
	}
	switch {
	case all == 0:
		return ""
	case ro == 0 && !r.app.ReadOnly():
		return r.st(themes.RoleMuted, "rw")
	case ro == all || r.app.ReadOnly():
		return r.st(themes.RoleWarn, "read-only")
	}
	return r.st(themes.RoleWarn, fmt.Sprintf("%d of %d read-only", ro, all))
}

func (r *Root) hostSegments(s *model.HostState) []segment {
	name := backend.Clean(s.Host.Name())
	segs := []segment{{r.st(themes.RoleHost, name), 1}}
	if state := r.connection(s); state != "" {
		segs = append(segs, segment{state, 1})
	}
	if s.Sample.At.IsZero() {
		return append(segs, r.countSegment(r.app.Fleet.Count(""), 2))
	}
	cpus := ""
	if s.Sample.CPUs > 0 {
		cpus = " of " + itoa(s.Sample.CPUs)
	}
	segs = append(segs,
		segment{r.gauge("CPU", s.CPUPercent(), cpus), 4},
		segment{r.gauge("MEM", s.MemPercent(), " of "+model.Bytes(float64(s.Sample.MemTotal))), 4})
	if s.Sample.HasLoad {
		segs = append(segs, segment{r.label("load", fmt.Sprintf("%.2f", s.Sample.Load[0])), 7})
	}
	return append(segs, r.countSegment(r.app.Fleet.Count(""), 2))
}

func (r *Root) fleetSegments(hosts []*model.HostState) []segment {
	down, cpus, mem, free := 0, 0, uint64(0), uint64(0)
	busy, known := 0.0, 0.0
	for _, s := range hosts {
		if s.Err != nil {
			down++
			continue // its last figures are no part of what the fleet does now
		}
		cpus += s.Sample.CPUs
		mem += s.Sample.MemTotal
		free += s.Sample.MemFree
		if p := s.CPUPercent(); !math.IsNaN(p) {
			busy += p * float64(s.Sample.CPUs)
			known += float64(s.Sample.CPUs)
		}
	}
	segs := []segment{{hostsWord(len(hosts)), 1}}
	if down > 0 {
		segs = append(segs, segment{r.st(themes.RoleBad, r.look.Glyphs.Cross+" "+itoa(down)+" down"), 1})
	}
	if mem > 0 {
		segs = append(segs,
			segment{r.gauge("CPU", busy/known, " of "+itoa(cpus)), 4},
			segment{r.gauge("MEM", 100*float64(mem-free)/float64(mem), " of "+model.Bytes(float64(mem))), 4})
	}
	return append(segs, r.countSegment(r.app.Fleet.Count(""), 2))
}

// connection says what is wrong with a host's connection, or how fast it is.
func (r *Root) connection(s *model.HostState) string {
	switch {
	case s.Err != nil:
		return r.st(themes.RoleBad, r.look.Glyphs.Cross+" down since "+s.DownSince.Format("15:04:05"))
	case !s.Connected:
		return r.st(themes.RoleInfo, "connecting")
	}
	return ""
}

func (r *Root) label(name, value string) string { return r.st(themes.RoleMuted, name) + " " + value }

func (r *Root) gauge(name string, percent float64, of string) string {
	value := model.Unknown
	if !math.IsNaN(percent) {
		value = fmt.Sprintf("%.0f%%", percent)
	}
	bar := widget.Gauge(percent/100, r.barWidth(), "", widget.GaugeStyle{Full: r.styles.Get(themes.RoleBarFull), Empty: r.styles.Get(themes.RoleBarEmpty), Glyphs: &r.look.Glyphs})
	return r.st(themes.RoleMuted, name) + " " + bar + " " + r.loadStyle(percent, 80, 95).Render(value) + r.st(themes.RoleMuted, of)
}

func (r *Root) countSegment(c model.Counts, rank int) segment {
	g := &r.look.Glyphs
	parts := []string{r.st(themes.RoleMuted, "VMs") + " " + itoa(c.All)}
	add := func(n int, glyph string, role themes.Role) {
		if n > 0 {
			parts = append(parts, r.st(role, glyph+itoa(n)))
		}
	}
	add(c.Running, g.Running, themes.RoleOK)
	add(c.Paused, g.Paused, themes.RoleWarn)
	add(c.Crashed, g.Crashed, themes.RoleBad)
	add(c.Off, g.Off, themes.RoleOff)
	return segment{strings.Join(parts, " "), rank}
}

// cost is what berth itself uses, and how long its last polls took.
func (r *Root) cost() string {
	c := r.app.Cost
	worst := time.Duration(0)
	for _, s := range r.app.Fleet.Hosts() {
		worst = max(worst, s.PollTook)
	}
	return fmt.Sprintf("berth %.1f%% cpu %s, poll %s", c.CPU, model.Bytes(float64(c.Memory)), worst.Round(100*time.Microsecond))
}

// title says what is shown: the screen, the filter, the order, the marks.
func (r *Root) title() string {
	a := r.app
	var segs []segment
	switch a.Screen {
	case model.ScreenVMs:
		segs = r.vmsTitle()
	case model.ScreenHosts:
		segs = []segment{{r.st(themes.RoleTitle, "Hosts "+itoa(len(a.Fleet.Hosts()))), 0}}
	case model.ScreenEvents:
		segs = []segment{{r.st(themes.RoleTitle, "Events "+itoa(len(a.Events.Entries()))), 0}, {r.st(themes.RoleMuted, "since berth was started"), 3}}
	case model.ScreenQueue:
		segs = r.queueTitle()
	case model.ScreenJob:
		segs = r.jobTitle()
	case model.ScreenBackups, model.ScreenCatalogue, model.ScreenPoints, model.ScreenSchedules:
		segs = r.backupsTitle()
	case model.ScreenImages, model.ScreenPools:
		segs = r.imagesTitle()
	case model.ScreenDetail:
		segs = r.detailTitle()
	case model.ScreenConnect:
		segs = []segment{{r.st(themes.RoleTitle, "No libvirt could be reached"), 0}}
	}
	if n := a.Events.Unseen; n > 0 && a.Screen != model.ScreenEvents {
		segs = append(segs, segment{r.st(themes.RoleBad, fmt.Sprintf("%s %s (%s)", r.look.Glyphs.Warn, count(n, "warning"), a.KeyFor("events"))), 2})
	}
	if n := len(a.Tasks.Active()); n > 0 {
		segs = append(segs, segment{r.st(themes.RoleInfo, fmt.Sprintf("%s %d under way", r.look.Glyphs.Starting, n)), 1})
	}
	if a.ShowCost {
		segs = append(segs, segment{r.st(themes.RoleMuted, r.cost()), 1})
	}
	return fitSegments(segs, r.w)
}

func (r *Root) vmsTitle() []segment {
	v := r.app.VMs
	count := itoa(len(v.Visible()))
	if v.Filtered() {
		count += " of " + itoa(r.app.Fleet.Len())
	}
	segs := []segment{{r.st(themes.RoleTitle, "VMs "+count), 0}}
	if all, hidden := v.Marks(); all > 0 {
		text := itoa(all) + " marked"
		if hidden > 0 {
			text += fmt.Sprintf(" (%d hidden)", hidden)
		}
		segs = append(segs, segment{r.st(themes.RoleAccent, text), 1})
	}
	if text, _ := v.Filter(); text != "" && r.app.Line == nil {
		segs = append(segs, segment{r.st(themes.RoleMatch, "/"+backend.Clean(text)), 1})
	}
	if n := r.app.Backups.NotFresh; n > 0 {
		segs = append(segs, segment{r.st(themes.RoleWarn, r.look.Glyphs.Warn+" "+itoa(n)+" without a fresh backup ("+r.app.KeyFor("backups")+")"), 3})
	}
	c, _ := model.ColumnByID(v.SortBy)
	arrow := r.look.Glyphs.SortAsc
	if v.Desc {
		arrow = r.look.Glyphs.SortDesc
	}
	return append(segs, segment{r.st(themes.RoleMuted, "by "+c.Title+arrow), 4})
}

// barWidth is how wide the header's gauges are.
func (r *Root) barWidth() int {
	if r.w < 100 {
		return 4
	}
	return 6
}
