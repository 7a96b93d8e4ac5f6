package ui

import (
	"fmt"
	"strings"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

func (r *Root) devicesTab(w int) []string {
	d := r.app.Detail
	if !d.HasData {
		return r.notYet(d.Err, w)
	}
	out := []string{r.section("Disks"), r.st(themes.RoleHeader, widget.Fit(fmt.Sprintf(" %-8s %-6s %8s %8s %7s %7s %7s %7s  %s", "TARGET", "FORMAT", "SIZE", "ON DISK", "READ/s", "WRITE/s", "rd IOPS", "wr IOPS", "SOURCE"), w))}
	for i := range d.Data.Disks {
		out = append(out, r.diskLines(&d.Data.Disks[i], d.DiskRates[i])...)
	}
	out = append(out, "", r.section("Network cards"), r.st(themes.RoleHeader, widget.Fit(fmt.Sprintf(" %-8s %-17s %-7s %7s %7s %6s %6s  %s", "DEVICE", "MAC", "MODEL", "RX/s", "TX/s", "drops", "errors", "SOURCE"), w)))
	for i := range d.Data.NICs {
		out = append(out, r.nicLines(&d.Data.NICs[i], d.NICRates[i])...)
	}
	if len(d.Data.NICs) == 0 {
		out = append(out, r.st(themes.RoleMuted, " none"))
	}
	for _, m := range d.Data.Missing {
		out = append(out, " "+r.st(themes.RoleWarn, r.look.Glyphs.Warn+" "+m))
	}
	return out
}

func (r *Root) diskLines(k *backend.DiskDetail, rate model.Rates) []string {
	flags := ""
	if k.ReadOnly {
		flags = " read-only"
	}
	out := []string{fmt.Sprintf(" %-8s %-6s %8s %8s %7s %7s %7s %7s  %s", k.Target, k.Format, size(k.Capacity), size(k.Allocation),
		model.Rate(rate.DiskRead), model.Rate(rate.DiskWrite), model.Count(rate.DiskReadOps), model.Count(rate.DiskWriteOps), k.Source+r.st(themes.RoleMuted, flags))}
	for i, b := range k.Backing {
		out = append(out, "   "+strings.Repeat("  ", i)+r.st(themes.RoleMuted, r.look.Glyphs.TreeEnd+" on "+b))
	}
	return out
}

func size(n uint64) string {
	if n == 0 {
		return model.Unknown
	}
	return model.Bytes(float64(n))
}

func (r *Root) nicLines(n *backend.NICDetail, rate model.Rates) []string {
	link := ""
	if n.LinkDown {
		link = r.st(themes.RoleBad, " link down")
	}
	target := n.Target
	if target == "" {
		target = model.Unknown
	}
	out := []string{fmt.Sprintf(" %-8s %-17s %-7s %7s %7s %6d %6d  %s %s", target, n.MAC, n.Model, model.Rate(rate.NetRx), model.Rate(rate.NetTx),
		n.RxDrop+n.TxDrop, n.RxErrs+n.TxErrs, n.Type, n.Source) + link}
	if len(n.Addresses) > 0 {
		out = append(out, "          "+strings.Join(n.Addresses, " "))
	}
	return out
}

// historyTab draws each figure's recent past as a graph of several lines.
func (r *Root) historyTab(w int) []string {
	row := r.app.Detail.Row()
	h := r.app.Fleet.History(row.Key())
	if h == nil {
		return []string{"", r.st(themes.RoleMuted, " No figures yet: it has not run since berth was started.")}
	}
	span := model.Duration(r.app.Fleet.Refresh() * model.HistoryLen)
	graph := func(name string, s *model.Series, limit float64, unit func(float64) string) []string {
		vals := s.Last(max(10, w-14))
		top := limit
		if top <= 0 {
			top = s.Max()
		}
		last := model.Unknown
		if len(vals) > 0 {
			last = unit(vals[len(vals)-1])
		}
		out := []string{" " + r.st(themes.RoleAccent, widget.Fit(name, 14)) + " now " + last + r.st(themes.RoleMuted, "  top "+unit(top)+"  last "+span)}
		for _, l := range widget.Graph(vals, max(10, w-4), 3, top, &r.look.Glyphs) {
			out = append(out, "  "+r.st(themes.RoleSpark, l))
		}
		return out
	}
	var out []string
	out = append(out, graph("CPU", &h.CPU, 100*float64(max(1, row.VCPUs)), pct)...)
	out = append(out, graph("memory", &h.Mem, float64(row.MemoryMax), model.Bytes)...)
	out = append(out, graph("disk read", &h.DiskRead, 0, perSecond)...)
	out = append(out, graph("disk write", &h.DiskWrite, 0, perSecond)...)
	out = append(out, graph("net in", &h.NetRx, 0, perSecond)...)
	return append(out, graph("net out", &h.NetTx, 0, perSecond)...)
}

func (r *Root) xmlTab() []string {
	d := r.app.Detail
	if d.XML == nil {
		return r.notYet(d.XMLErr, r.w)
	}
	which := "live definition; x shows the stored one; H and L move sideways"
	if d.Stored {
		which = "stored definition, which the next start uses; x shows the live one"
	}
	hit := map[int]bool{}
	for _, n := range d.Search.Hits {
		hit[n] = true
	}
	out := make([]string, 0, len(d.XML)+1)
	out = append(out, " "+r.st(themes.RoleMuted, which))
	for i, l := range d.XML {
		l = widget.CutLeft(strings.ReplaceAll(l, "\t", "  "), d.Left)
		if hit[i] {
			l = r.st(themes.RoleMatch, l)
		}
		out = append(out, " "+l)
	}
	return out
}

func (r *Root) guestTab(w int) []string {
	d := r.app.Detail
	if !d.HasGuest {
		return r.notYet(d.GuestErr, w)
	}
	g := &d.Guest
	out := []string{r.section("Guest agent"), r.field("host name", g.Hostname), r.field("OS", g.OSName), r.field("kernel", g.Kernel), r.field("time zone", g.Timezone),
		r.field("users", strings.Join(g.Users, " ")), r.field("asked", g.At.Format("15:04:05")), "", r.section("Interfaces")}
	for _, i := range g.Interfaces {
		out = append(out, r.field(i.Name, widget.Fit(i.MAC, 18)+strings.Join(i.Addresses, " ")))
	}
	out = append(out, "", r.section("File systems"))
	for _, f := range g.Filesystems {
		use := ""
		if f.Total > 0 {
			p := 100 * float64(f.Used) / float64(f.Total)
			use = r.loadStyle(p, 85, 95).Render(fmt.Sprintf("%s of %s, %.0f%%", model.Bytes(float64(f.Used)), model.Bytes(float64(f.Total)), p))
		}
		out = append(out, " "+widget.Fit(f.Mount, 24)+" "+widget.Fit(f.Type, 7)+" "+widget.Fit(f.Device, 14)+" "+use)
	}
	for _, m := range g.Missing {
		out = append(out, " "+r.st(themes.RoleWarn, r.look.Glyphs.Warn+" "+m))
	}
	return out
}

func (r *Root) snapshotsTab(w int) []string {
	d := r.app.Detail
	if !d.HasData {
		return r.notYet(d.Err, w)
	}
	out := []string{r.section(fmt.Sprintf("Snapshots %d", len(d.Data.Snapshots)))}
	for _, s := range d.Data.Snapshots {
		mark := "  "
		if s.Current {
			mark = r.st(themes.RoleOK, r.look.Glyphs.Cursor+" ")
		}
		kind := "internal"
		if s.External {
			kind = "external"
		}
		out = append(out, " "+mark+widget.Fit(s.Name, 28)+" "+s.Created.Format("2006-01-02 15:04")+"  "+widget.Fit(s.State, 10)+" "+kind+r.parent(s.Parent)+" "+r.st(themes.RoleMuted, s.Description))
	}
	out = append(out, "", r.section(fmt.Sprintf("Checkpoints %d", len(d.Data.Checkpoints))))
	for _, c := range d.Data.Checkpoints {
		out = append(out, "   "+widget.Fit(c.Name, 28)+" "+c.Created.Format("2006-01-02 15:04")+"  "+strings.Join(c.Disks, " ")+r.parent(c.Parent))
	}
	return out
}

func (r *Root) parent(name string) string {
	if name == "" {
		return ""
	}
	return r.st(themes.RoleMuted, "  after "+name)
}

func (r *Root) logTab(w int) []string {
	d := r.app.Detail
	if d.Log == nil {
		if d.LogErr != nil {
			return append(r.notYet(d.LogErr, w), "", r.st(themes.RoleMuted, " The log can be read only where berth runs on the host itself."))
		}
		return r.notYet(nil, w)
	}
	out := make([]string, len(d.Log))
	for i, l := range d.Log {
		out[i] = " " + widget.CutLeft(strings.ReplaceAll(l, "\t", "  "), d.Left)
	}
	return out
}
