package ui

import (
	"fmt"
	"strings"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// A confirmation is a frame, what is asked in lines that scroll, and the
// buttons, which always show. The lines are the explanation, the names or the
// difference, then the switches and the field for a name. The names may be
// thousands, so only those that show are drawn.

// confirmFrame is how many lines are not for scrolling: the frame, the
// buttons, the blank line above them.
const confirmFrame = 4

func (r *Root) confirmWidth(c *model.Confirm) int {
	if len(c.Diff) > 0 {
		return r.dialogWidth(110)
	}
	return r.dialogWidth(66)
}

// confirmLines counts a confirmation's lines and knows how to draw each.
type confirmLines struct {
	before, after []string
	middle        int // names, or lines of the difference
	focus         int // the line that the keys go to, or -1
}

func (l *confirmLines) total() int { return len(l.before) + l.middle + len(l.after) }

func (r *Root) confirmLines(c *model.Confirm) *confirmLines {
	l := &confirmLines{focus: -1, middle: len(c.Names)}
	if len(c.Diff) > 0 {
		l.middle = len(c.Diff)
	}
	inner := r.confirmWidth(c) - 4
	for _, b := range c.Body {
		l.before = append(l.before, widget.Wrap(backend.Clean(b), inner)...)
	}
	for i, ch := range c.Choices {
		if c.Focus == i {
			l.focus = l.total()
		}
		l.after = append(l.after, r.choiceLine(ch, c.Focus == i))
	}
	if c.Type != "" {
		l.after = append(l.after, "Type "+backend.Clean(c.Type)+" to go on:")
		if c.Focus == model.FocusInput {
			l.focus = l.total()
		}
		l.after = append(l.after, r.typeField(c, inner))
	}
	return l
}

// confirmLine draws line i.
func (r *Root) confirmLine(c *model.Confirm, l *confirmLines, i int) string {
	if i < len(l.before) {
		return l.before[i]
	}
	i -= len(l.before)
	if i < l.middle {
		return r.confirmMiddle(c, i)
	}
	return l.after[i-l.middle]
}

func (r *Root) confirmPage() int { return max(1, r.h-2-confirmFrame) }

// layoutConfirm tells the confirmation how much of it scrolls, and scrolls to
// what has the keys; part of Update.
func (r *Root) layoutConfirm(c *model.Confirm) {
	l := r.confirmLines(c)
	c.Lines, c.Page = l.total(), r.confirmPage()
	if l.focus >= 0 {
		c.Top = max(min(c.Top, l.focus), l.focus-c.Page+1)
	}
	c.Top = max(0, min(c.Top, c.Lines-c.Page))
}

func (r *Root) confirmBox(c *model.Confirm) string {
	l := r.confirmLines(c)
	return r.scrollBox(&scrolled{
		title: c.Title, yes: c.Yes, danger: c.Danger, focus: c.Focus, width: r.confirmWidth(c), top: c.Top, total: l.total(),
		line: func(i int) string { return r.confirmLine(c, l, i) },
	})
}

// scrolled is a dialog whose lines scroll over its buttons.
type scrolled struct {
	title, yes string
	danger     bool
	focus      int // as model.Confirm and model.Form count it
	width      int
	top, total int // the first line that shows, and how many there are
	line       func(i int) string
}

func (r *Root) scrollBox(s *scrolled) string {
	page := r.confirmPage()
	top := max(0, min(s.top, s.total-page))
	end := min(s.total, top+page)
	var lines []string
	for i := top; i < end; i++ {
		lines = append(lines, " "+s.line(i))
	}
	look := r.boxStyle(s.danger)
	lines = append(lines, "", widget.FitCenter(widget.Buttons([]string{"No", s.yes}, buttonFocus(s.focus), look), s.width-2))
	if s.total > page {
		look.Box.Note = fmt.Sprintf("%d-%d of %d", top+1, end, s.total)
	}
	return strings.Join(widget.Box(backend.Clean(s.title), lines, s.width, len(lines)+2, look.Box), "\n")
}

// buttonFocus is the button that has the keys, or -1.
func buttonFocus(focus int) int {
	switch focus {
	case model.FocusNo:
		return 0
	case model.FocusYes:
		return 1
	}
	return -1
}

func (r *Root) confirmMiddle(c *model.Confirm, i int) string {
	if len(c.Diff) == 0 {
		return r.look.Glyphs.Bullet + " " + backend.Clean(c.Names[i])
	}
	d := c.Diff[i]
	text := strings.ReplaceAll(backend.CleanLines(d.Text), "\t", "  ")
	switch d.Op {
	case '+':
		return r.st(themes.RoleAdd, "+ "+text)
	case '-':
		return r.st(themes.RoleRemove, "- "+text)
	case '@':
		return r.st(themes.RoleMuted, "@"+text)
	}
	return "  " + text
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
	if focused {
		return r.st(themes.RoleCursor, box+ch.Label)
	}
	return r.st(themes.RoleText, box+ch.Label)
}
