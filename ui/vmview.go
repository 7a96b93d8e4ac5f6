package ui

import (
	"math"
	"time"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// vmColumns fits the chosen columns to the width. The first column, two cells
// of marks, is not the person's to choose.
func (r *Root) vmColumns(w int) []widget.Column {
	v := r.app.VMs
	specs := make([]widget.ColumnSpec, 1, len(v.Columns)+1)
	specs[0] = widget.ColumnSpec{Min: 2}
	for _, id := range v.Columns {
		c, _ := model.ColumnByID(id)
		s := widget.ColumnSpec{Title: c.Title, Min: c.Min, Max: c.Max, Priority: c.Priority, Right: c.Right}
		if c.Flex {
			s.Flex = 1
		}
		r.fitToRows(id, &s)
		if id == "host" && len(r.app.Fleet.Hosts()) < 2 && !r.app.Demo {
			s.Priority = 90 // one host needs no column while room is short
		}
		if id == v.SortBy {
			s.Sort = 1
			if v.Desc {
				s.Sort = -1
			}
		}
		specs = append(specs, s)
	}
	return widget.Layout(w, specs)
}

// fitToRows makes the columns that tell rows apart as wide as what is in them,
// within bounds: figures are dropped before names are cut.
func (r *Root) fitToRows(id string, s *widget.ColumnSpec) {
	widths := r.app.VMs.Widths()
	fit := func(longest, least, most int) {
		s.Min = max(least, min(longest, most))
		s.Max = max(s.Min, min(s.Max, most))
	}
	switch id {
	case "name":
		fit(widths.Name, 12, max(16, min(40, r.w/4)))
	case "state":
		fit(widths.State, 10, max(13, min(24, r.w/5)))
	case "host":
		fit(widths.Host, 6, max(10, min(24, r.w/8)))
	}
}

func (r *Root) vmsBody(w, h int) string {
	v := r.app.VMs
	t := &r.table
	t.Columns = r.vmColumns(w)
	t.Rows, t.Top, t.Cursor = len(v.Visible()), v.Top(), v.Index()
	t.Empty = r.emptyList()
	now := r.app.Now()
	t.RowStyle = func(i int) themes.Style {
		row := v.Visible()[i]
		switch {
		case row.Flashing(now):
			return r.styles.Get(themes.RoleFlash)
		case v.Marked(row.Key()):
			return r.styles.Get(themes.RoleMarked)
		}
		return themes.Style{}
	}
	t.Cells = func(i int) []widget.Cell { return r.vmCells(v.Visible()[i], t.Columns) }
	return t.Render(w, h)
}

func (r *Root) emptyList() string {
	f := r.app.Fleet
	switch {
	case f.Len() > 0:
		return "No VM matches the filter. esc removes it."
	case r.polled():
		return "No VM is defined here."
	}
	for _, s := range f.Hosts() {
		if s.Err != nil {
			return backend.Clean(s.Err.Error())
		}
	}
	return "Asking " + hostsWord(len(f.Hosts())) + "…"
}

func (r *Root) polled() bool {
	for _, s := range r.app.Fleet.Hosts() {
		if !s.PolledAt.IsZero() {
			return true
		}
	}
	return false
}

// vmCells draws one row. The slice is used again for the next row.
func (r *Root) vmCells(row *model.Row, cols []widget.Column) []widget.Cell {
	r.cells = r.cells[:0]
	now := r.app.Now()
	since, stale := r.app.Fleet.Stale(row)
	for _, c := range cols {
		if c.Index == 0 {
			r.cells = append(r.cells, r.markCell(row))
			continue
		}
		id := r.app.VMs.Columns[c.Index-1]
		col, _ := model.ColumnByID(id)
		cell := widget.Cell{Text: col.Text(row, now), Style: r.vmStyle(id, row)}
		if stale {
			cell.Style = r.styles.Get(themes.RoleStale)
			if id == "state" {
				cell.Text = staleText(row, since)
			}
		}
		r.cells = append(r.cells, cell)
	}
	return r.cells
}

// staleText is the state as it was last seen, and when that was.
func staleText(row *model.Row, since time.Time) string {
	if !row.StuckSince.IsZero() && !row.HostDown {
		return "stuck since " + since.Format("15:04:05")
	}
	return row.State.String() + " " + since.Format("15:04:05")
}

func (r *Root) markCell(row *model.Row) widget.Cell {
	g := &r.look.Glyphs
	mark := " "
	if r.app.VMs.Marked(row.Key()) {
		mark = g.Marked
	}
	glyph, role := r.stateGlyph(row)
	return widget.Cell{Text: mark + glyph, Style: r.styles.Get(role)}
}

// stateGlyph tells a state by shape as well as by colour.
func (r *Root) stateGlyph(row *model.Row) (string, themes.Role) {
	g := &r.look.Glyphs
	switch {
	case row.Pending != "":
		return g.Starting, themes.RoleInfo
	case !row.StuckSince.IsZero():
		return g.Stuck, themes.RoleBad
	}
	switch row.State {
	case backend.Running, backend.Blocked:
		return g.Running, themes.RoleOK
	case backend.Paused, backend.PMSuspended:
		return g.Paused, themes.RoleWarn
	case backend.ShuttingDown:
		return g.Starting, themes.RoleInfo
	case backend.Crashed:
		return g.Crashed, themes.RoleBad
	case backend.Shutoff:
		if row.Reason == "crashed" || row.Reason == "failed" {
			return g.Crashed, themes.RoleBad
		}
		return g.Off, themes.RoleOff
	}
	return g.Unknown, themes.RoleMuted
}

// vmStyle is how a column's cell of a row looks.
func (r *Root) vmStyle(id string, row *model.Row) themes.Style {
	if id == "state" {
		_, role := r.stateGlyph(row)
		return r.styles.Get(role)
	}
	if id == "backup" && row.Backup.Fresh.Bad() { // whatever its state
		return r.styles.Get(themes.RoleWarn)
	}
	if !row.State.Active() {
		return r.styles.Get(themes.RoleOff)
	}
	switch id {
	case "cpu", "cpu_own":
		return r.loadStyle(row.CPUOfOwn(), 70, 90)
	case "host":
		return r.styles.Get(themes.RoleHost)
	}
	return themes.Style{}
}

// loadStyle warns from one percentage on and alarms from another.
func (r *Root) loadStyle(percent, warn, bad float64) themes.Style {
	switch {
	case math.IsNaN(percent) || percent < warn:
		return themes.Style{}
	case percent < bad:
		return r.styles.Get(themes.RoleWarn)
	}
	return r.styles.Get(themes.RoleBad)
}
