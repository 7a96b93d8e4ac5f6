package ui

import (
	"fmt"
	"strings"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// transferPane tells more of the selected line.
func (r *Root) transferPane(w int) []string {
	row := r.app.Backups.SelectedRow()
	if row == nil {
		return nil
	}
	glyph, word, role := r.transferState(row)
	head := " " + r.st(role, glyph+" "+backend.Clean(word)) + "  " + r.st(themes.RoleTitle, backend.Clean(row.Kind()+" of "+row.Name()))
	if row.Job != nil {
		facts := r.app.TransferFacts(row)
		return append([]string{head + "  " + r.st(themes.RoleMuted, "on "+backend.Clean(row.Job.Host))}, r.factPane(facts[1:], w, 8)...)
	}
	t := row.Transfer
	p := &t.Progress
	if t.Spec.Repo.URL != "" {
		head += "  " + r.st(themes.RoleMuted, "repository ") + r.st(themes.RoleHost, backend.Clean(t.Spec.Repo.URL))
	}
	if t.Spec.Limit > 0 {
		head += "  " + r.st(themes.RoleWarn, "limited to "+model.Bytes(float64(t.Spec.Limit))+"/s")
	}
	out := []string{head}
	words := strings.TrimSpace(backend.Clean(t.Words))
	if next := r.app.NextStep(t); next != "" {
		words = strings.TrimPrefix(words+"; "+next, "; ")
	}
	if words != "" {
		look := r.styles.Get(role)
		for _, l := range widget.Wrap(words, max(10, w-2)) {
			out = append(out, " "+look.Render(l))
		}
	}
	if text := r.disksDone(p); text != "" {
		out = append(out, " "+text)
	}
	return append(out, r.newLines(t, w)...)
}

// newLines tell what a transfer found new, why it is full, what it waits for.
func (r *Root) newLines(t *backend.Transfer, w int) []string {
	p := &t.Progress
	var parts []string
	if p.New > 0 {
		parts = append(parts, fmt.Sprintf("%s new, stored in %s %s", model.Bytes(float64(p.New)), model.Bytes(float64(p.Out)), ratioOf(p.New, p.Out)))
	}
	if p.Mean > 0 {
		parts = append(parts, model.Bytes(float64(p.Mean))+"/s on the mean")
	}
	if p.Waits != "" && t.State == backend.TransferRunning {
		parts = append(parts, "the pipe waits for "+backend.Clean(p.Waits))
	}
	if p.Why != "" {
		parts = append(parts, "full: "+backend.Clean(p.Why))
	}
	if len(t.Spec.Image.Targets) > 0 {
		parts = append(parts, "to "+backend.Clean(strings.Join(t.Spec.Image.Targets, " ")))
	}
	var out []string
	for _, l := range widget.Wrap(strings.Join(parts, "; "), max(10, w-2)) {
		out = append(out, " "+r.st(themes.RoleMuted, l))
	}
	return out
}

func (r *Root) disksDone(p *backend.Progress) string {
	var parts []string
	for _, d := range p.Disks {
		text := backend.Clean(d.Disk) + " " + doneOf(d.Done, d.Total)
		if f := model.Fraction(d.Done, d.Total); f >= 0 {
			text += fmt.Sprintf(" %.0f%%", 100*f)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "  ")
}
