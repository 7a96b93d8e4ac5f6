package ui

import (
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"berth/model"
	"berth/themes"
)

// themesMsg brings all themes once they are read.
type themesMsg struct {
	styles map[string]*themes.Styles
	errs   []error
}

// readThemes reads every theme in the background, so that choosing one later
// needs no file.
func readThemes(look Look) tea.Cmd {
	return func() tea.Msg {
		m := themesMsg{styles: map[string]*themes.Styles{}}
		for _, name := range look.Themes.Names() {
			t, err := look.Themes.Load(name)
			if err != nil {
				m.errs = append(m.errs, err)
				continue
			}
			m.styles[name] = t.Styles(look.Profile)
		}
		return m
	}
}

func (r *Root) onThemes(m themesMsg) tea.Cmd {
	for name, s := range m.styles {
		r.loaded[name] = s
	}
	if len(m.errs) > 0 {
		return r.app.Warn(m.errs[0].Error())
	}
	return nil
}

// readFrames makes the looks that the config gives to hosts' frames. The
// config was checked when it was read, so one that is wrong is told and left out.
func (r *Root) readFrames() {
	r.frames = map[string]themes.Style{}
	for host, spec := range r.app.HostFrames() {
		look, err := themes.ParseStyle(spec, r.look.Profile)
		if err != nil {
			r.app.Warn(err.Error())
			continue
		}
		r.frames[host] = look
	}
}

// firstThemes reads the theme in force and the default before the program
// runs: the first frame needs them.
func (r *Root) firstThemes() {
	for _, name := range []string{themes.Default, r.app.ThemeOf()} {
		t, err := r.look.Themes.Load(name)
		if err != nil {
			r.app.Warn(err.Error())
			continue
		}
		r.loaded[name] = t.Styles(r.look.Profile)
	}
	r.readFrames()
	r.useTheme()
}

// useTheme takes the styles of the theme in force. One that could not be read
// leaves the last one in force, or the default.
func (r *Root) useTheme() {
	name := r.app.ThemeOf()
	if r.styles != nil && name == r.theme {
		return
	}
	s := r.loaded[name]
	if s == nil {
		if r.styles != nil {
			return
		}
		s = r.loaded[themes.Default]
	}
	r.theme, r.styles = name, s
	r.out.SetBase(s.Base)
	r.table.StyleFrom(s, &r.look.Glyphs)
}

// framed draws a frame line in its host's look, if it has one: all of it, so
// that nothing muted gets lost on a strong colour.
func (r *Root) framed(line string) string {
	if look, ok := r.hostFrame(); ok {
		return look.Render(ansi.Strip(line))
	}
	return line
}

// hostFrame is the look of the lines that frame the screen, by the host of the
// selected VM: the one its connection has in the config, or else its theme's,
// so that production can be red.
func (r *Root) hostFrame() (themes.Style, bool) {
	host := ""
	if row := r.selected(); row != nil {
		host = row.Host
	} else if hosts := r.app.Fleet.Hosts(); len(hosts) == 1 {
		host = hosts[0].Host.Name()
	}
	if r.app.Screen == model.ScreenConnect {
		return themes.Style{}, false
	}
	if look, ok := r.frames[host]; ok {
		return look, true
	}
	s := r.loaded[r.app.HostTheme(host)]
	if s == nil {
		return themes.Style{}, false
	}
	return s.Get(themes.RoleFrame), true
}
