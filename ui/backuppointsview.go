package ui

import (
	"strings"
	"time"

	"berth/backend"
	"berth/model"
	"berth/model/config"
	"berth/themes"
	"berth/ui/widget"
)

// The columns of a VM's points.
const (
	pcolMark = iota
	pcolWhen
	pcolAge
	pcolKind
	pcolVerified
	pcolNew
	pcolStored
	pcolRatio
	pcolData
	pcolSize
	pcolRead
	pcolTook
	pcolQuiesced
	pcolTags
	pcolWhy
	pcolRepo
	pcolID
)

var pointColumns = []widget.ColumnSpec{
	pcolMark:     {Min: 2},
	pcolWhen:     {Title: "WHEN", Min: 16},
	pcolAge:      {Title: "AGE", Min: 5, Right: true, Priority: 3},
	pcolKind:     {Title: "KIND", Min: 7, Max: 11},
	pcolVerified: {Title: "VERIFIED", Min: 8, Right: true},
	pcolNew:      {Title: "NEW", Min: 5, Right: true, Priority: 1},
	pcolStored:   {Title: "STORED", Min: 6, Right: true, Priority: 2},
	pcolRatio:    {Title: "RATIO", Min: 5, Right: true, Priority: 9},
	pcolData:     {Title: "DATA", Min: 5, Right: true, Priority: 6},
	pcolSize:     {Title: "SIZE", Min: 5, Right: true, Priority: 10},
	pcolRead:     {Title: "READ", Min: 5, Right: true, Priority: 8},
	pcolTook:     {Title: "TOOK", Min: 5, Right: true, Priority: 5},
	pcolQuiesced: {Title: "FROZEN", Min: 6, Priority: 7},
	pcolTags:     {Title: "TAGS", Min: 6, Max: 20, Priority: 4, Flex: 1},
	pcolWhy:      {Title: "WHY FULL, WHAT IS DAMAGED", Min: 14, Max: 60, Priority: 11, Flex: 2},
	pcolRepo:     {Title: "REPOSITORY", Min: 10, Max: 30, Priority: 12, Flex: 1},
	pcolID:       {Title: "ID", Min: 8, Max: 16, Priority: 13},
}

func (r *Root) pointTable(w, h int) string {
	s := &r.app.Backups.Points
	t := widget.TableView{Columns: widget.Layout(w, pointColumns), Rows: s.Len(), Top: s.Top(), Cursor: s.Line(), Empty: r.emptyPoints()}
	t.StyleFrom(r.styles, &r.look.Glyphs)
	now := r.app.Now()
	t.RowStyle = func(i int) themes.Style {
		if p := s.Point(i); s.Marked(model.PointKey{Repo: p.Repo, ID: p.ID}) {
			return r.styles.Get(themes.RoleMarked)
		}
		return themes.Style{}
	}
	t.Cells = func(i int) []widget.Cell {
		r.cells = r.cells[:0]
		for k := range t.Columns {
			r.cells = append(r.cells, r.pointCell(s.Point(i), t.Columns[k].Index, now))
		}
		return r.cells
	}
	return t.Render(w, h)
}

func (r *Root) emptyPoints() string {
	if _, filter := r.app.BackupList(); filter != "" {
		return "No point matches the filter. esc removes it."
	}
	return "There is no backup of it yet. " + r.app.KeyFor("backup") + " makes one."
}

func (r *Root) pointCell(p *backend.Point, col int, now time.Time) widget.Cell {
	glyph, role := r.pointGlyph(p)
	plain := func(text string) widget.Cell { return widget.Cell{Text: backend.Clean(text)} }
	size := func(n int64) widget.Cell { return widget.Cell{Text: model.Bytes(float64(n))} }
	switch col {
	case pcolMark:
		mark := " "
		if r.app.Backups.Points.Marked(model.PointKey{Repo: p.Repo, ID: p.ID}) {
			mark = r.look.Glyphs.Marked
		}
		return widget.Cell{Text: mark + glyph, Style: r.styles.Get(role)}
	case pcolWhen:
		return plain(p.At.In(now.Location()).Format("2006-01-02 15:04"))
	case pcolAge:
		return plain(ago(p.At, now))
	case pcolKind:
		return widget.Cell{Text: pointKind(p), Style: r.styles.Get(role)}
	case pcolVerified:
		if p.Verified.IsZero() {
			return widget.Cell{Text: "never", Style: r.styles.Get(themes.RoleMuted)}
		}
		return widget.Cell{Text: ago(p.Verified, now), Style: r.styles.Get(themes.RoleOK)}
	case pcolNew:
		return size(p.New)
	case pcolStored:
		return size(p.Stored)
	case pcolRatio:
		return plain(ratioOf(p.New, p.Stored))
	case pcolData:
		return size(p.Data)
	case pcolSize:
		return size(p.Size)
	case pcolRead:
		return size(p.Read)
	case pcolTook:
		return plain(model.Duration(p.Took))
	case pcolQuiesced:
		return plain(frozen(p))
	case pcolTags:
		return plain(strings.Join(p.Tags, " "))
	case pcolWhy:
		if p.Damaged != "" {
			return widget.Cell{Text: backend.Clean(p.Damaged), Style: r.styles.Get(themes.RoleBad)}
		}
		return plain(p.Why)
	case pcolRepo:
		return plain(p.Repo)
	case pcolID:
		return plain(p.ID)
	}
	return widget.Cell{}
}

// pointKind is a point's kind in a word.
func pointKind(p *backend.Point) string {
	switch {
	case p.Damaged != "":
		return "DAMAGED"
	case p.Full:
		return "full"
	}
	return "increm."
}

// frozen is whether the guest's file systems stood still.
func frozen(p *backend.Point) string {
	switch {
	case !p.Running:
		return "off"
	case p.Quiesced:
		return "yes"
	}
	return "no"
}

// The columns of the schedules.
const (
	scolMark = iota
	scolName
	scolState
	scolNext
	scolLast
	scolResult
	scolCron
	scolVMs
	scolKeep
	scolRepo
)

var scheduleColumns = []widget.ColumnSpec{
	scolMark:   {Min: 2},
	scolName:   {Title: "NAME", Min: 10, Max: 24},
	scolState:  {Title: "STATE", Min: 8},
	scolNext:   {Title: "NEXT", Min: 9, Right: true},
	scolLast:   {Title: "LAST", Min: 9, Right: true, Priority: 3},
	scolResult: {Title: "RESULT", Min: 10, Max: 40, Priority: 1, Flex: 2},
	scolCron:   {Title: "WHEN", Min: 11, Max: 20, Priority: 2},
	scolVMs:    {Title: "VMS", Min: 8, Max: 40, Priority: 4, Flex: 1},
	scolKeep:   {Title: "KEEP", Min: 16, Max: 50, Priority: 6, Flex: 1},
	scolRepo:   {Title: "REPOSITORY", Min: 12, Max: 40, Priority: 5, Flex: 1},
}

func (r *Root) scheduleTable(w, h int) string {
	s := &r.app.Backups.Schedules
	t := widget.TableView{Columns: widget.Layout(w, scheduleColumns), Rows: s.Len(), Top: s.Top(), Cursor: s.Line(), Empty: "No schedule matches the filter. esc removes it."}
	t.StyleFrom(r.styles, &r.look.Glyphs)
	now := r.app.Now()
	t.RowStyle = func(i int) themes.Style {
		if s.Marked(s.Schedule(i).ID) {
			return r.styles.Get(themes.RoleMarked)
		}
		return themes.Style{}
	}
	t.Cells = func(i int) []widget.Cell {
		r.cells = r.cells[:0]
		for k := range t.Columns {
			r.cells = append(r.cells, r.scheduleCell(s.Schedule(i), t.Columns[k].Index, now))
		}
		return r.cells
	}
	return t.Render(w, h)
}

// scheduleState is a schedule's state as a shape, a word and a look.
func (r *Root) scheduleState(c *backend.Schedule) (string, string, themes.Role) {
	g := &r.look.Glyphs
	switch {
	case c.Disabled:
		return g.Paused, "disabled", themes.RoleWarn
	case c.LastBad != "":
		return g.Crashed, "trouble", themes.RoleBad
	case c.Next.IsZero():
		return g.Off, "at rest", themes.RoleOff
	}
	return g.Running, "enabled", themes.RoleOK
}

func (r *Root) scheduleCell(c *backend.Schedule, col int, now time.Time) widget.Cell {
	glyph, word, role := r.scheduleState(c)
	figures := themes.Style{}
	if c.Disabled {
		figures = r.styles.Get(themes.RoleOff)
	}
	plain := func(text string) widget.Cell { return widget.Cell{Text: backend.Clean(text), Style: figures} }
	switch col {
	case scolMark:
		mark := " "
		if r.app.Backups.Schedules.Marked(c.ID) {
			mark = r.look.Glyphs.Marked
		}
		return widget.Cell{Text: mark + glyph, Style: r.styles.Get(role)}
	case scolName:
		return plain(model.ScheduleName(c))
	case scolState:
		return widget.Cell{Text: word, Style: r.styles.Get(role)}
	case scolNext:
		if c.Disabled {
			return plain(model.Unknown)
		}
		return plain(model.Starts(c.Next, now))
	case scolLast:
		return plain(model.When(c.Last, now))
	case scolResult:
		switch {
		case c.Last.IsZero():
			return plain("has not run yet")
		case c.LastBad != "":
			return widget.Cell{Text: backend.Clean(c.LastBad), Style: r.styles.Get(themes.RoleBad)}
		case c.Missed > 0:
			return widget.Cell{Text: "well, " + count(c.Missed, "missed run") + " caught up", Style: r.styles.Get(themes.RoleWarn)}
		}
		return plain("well")
	case scolCron:
		return plain(c.Cron)
	case scolVMs:
		return plain(model.WhichVMs(c))
	case scolKeep:
		if text := config.RetentionText(c.Keep); text != "" {
			return plain(text)
		}
		return plain("everything")
	case scolRepo:
		return plain(c.Repo.URL)
	}
	return widget.Cell{}
}

// backupFields are what a VM's detail says of its backups; nothing where
// nobody makes any.
func (r *Root) backupFields(row *model.Row) []string {
	b, now := &row.Backup, r.app.Now()
	if b.Fresh == model.FreshUnused {
		return nil
	}
	last := "none"
	if !b.Good.IsZero() {
		last = model.When(b.Good, now) + ", " + ago(b.Good, now) + " ago"
	}
	if b.Fresh.Bad() {
		last = r.st(themes.RoleWarn, r.look.Glyphs.Warn+" "+last+" ("+b.Fresh.String()+")")
	}
	if b.Active != "" {
		last += r.st(themes.RoleInfo, "; one is under way: "+b.Active)
	}
	verified := "never"
	if !b.Verified.IsZero() {
		verified = "the one of " + model.When(b.Verified, now)
	}
	out := []string{r.field("last backup", last), r.field("verified", verified)}
	if b.Schedule != "" {
		out = append(out, r.field("next backup", model.Starts(b.Next, now)+", "+backend.Clean(b.Schedule)))
	}
	return out
}
