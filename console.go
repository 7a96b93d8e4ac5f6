package main

import (
	"context"
	"strings"

	"berth/backend"
	"berth/backend/audit"
	"berth/model"
	"berth/model/config"
	"berth/themes"
	"berth/ui"
	"berth/ui/cli"
)

// console opens the screen with what the command line came to.
func console(ctx context.Context, o cli.ConsoleOptions) error {
	profile, err := themes.ParseProfile(o.Config.Color, o.Env, true)
	if err != nil {
		return err
	}
	look := ui.Look{
		Themes:  themes.Source{UserDir: o.Config.Paths.ThemesDir},
		Profile: profile,
		Glyphs:  themes.GlyphsFor(o.Env),
	}
	return ui.Run(ctx, modelOptions(o, look.Themes.Names()), look)
}

func modelOptions(o cli.ConsoleOptions, names []string) model.Options {
	c := o.Config
	opt := model.Options{
		Hosts: o.Hosts, Demo: o.Demo, ReadOnly: c.ReadOnly, Version: o.Version,
		Themes: names, Keys: c.Keys, Editor: strings.Fields(c.Editor), SSHUser: c.SSHUser, PicDir: c.ScreenshotDir,
		AskLossOnly: c.Confirm == "loss",
		Trail:       &audit.Trail{}, HostThemes: o.HostThemes, StartDemo: o.StartDemo,
		Connect: func(uri string) (backend.Host, error) { return o.Connect(uri) },
		Save:    func(s model.Settings) (string, error) { return save(c.Paths.StateFile, s) },
		Settings: model.Settings{
			Theme: c.Theme, Columns: c.Columns, SortBy: o.SortBy, Desc: o.Desc,
			Filter: c.Filter, Mouse: c.Mouse, Refresh: c.Refresh,
		},
	}
	if !o.Demo {
		opt.Trail = audit.Open(c.Paths.AuditFile, o.Env)
	}
	for _, t := range o.Tried {
		opt.Attempts = append(opt.Attempts, model.Attempt{URI: t.URI, Err: t.Err})
	}
	return opt
}

// save keeps what :save keeps. The refresh interval is the config's affair.
func save(path string, s model.Settings) (string, error) {
	direction := ":asc"
	if s.Desc {
		direction = ":desc"
	}
	state := config.State{Columns: s.Columns, Sort: s.SortBy + direction, Theme: s.Theme, Filter: s.Filter, Mouse: &s.Mouse}
	return path, state.Save(path)
}
