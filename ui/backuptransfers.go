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

// The columns of the transfers.
const (
	tcolMark = iota
	tcolKind
	tcolName
	tcolDisk
	tcolPhase
	tcolBar // from here on one cell where there is no progress
	tcolDone
	tcolRate
	tcolMean
	tcolETA
	tcolRatio
	tcolSpark
	tcolWaits
	tcolHost
)

func (r *Root) transferColumns(w int) []widget.Column {
	names, kinds := 8, 6
	s := r.app.Backups
	l := s.Transfers()
	for i := l.Top(); i < min(l.Len(), l.Top()+l.Page()); i++ {
		if row, _ := s.Row(i); row != nil {
			names, kinds = max(names, widget.Width(row.Name())), max(kinds, min(12, len(row.Kind())))
		}
	}
	return widget.Layout(w, []widget.ColumnSpec{
		tcolMark:  {Min: 2},
		tcolKind:  {Title: "WHAT", Min: kinds, Priority: 6},
		tcolName:  {Title: "NAME", Min: max(8, min(names, max(12, w/6))), Max: max(8, min(names, 36))},
		tcolDisk:  {Title: "DISK", Min: 4, Max: 6, Priority: 7},
		tcolPhase: {Title: "PHASE", Min: 9, Max: 10},
		tcolBar:   {Title: "PROGRESS", Min: 12, Max: 30, Flex: 1},
		tcolDone:  {Title: "DONE/TOTAL", Min: 10, Max: 11, Right: true, Priority: 4},
		tcolRate:  {Title: "NOW/s", Min: 5, Right: true, Priority: 3},
		tcolMean:  {Title: "MEAN/s", Min: 6, Right: true, Priority: 8},
		tcolETA:   {Title: "LEFT", Min: 5, Right: true, Priority: 2},
		tcolRatio: {Title: "RATIO", Min: 5, Right: true, Priority: 9},
		tcolSpark: {Title: "RATE", Min: 10, Max: 24, Priority: 10},
		tcolWaits: {Title: "WAITS FOR", Min: 11, Priority: 11},
		tcolHost:  {Title: "HOST", Min: 8, Max: 14, Priority: 12},
	})
}

func (r *Root) transferTable(w, h int) string {
	s := r.app.Backups
	l := s.Transfers()
	t := widget.TableView{Columns: r.transferColumns(w), Rows: l.Len(), Top: l.Top(), Cursor: l.Line(), Empty: r.emptyTransfers()}
	t.StyleFrom(r.styles, &r.look.Glyphs)
	now := r.app.Now()
	t.Line = func(i int) (string, bool) {
		row, sec := s.Row(i)
		if row != nil {
			return "", false
		}
		return r.transferHeading(sec, w), true
	}
	t.RowStyle = func(i int) themes.Style {
		row, _ := s.Row(i)
		switch {
		case row.Transfer != nil && s.Flashing(row.Transfer.ID, now):
			return r.styles.Get(themes.RoleFlash)
		case s.RowMarked(row.Key()):
			return r.styles.Get(themes.RoleMarked)
		}
		return themes.Style{}
	}
	t.Cells = func(i int) []widget.Cell {
		row, _ := s.Row(i)
		flashing := row.Transfer != nil && s.Flashing(row.Transfer.ID, now)
		r.cells = r.cells[:0]
		for k := range t.Columns {
			r.cells = append(r.cells, r.transferCell(row, t.Columns[k].Index, t.Columns[k].Width, now))
			if flashing {
				r.cells[k].Style = themes.Style{} // the row's own, on which others cannot be read
			}
		}
		return r.cells
	}
	return t.Render(w, h)
}

func (r *Root) emptyTransfers() string {
	if _, filter := r.app.BackupList(); filter != "" {
		return "Nothing matches the filter. esc removes it."
	}
	return "Nothing was transferred yet."
}

func (r *Root) transferHeading(sec model.Section, w int) string {
	all, shown := r.app.Backups.Counts(sec)
	n := itoa(all)
	if shown != all {
		n = itoa(shown) + " of " + n
	}
	text := n + " ended lately"
	switch sec {
	case model.SectionRunning:
		text = n + " under way"
	case model.SectionWaiting:
		text = n + " waiting"
	}
	line := r.look.Glyphs.HLine
	left := r.st(themes.RoleBorder, strings.Repeat(line, 2)) + " " + r.st(themes.RoleAccent, text)
	return left + " " + r.st(themes.RoleBorder, strings.Repeat(line, max(0, w-widget.Width(left)-2)))
}

// transferState is a line's state as a shape, a word and a look.
func (r *Root) transferState(row *model.TransferRow) (string, string, themes.Role) {
	g := &r.look.Glyphs
	if row.Job != nil {
		if row.Job.Ready {
			return g.Lock, "ready", themes.RoleAccent
		}
		if row.Job.Mine {
			return g.Lock, "elsewhere", themes.RoleInfo
		}
		return g.Lock, "others'", themes.RoleInfo
	}
	t := row.Transfer
	if doing := r.app.Backups.Pending(t.ID); doing != "" {
		return g.Starting, doing, themes.RoleInfo
	}
	switch {
	case t.Cancel && !t.State.Ended():
		return g.Starting, "ending", themes.RoleInfo
	case t.Pause && t.State == backend.TransferRunning:
		return g.Starting, "pausing", themes.RoleInfo
	}
	switch t.State {
	case backend.TransferRunning:
		word := string(t.Progress.Phase)
		if word == "" {
			word = "starting"
		}
		return g.Running, word, themes.RoleOK
	case backend.TransferPaused:
		return g.Paused, "paused", themes.RoleWarn
	case backend.TransferQueued:
		return g.Off, "queued", themes.RoleText
	case backend.TransferWaiting:
		return g.Starting, "waiting", themes.RoleWarn
	case backend.TransferDone:
		return g.Check, "done", themes.RoleOff
	case backend.TransferCancelled:
		return g.Cross, "cancelled", themes.RoleOff
	case backend.TransferFailed:
		return g.Crashed, "failed", themes.RoleBad
	}
	return g.Unknown, string(t.State), themes.RoleMuted
}

func (r *Root) transferCell(row *model.TransferRow, col, width int, now time.Time) widget.Cell {
	glyph, word, role := r.transferState(row)
	look := r.styles.Get(role)
	figures := themes.Style{}
	if row.Section == model.SectionEnded {
		figures = r.styles.Get(themes.RoleOff)
	}
	plain := func(text string) widget.Cell { return widget.Cell{Text: text, Style: figures} }
	switch col {
	case tcolMark:
		mark := " "
		if r.app.Backups.RowMarked(row.Key()) {
			mark = r.look.Glyphs.Marked
		}
		return widget.Cell{Text: mark + glyph, Style: look}
	case tcolKind:
		return plain(backend.Clean(row.Kind()))
	case tcolName:
		return plain(backend.Clean(row.Name()))
	case tcolPhase:
		return widget.Cell{Text: backend.Clean(word), Style: look}
	}
	if row.Job != nil {
		return r.jobOfOthers(row, col, width)
	}
	if row.Section != model.SectionRunning {
		if col == tcolBar {
			text, role := r.transferWords(row.Transfer, now)
			return widget.Cell{Text: text, Style: r.styles.Get(role), Span: 16}
		}
		return widget.Cell{}
	}
	return r.progressOf(row.Transfer, col, width)
}

// progressOf is a cell of a transfer that is under way.
func (r *Root) progressOf(t *backend.Transfer, col, width int) widget.Cell {
	p := &t.Progress
	plain := func(text string) widget.Cell { return widget.Cell{Text: text} }
	running := t.State == backend.TransferRunning
	switch col {
	case tcolDisk:
		return plain(backend.Clean(p.Disk))
	case tcolBar:
		return widget.Cell{Text: r.plainBar(model.Fraction(p.Done, p.Total), width), Style: r.styles.Get(themes.RoleSpark)}
	case tcolDone:
		return plain(doneOf(p.Done, p.Total))
	case tcolRate:
		if !running {
			return plain("")
		}
		return plain(rateOf(p.Rate))
	case tcolMean:
		return plain(rateOf(p.Mean))
	case tcolETA:
		if !running || p.ETA <= 0 {
			return plain(model.Unknown)
		}
		return plain(model.Duration(p.ETA))
	case tcolRatio:
		return plain(ratioOf(p.New, p.Out))
	case tcolSpark:
		return widget.Cell{Text: r.sparkOf(p.Spark, width), Style: r.styles.Get(themes.RoleSpark)}
	case tcolWaits:
		return plain(backend.Clean(p.Waits))
	case tcolHost:
		return widget.Cell{Text: backend.Clean(t.Spec.VM.Host), Style: r.styles.Get(themes.RoleHost)}
	}
	return widget.Cell{}
}

// jobOfOthers is a cell of a job that berth's store does not know.
func (r *Root) jobOfOthers(row *model.TransferRow, col, width int) widget.Cell {
	j := row.Job
	done, total := int64(min(j.Done, 1<<62)), int64(min(j.Total, 1<<62))
	switch col {
	case tcolDisk:
		return widget.Cell{Text: backend.Clean(j.Disk)}
	case tcolBar:
		if total == 0 {
			return widget.Cell{Text: notTold(width), Style: r.styles.Get(themes.RoleMuted)}
		}
		return widget.Cell{Text: r.plainBar(model.Fraction(done, total), width), Style: r.styles.Get(themes.RoleMuted)}
	case tcolDone:
		return widget.Cell{Text: doneOf(done, total)}
	case tcolRate:
		return widget.Cell{Text: rateOf(int64(min(j.Rate, 1<<62)))}
	case tcolETA:
		if left := total - done; left > 0 && j.Rate > 0 {
			return widget.Cell{Text: model.Duration(time.Duration(float64(left) / float64(j.Rate) * float64(time.Second)))}
		}
		return widget.Cell{Text: model.Unknown}
	case tcolMean:
		return widget.Cell{Text: rateOf(row.Rates.Mean)}
	case tcolSpark:
		return widget.Cell{Text: r.sparkOf(row.Rates.Spark, width), Style: r.styles.Get(themes.RoleSpark)}
	case tcolHost:
		return widget.Cell{Text: backend.Clean(j.Host), Style: r.styles.Get(themes.RoleHost)}
	}
	return widget.Cell{}
}

// notTold is what stands for the progress that libvirt keeps to itself.
func notTold(width int) string {
	if width < 19 {
		return "not told"
	}
	return "not told by libvirt"
}

// transferWords say why a transfer waits, or how it ended.
func (r *Root) transferWords(t *backend.Transfer, now time.Time) (string, themes.Role) {
	words := backend.Clean(t.Words)
	switch t.State {
	case backend.TransferQueued:
		if words == "" {
			words = "its turn comes"
		}
		return words, themes.RoleText
	case backend.TransferWaiting:
		if !t.NextTry.IsZero() {
			words = strings.TrimSuffix("tried again "+model.Starts(t.NextTry, now)+": "+words, ": ")
		}
		return words, themes.RoleWarn
	case backend.TransferFailed:
		return model.When(t.Ended, now) + " " + words, themes.RoleBad
	case backend.TransferCancelled:
		if words == string(t.State) { // the column beside it says so
			words = ""
		}
		return strings.TrimSpace(model.When(t.Ended, now) + " " + words), themes.RoleOff
	}
	if done := doneText(t); done != "" && words != "" {
		words = done + "; " + words
	} else {
		words = done + words
	}
	return strings.TrimSpace(model.When(t.Ended, now) + " " + words), themes.RoleOff
}

// doneText is what a transfer that is done has moved, and how long it took.
func doneText(t *backend.Transfer) string {
	p := &t.Progress
	took := ""
	if !t.Started.IsZero() && !t.Ended.IsZero() {
		took = " in " + model.Duration(max(0, t.Ended.Sub(t.Started)))
	}
	if p.Done == 0 {
		return strings.TrimSpace(took)
	}
	verb := map[backend.TransferKind]string{backend.TransferBackup: "read", backend.TransferVerify: "checked"}[t.Spec.Kind]
	if verb == "" {
		verb = "written"
	}
	text := model.Bytes(float64(p.Done)) + " " + verb + took
	if t.Spec.Kind == backend.TransferBackup {
		text += ", " + model.Bytes(float64(p.New)) + " new, " + model.Bytes(float64(p.Out)) + " stored"
	}
	return text
}

// plainBar is a bar and its percentage, to be drawn in one look.
func (r *Root) plainBar(fraction float64, width int) string {
	if fraction < 0 {
		return widget.Fit("size unknown", width)
	}
	// What is not all done does not read as if it were.
	label := fmt.Sprintf("%3.0f%%", 100*fraction)
	if fraction < 1 && label == "100%" {
		label = " 99%"
	}
	return widget.Gauge(fraction, max(3, width-5), "", widget.GaugeStyle{Glyphs: &r.look.Glyphs}) + " " + label
}

func doneOf(done, total int64) string {
	if total <= 0 {
		return model.Bytes(float64(done)) + "/?"
	}
	return model.Bytes(float64(done)) + "/" + model.Bytes(float64(total))
}

func rateOf(n int64) string {
	if n <= 0 {
		return model.Unknown
	}
	return model.Bytes(float64(n))
}

func ratioOf(fresh, stored int64) string {
	switch v := model.Ratio(fresh, stored); {
	case v == 0:
		return ""
	case v < 100:
		return fmt.Sprintf("%.1fx", v)
	default:
		return fmt.Sprintf("%.0fx", min(v, 9999))
	}
}

func (r *Root) sparkOf(rates []int64, width int) string {
	vals := make([]float64, len(rates))
	for i, v := range rates {
		vals[i] = float64(v)
	}
	return widget.Sparkline(vals, width, 0, &r.look.Glyphs)
}
