// Berth is a console for libvirt and KVM hosts.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"syscall"

	// First of all: it keeps Bubble Tea from asking the terminal anything.
	_ "berth/ui/background"

	"berth/backend"
	"berth/backend/audit"
	"berth/backend/demo"
	"berth/backend/engine/demobackups"
	"berth/backend/engine/demoqueue"
	"berth/backend/host"
	"berth/backend/libvirt"
	"berth/backend/libvirt/dial"
	"berth/model"
	"berth/model/config"
	"berth/themes"
	"berth/ui"
	"berth/ui/cli"
)

// version is set by the linker for releases: -ldflags "-X main.version=1.2.3".
var version string

func main() { os.Exit(run()) }

// run is main with its deferred calls done before the process ends.
func run() int {
	ctx, stop := cli.WithSignals(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return program().Run(ctx)
}

// program wires the command line to this process and to the backends.
func program() cli.Program {
	return cli.Program{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Env: os.Getenv, UID: os.Getuid(), Version: buildVersion(),
		Connect: connect, Local: local, Supported: dial.Supported, Demo: simulate, Console: console,
		Queue: queue, Engine: cli.RunEngine, Backups: backups, OpenPlace: cli.PlaceOpener(dial.SSH),
		DefaultTheme:  themes.Default,
		Themes:        func(dir string) []string { return themes.Source{UserDir: dir}.Names() },
		ThemeProblems: func(dir string) []error { return themeProblems(themes.Source{UserDir: dir}) },
		Frame:         checkFrame,
		Actions:       model.ActionIDs,
	}
}

// themeProblems loads every theme to hear what is wrong with it.
func themeProblems(s themes.Source) []error {
	var problems []error
	for _, name := range s.Names() {
		if _, err := s.Load(name); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

// checkFrame says what is wrong with a look, whatever the terminal's colours.
func checkFrame(spec string) error {
	_, err := themes.ParseStyle(spec, themes.TrueColor)
	return err
}

// connect makes a libvirt host; no I/O happens before its first call.
func connect(s cli.HostSpec) (backend.Host, error) {
	return libvirt.New(libvirt.Options{Name: s.Name, URI: s.URI, ReadOnly: s.ReadOnly, Local: host.New().Sample})
}

// local reports whether uri names a daemon on this machine.
func local(uri string) bool {
	t, err := dial.Parse(uri)
	return err == nil && t.Local()
}

// batchMachines is how many VMs of the demo are there for its queue.
const batchMachines = 16

// simulate makes the demo fleet.
func simulate(s cli.DemoSpec) []backend.Host {
	return demo.New(demo.Options{Seed: s.Seed, Hosts: s.Hosts, VMs: s.VMs, Batch: batchMachines, ReadOnly: s.ReadOnly}).Hosts()
}

// queue opens the queue of the state folder, or the demo's.
func queue(ctx context.Context, o cli.QueueOptions) (backend.Queue, error) {
	if !o.Demo {
		return cli.OpenQueue(ctx, o)
	}
	q, err := demoqueue.Open(ctx, demoqueue.Options{
		Hosts: o.Fleet(), Keeper: demo.Keeper, Limits: cli.Limits(o.Config), Policy: o.Config.Queue.Policy, Who: audit.Open("", o.Env).Who(),
	})
	if err != nil {
		return nil, err
	}
	return q, nil
}

// backups opens the backups of the state folder, or the demo's.
func backups(ctx context.Context, o cli.BackupsOptions) (backend.Backups, error) {
	if !o.Demo {
		return cli.OpenBackups(ctx, o)
	}
	b, err := demobackups.Open(ctx, demobackups.Options{Hosts: o.Fleet(), Keeper: demo.Keeper, Who: audit.Open("", o.Env).Who(), Settled: o.Settled})
	if err != nil {
		return nil, err
	}
	return b, nil
}

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
		Hosts: o.Hosts, Demo: o.Demo, ReadOnly: c.ReadOnly, Version: o.Version, Warnings: c.Warnings,
		Themes: names, Keys: c.Keys, Editor: strings.Fields(c.Editor), SSHUser: c.SSHUser, PicDir: c.ScreenshotDir,
		AskLossOnly: c.Confirm == "loss",
		Trail:       &audit.Trail{}, HostThemes: o.HostThemes, HostFrames: o.HostFrames, StartDemo: o.StartDemo,
		Connect: o.Connect, Queue: o.Queue, QueueWords: cli.PolicyWords(),
		Backups: o.Backups, BackupRepos: o.Repos, BackupFresh: c.Backup.Fresh, BackupLimit: c.Backup.Limit, BackupKeep: c.Backup.Keep,
		DemoBackups: o.DemoBackups, HandOver: o.HandOver, Retain: cli.Retain,
		Save: func(s model.Settings) (string, error) { return save(c.Paths.StateFile, s) },
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

// save keeps what :save keeps.
func save(path string, s model.Settings) (string, error) {
	direction := ":asc"
	if s.Desc {
		direction = ":desc"
	}
	state := config.State{
		Columns: s.Columns, Sort: s.SortBy + direction, Theme: s.Theme, Filter: s.Filter,
		Mouse: &s.Mouse, Refresh: s.Refresh.String(),
	}
	return path, state.Save(path)
}

// buildVersion is the release, or what go build knows of the source.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if revision == "" {
		return "development"
	}
	return fmt.Sprintf("development (%s%s)", revision, dirty)
}
