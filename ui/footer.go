package ui

import (
	"errors"
	"strings"

	"github.com/charmbracelet/bubbles/textinput"

	"berth/backend"
	"berth/model"
	"berth/themes"
	"berth/ui/widget"
)

// statusLine holds the open ":" or "/" line, or the last message.
func (r *Root) statusLine() string {
	a := r.app
	switch {
	case a.Palette != nil:
		return r.inputLine(":", &a.Palette.Input, "")
	case a.Line != nil:
		return r.inputLine("/", &a.Line.Input, r.lineNote())
	case a.Status.Text != "" && a.Now().Before(a.Status.Until):
		return widget.Fit(r.toast(a.Status), r.w)
	}
	return strings.Repeat(" ", r.w)
}

// lineNote says beside the "/" line what is wrong with it, or how much it finds.
func (r *Root) lineNote() string {
	if r.app.Line.Search {
		return itoa(len(r.app.Detail.Search.Hits)) + " lines"
	}
	err := r.app.Line.Problem()
	var wrong *model.FilterError
	if errors.As(err, &wrong) {
		return backend.Clean(widget.Fit(wrong.Problem, min(widget.Width(wrong.Problem), r.w-26)))
	}
	return ""
}

func (r *Root) inputLine(prompt string, in *textinput.Model, note string) string {
	left := r.st(themes.RoleKey, prompt) + r.input(in, max(10, r.w-1-widget.Width(note)-2))
	if note == "" {
		return widget.Fit(left, r.w)
	}
	return widget.Fit(left, r.w-widget.Width(note)-1) + " " + widget.Fit(r.st(themes.RoleWarn, backend.Clean(note)), min(widget.Width(note), r.w))
}

// input draws a text field w cells wide, scrolled so that its cursor shows,
// which is drawn as a reversed cell.
func (r *Root) input(in *textinput.Model, w int) string {
	text := []rune(backend.Clean(in.Value()))
	if in.EchoMode == textinput.EchoPassword {
		text = []rune(strings.Repeat("*", len([]rune(in.Value()))))
	}
	pos := min(in.Position(), len(text))
	from := 0
	for widget.Width(string(text[from:pos])) >= w {
		from++
	}
	st := r.styles.Get(themes.RoleInput)
	under := " "
	after := ""
	if pos < len(text) {
		under, after = string(text[pos]), string(text[pos+1:])
	}
	cursor := themes.Style{Attr: themes.Reverse}.On(st)
	return widget.Fit(st.Render(string(text[from:pos]))+cursor.Render(under)+st.Render(after), w)
}

func (r *Root) toast(t model.Toast) string {
	look, glyph := r.toastLook(t)
	return look.Render(glyph + " " + t.Text)
}

// toastLook tells how much a message matters by shape as well as by colour.
func (r *Root) toastLook(t model.Toast) (look themes.Style, glyph string) {
	g := &r.look.Glyphs
	switch t.Level {
	case model.LevelOK:
		return r.styles.Get(themes.RoleOK), g.Check
	case model.LevelWarn:
		return r.styles.Get(themes.RoleWarn), g.Warn
	case model.LevelBad:
		return r.styles.Get(themes.RoleBad), g.Cross
	}
	return r.styles.Get(themes.RoleInfo), g.Bullet
}

// footer shows the keys that can act now, the most useful first.
func (r *Root) footer() string {
	var hints []widget.Hint
	switch {
	case len(r.app.Overlays) > 0:
		hints = overlayHints(r.app.Overlays[len(r.app.Overlays)-1])
	case r.app.Palette != nil:
		hints = []widget.Hint{{Key: "enter", Text: "run"}, {Key: "tab", Text: "complete"}, {Key: "↑↓", Text: "choose"}, {Key: "esc", Text: "leave"}}
	case r.app.Line != nil:
		hints = []widget.Hint{{Key: "enter", Text: "keep"}, {Key: "esc", Text: "as before"}}
	default:
		for _, x := range r.app.Hints() {
			hints = append(hints, widget.Hint{Key: x.KeyName(), Text: x.Label})
		}
	}
	line := widget.KeyHints(hints, r.w, widget.HintStyleFrom(r.styles))
	return r.framed(line)
}

func overlayHints(o model.Overlay) []widget.Hint {
	switch o := o.(type) {
	case *model.Confirm:
		if o.Unasked {
			return []widget.Hint{{Key: "tab", Text: "move"}, {Key: "enter", Text: "press"}, {Key: "esc", Text: "leave"}}
		}
		if o.Type != "" {
			return []widget.Hint{{Key: "enter", Text: "next"}, {Key: "tab", Text: "move"}, {Key: "space", Text: "switch"}, {Key: "esc", Text: "leave"}}
		}
		return []widget.Hint{{Key: "y", Text: "yes"}, {Key: "n", Text: "no"}, {Key: "tab", Text: "move"}, {Key: "enter", Text: "press"}, {Key: "↑↓", Text: "scroll"}, {Key: "esc", Text: "leave"}}
	case *model.Menu:
		if o.Switches {
			return []widget.Hint{{Key: "space", Text: "on/off"}, {Key: "J K", Text: "move it"}, {Key: "enter", Text: "done"}}
		}
		return []widget.Hint{{Key: "enter", Text: "choose"}, {Key: "j k", Text: "move"}, {Key: "esc", Text: "leave"}}
	case *model.Notice:
		if o.Open != nil {
			return []widget.Hint{{Key: "enter", Text: "open the VM"}, {Key: "j k", Text: "scroll"}, {Key: "esc", Text: "leave"}}
		}
	case *model.Form:
		return []widget.Hint{{Key: "tab", Text: "move"}, {Key: "< >", Text: "choose"}, {Key: "space", Text: "switch"}, {Key: "enter", Text: "next, press"}, {Key: "PgDn", Text: "scroll"}, {Key: "esc", Text: "leave"}}
	case *model.Prompt:
		return []widget.Hint{{Key: "enter", Text: "go"}, {Key: "esc", Text: "leave"}}
	}
	return []widget.Hint{{Key: "j k", Text: "scroll"}, {Key: "esc", Text: "leave"}}
}
