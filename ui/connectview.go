package ui

import (
	"berth/backend"
	"berth/themes"
	"berth/ui/widget"
)

// connectBody shows the page, scrolled where there is little room.
func (r *Root) connectBody(w, h int) string {
	lines := r.connectLines(w)
	top := max(0, min(r.app.Connect.Top, len(lines)-h))
	return widget.Block(lines[top:], w, h)
}

// connectLines say what was tried and why each failed, and what can be done.
func (r *Root) connectLines(w int) []string {
	var lines []string
	add := func(indent string, role themes.Role, text string) {
		for _, l := range widget.Wrap(text, max(10, w-2-len(indent))) {
			lines = append(lines, " "+indent+r.st(role, l))
		}
	}
	lines = append(lines, "")
	failures := r.app.Failures()
	if len(failures) == 0 {
		add("", themes.RoleText, "berth is not connected to any host.")
	}
	for _, t := range failures {
		add("", themes.RoleBad, r.look.Glyphs.Cross+" "+backend.Clean(t.URI))
		add("  ", themes.RoleText, backend.Clean(t.Err.Error()))
		lines = append(lines, "")
	}
	lines = append(lines, "")
	for _, c := range [][2]string{{"retry", "try the same again"}, {"connect", "connect to another URI"}, {"demo", "try berth on a simulated fleet"}, {"back", "quit"}} {
		lines = append(lines, "   "+r.st(themes.RoleKey, widget.Fit(r.app.KeyFor(c[0]), 4))+c[1])
	}
	return lines
}
