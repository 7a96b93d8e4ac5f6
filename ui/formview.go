package ui

import (
	"strings"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// A form is a frame, its fields, what would follow from them, and the buttons,
// which always show. What follows may be thousands of jobs, so only the lines
// that show are drawn.

func (r *Root) formWidth() int { return r.dialogWidth(92) }

// formLines counts a form's lines and knows how to draw each.
type formLines struct {
	head  []string // intro and fields
	mid   []string // what is said of the outcome
	focus int      // the line that the keys go to, or -1
}

func (r *Root) formLines(f *model.Form) *formLines {
	l := &formLines{focus: -1}
	inner := r.formWidth() - 4
	for _, t := range f.Intro {
		l.head = append(l.head, widget.Wrap(backend.Clean(t), inner)...)
	}
	if len(f.Intro) > 0 {
		l.head = append(l.head, "")
	}
	labels := 0
	for i := range f.Fields {
		labels = max(labels, widget.Width(f.Fields[i].Label))
	}
	for i := range f.Fields {
		if f.Focus == i {
			l.focus = len(l.head)
		}
		l.head = append(l.head, r.formField(&f.Fields[i], f.Focus == i, labels, inner))
	}
	if f.Focus < 0 {
		l.head = append(l.head, "")
	} else { // what the field is for
		l.head = append(l.head, widget.FitTail(strings.Repeat(" ", labels+3)+r.st(themes.RoleMuted, backend.Clean(f.Fields[f.Focus].Hint())), inner, r.look.Glyphs.Ellipsis))
	}
	l.mid = r.formOutcome(f, inner)
	return l
}

func (l *formLines) total(f *model.Form) int {
	return len(l.head) + len(l.mid) + len(f.Preview.Shifts)
}

// formField is a field's line: label, what is in it, and beside it what is
// wrong.
func (r *Root) formField(x *model.Field, focused bool, labels, w int) string {
	mark := "  "
	if focused {
		mark = r.st(themes.RoleKey, r.look.Glyphs.Cursor+" ")
	}
	left := mark + r.st(themes.RoleMuted, widget.FitRight(x.Label, labels)) + " "
	room := max(8, w-labels-3)
	if x.Err == nil {
		return left + r.fieldValue(x, focused, min(room, 64))
	}
	return left + r.fieldValue(x, focused, min(room, 20)) + " " + r.st(themes.RoleWarn, backend.Clean(r.look.Glyphs.Cross+" "+x.Err.Error()))
}

func (r *Root) fieldValue(x *model.Field, focused bool, room int) string {
	switch x.Kind {
	case model.FieldSwitch:
		text := "[ ] no"
		if x.On {
			text = "[x] yes"
		}
		return r.focusable(text, focused, room)
	case model.FieldChoice:
		text := backend.Clean(x.Chosen())
		if focused {
			text = "< " + text + " >"
		}
		if x.Value != x.Was {
			text += " *"
		}
		return r.focusable(text, focused, room)
	}
	switch {
	case focused:
		return r.input(&x.Input, room)
	case x.Text() == "":
		return widget.Fit(r.st(themes.RoleMuted, backend.Clean(x.Input.Placeholder)), room)
	}
	return widget.Fit(r.st(themes.RoleInput, backend.Clean(x.Text())), room)
}

func (r *Root) focusable(text string, focused bool, room int) string {
	if focused {
		return r.st(themes.RoleCursor, widget.Fit(text, room))
	}
	return widget.Fit(text, room)
}

// formOutcome is what is said of what would follow.
func (r *Root) formOutcome(f *model.Form, w int) []string {
	if f.Think == nil && (f.Foresee == nil || len(f.Preview.Lines) == 0) {
		return nil
	}
	p := &f.Preview
	title := "What would follow"
	if p.Busy {
		title += "  " + r.look.Glyphs.Starting + " thinking"
	}
	out := []string{"", r.st(themes.RoleAccent, title)}
	switch {
	case p.Err != nil:
		for _, l := range widget.Wrap(r.look.Glyphs.Cross+" "+backend.Clean(p.Err.Error()), w) {
			out = append(out, r.st(themes.RoleBad, l))
		}
	case !p.Known && !p.Busy:
		why := "nothing is changed yet"
		if err := f.Wrong(); err != nil {
			why = backend.Clean(err.Error())
		}
		out = append(out, r.st(themes.RoleMuted, why))
	}
	for _, l := range p.Lines {
		look, glyph := r.toastLook(model.Toast{Level: l.Level})
		for _, t := range widget.Wrap(glyph+" "+backend.Clean(l.Text), w) {
			out = append(out, look.Render(t))
		}
	}
	if len(p.Shifts) > 0 {
		out = append(out, r.st(themes.RoleHeader, r.shiftRow("POS", "NAME", "START", "", w)))
	}
	return out
}

// shiftLine is one job's old and new place and start.
func (r *Root) shiftLine(s *model.Shift, w int) string {
	now := r.app.Now()
	pos := place(s.NewPos)
	if s.OldPos != s.NewPos && !s.Fresh {
		pos = place(s.OldPos) + r.look.Glyphs.Arrow + pos
	}
	start := model.Starts(s.NewETA, now)
	if old := model.Starts(s.OldETA, now); old != start && !s.Fresh {
		start = old + r.look.Glyphs.Arrow + start
	}
	role, glyph := themes.RoleMuted, " "
	switch s.Moves {
	case model.Sooner, model.Gained:
		role, glyph = themes.RoleOK, r.look.Glyphs.Up
	case model.Later:
		role, glyph = themes.RoleWarn, r.look.Glyphs.Down
	case model.Lost:
		role, glyph = themes.RoleBad, r.look.Glyphs.Cross
	}
	if s.Fresh {
		role, glyph = themes.RoleAccent, r.look.Glyphs.Marked
	}
	return r.st(role, r.shiftRow(pos, s.Job.Name, start, glyph+" "+s.Text(), w))
}

func place(n int) string {
	if n == 0 {
		return model.Unknown
	}
	return itoa(n)
}

func (r *Root) shiftRow(pos, name, start, text string, w int) string {
	starts := 19
	if w < 60 {
		starts = 11
	}
	names := max(6, min(32, w-9-starts-16-3))
	return widget.Fit(widget.FitRight(pos, 9)+" "+widget.Fit(backend.Clean(name), names)+" "+widget.Fit(start, starts)+" "+text, w)
}

// formLine draws line i.
func (r *Root) formLine(f *model.Form, l *formLines, i, w int) string {
	if i < len(l.head) {
		return l.head[i]
	}
	i -= len(l.head)
	if i < len(l.mid) {
		return l.mid[i]
	}
	return r.shiftLine(&f.Preview.Shifts[i-len(l.mid)], w)
}

func (r *Root) layoutForm(f *model.Form) {
	l := r.formLines(f)
	f.Lines, f.Page = l.total(f), r.confirmPage()
	if l.focus >= 0 && !f.Scrolled {
		f.Top = max(min(f.Top, l.focus), l.focus-f.Page+1)
	}
	f.Top = max(0, min(f.Top, f.Lines-f.Page))
}

func (r *Root) formBox(f *model.Form) string {
	l, w := r.formLines(f), r.formWidth()
	return r.scrollBox(&scrolled{
		title: f.Title, yes: f.Yes, focus: f.Focus, width: w, top: f.Top, total: l.total(f),
		line: func(i int) string { return r.formLine(f, l, i, w-4) },
	})
}
