package ui

import (
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

var eventColumns = []widget.ColumnSpec{
	{Title: "TIME", Min: 8, Max: 8},
	{Min: 1},
	{Title: "HOST", Min: 6, Max: 14, Priority: 3},
	{Title: "VM", Min: 8, Max: 24},
	{Title: "KIND", Min: 6, Max: 10, Priority: 2},
	{Title: "WHAT", Min: 12, Max: 12, Flex: 1},
}

func (r *Root) eventsBody(w, h int) string {
	log := r.app.Events
	entries := log.Entries()
	t := widget.TableView{Columns: widget.Layout(w, eventColumns), Rows: len(entries), Top: log.Top(), Cursor: log.Index(),
		Empty: "Nothing has happened since berth was started."}
	t.StyleFrom(r.styles, &r.look.Glyphs)
	t.Cells = func(i int) []widget.Cell {
		all := r.eventCells(&entries[i])
		cells := make([]widget.Cell, len(t.Columns))
		for j, c := range t.Columns {
			cells[j] = all[c.Index]
		}
		return cells
	}
	return t.Render(w, h)
}

func (r *Root) eventCells(e *model.LogEntry) []widget.Cell {
	glyph, role := " ", themes.RoleText
	switch e.Level {
	case model.LevelOK:
		glyph, role = r.look.Glyphs.Check, themes.RoleOK
	case model.LevelWarn:
		glyph, role = r.look.Glyphs.Warn, themes.RoleWarn
	case model.LevelBad:
		glyph, role = r.look.Glyphs.Cross, themes.RoleBad
	}
	look := r.styles.Get(role)
	return []widget.Cell{
		{Text: e.At.Format("15:04:05"), Style: r.styles.Get(themes.RoleMuted)},
		{Text: glyph, Style: look},
		{Text: e.Host, Style: r.styles.Get(themes.RoleHost)},
		{Text: e.VM},
		{Text: e.Kind, Style: r.styles.Get(themes.RoleMuted)},
		{Text: e.Text, Style: look},
	}
}
