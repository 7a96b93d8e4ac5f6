package ui

import (
	"strings"

	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

func (r *Root) helpWidth() int { return min(r.w-2, 92) }

// helpBox is the page of all keys, made from the action table.
func (r *Root) helpBox(h *model.HelpPage) string {
	w := r.helpWidth()
	lines := r.helpLines(w)
	page := max(1, r.h-6)
	top := max(0, min(h.Top, len(lines)-page))
	shown := lines[top:min(len(lines), top+page)]
	st := r.boxStyle(false).Box
	st.Note = itoa(top+1) + "-" + itoa(top+len(shown)) + " of " + itoa(len(lines))
	st.Hint = "berth " + r.app.Version()
	return strings.Join(widget.Box("Keys", shown, w, len(shown)+2, st), "\n")
}

func (r *Root) helpLines(w int) []string {
	var out []string
	for _, g := range model.Groups() {
		if len(out) > 0 {
			out = append(out, "")
		}
		out = append(out, " "+r.st(themes.RoleTitle, g.String()))
		for i := range r.app.Actions() {
			x := &r.app.Actions()[i]
			if x.Group == g && len(x.Keys) > 0 {
				out = append(out, r.helpLine(x, w-4))
			}
		}
	}
	out = append(out, "", " "+r.st(themes.RoleTitle, "Commands"), "  Everything above, and more, is a command too: type : and use tab.")
	return append(out, r.filterHelp()...)
}

func (r *Root) helpLine(x *model.Action, w int) string {
	keys := make([]string, len(x.Keys))
	for i, k := range x.Keys {
		keys[i] = model.KeyName(k)
	}
	why := ""
	if x.Group != model.GroupMove {
		why = x.Disabled(r.app)
	}
	text := x.Help
	look := r.styles.Get(themes.RoleText)
	if why != "" {
		text += " (" + why + ")"
		look = r.styles.Get(themes.RoleMuted)
	}
	return "  " + r.st(themes.RoleKey, widget.Fit(strings.Join(keys, " "), 12)) + " " + look.Render(widget.Fit(text, max(0, w-13)))
}

func (r *Root) filterHelp() []string {
	out := []string{"", " " + r.st(themes.RoleTitle, "Filter"), "  Terms are ANDed; ! before a term negates it; quotes keep blanks; /regex/ matches."}
	for _, k := range model.FilterKeys() {
		out = append(out, "  "+r.st(themes.RoleKey, widget.Fit(k.Name, 12))+" "+k.Help)
	}
	out = append(out, "", " "+r.st(themes.RoleTitle, "Filter in the queue"))
	for _, k := range model.JobFilterKeys() {
		out = append(out, "  "+r.st(themes.RoleKey, widget.Fit(k.Name, 12))+" "+k.Help)
	}
	for _, part := range []struct {
		name string
		keys []model.FilterKey
	}{{"transfers", model.BackupFilterKeys()}, {"the catalogue", model.CatalogueFilterKeys()}, {"points", model.PointFilterKeys()}, {"schedules", model.ScheduleFilterKeys()}, {"images", model.ImageFilterKeys()}, {"pools", model.PoolFilterKeys()}} {
		out = append(out, "", " "+r.st(themes.RoleTitle, "Filter of "+part.name))
		for _, k := range part.keys {
			out = append(out, "  "+r.st(themes.RoleKey, widget.Fit(k.Name, 12))+" "+k.Help)
		}
	}
	return out
}
