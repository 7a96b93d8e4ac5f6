package ui

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

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
	if box := r.overlayBox(o); box != "" {
		return widget.Center(frame, box, r.w, r.h)
	}
	return frame
}

func (r *Root) overlayBox(o model.Overlay) string {
	switch o := o.(type) {
	case *model.Confirm:
		return r.confirmBox(o)
	case *model.Menu:
		return r.menuBox(o)
	case *model.Prompt:
		return r.promptBox(o)
	case *model.Form:
		return r.formBox(o)
	case *model.HelpPage:
		return r.helpBox(o)
	case *model.Notice:
		return r.noticeBox(o)
	}
	return ""
}

// clickOverlay presses a button of a question, or chooses a menu's item. A
// click beside the box does nothing: it may have been meant for something else.
func (r *Root) clickOverlay(o model.Overlay, x, y int) tea.Cmd {
	w, h := widget.Size(r.overlayBox(o))
	x, y = x-(r.w-w)/2, y+linesAbove-(r.h-h)/2
	if x < 0 || y < 0 || x >= w || y >= h {
		return nil
	}
	switch o := o.(type) {
	case *model.Confirm:
		if y == h-2 {
			return r.app.PressButton(o, widget.ButtonAt([]string{"No", o.Yes}, w, x))
		}
	case *model.Form:
		if y == h-2 {
			return r.app.PressForm(o, widget.ButtonAt([]string{"No", o.Yes}, w, x))
		}
	case *model.Menu:
		if i := r.menuTop(o) + y - 1; y > 0 && y < h-1 && i < len(o.Items) {
			return r.app.ChooseItem(o, i)
		}
	}
	return nil
}

// layoutOverlay tells an overlay how much of it scrolls; part of Update.
func (r *Root) layoutOverlay(o model.Overlay) {
	switch o := o.(type) {
	case *model.Confirm:
		r.layoutConfirm(o)
	case *model.Form:
		r.layoutForm(o)
	case *model.Notice:
		o.Lines, o.Page = len(r.noticeLines(o)), r.noticePage()
	case *model.HelpPage:
		o.Lines, o.Page = len(r.helpLines(r.helpWidth())), r.h-6
	}
}

func (r *Root) dialogWidth(want int) int { return max(24, min(want, r.w-2)) }

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
	labels, keysW, notes := 0, 0, 48
	for _, it := range m.Items {
		labels = max(labels, widget.Width(it.Label))
		keysW = max(keysW, widget.Width(model.KeyName(it.Key)))
		notes = max(notes, widget.Width(it.Note), widget.Width(it.Why))
	}
	w := r.dialogWidth(min(120, 8+keysW+labels+notes))
	page, top := r.menuPage(), r.menuTop(m)
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

func (r *Root) menuPage() int { return max(1, r.h-4) }

// menuTop is the first item shown of a menu that is too long for the screen.
func (r *Root) menuTop(m *model.Menu) int {
	page := r.menuPage()
	return widget.Scroll(max(0, m.Index-page+1), m.Index, len(m.Items), page)
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

func (r *Root) noticePage() int { return max(1, r.h-6) }

func (r *Root) noticeLines(n *model.Notice) []string {
	return widget.Wrap(backend.CleanLines(n.Text), r.dialogWidth(90)-4)
}

func (r *Root) noticeBox(n *model.Notice) string {
	all, page := r.noticeLines(n), r.noticePage()
	top := max(0, min(n.Top, len(all)-page))
	lines := make([]string, 0, page+2)
	for _, l := range all[top:min(len(all), top+page)] {
		lines = append(lines, " "+l)
	}
	st := r.boxStyle(false).Box
	if n.Open != nil {
		st.Hint = "enter opens the VM"
	}
	return strings.Join(widget.Box(backend.Clean(n.Title), lines, r.dialogWidth(90), len(lines)+2, st), "\n")
}

// toastOver shows a message that is too long for the status line in full, in
// as many lines above the footer as it needs.
func (r *Root) toastOver(frame string) string {
	a := r.app
	if a.Palette != nil || a.Line != nil || a.Status.Text == "" || !a.Now().Before(a.Status.Until) {
		return frame
	}
	full := r.toast(a.Status)
	if widget.Width(full) <= r.w {
		return frame
	}
	look, glyph := r.toastLook(a.Status)
	lines := widget.Wrap(glyph+" "+a.Status.Text, r.w)
	lines = lines[:min(len(lines), max(1, r.h-6))]
	for i, l := range lines {
		lines[i] = look.Render(widget.Fit(l, r.w))
	}
	return widget.Overlay(frame, strings.Join(lines, "\n"), 0, r.h-1-len(lines))
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
