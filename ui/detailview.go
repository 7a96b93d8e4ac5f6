package ui

import (
	"fmt"
	"math"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// detailHead is how many lines of the body the tabs take.
const detailHead = 2

func (r *Root) detailTitle() []segment {
	d := r.app.Detail
	row := d.Row()
	if row == nil {
		return []segment{{r.st(themes.RoleBad, "This VM is gone. esc goes back."), 0}}
	}
	glyph, role := r.stateGlyph(row)
	segs := []segment{
		{r.st(themes.RoleTitle, backend.Clean(row.Name)), 0},
		{r.st(role, glyph+" "+model.StateText(row)), 1},
		{r.st(themes.RoleMuted, "on ") + r.st(themes.RoleHost, backend.Clean(row.Host)), 2},
	}
	if since, stale := r.app.Fleet.Stale(row); stale {
		segs = append(segs, segment{r.st(themes.RoleStale, "figures of "+since.Format("15:04:05")), 1})
	}
	if row.Title != "" {
		segs = append(segs, segment{r.st(themes.RoleMuted, backend.Clean(row.Title)), 5})
	}
	return segs
}

// tabLabel is a tab's title, short where there is little room.
func (r *Root) tabLabel(t model.Tab) string {
	name := t.String()
	if r.w < 76 {
		name = name[:min(len(name), 4)]
	}
	return " " + name + " "
}

func (r *Root) tabLine(w int) string {
	var b strings.Builder
	for _, t := range model.Tabs() {
		if t == r.app.Detail.Tab {
			b.WriteString(r.st(themes.RoleCursor, "["+strings.TrimSpace(r.tabLabel(t))+"]"))
		} else {
			b.WriteString(r.st(themes.RoleMuted, r.tabLabel(t)))
		}
	}
	return widget.Fit(b.String(), w)
}

func (r *Root) clickTab(x int) tea.Cmd {
	left := 0
	for _, t := range model.Tabs() {
		left += widget.Width(r.tabLabel(t))
		if x < left {
			return r.app.Detail.Show(t)
		}
	}
	return nil
}

func (r *Root) detailBody(w, h int) string {
	d := r.app.Detail
	page := max(1, h-detailHead)
	top := max(0, min(d.Top[d.Tab], len(r.detail)-page))
	lines := append([]string{r.tabLine(w), r.ruler(w, top, page)}, r.detail[top:min(len(r.detail), top+page)]...)
	return widget.Block(lines, w, h)
}

// ruler parts the tabs from what they show, and says how far down it is.
func (r *Root) ruler(w, top, page int) string {
	note := ""
	if n := len(r.detail); n > page {
		note = fmt.Sprintf(" %d-%d of %d ", top+1, min(n, top+page), n)
	}
	return r.st(themes.RoleBorder, strings.Repeat(r.look.Glyphs.HLine, max(0, w-widget.Width(note)))+note)
}

// detailLines are all lines of the shown tab.
func (r *Root) detailLines(w int) []string {
	d := r.app.Detail
	if d.Row() == nil {
		return nil
	}
	switch d.Tab {
	case model.TabDevices:
		return r.devicesTab(w)
	case model.TabHistory:
		return r.historyTab(w)
	case model.TabXML:
		return r.xmlTab()
	case model.TabGuest:
		return r.guestTab(w)
	case model.TabSnapshots:
		return r.snapshotsTab(w)
	case model.TabLog:
		return r.logTab(w)
	}
	return r.overviewTab(w)
}

// notYet is what a tab shows before its first answer, or an error.
func (r *Root) notYet(err error, w int) []string {
	if err == nil {
		return []string{"", r.st(themes.RoleMuted, " Asking the host…")}
	}
	out := []string{""}
	for _, l := range widget.Wrap(backend.Clean(err.Error()), max(10, w-2)) {
		out = append(out, " "+r.st(themes.RoleBad, l))
	}
	return out
}

// field is one line of name and value.
func (r *Root) field(name, value string) string {
	if value == "" {
		value = model.Unknown
	}
	return " " + r.st(themes.RoleMuted, widget.Fit(name, 12)) + " " + value
}

func (r *Root) section(name string) string { return " " + r.st(themes.RoleAccent, name) }

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (r *Root) overviewTab(w int) []string {
	row, d := r.app.Detail.Row(), r.app.Detail
	room := w
	if w >= 110 {
		room = w / 2
	}
	left := r.overviewLoad(row, min(room, 72))
	right := r.overviewFacts(row, d)
	if w >= 110 {
		half := w / 2
		n := max(len(left), len(right))
		return widget.Beside(widget.FitLines(left, half, n), widget.FitLines(right, w-half-1, n), 1)
	}
	return append(append(left, ""), right...)
}

// overviewLoad are the live figures, with a short history or a gauge beside
// each.
func (r *Root) overviewLoad(row *model.Row, w int) []string {
	h := r.app.Fleet.History(row.Key())
	if h == nil {
		h = &model.History{}
	}
	vcpus := float64(max(1, row.VCPUs))
	room := max(4, w-39)
	spark := func(name, value string, s *model.Series, limit float64) string {
		if limit == 0 {
			limit = 1.3 * s.Max() // so that a steady rate does not look like a limit reached
		}
		return r.loadLine(name, value, r.st(themes.RoleSpark, widget.Sparkline(s.Last(model.HistoryLen), room, limit, &r.look.Glyphs)))
	}
	out := []string{
		r.section("Load"),
		spark("CPU", fmt.Sprintf("%s core, %s of %d", pct(row.Rates.CPU), pct(row.CPUOfOwn()), row.VCPUs), &h.CPU, 100*vcpus),
		spark("memory", model.Bytes(memUsed(row))+" of "+model.Bytes(float64(row.MemoryMax))+memSource(row), &h.Mem, float64(row.MemoryMax)),
		spark("disk read", perSecond(row.Rates.DiskRead), &h.DiskRead, 0),
		spark("disk write", perSecond(row.Rates.DiskWrite), &h.DiskWrite, 0),
		spark("net in", perSecond(row.Rates.NetRx), &h.NetRx, 0),
		spark("net out", perSecond(row.Rates.NetTx), &h.NetTx, 0),
	}
	out = append(out, r.overviewVCPUs(room)...)
	return append(out, r.overviewDevices()...)
}

func (r *Root) loadLine(name, value, picture string) string {
	return " " + r.st(themes.RoleMuted, widget.Fit(name, 10)) + " " + widget.Fit(value, 24) + " " + picture
}

func perSecond(v float64) string {
	if math.IsNaN(v) {
		return model.Unknown
	}
	return model.Rate(v) + "/s"
}

// shownVCPUs is how many virtual CPUs the overview has lines for.
const shownVCPUs = 16

func (r *Root) overviewVCPUs(room int) []string {
	var out []string
	g := widget.GaugeStyle{Full: r.styles.Get(themes.RoleBarFull), Empty: r.styles.Get(themes.RoleBarEmpty), Glyphs: &r.look.Glyphs}
	rates := r.app.Detail.VCPURates
	for i, v := range rates {
		if i == shownVCPUs {
			return append(out, r.loadLine("", fmt.Sprintf("and %d more", len(rates)-i), ""))
		}
		out = append(out, r.loadLine(fmt.Sprintf("vcpu %d", i), pct(v), widget.Gauge(v/100, room, "", g)))
	}
	return out
}

// overviewDevices is a line for each disk and card; the devices tab has more.
func (r *Root) overviewDevices() []string {
	d := r.app.Detail
	if !d.HasData {
		return nil
	}
	out := []string{"", r.section("Devices")}
	for i := range d.Data.Disks {
		k := &d.Data.Disks[i]
		out = append(out, r.loadLine(k.Target, size(k.Capacity)+" "+k.Format, r.inOut(d.DiskRates[i].DiskRead, d.DiskRates[i].DiskWrite, "read", "written")))
	}
	for i := range d.Data.NICs {
		n := &d.Data.NICs[i]
		name := n.Target
		if name == "" {
			name = n.Type
		}
		out = append(out, r.loadLine(name, strings.TrimSpace(n.Type+" "+n.Source), r.inOut(d.NICRates[i].NetRx, d.NICRates[i].NetTx, "in", "out")))
	}
	return out
}

func (r *Root) inOut(in, out float64, inWord, outWord string) string {
	if math.IsNaN(in) && math.IsNaN(out) {
		return r.st(themes.RoleMuted, model.Unknown)
	}
	return perSecond(in) + r.st(themes.RoleMuted, " "+inWord+"  ") + perSecond(out) + r.st(themes.RoleMuted, " "+outWord)
}

// pct is a percentage with its sign, or Unknown without.
func pct(v float64) string {
	if math.IsNaN(v) {
		return model.Unknown
	}
	return strings.TrimSpace(model.Percent(v)) + "%"
}

func memUsed(row *model.Row) float64 {
	if row.Mem.At.IsZero() {
		return math.NaN()
	}
	return float64(row.Mem.Used)
}

func memSource(row *model.Row) string {
	switch row.Mem.Source {
	case backend.MemoryGuest:
		return " (guest)"
	case backend.MemoryResident:
		return " (host)"
	}
	return ""
}

func (r *Root) overviewFacts(row *model.Row, d *model.Detail) []string {
	v := &d.Data
	out := []string{
		r.section("VM"),
		r.field("UUID", row.UUID.String()),
		r.field("state", row.State.String()),
		r.field("reason", row.Reason),
		r.field("uptime", uptime(r, row)),
		r.field("addresses", strings.Join(row.Addresses, " ")),
		r.field("autostart", yes(row.Autostart)),
		r.field("persistent", yes(row.Persistent)),
		r.field("saved state", yes(row.ManagedSave)),
		r.field("tags", strings.Join(row.Tags, " ")),
		r.field("OS", row.OS),
	}
	out = append(out, r.backupFields(row)...)
	if row.Note != "" {
		out = append(out, r.field("note", r.st(themes.RoleWarn, row.Note)))
	}
	if d.HasData {
		out = append(out, r.field("machine", v.Machine+" "+v.Arch), r.field("CPU model", v.CPUModel), r.field("firmware", v.Firmware),
			r.field("console", v.ConsolePTY), r.field("display", v.Graphics))
		if v.Differs {
			out = append(out, r.field("definition", r.st(themes.RoleWarn, "the stored one differs from the running one: a restart changes it")))
		}
	}
	if d.HasGuest {
		out = append(out, r.field("guest", strings.Join([]string{d.Guest.Hostname, d.Guest.OSName}, " ")))
	}
	if row.Description != "" {
		out = append(out, r.field("description", row.Description))
	}
	for _, m := range v.Missing {
		out = append(out, r.field("missing", r.st(themes.RoleWarn, m)))
	}
	if d.Err != nil {
		out = append(out, r.notYet(d.Err, 60)...)
	}
	return out
}

func uptime(r *Root, row *model.Row) string {
	if row.StartedAt.IsZero() || !row.State.Active() {
		return ""
	}
	return model.Duration(r.app.Now().Sub(row.StartedAt)) + ", since " + row.StartedAt.Format("2006-01-02 15:04")
}
