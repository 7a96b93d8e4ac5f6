package ui

import (
	"fmt"
	"slices"
	"time"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

var hostColumns = []widget.ColumnSpec{
	{Min: 2},
	{Title: "HOST", Min: 8, Max: 24, Flex: 1},
	{Title: "STATE", Min: 9, Max: 30},
	{Title: "VMS", Min: 4, Max: 4, Right: true},
	{Title: "RUN", Min: 4, Max: 4, Right: true, Priority: 3},
	{Title: "CPUS", Min: 4, Max: 4, Right: true, Priority: 4},
	{Title: "CPU%", Min: 5, Max: 5, Right: true, Priority: 1},
	{Title: "MEM", Min: 11, Max: 11, Right: true, Priority: 2},
	{Title: "LOAD", Min: 5, Max: 5, Right: true, Priority: 6},
	{Title: "UP", Min: 5, Max: 5, Right: true, Priority: 7},
	{Title: "LIBVIRT", Min: 7, Max: 8, Priority: 8},
	{Title: "HYPERVISOR", Min: 10, Max: 14, Priority: 9},
	{Title: "CALL", Min: 6, Max: 6, Right: true, Priority: 5},
	{Title: "URI", Min: 16, Max: 60, Flex: 1, Priority: 10},
}

func (r *Root) hostsBody(w, h int) string {
	hosts := r.app.Fleet.Hosts()
	specs := slices.Clone(hostColumns)
	for _, s := range hosts { // names whole before figures
		specs[1].Min = max(specs[1].Min, min(widget.Width(s.Host.Name()), max(12, w/5)))
	}
	t := widget.TableView{Columns: widget.Layout(w, specs), Rows: len(hosts), Top: r.app.Hosts.Top(), Cursor: r.app.Hosts.Index(),
		Empty: "No host is connected. c connects to one."}
	t.StyleFrom(r.styles, &r.look.Glyphs)
	t.Cells = func(i int) []widget.Cell {
		all := r.hostCells(hosts[i])
		cells := make([]widget.Cell, len(t.Columns))
		for j, c := range t.Columns {
			cells[j] = all[c.Index]
		}
		return cells
	}
	return t.Render(w, h)
}

func (r *Root) hostCells(s *model.HostState) []widget.Cell {
	name := s.Host.Name()
	c := r.app.Fleet.Count(name)
	v := s.Sample
	glyph, word, role := r.hostState(s)
	figures := themes.Style{}
	if s.Err != nil {
		figures = r.styles.Get(themes.RoleStale)
	}
	plain := func(text string) widget.Cell { return widget.Cell{Text: text, Style: figures} }
	load, up, mem, cpus := model.Unknown, model.Unknown, model.Unknown, model.Unknown
	if v.HasLoad {
		load = fmt.Sprintf("%.2f", v.Load[0])
	}
	if !v.BootTime.IsZero() {
		up = model.Duration(r.app.Now().Sub(v.BootTime))
	}
	if v.MemTotal > 0 {
		mem = model.Bytes(float64(v.MemTotal-v.MemFree)) + "/" + model.Bytes(float64(v.MemTotal))
	}
	if v.CPUs > 0 {
		cpus = itoa(v.CPUs)
	}
	return []widget.Cell{
		{Text: " " + glyph, Style: r.styles.Get(role)},
		{Text: backend.Clean(name), Style: r.styles.Get(themes.RoleHost)},
		{Text: word, Style: r.styles.Get(role)},
		plain(itoa(c.All)), plain(itoa(c.Running)), plain(cpus),
		{Text: model.Percent(s.CPUPercent()), Style: r.loadStyle(s.CPUPercent(), 80, 95)},
		{Text: mem, Style: r.loadStyle(s.MemPercent(), 85, 95)},
		plain(load), plain(up), plain(backend.Clean(v.Libvirt)), plain(backend.Clean(v.Hypervisor)),
		plain(took(s.PollTook)),
		plain(backend.Clean(s.Host.URI())),
	}
}

// took is how long a call took, for a narrow column.
func took(d time.Duration) string {
	switch {
	case d <= 0:
		return model.Unknown
	case d < 100*time.Microsecond:
		return "<0.1ms"
	case d < time.Second:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

// hostState is a host's connection as a shape, a word and a look.
func (r *Root) hostState(s *model.HostState) (string, string, themes.Role) {
	g := &r.look.Glyphs
	switch {
	case s.Err != nil:
		return g.Cross, "down " + model.Duration(r.app.Now().Sub(s.DownSince)) + ": " + backend.Clean(s.Err.Error()), themes.RoleBad
	case !s.Connected:
		return g.Starting, "connecting", themes.RoleInfo
	case s.Host.ReadOnly():
		return g.Running, "read-only", themes.RoleOK
	}
	return g.Running, "connected", themes.RoleOK
}
