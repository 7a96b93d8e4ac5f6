package ui

import (
	tea "github.com/charmbracelet/bubbletea"

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

// hostFrame is the look of the lines that frame the screen: a host with a
// theme of its own lends its frame, so that production can be red.
func (r *Root) hostFrame() (themes.Style, bool) {
	host := ""
	if row := r.selected(); row != nil {
		host = row.Host
	} else if hosts := r.app.Fleet.Hosts(); len(hosts) == 1 {
		host = hosts[0].Host.Name()
	}
	s := r.loaded[r.app.HostTheme(host)]
	if s == nil || r.app.Screen == model.ScreenConnect {
		return themes.Style{}, false
	}
	return s.Get(themes.RoleFrame), true
}
