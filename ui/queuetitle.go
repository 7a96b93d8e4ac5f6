package ui

import (
	"fmt"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// queueTitle says how much waits, who starts it, and by which rules.
func (r *Root) queueTitle() []segment {
	s := r.app.Queue
	segs := []segment{{r.st(themes.RoleTitle, "Queue"), 0}}
	if s.Missing() != nil || !s.HasData {
		return segs
	}
	running, _ := s.Counts(model.SectionRunning)
	waiting, _ := s.Counts(model.SectionWaiting)
	segs = append(segs, segment{fmt.Sprintf("%d running, %d waiting", running, waiting), 1}, r.engineSegment())
	if since, stale := s.Stale(); stale {
		segs = append(segs, segment{r.st(themes.RoleStale, "figures of "+since.In(r.app.Now().Location()).Format("15:04:05")), 1})
	}
	if s.Err != nil {
		segs = append(segs, segment{r.st(themes.RoleBad, r.look.Glyphs.Cross+" "+backend.Clean(s.Err.Error())), 1})
	}
	if all, hidden := s.Marks(); all > 0 {
		text := itoa(all) + " marked"
		if hidden > 0 {
			text += fmt.Sprintf(" (%d hidden)", hidden)
		}
		segs = append(segs, segment{r.st(themes.RoleAccent, text), 1})
	}
	if text, _ := s.Filter(); text != "" && r.app.Line == nil {
		segs = append(segs, segment{r.st(themes.RoleMatch, "/"+backend.Clean(text)), 1})
	}
	if n := s.Requests(); n > 0 {
		segs = append(segs, segment{r.st(themes.RoleInfo, r.look.Glyphs.Starting+" "+count(n, "request")), 1})
	}
	segs = append(segs, segment{r.st(themes.RoleMuted, backend.Clean(model.PolicyText(s.State.Policy))), 3})
	return append(segs, segment{r.queueLegend(), 5})
}

// engineSegment tells whether anybody starts what waits.
func (r *Root) engineSegment() segment {
	e, g := &r.app.Queue.State.Engine, &r.look.Glyphs
	switch {
	case e.Lost:
		return segment{r.st(themes.RoleBad, g.Warn+" the engine was lost"+": "+r.app.KeyFor("engine")+" starts it again"), 1}
	case e.Trouble != "":
		return segment{r.st(themes.RoleBad, g.Warn+" engine: "+backend.Clean(e.Trouble)), 1}
	case !e.Running:
		return segment{r.st(themes.RoleWarn, g.Off+" no engine: "+r.app.KeyFor("engine")+" starts it"), 1}
	}
	return segment{r.st(themes.RoleOK, g.Running) + " engine", 4}
}

// queueLegend names the fillings of the bars in the view that is shown.
func (r *Root) queueLegend() string {
	fill := widget.StackGlyphs(&r.look.Glyphs)
	text := fill[0] + " jobs " + fill[1] + " outside " + fill[2] + " reserved " + fill[3] + " free"
	if r.app.Queue.AsGantt {
		text = fill[0] + " ran " + fill[1] + " left " + fill[2] + " promised " + fill[3] + " expected / over"
	}
	return r.st(themes.RoleMuted, text)
}
