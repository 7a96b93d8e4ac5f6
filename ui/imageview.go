package ui

import (
	"cmp"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// The columns of the images.
const (
	icolMark = iota
	icolName
	icolUse
	icolFormat
	icolVirtual
	icolReal
	icolAge
	icolPool
	icolSnaps
	icolBacking
	icolHost
	icolPath
)

// imageAbove are the lines above the list: the tabs, and what the pools have.
func (r *Root) imageAbove(w, h int) []string {
	lines := []string{r.tabsOf(model.ImageTabs(), r.app.Screen, w)}
	for name, err := range r.imageTroubles() {
		lines = append(lines, r.st(themes.RoleBad, widget.Fit(" "+r.look.Glyphs.Cross+" "+name+": "+backend.Clean(err.Error()), w)))
		break // one line; the hosts' screen has the rest
	}
	if r.app.Screen == model.ScreenImages && h >= 12 {
		lines = append(lines, r.poolBars(w, max(1, h/6))...)
	}
	return lines
}

// imageTroubles is at most one host's trouble, the first by name.
func (r *Root) imageTroubles() map[string]error {
	all := r.app.Images.Troubles()
	first := ""
	for name := range all {
		if first == "" || name < first {
			first = name
		}
	}
	if first == "" {
		return nil
	}
	return map[string]error{backend.Clean(first): all[first]}
}

// imageBelow is the pane about what is selected.
func (r *Root) imageBelow(w, h int) []string {
	n := 0
	switch {
	case h >= 30:
		n = 9
	case h >= 18:
		n = 6
	}
	if n == 0 {
		return nil
	}
	var facts []string
	if r.app.Screen == model.ScreenPools {
		if p := r.app.Images.Pools.Selected(); p != nil {
			facts = model.PoolFacts(p)
		}
	} else if i := r.app.Images.Selected(); i != nil {
		facts = model.ImageFacts(i.Image, r.app.Now())
	}
	return widget.FitLines(append([]string{r.paneRule(w, "")}, r.factPane(facts, w, n-1)...), w, n)
}

func (r *Root) layoutImages(body int) {
	r.app.SetImagePage(widget.VisibleRows(body - len(r.imageAbove(r.w, body)) - len(r.imageBelow(r.w, body))))
}

func (r *Root) imagesBody(w, h int) string {
	if text := r.imagesAbsent(); text != nil {
		lines := append([]string{r.tabsOf(model.ImageTabs(), r.app.Screen, w)}, r.centered(text, w, h-1)...)
		return widget.Block(lines, w, h)
	}
	above, below := r.imageAbove(w, h), r.imageBelow(w, h)
	room := max(1, h-len(above)-len(below))
	list := ""
	if r.app.Screen == model.ScreenPools {
		list = r.poolTable(w, room)
	} else {
		list = r.imageTable(w, room)
	}
	lines := append(above, strings.Split(list, "\n")...)
	return widget.Block(append(lines, below...), w, h)
}

// imagesAbsent says why there is nothing to show; nil when there is something.
func (r *Root) imagesAbsent() []string {
	s := r.app.Images
	switch n := s.Asking(); {
	case s.Able() == 0:
		return []string{"No storage to show.", "", "None of the connected hosts can tell of its storage pools and images."}
	case s.All() == 0 && len(s.Pools.All()) == 0 && n > 0:
		return []string{"Asking " + hostsWord(n) + " for pools and images…"}
	}
	return nil
}

// clickImages turns to a tab, or selects a line of the list.
func (r *Root) clickImages(x, y int) tea.Cmd {
	if y == 0 {
		if t, ok := tabAt(model.ImageTabs(), x); ok {
			return r.app.ShowBackupTab(t)
		}
		return nil
	}
	y -= len(r.imageAbove(r.w, r.bodyHeight())) + 1
	l, _ := r.app.ImageList()
	if y < 0 || y >= l.Page() {
		return nil
	}
	return r.app.Click(y)
}

// imagesTitle says how many there are, and what stands out.
func (r *Root) imagesTitle() []segment {
	s := r.app.Images
	l, filter := r.app.ImageList()
	n, all := l.Len(), s.All()
	title := "Images "
	if r.app.Screen == model.ScreenPools {
		title, all = "Pools ", len(s.Pools.All())
	}
	text := itoa(n)
	if n != all {
		text += " of " + itoa(all)
	}
	segs := []segment{{r.st(themes.RoleTitle, title+text), 0}}
	segs = append(segs, r.listSegments(l, filter)...)
	if r.app.Screen == model.ScreenImages {
		segs = append(segs, r.imageAlarms()...)
	}
	if n := s.Requests(); n > 0 {
		segs = append(segs, segment{r.st(themes.RoleInfo, r.look.Glyphs.Starting+" "+count(n, "request")), 1})
	}
	if n := s.Asking(); n > 0 {
		segs = append(segs, segment{r.st(themes.RoleInfo, "asking "+hostsWord(n)), 2})
	}
	if r.app.Screen != model.ScreenImages {
		return segs
	}
	by, desc, tree := s.Order()
	arrow := r.look.Glyphs.SortAsc
	if desc {
		arrow = r.look.Glyphs.SortDesc
	}
	if tree {
		by = "tree, " + by
	}
	return append(segs, segment{r.st(themes.RoleMuted, "by "+by+arrow), 3})
}

// imageAlarms count what nobody uses, and what is named and not there.
func (r *Root) imageAlarms() []segment {
	var segs []segment
	orphans, missing := r.app.Images.Alarms()
	if missing > 0 {
		segs = append(segs, segment{r.st(themes.RoleBad, r.look.Glyphs.Cross+" "+itoa(missing)+" missing"), 1})
	}
	if orphans > 0 {
		segs = append(segs, segment{r.st(themes.RoleWarn, r.look.Glyphs.Warn+" "+count(orphans, "orphan")), 2})
	}
	return segs
}

// poolBars are a line for each pool: how full it is. Those that find no room
// are counted.
func (r *Root) poolBars(w, most int) []string {
	pools := slices.Clone(r.app.Images.Pools.All())
	slices.SortStableFunc(pools, func(a, b *backend.Pool) int { return cmp.Compare(poolNeed(b), poolNeed(a)) })
	names := 6
	for _, p := range pools {
		names = max(names, min(widget.Width(p.Host)+1+widget.Width(p.Name), max(10, w/4)))
	}
	var lines []string
	for _, p := range pools {
		if len(lines) == most-1 && len(pools) > most {
			return append(lines, r.st(themes.RoleMuted, " and "+itoa(len(pools)-len(lines))+" more pools: "+r.app.KeyFor("image-tab")+" lists them"))
		}
		glyph, _, role := r.poolState(p)
		line := " " + r.st(role, glyph) + " " + widget.Fit(r.st(themes.RoleHost, backend.Clean(p.Host))+"/"+backend.Clean(p.Name), names) + " "
		lines = append(lines, widget.Fit(line+r.poolBar(p, w-widget.Width(line)), w))
	}
	return lines
}

// poolNeed is how much a pool should be looked at: one in trouble most, then the
// fullest.
func poolNeed(p *backend.Pool) float64 {
	switch {
	case p.Trouble != "":
		return 2
	case !p.Active || p.Capacity == 0:
		return -1
	}
	return 1 - float64(min(p.Available, p.Capacity))/float64(p.Capacity)
}

// poolBar is how full a pool is, in words too.
func (r *Root) poolBar(p *backend.Pool, room int) string {
	switch {
	case p.Trouble != "":
		return r.st(themes.RoleBad, backend.Clean(p.Trouble))
	case !p.Active:
		return r.st(themes.RoleOff, "does not run")
	case p.Capacity == 0:
		return r.st(themes.RoleMuted, model.Unknown)
	}
	taken := p.Capacity - min(p.Available, p.Capacity)
	percent := 100 * float64(taken) / float64(p.Capacity)
	text := widget.FitRight(amount(p.Available), 5) + " free of " + amount(p.Capacity)
	full := r.styles.Get(themes.RoleBarFull)
	if percent >= 85 {
		full = r.loadStyle(percent, 85, 95)
	}
	st := widget.GaugeStyle{Full: full, Empty: r.styles.Get(themes.RoleBarEmpty), Glyphs: &r.look.Glyphs}
	return widget.Gauge(percent/100, max(4, min(40, room-27)), "", st) + " " + r.loadStyle(percent, 85, 95).Render(widget.FitRight(model.Percent(percent)+"%", 6)) + " " + text
}

// poolState is a pool's state as a shape, a word and a look.
func (r *Root) poolState(p *backend.Pool) (string, string, themes.Role) {
	g := &r.look.Glyphs
	if doing := r.app.Images.PoolPending(model.PoolKey{Host: p.Host, Name: p.Name}); doing != "" {
		return g.Starting, doing, themes.RoleInfo
	}
	switch {
	case p.Trouble != "":
		return g.Crashed, "trouble", themes.RoleBad
	case p.Active:
		return g.Running, "active", themes.RoleOK
	}
	return g.Off, "inactive", themes.RoleOff
}

func (r *Root) imageColumns(w int) []widget.Column {
	names, uses, formats, paths := 10, 8, 6, 20
	s := r.app.Images
	l, _ := r.app.ImageList()
	for i := l.Top(); i < min(l.Len(), l.Top()+l.Page()); i++ {
		row := s.Image(i)
		names = max(names, widget.Width(row.Name)+2*min(row.Depth, 8))
		uses = max(uses, widget.Width(model.ImageUse(row.Image)))
		paths = max(paths, min(80, widget.Width(row.Path)))
		formats = max(formats, min(10, widget.Width(formatText(row.Image))))
	}
	specs := []widget.ColumnSpec{
		icolMark:    {Min: 2},
		icolName:    {Title: "NAME", Min: min(names, max(14, w/4)), Max: min(names, 60)},
		icolUse:     {Title: "USED BY", Min: min(uses, max(10, w/6)), Max: min(max(uses, 10), 60), Flex: 1},
		icolFormat:  {Title: "FORMAT", Min: formats, Priority: 3},
		icolVirtual: {Title: "VIRTUAL", Min: 7, Right: true, Priority: 1},
		icolReal:    {Title: "REAL", Min: 5, Right: true},
		icolAge:     {Title: "AGE", Min: 5, Right: true, Priority: 4},
		icolPool:    {Title: "POOL", Min: 8, Max: 14, Priority: 5},
		icolSnaps:   {Title: "SNAPS", Min: 5, Right: true, Priority: 6},
		icolBacking: {Title: "BACKING", Min: 12, Max: 40, Priority: 8, Flex: 1},
		icolHost:    {Title: "HOST", Min: 8, Max: 16, Priority: 2},
		icolPath:    {Title: "PATH", Min: paths, Priority: 9}, // whole or not at all: its end is what tells
	}
	if len(r.app.Fleet.Hosts()) < 2 {
		specs[icolHost].Priority = 90
	}
	by, desc, _ := s.Order()
	for word, col := range map[string]int{"name": icolName, "format": icolFormat, "virtual": icolVirtual, "real": icolReal, "age": icolAge, "use": icolUse, "pool": icolPool, "host": icolHost} {
		if word == by {
			specs[col].Sort = 1
			if desc {
				specs[col].Sort = -1
			}
		}
	}
	return widget.Layout(w, specs)
}

func (r *Root) imageTable(w, h int) string {
	s := r.app.Images
	l, filter := r.app.ImageList()
	t := widget.TableView{Columns: r.imageColumns(w), Rows: l.Len(), Top: l.Top(), Cursor: l.Line(), Empty: "There is no image here."}
	if filter != "" {
		t.Empty = "No image matches the filter. esc removes it."
	}
	t.StyleFrom(r.styles, &r.look.Glyphs)
	now := r.app.Now()
	t.RowStyle = func(i int) themes.Style {
		if s.Marked(s.Image(i).Key()) {
			return r.styles.Get(themes.RoleMarked)
		}
		return themes.Style{}
	}
	t.Cells = func(i int) []widget.Cell {
		r.cells = r.cells[:0]
		for k := range t.Columns {
			r.cells = append(r.cells, r.imageCell(s.Image(i), t.Columns[k].Index, now))
		}
		return r.cells
	}
	return t.Render(w, h)
}

// imageState is what stands out about an image as a shape, a word and a look.
func (r *Root) imageState(i *backend.Image) (string, string, themes.Role) {
	g := &r.look.Glyphs
	if doing := r.app.Images.Pending(model.ImageKey{Host: i.Host, Path: i.Path}); doing != "" {
		return g.Starting, doing, themes.RoleInfo
	}
	use := backend.Clean(model.ImageUse(i))
	switch {
	case i.Missing:
		return g.Cross, use, themes.RoleBad
	case i.Orphan():
		return g.Crashed, use, themes.RoleWarn
	case runs(i):
		return g.Running, use, themes.RoleOK
	case len(i.BackedBy) > 0:
		return g.Lock, use, themes.RoleAccent
	}
	return g.Off, use, themes.RoleText
}

func runs(i *backend.Image) bool {
	for _, u := range i.Users {
		if u.Active {
			return true
		}
	}
	return false
}

func (r *Root) imageCell(row *model.ImageRow, col int, now time.Time) widget.Cell {
	i := row.Image
	glyph, word, role := r.imageState(i)
	plain := func(text string) widget.Cell { return widget.Cell{Text: backend.Clean(text)} }
	switch col {
	case icolMark:
		mark := " "
		if r.app.Images.Marked(row.Key()) {
			mark = r.look.Glyphs.Marked
		}
		return widget.Cell{Text: mark + glyph, Style: r.styles.Get(role)}
	case icolName:
		if row.Depth > 0 {
			return plain(strings.Repeat("  ", min(row.Depth, 8)-1) + r.look.Glyphs.TreeEnd + " " + i.Name)
		}
		return plain(i.Name)
	case icolUse:
		return widget.Cell{Text: word, Style: r.styles.Get(role)}
	case icolFormat:
		return plain(formatText(i))
	case icolVirtual:
		return plain(sizeOr(i, i.Virtual))
	case icolReal:
		return plain(sizeOr(i, i.Real))
	case icolAge:
		return plain(ago(i.Modified, now))
	case icolPool:
		return plain(i.Pool)
	case icolSnaps:
		if len(i.Snapshots) == 0 {
			return plain("")
		}
		return plain(itoa(len(i.Snapshots)))
	case icolBacking:
		return plain(backingText(i))
	case icolHost:
		return widget.Cell{Text: backend.Clean(i.Host), Style: r.styles.Get(themes.RoleHost)}
	case icolPath:
		return plain(i.Path)
	}
	return widget.Cell{}
}

// formatText is an image's format, and whether it is encrypted.
func formatText(i *backend.Image) string {
	if i.Encrypted {
		return i.Format + " enc"
	}
	return i.Format
}

// sizeOr is a size, or Unknown for what is not there.
func sizeOr(i *backend.Image, n uint64) string {
	if i.Missing {
		return model.Unknown
	}
	return amount(n)
}

// backingText is the chain below an image, nearest first.
func backingText(i *backend.Image) string {
	if len(i.Backing) == 0 {
		return ""
	}
	name := i.Backing[0][strings.LastIndexByte(i.Backing[0], '/')+1:]
	if more := len(i.Backing) - 1; more > 0 {
		name += " +" + itoa(more)
	}
	return name
}
