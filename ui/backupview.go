package ui

import (
	"fmt"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// The screens of backups have their tabs on the first line of the body. Then
// come lines that do not scroll, the list, and below it, where there is room, a
// pane about what is selected.

// tabsOf draws the tabs of a screen that has some.
func (r *Root) tabsOf(tabs []model.ScreenID, at model.ScreenID, w int) string {
	var b strings.Builder
	for _, t := range tabs {
		if t == at {
			b.WriteString(r.st(themes.RoleCursor, "["+tabName(t)+"]"))
		} else {
			b.WriteString(r.st(themes.RoleMuted, " "+tabName(t)+" "))
		}
	}
	return widget.Fit(b.String(), w)
}

// tabName is what a tab is called: the first of the backups is all of them on
// the keys, and the transfers among its own.
func tabName(s model.ScreenID) string {
	if s == model.ScreenBackups {
		return "Transfers"
	}
	return s.String()
}

// tabAt is the tab at column x, or false.
func tabAt(tabs []model.ScreenID, x int) (model.ScreenID, bool) {
	left := 0
	for _, t := range tabs {
		left += widget.Width(tabName(t)) + 2
		if x < left {
			return t, true
		}
	}
	return 0, false
}

// isBackups reports whether a screen is one of backups.
func isBackups(s model.ScreenID) bool {
	return s == model.ScreenBackups || s == model.ScreenCatalogue || s == model.ScreenPoints || s == model.ScreenSchedules
}

// backupTab is the tab that a screen belongs to.
func backupTab(s model.ScreenID) model.ScreenID {
	if s == model.ScreenPoints {
		return model.ScreenCatalogue
	}
	return s
}

// backupAbove are the lines above the list.
func (r *Root) backupAbove(w, h int) []string {
	lines := []string{r.tabsOf(model.BackupTabs(), backupTab(r.app.Screen), w)}
	switch r.app.Screen {
	case model.ScreenBackups:
		lines = append(lines, r.totalLine(w))
		if h >= 16 {
			lines = append(lines, r.repoLines(w, max(1, h/10))...)
		}
	case model.ScreenCatalogue:
		return append(lines, r.catalogueAxis(w)...)
	}
	if n := len(r.app.Backups.Leftovers()); n > 0 && h >= 8 {
		lines = append(lines, r.st(themes.RoleWarn, " "+r.look.Glyphs.Warn+" "+count(n, "leftover")+" of broken-off backups: "+r.app.KeyFor("leftovers")+" cleans up"))
	}
	return lines
}

// backupBelow are the lines below the list, as many whatever is selected.
func (r *Root) backupBelow(w, h int) []string {
	n := 0
	switch {
	case r.app.Screen == model.ScreenCatalogue:
		n = 2
	case h >= 30:
		n = 9
	case h >= 18:
		n = 5
	}
	if n == 0 {
		return nil
	}
	var text []string
	note := ""
	switch r.app.Screen {
	case model.ScreenBackups:
		text = r.transferPane(w)
	case model.ScreenCatalogue:
		text, note = r.cataloguePane(), r.catalogueLegend(w)
	case model.ScreenPoints:
		if p := r.app.Backups.Points.Selected(); p != nil {
			text = r.factPane(model.PointFacts(p, r.app.Now()), w, n-1)
		}
	case model.ScreenSchedules:
		if c := r.app.Backups.Schedules.Selected(); c != nil {
			text = r.factPane(model.ScheduleFacts(c, r.app.Now()), w, n-1)
		}
	}
	return widget.FitLines(append([]string{r.paneRule(w, note)}, text...), w, n)
}

// paneRule parts a list from the pane below it.
func (r *Root) paneRule(w int, note string) string {
	return r.st(themes.RoleBorder, strings.Repeat(r.look.Glyphs.HLine, max(0, w-widget.Width(note)))) + r.st(themes.RoleMuted, note)
}

// factPane draws facts in one column, or in two where there is room.
func (r *Root) factPane(facts []string, w, n int) []string {
	lines := make([]string, len(facts))
	for i, f := range facts {
		name, value := f, ""
		if len(f) > 11 {
			name, value = f[:11], f[11:]
		}
		lines[i] = " " + r.st(themes.RoleMuted, name) + value
	}
	if len(lines) <= n || w < 110 {
		return lines
	}
	half := w / 2
	left, right := lines[:n], lines[n:]
	return widget.Beside(widget.FitLines(left, half, n), widget.FitLines(right, w-half-1, n), 1)
}

// layoutBackups tells the list how much room there is.
func (r *Root) layoutBackups(body int) {
	room := body - len(r.backupAbove(r.w, body)) - len(r.backupBelow(r.w, body))
	if r.app.Screen == model.ScreenCatalogue {
		room++ // it has its header above
	}
	r.app.SetBackupPage(widget.VisibleRows(room))
}

func (r *Root) backupsBody(w, h int) string {
	if text := r.backupsAbsent(); text != nil {
		lines := append([]string{r.tabsOf(model.BackupTabs(), backupTab(r.app.Screen), w)}, r.centered(text, w, h-1)...)
		return widget.Block(lines, w, h)
	}
	above, below := r.backupAbove(w, h), r.backupBelow(w, h)
	room := max(1, h-len(above)-len(below))
	var list string
	switch r.app.Screen {
	case model.ScreenCatalogue:
		list = widget.Block(r.catalogueRows(w, room), w, room)
	case model.ScreenSchedules:
		list = r.scheduleTable(w, room)
	case model.ScreenPoints:
		list = r.pointTable(w, room)
	default:
		list = r.transferTable(w, room)
	}
	lines := append(above, strings.Split(list, "\n")...)
	return widget.Block(append(lines, below...), w, h)
}

// backupsAbsent says why there is nothing to show, and what to do; nil when
// there is something.
func (r *Root) backupsAbsent() []string {
	s := r.app.Backups
	all, _ := s.Counts(model.SectionRunning)
	others := r.app.Screen == model.ScreenBackups && (all > 0 || len(s.Leftovers()) > 0)
	switch {
	case s.Missing() != nil && !others:
		return []string{"There are no backups here.", "", backend.Clean(s.Missing().Error()), "", "berth backup init makes a repository; berth --demo shows a living one."}
	case others && !s.HasData: // they show all the same
	case !s.HasData && s.Err != nil:
		return []string{"The backups do not answer.", "", backend.Clean(s.Err.Error()), "", "They are asked again with growing waits."}
	case !s.HasData:
		return []string{"Asking the backups…"}
	case r.app.Screen == model.ScreenSchedules && len(s.State.Schedules) == 0:
		return []string{"Nothing is scheduled.", "", r.app.KeyFor("schedule-new") + " adds a schedule; so does berth backup schedule add."}
	}
	return nil
}

// clickBackups turns to a tab, or selects a line of the list.
func (r *Root) clickBackups(x, y int) tea.Cmd {
	if y == 0 {
		if t, ok := tabAt(model.BackupTabs(), x); ok {
			return r.app.ShowBackupTab(t)
		}
		return nil
	}
	y -= len(r.backupAbove(r.w, r.bodyHeight()))
	if r.app.Screen != model.ScreenCatalogue {
		y--
	}
	l, _ := r.app.BackupList()
	if y < 0 || y >= l.Page() {
		return nil
	}
	return r.app.Click(y)
}

// listSegments tell of a list's marks and filter.
func (r *Root) listSegments(l model.ListView, filter string) []segment {
	var segs []segment
	if all, hidden := l.Marks(); all > 0 {
		text := itoa(all) + " marked"
		if hidden > 0 {
			text += fmt.Sprintf(" (%d hidden)", hidden)
		}
		segs = append(segs, segment{r.st(themes.RoleAccent, text), 1})
	}
	if filter != "" && r.app.Line == nil {
		segs = append(segs, segment{r.st(themes.RoleMatch, "/"+backend.Clean(filter)), 1})
	}
	return segs
}

// backupsTitle says what runs and who runs it.
func (r *Root) backupsTitle() []segment {
	s := r.app.Backups
	title := "Backups"
	if v := s.Catalogue.Of(s.Points.VM); r.app.Screen == model.ScreenPoints && v != nil {
		title = "Points of " + backend.Clean(v.Name)
	}
	segs := []segment{{r.st(themes.RoleTitle, title), 0}}
	if why := s.Missing(); why != nil {
		return append(segs, segment{r.st(themes.RoleWarn, backend.Clean(why.Error())), 1})
	}
	if !s.HasData {
		if s.Err != nil {
			segs = append(segs, segment{r.st(themes.RoleBad, r.look.Glyphs.Cross+" "+backend.Clean(s.Err.Error())), 1})
		}
		return segs
	}
	segs = append(segs, r.backupEngine())
	if n := s.NotFresh; n > 0 {
		segs = append(segs, segment{r.st(themes.RoleWarn, r.look.Glyphs.Warn+" "+count(n, "VM")+" without a fresh backup"), 2})
	}
	if since, stale := s.Stale(); stale {
		segs = append(segs, segment{r.st(themes.RoleStale, "figures of "+since.In(r.app.Now().Location()).Format("15:04:05")), 1})
	}
	if s.Err != nil {
		segs = append(segs, segment{r.st(themes.RoleBad, r.look.Glyphs.Cross+" "+backend.Clean(s.Err.Error())), 1})
	}
	segs = append(segs, r.listSegments(r.app.BackupList())...)
	if n := s.Requests(); n > 0 {
		segs = append(segs, segment{r.st(themes.RoleInfo, r.look.Glyphs.Starting+" "+count(n, "request")), 1})
	}
	if by := r.backupOrder(); by != "" {
		segs = append(segs, segment{r.st(themes.RoleMuted, "by "+by), 4})
	}
	return segs
}

// backupOrder is what the list is sorted by; empty where that cannot be chosen.
func (r *Root) backupOrder() string {
	switch r.app.Screen {
	case model.ScreenCatalogue:
		return r.app.Backups.Catalogue.SortBy.String()
	case model.ScreenPoints:
		by, turned := r.app.Backups.Points.Order()
		arrow := ""
		if turned {
			arrow = ", turned round"
		}
		return by + arrow
	}
	return ""
}

// backupEngine tells whether anybody makes what is ordered.
func (r *Root) backupEngine() segment {
	e, g := &r.app.Backups.State.Engine, &r.look.Glyphs
	switch {
	case e.Lost:
		return segment{r.st(themes.RoleBad, g.Warn+" the engine was lost: "+r.app.KeyFor("backup-engine")+" starts it again"), 1}
	case e.Trouble != "":
		return segment{r.st(themes.RoleBad, g.Warn+" engine: "+backend.Clean(e.Trouble)), 1}
	case !e.Running:
		return segment{r.st(themes.RoleMuted, g.Off+" no engine: the first order starts it"), 3}
	}
	return segment{r.st(themes.RoleOK, g.Running) + " engine", 4}
}

// totalLine sums up what runs.
func (r *Root) totalLine(w int) string {
	n := r.app.Backups.Total()
	var parts []string
	add := func(k int, word string) {
		if k > 0 {
			parts = append(parts, itoa(k)+" "+word)
		}
	}
	add(n.Running, "running")
	add(n.Paused, "paused")
	add(n.Waiting, "waiting")
	add(n.Others, "of others")
	if len(parts) == 0 {
		text := "Nothing is under way."
		if r.app.Backups.Missing() == nil {
			text += " " + r.app.KeyFor("backup") + " on a VM backs it up."
		}
		return " " + r.st(themes.RoleMuted, text)
	}
	segs := []segment{{" " + strings.Join(parts, ", "), 0}}
	if f := model.Fraction(n.Done, n.Total); f >= 0 {
		st := widget.GaugeStyle{Full: r.styles.Get(themes.RoleBarFull), Empty: r.styles.Get(themes.RoleBarEmpty), Glyphs: &r.look.Glyphs}
		total := model.Bytes(float64(n.Total))
		if n.Open > 0 {
			total += "+"
		}
		segs = append(segs, segment{widget.Gauge(f, max(6, min(40, w/5)), "", st) + fmt.Sprintf(" %.0f%%", 100*f), 2},
			segment{model.Bytes(float64(n.Done)) + " of " + total, 3})
	}
	if n.Rate > 0 {
		segs = append(segs, segment{model.Bytes(float64(n.Rate)) + "/s", 2})
	}
	if n.ETA > 0 {
		segs = append(segs, segment{model.Duration(n.ETA) + " left", 1})
	}
	return fitSegments(segs, w)
}

// repoLines are a line for each repository, those in trouble first.
func (r *Root) repoLines(w, most int) []string {
	var bad, good []string
	now := r.app.Now()
	for i := range r.app.Backups.State.Repos {
		p := &r.app.Backups.State.Repos[i]
		name := r.st(themes.RoleHost, backend.Clean(p.Ref.URL))
		if p.Trouble != "" {
			bad = append(bad, " "+r.st(themes.RoleBad, r.look.Glyphs.Warn)+" "+name+" "+r.st(themes.RoleBad, backend.Clean(p.Trouble)))
			continue
		}
		text := count(p.Points, "point") + ", " + model.Bytes(float64(p.Stored)) + " stored"
		if p.Room > 0 {
			text += ", " + model.Bytes(float64(p.Room)) + " free"
		}
		if p.Encrypted {
			text += ", encrypted"
		}
		if !p.Verified.IsZero() {
			text += ", verified " + model.Duration(max(0, now.Sub(p.Verified))) + " ago"
		} else {
			text += ", never verified as a whole"
		}
		good = append(good, " "+r.st(themes.RoleOK, r.look.Glyphs.Lock)+" "+name+" "+r.st(themes.RoleMuted, text))
	}
	all := append(bad, good...)
	if len(all) > most {
		rest := len(all) - most + 1
		all = append(all[:most-1], r.st(themes.RoleMuted, fmt.Sprintf(" and %d more repositories", rest)))
	}
	for i := range all {
		all[i] = widget.Fit(all[i], w)
	}
	return all
}

// ago is how long ago something was, or Unknown.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return model.Unknown
	}
	return model.Duration(max(0, now.Sub(t)))
}
