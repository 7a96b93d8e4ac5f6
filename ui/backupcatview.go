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

// The catalogue draws a VM on each line: what stands out about it, its figures,
// and its points along an axis of time.

// catColumns are how wide the parts left of the axis are; 0 is not shown.
type catColumns struct{ name, host, word, last, verified, points, stored, left int }

func (r *Root) catColumns(w int) catColumns {
	c := catColumns{name: 8, last: 5}
	cat := &r.app.Backups.Catalogue
	hosts := 6
	for i := cat.Top(); i < min(cat.Len(), cat.Top()+cat.Page()); i++ {
		v := cat.VM(i)
		c.name, hosts = max(c.name, widget.Width(v.Name)), max(hosts, widget.Width(v.Host))
	}
	c.name = min(c.name, max(10, w/6))
	if w >= 60 {
		c.word, c.verified = 7, 5
	}
	if w >= 90 {
		c.points, c.stored = 4, 6
	}
	if w >= 130 {
		c.host = min(hosts, 16)
	}
	c.left = 4 // cursor, mark, sign, a blank
	for _, n := range []int{c.name, c.host, c.word, c.last, c.verified, c.points, c.stored} {
		if n > 0 {
			c.left += n + 1
		}
	}
	return c
}

// catalogueAxis is the header of the columns and the axis.
func (r *Root) catalogueAxis(w int) []string {
	c := r.catColumns(w)
	room := max(1, w-c.left-1)
	now := r.app.Now()
	from, to := r.app.Backups.Catalogue.Window(now)
	ticks := widget.Ticks(from.In(now.Location()), to, room)
	head := strings.Repeat(" ", 4)
	add := func(n int, title string, right bool) {
		switch {
		case n > 0 && right:
			head += widget.FitRightTail(title, n, "") + " "
		case n > 0:
			head += widget.FitTail(title, n, "") + " "
		}
	}
	add(c.name, "VM", false)
	add(c.host, "HOST", false)
	add(c.word, "STATE", false)
	add(c.last, "GOOD", true)
	add(c.verified, "VERIF", true)
	add(c.points, "PTS", true)
	add(c.stored, "STORED", true)
	cells := make([]string, room)
	for i := range cells {
		cells[i] = r.look.Glyphs.HLine
	}
	for _, t := range ticks {
		cells[t.X] = r.look.Glyphs.TeeTop
	}
	if x := widget.TimeX(now, from, to, room); x >= 0 && x < room {
		cells[x] = r.look.Glyphs.SortDesc
	}
	return []string{
		r.st(themes.RoleHeader, head) + r.st(themes.RoleMuted, widget.TickLabels(ticks, room)) + " ",
		r.st(themes.RoleBorder, strings.Repeat(r.look.Glyphs.HLine, c.left)+strings.Join(cells, "")+r.look.Glyphs.HLine),
	}
}

func (r *Root) catalogueRows(w, h int) []string {
	cat := &r.app.Backups.Catalogue
	c := r.catColumns(w)
	var lines []string
	for i := cat.Top(); i < min(cat.Len(), cat.Top()+h); i++ {
		lines = append(lines, r.catalogueRow(cat.VM(i), i == cat.Line(), c, w))
	}
	if cat.Len() == 0 {
		text := "No VM is known yet."
		if _, filter := r.app.BackupList(); filter != "" {
			text = "No VM matches the filter. esc removes it."
		}
		lines = append(make([]string, h/3), widget.FitCenter(r.st(themes.RoleMuted, text), w))
	}
	return lines
}

// freshSign is how fresh a VM's backups are as a shape, a word and a look.
func (r *Root) freshSign(v *model.VMBackup) (string, string, themes.Role) {
	g := &r.look.Glyphs
	if t := r.app.Backups.Active(v.UUID); t != nil && t.Spec.Kind == backend.TransferBackup && t.State == backend.TransferRunning {
		return g.Starting, "running", themes.RoleInfo
	}
	word := v.Fresh.String()
	switch {
	case v.Fresh == model.FreshNone && v.Row != nil, v.Fresh == model.FreshDamaged:
		return g.Crashed, word, themes.RoleBad
	case v.Fresh == model.FreshOld:
		return g.Crashed, word, themes.RoleWarn
	case v.Damaged > 0:
		return g.Crashed, itoa(v.Damaged) + " bad", themes.RoleWarn
	case v.Row == nil:
		return g.Unknown, "gone", themes.RoleMuted
	case v.Fresh == model.FreshOK:
		return g.Running, word, themes.RoleOK
	}
	return g.Off, word, themes.RoleMuted
}

func (r *Root) catalogueRow(v *model.VMBackup, selected bool, c catColumns, w int) string {
	now := r.app.Now()
	cat := &r.app.Backups.Catalogue
	sign, word, role := r.freshSign(v)
	cursor, mark := " ", " "
	if selected {
		cursor = r.look.Glyphs.Cursor
	}
	if cat.Marked(v.UUID) {
		mark = r.look.Glyphs.Marked
	}
	look := r.styles.Get(role)
	under := themes.Style{}
	switch {
	case selected:
		under = r.styles.Get(themes.RoleCursor)
	case cat.Marked(v.UUID):
		under = r.styles.Get(themes.RoleMarked)
	}
	put := func(st themes.Style, text string) string {
		if under != (themes.Style{}) {
			st = st.On(under)
			if selected {
				st = under.On(themes.Style{})
			}
		}
		return st.Render(text)
	}
	line := put(r.styles.Get(themes.RoleAccent), cursor) + put(r.styles.Get(themes.RoleMarked), mark) + put(look, sign+" ")
	add := func(n int, st themes.Style, text string, right bool) {
		switch {
		case n > 0 && right:
			line += put(st, widget.FitRightTail(text, n, r.look.Glyphs.Ellipsis)+" ")
		case n > 0:
			line += put(st, widget.FitTail(text, n, r.look.Glyphs.Ellipsis)+" ")
		}
	}
	last, verified := "none", "never"
	if age, ok := v.Age(now); ok {
		last = model.Duration(age)
	}
	if age, ok := v.VerifiedAge(now); ok {
		verified = model.Duration(age)
	}
	add(c.name, themes.Style{}, backend.Clean(v.Name), false)
	add(c.host, r.styles.Get(themes.RoleHost), backend.Clean(v.Host), false)
	add(c.word, look, word, false)
	add(c.last, look, last, true)
	add(c.verified, themes.Style{}, verified, true)
	add(c.points, themes.Style{}, itoa(len(v.Points)), true)
	add(c.stored, themes.Style{}, model.Bytes(float64(v.Stored)), true)
	return widget.Fit(line+r.timeline(v, max(1, w-c.left-1)), w)
}

// What a cell of a timeline shows, the weightier last.
const (
	markNone = iota
	markNow
	markPlanned
	markIncremental
	markFull
	markDamaged
)

// timeline draws a VM's points: what weighs most in each cell, the line of now,
// and when the next is planned.
func (r *Root) timeline(v *model.VMBackup, room int) string {
	now := r.app.Now()
	from, to := r.app.Backups.Catalogue.Window(now)
	cells := make([]byte, room)
	good := make([]bool, room) // a point there was verified
	put := func(at time.Time, mark byte) int {
		x := widget.TimeX(at, from, to, room)
		if x < 0 || x >= room {
			return -1
		}
		cells[x] = max(cells[x], mark)
		return x
	}
	put(now, markNow)
	if v.Row != nil && v.Next.After(now) {
		put(v.Next, markPlanned)
	}
	for _, p := range v.Points {
		mark := byte(markIncremental)
		switch {
		case p.Damaged != "":
			mark = markDamaged
		case p.Full:
			mark = markFull
		}
		if x := put(p.At, mark); x >= 0 && !p.Verified.IsZero() {
			good[x] = true
		}
	}
	var b strings.Builder
	for x, mark := range cells {
		b.WriteString(r.timelineCell(mark, good[x]))
	}
	return b.String()
}

func (r *Root) timelineCell(mark byte, verified bool) string {
	g := &r.look.Glyphs
	role := themes.RoleInfo
	if verified {
		role = themes.RoleOK
	}
	switch mark {
	case markDamaged:
		return r.st(themes.RoleBad, g.Crashed)
	case markFull:
		return r.st(role, g.Running)
	case markIncremental:
		return r.st(role, r.incrementalGlyph())
	case markPlanned:
		return r.st(themes.RoleMuted, g.Starting)
	case markNow:
		return r.st(themes.RoleAccent, g.VLine)
	}
	return " "
}

// incrementalGlyph is the mark of an incremental point.
func (r *Root) incrementalGlyph() string {
	if r.look.Glyphs.ASCII {
		return "o"
	}
	return r.look.Glyphs.Off
}

// pointGlyph is a point's kind as a shape and a look.
func (r *Root) pointGlyph(p *backend.Point) (string, themes.Role) {
	role := themes.RoleInfo
	if !p.Verified.IsZero() {
		role = themes.RoleOK
	}
	switch {
	case p.Damaged != "":
		return r.look.Glyphs.Crashed, themes.RoleBad
	case p.Full:
		return r.look.Glyphs.Running, role
	}
	return r.incrementalGlyph(), role
}

// catalogueLegend names the marks.
func (r *Root) catalogueLegend(w int) string {
	g := &r.look.Glyphs
	text := " " + g.Running + " full " + r.incrementalGlyph() + " incremental " + g.Crashed + " damaged " + g.Starting + " planned "
	cat := &r.app.Backups.Catalogue
	if n := cat.Len(); n > cat.Page() {
		text += fmt.Sprintf(" %d-%d of %d ", cat.Top()+1, min(n, cat.Top()+cat.Page()), n)
	}
	if widget.Width(text) > w {
		return ""
	}
	return text
}

// cataloguePane tells of the selected VM in one line.
func (r *Root) cataloguePane() []string {
	v := r.app.Backups.Catalogue.Selected()
	if v == nil {
		return nil
	}
	now := r.app.Now()
	sign, word, role := r.freshSign(v)
	text := " " + r.st(role, strings.TrimSpace(sign+" "+word)) + "  " + r.st(themes.RoleTitle, backend.Clean(v.Name)) + "  "
	var parts []string
	if v.Good != nil {
		kind := "incremental"
		if v.Good.Full {
			kind = "full"
		}
		parts = append(parts, fmt.Sprintf("last good %s (%s, %s new of %s)", model.When(v.Good.At, now), kind, model.Bytes(float64(v.Good.New)), model.Bytes(float64(v.Good.Data))))
	} else {
		parts = append(parts, "no good point")
	}
	if v.Verified != nil {
		parts = append(parts, "last verified one "+model.When(v.Verified.At, now))
	} else if len(v.Points) > 0 {
		parts = append(parts, "none verified")
	}
	switch {
	case v.Schedule != "" && !v.Next.IsZero():
		parts = append(parts, backend.Clean(v.Schedule)+" next "+model.Starts(v.Next, now))
	case v.Row != nil && v.Schedule == "":
		parts = append(parts, "no schedule has it")
	case v.Row == nil:
		parts = append(parts, "no host has the VM any more")
	}
	return []string{text + r.st(themes.RoleMuted, strings.Join(parts, ", "))}
}
