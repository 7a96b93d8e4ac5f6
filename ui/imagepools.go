package ui

import (
	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// The columns of the pools.
const (
	qcolMark = iota
	qcolName
	qcolState
	qcolBar
	qcolFree
	qcolCapacity
	qcolVolumes
	qcolType
	qcolAuto
	qcolHost
	qcolPath
)

func (r *Root) poolTable(w, h int) string {
	s := &r.app.Images.Pools
	_, filter := r.app.ImageList()
	t := widget.TableView{Columns: widget.Layout(w, []widget.ColumnSpec{
		qcolMark:     {Min: 2},
		qcolName:     {Title: "POOL", Min: 10, Max: 24},
		qcolState:    {Title: "STATE", Min: 8, Max: 12},
		qcolBar:      {Title: "TAKEN", Min: 12, Max: 40, Flex: 1},
		qcolFree:     {Title: "FREE", Min: 5, Right: true, Priority: 1},
		qcolCapacity: {Title: "SIZE", Min: 5, Right: true, Priority: 3},
		qcolVolumes:  {Title: "VOLS", Min: 4, Right: true, Priority: 4},
		qcolType:     {Title: "TYPE", Min: 7, Max: 10, Priority: 5},
		qcolAuto:     {Title: "AUTO", Min: 4, Priority: 6},
		qcolHost:     {Title: "HOST", Min: 8, Max: 16, Priority: 2},
		qcolPath:     {Title: "PATH", Min: 16, Max: 60, Priority: 7, Flex: 1},
	}), Rows: s.Len(), Top: s.Top(), Cursor: s.Line(), Empty: "There is no pool here. " + r.app.KeyFor("pool-new") + " makes one."}
	if filter != "" {
		t.Empty = "No pool matches the filter. esc removes it."
	}
	t.StyleFrom(r.styles, &r.look.Glyphs)
	t.RowStyle = func(i int) themes.Style {
		if p := s.Pool(i); s.Marked(model.PoolKey{Host: p.Host, Name: p.Name}) {
			return r.styles.Get(themes.RoleMarked)
		}
		return themes.Style{}
	}
	t.Cells = func(i int) []widget.Cell {
		r.cells = r.cells[:0]
		for k := range t.Columns {
			r.cells = append(r.cells, r.poolCell(s.Pool(i), t.Columns[k].Index, t.Columns[k].Width))
		}
		return r.cells
	}
	return t.Render(w, h)
}

func (r *Root) poolCell(p *backend.Pool, col, width int) widget.Cell {
	glyph, word, role := r.poolState(p)
	figures := themes.Style{}
	if !p.Active {
		figures = r.styles.Get(themes.RoleOff)
	}
	plain := func(text string) widget.Cell { return widget.Cell{Text: backend.Clean(text), Style: figures} }
	size := func(n uint64) widget.Cell {
		if !p.Active {
			return plain(model.Unknown)
		}
		return plain(amount(n))
	}
	switch col {
	case qcolMark:
		mark := " "
		if r.app.Images.Pools.Marked(model.PoolKey{Host: p.Host, Name: p.Name}) {
			mark = r.look.Glyphs.Marked
		}
		return widget.Cell{Text: mark + glyph, Style: r.styles.Get(role)}
	case qcolName:
		return plain(p.Name)
	case qcolState:
		return widget.Cell{Text: word, Style: r.styles.Get(role)}
	case qcolBar:
		if p.Trouble != "" {
			return widget.Cell{Text: backend.Clean(p.Trouble), Style: r.styles.Get(themes.RoleBad), Span: 3}
		}
		if !p.Active || p.Capacity == 0 {
			return plain("")
		}
		taken := int64(p.Capacity - min(p.Available, p.Capacity))
		return widget.Cell{Text: r.plainBar(model.Fraction(taken, int64(p.Capacity)), width), Style: r.styles.Get(themes.RoleSpark)}
	case qcolFree:
		return size(p.Available)
	case qcolCapacity:
		return size(p.Capacity)
	case qcolVolumes:
		return plain(itoa(p.Volumes))
	case qcolType:
		return plain(p.Type)
	case qcolAuto:
		return plain(yes(p.Autostart))
	case qcolHost:
		return widget.Cell{Text: backend.Clean(p.Host), Style: r.styles.Get(themes.RoleHost)}
	case qcolPath:
		return plain(p.Path)
	}
	return widget.Cell{}
}
