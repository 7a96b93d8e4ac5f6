package ui

import (
	"strings"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

func (r *Root) boxStyle(danger bool) widget.DialogStyle {
	return widget.DialogStyleFrom(r.styles, &r.look.Glyphs, danger)
}

// overlayOver draws an overlay in the middle of the frame.
func (r *Root) overlayOver(frame string, o model.Overlay) string {
	var box string
	switch o := o.(type) {
	case *model.Confirm:
		box = r.confirmBox(o)
	case *model.Menu:
		box = r.menuBox(o)
	case *model.Prompt:
		box = r.promptBox(o)
	case *model.HelpPage:
		box = r.helpBox(o)
	default:
		return frame
	}
	return widget.Center(frame, box, r.w, r.h)
}

// layoutOverlay tells an overlay how much of it scrolls; part of Update.
func (r *Root) layoutOverlay(o model.Overlay) {
	switch o := o.(type) {
	case *model.Confirm:
		o.Lines, o.Page = len(r.confirmScroll(o)), r.confirmPage(o)
	case *model.HelpPage:
		o.Lines, o.Page = len(r.helpLines(r.helpWidth())), r.h-6
	}
}

func (r *Root) dialogWidth(want int) int { return max(24, min(want, r.w-2)) }

func (r *Root) confirmWidth(c *model.Confirm) int {
	if len(c.Diff) > 0 {
		return r.dialogWidth(110)
	}
	return r.dialogWidth(66)
}

// confirmScroll are the lines of a confirmation that scroll when they are
// many: the names, or the diff.
func (r *Root) confirmScroll(c *model.Confirm) []string {
	if len(c.Diff) > 0 {
		return r.diffLines(c.Diff)
	}
	if len(c.Names) < 2 {
		return nil
	}
	out := make([]string, len(c.Names))
	for i, n := range c.Names {
		out[i] = r.look.Glyphs.Bullet + " " + backend.Clean(n)
	}
	return out
}

func (r *Root) diffLines(diff []model.DiffLine) []string {
	out := make([]string, len(diff))
	for i, d := range diff {
		text := strings.ReplaceAll(backend.Clean(d.Text), "\t", "  ")
		switch d.Op {
		case '+':
			out[i] = r.st(themes.RoleAdd, "+ "+text)
		case '-':
			out[i] = r.st(themes.RoleRemove, "- "+text)
		case '@':
			out[i] = r.st(themes.RoleMuted, "@"+text)
		default:
			out[i] = "  " + text
		}
	}
	return out
}

// confirmPage is how many of those lines there is room for.
func (r *Root) confirmPage(c *model.Confirm) int {
	fixed := 5 + len(c.Choices)
	for _, b := range c.Body {
		fixed += len(widget.Wrap(b, r.confirmWidth(c)-4))
	}
	if c.Type != "" {
		fixed += 3
	}
	return max(1, r.h-2-fixed)
}

func (r *Root) confirmBox(c *model.Confirm) string {
	w := r.confirmWidth(c)
	var body []string
	scroll := r.confirmScroll(c)
	if len(c.Names) == 1 {
		body = append(body, backend.Clean(c.Names[0]))
	}
	page := r.confirmPage(c)
	top := max(0, min(c.Top, len(scroll)-page))
	body = append(body, scroll[top:min(len(scroll), top+page)]...)
	if len(scroll) > page {
		body = append(body, r.st(themes.RoleMuted, itoa(top+1)+"-"+itoa(min(len(scroll), top+page))+" of "+itoa(len(scroll))))
	}
	for _, b := range c.Body {
		body = append(body, backend.Clean(b))
	}
	for i, ch := range c.Choices {
		body = append(body, r.choiceLine(ch, c.Focus == i))
	}
	if c.Type != "" {
		body = append(body, "Type "+backend.Clean(c.Type)+" to go on:", r.typeField(c, w-6))
	}
	focused := -1
	switch c.Focus {
	case model.FocusNo:
		focused = 0
	case model.FocusYes:
		focused = 1
	}
	return widget.Dialog(backend.Clean(c.Title), body, []string{"No", c.Yes}, focused, w, r.boxStyle(c.Danger))
}

func (r *Root) typeField(c *model.Confirm, w int) string {
	if c.Focus == model.FocusInput {
		return r.st(themes.RoleKey, "> ") + r.input(&c.Input, w-2)
	}
	return "  " + r.st(themes.RoleInput, backend.Clean(c.Input.Value())+" ")
}

func (r *Root) choiceLine(ch model.Choice, focused bool) string {
	box := "[ ] "
	if ch.On {
		box = "[x] "
	}
	line := box + ch.Label
	if focused {
		return r.st(themes.RoleCursor, line)
	}
	return r.st(themes.RoleText, line)
}

func (r *Root) promptBox(p *model.Prompt) string {
	w := r.dialogWidth(66)
	body := []string{r.st(themes.RoleKey, "> ") + r.input(&p.Input, w-6)}
	if p.Err != nil {
		body = append(body, r.st(themes.RoleWarn, backend.Clean(p.Err.Error())))
	} else {
		body = append(body, r.st(themes.RoleMuted, p.Help))
	}
	return widget.Dialog(backend.Clean(p.Title), body, nil, -1, w, r.boxStyle(false))
}

func (r *Root) menuBox(m *model.Menu) string {
	labels, keysW := 0, 0
	for _, it := range m.Items {
		labels = max(labels, widget.Width(it.Label))
		keysW = max(keysW, widget.Width(model.KeyName(it.Key)))
	}
	w := r.dialogWidth(min(96, 8+keysW+labels+48))
	page := max(1, r.h-4)
	top := widget.Scroll(max(0, m.Index-page+1), m.Index, len(m.Items), page)
	var lines []string
	for i := top; i < min(len(m.Items), top+page); i++ {
		lines = append(lines, r.menuLine(m, i, keysW, labels, w-2))
	}
	st := r.boxStyle(false).Box
	if len(m.Items) > page {
		st.Note = itoa(m.Index+1) + " of " + itoa(len(m.Items))
	}
	return strings.Join(widget.Box(backend.Clean(m.Title), lines, w, len(lines)+2, st), "\n")
}

func (r *Root) menuLine(m *model.Menu, i, keysW, labels, w int) string {
	it := m.Items[i]
	box := ""
	if m.Switches {
		box = "[ ] "
		if it.On {
			box = "[x] "
		}
	}
	key := widget.Fit(model.KeyName(it.Key), keysW)
	note := it.Note
	if it.Why != "" {
		note = it.Why
	}
	plain := " " + box + key + " " + widget.Fit(backend.Clean(it.Label), labels) + "  "
	if keysW == 0 {
		plain = " " + box + widget.Fit(backend.Clean(it.Label), labels) + "  "
	}
	rest := widget.Fit(backend.Clean(note), max(0, w-widget.Width(plain)))
	switch {
	case i == m.Index:
		return r.st(themes.RoleCursor, plain+rest)
	case it.Why != "":
		return r.st(themes.RoleOff, plain+rest)
	}
	return plain + r.st(themes.RoleMuted, rest)
}

// paletteOver draws the completions above the ":" line.
func (r *Root) paletteOver(frame string) string {
	p := r.app.Palette
	if p == nil || len(p.Matches) == 0 {
		return frame
	}
	texts := 0
	for _, c := range p.Matches {
		texts = max(texts, widget.Width(c.Text))
	}
	w := min(r.w, max(30, texts+46))
	n := min(len(p.Matches), r.h-5)
	var lines []string
	for i := 0; i < n; i++ {
		c := p.Matches[i]
		line := " " + widget.Fit(backend.Clean(c.Text), texts) + "  " + backend.Clean(c.Help)
		if i == p.Index {
			lines = append(lines, r.st(themes.RoleCursor, widget.Fit(line, w-2)))
		} else {
			lines = append(lines, widget.Fit(line, w-2))
		}
	}
	box := widget.Box("", lines, w, n+2, r.boxStyle(false).Box)
	return widget.Overlay(frame, strings.Join(box, "\n"), 0, r.h-linesBelow-n-2)
}
