package cli

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model/config"
)

// ConsoleOptions are what the console is opened with.
type ConsoleOptions struct {
	// Hosts are those to show; empty when no default connection answered, and
	// then Tried says what was tried and why each failed.
	Hosts []backend.Host
	Tried []Attempt
	Demo  bool
	// Config are the settings in force, after flags.
	Config *config.Config
	// SortBy and Desc are Config.Sort, taken apart.
	SortBy string
	Desc   bool
	// HostThemes are themes by host name.
	HostThemes map[string]string
	// HostFrames are the looks of frames by host name, as themes.ParseStyle
	// reads them.
	HostFrames map[string]string
	// Queue is opened when it is first asked something.
	Queue backend.Queue
	// Backups likewise. Repos are repositories that environment and config name.
	Backups backend.Backups
	Repos   []backend.RepoRef
	// HandOver puts a passphrase where the engine finds it, for one transfer.
	HandOver func(passphrase []byte) (file string, undo func() error, err error)
	// Env is the environment with the ascii setting applied.
	Env     func(string) string
	Version string

	// Connect makes a further host, named unlike those in names.
	Connect func(uri string, names []string) (backend.Host, error)
	// StartDemo makes the simulated fleet that the demo flags describe, and its queue.
	StartDemo func() ([]backend.Host, backend.Queue)
	// DemoBackups are the backups of the fleet that StartDemo made last.
	DemoBackups func() backend.Backups
}

func (a *app) runConsole(cmd *cobra.Command, _ []string) (err error) {
	if err := a.load(cmd); err != nil {
		return err
	}
	f, err := a.openFleet(cmd.Context()) // first: it knows a wrong URI
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if !isTerminal(a.Stdin) || !isTerminal(a.Stdout) {
		return usagef("For scripts there is: berth vm list", "the console needs a terminal on standard input and output")
	}
	o, err := a.consoleOptions(f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Backups.Close(), o.Queue.Close()) }()
	demo := &besideDemo{app: a}
	defer func() { err = errors.Join(err, demo.close()) }()
	o.StartDemo, o.DemoBackups = demo.start, demo.keep
	return a.Console(cmd.Context(), o)
}

func (a *app) consoleOptions(f *fleet) (ConsoleOptions, error) {
	by, desc, err := parseSort(a.config.Sort)
	if err != nil {
		return ConsoleOptions{}, err
	}
	repos, err := a.namedRepos()
	if err != nil {
		return ConsoleOptions{}, err
	}
	hosts := &atHand{hosts: slices.Clone(f.hosts)}
	return ConsoleOptions{
		Hosts: f.hosts, Tried: f.tried, Demo: a.flags.demo, Config: a.config,
		SortBy: by, Desc: desc, HostThemes: a.byHost(f, func(c config.Connection) string { return c.Theme }),
		HostFrames: a.byHost(f, func(c config.Connection) string { return c.Frame }),
		Env:        a.consoleEnv(), Version: a.Version,
		Connect: func(uri string, names []string) (backend.Host, error) {
			taken := labels{}
			for _, n := range names {
				taken[n] = true
			}
			h, err := a.connect(a.entry(uri), taken)
			if err == nil {
				hosts.add(h)
			}
			return h, err
		},
		Queue:   newLazyQueue(func(ctx context.Context) (backend.Queue, error) { return a.openQueue(ctx, hosts.all) }),
		Backups: newLazyBackups(func(ctx context.Context) (backend.Backups, error) { return a.openBackups(ctx, hosts.all) }),
		Repos:   repos, HandOver: a.handOverTyped,
	}, nil
}

// namedRepos are the repositories that environment and config name, for the
// console's forms.
func (a *app) namedRepos() ([]backend.RepoRef, error) {
	var f repoFlags
	url, err := a.chosenRepo(&f)
	if err != nil || url == "" {
		return nil, err
	}
	home := a.Env("HOME")
	pass, err := wholePath(a.config.Backup.PassphraseFile, home)
	if err != nil {
		return nil, err
	}
	identity, err := wholePath(a.config.Backup.IdentityFile, home)
	return []backend.RepoRef{{URL: url, PassphraseFile: pass, IdentityFile: identity}}, err
}

// besideDemo is a demo that is started from a console that began with other
// hosts.
type besideDemo struct {
	app     *app
	hosts   []backend.Host
	queue   backend.Queue
	backups backend.Backups
}

// start makes the simulated fleet and its queue.
func (d *besideDemo) start() ([]backend.Host, backend.Queue) {
	hosts := d.app.demoHosts()
	d.hosts = hosts
	d.queue = newLazyQueue(func(ctx context.Context) (backend.Queue, error) {
		return d.app.Queue(ctx, QueueOptions{Config: d.app.config, Fleet: func() []backend.Host { return hosts }, Demo: true, Env: d.app.Env})
	})
	return d.hosts, d.queue
}

// keep makes the fleet's backups.
func (d *besideDemo) keep() backend.Backups {
	hosts := d.hosts
	d.backups = newLazyBackups(func(ctx context.Context) (backend.Backups, error) {
		return d.app.Backups(ctx, BackupsOptions{Config: d.app.config, Fleet: func() []backend.Host { return hosts }, Demo: true, OpenPlace: d.app.OpenPlace, Env: d.app.Env, UID: d.app.UID})
	})
	return d.backups
}

func (d *besideDemo) close() (err error) {
	if d.backups != nil {
		err = d.backups.Close()
	}
	if d.queue != nil {
		err = errors.Join(err, d.queue.Close())
	}
	return err
}

// atHand are the hosts of a console, which may become more.
type atHand struct {
	mu    sync.Mutex
	hosts []backend.Host
}

// add puts h first: one that was connected anew has the name of the one before.
func (a *atHand) add(h backend.Host) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hosts = append([]backend.Host{h}, a.hosts...)
}

func (a *atHand) all() []backend.Host {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.hosts)
}

// byHost maps hosts' names to what their connections say of them, where they
// say anything. Hosts stand in the order of the connections they were made from.
func (a *app) byHost(f *fleet, say func(config.Connection) string) map[string]string {
	out := map[string]string{}
	conns := a.chosen()
	for i, h := range f.hosts {
		if !a.flags.demo && i < len(conns) && say(conns[i]) != "" {
			out[h.Name()] = say(conns[i])
		}
	}
	return out
}

// consoleEnv tells package themes which glyphs the ascii setting chose.
func (a *app) consoleEnv() func(string) string {
	glyphs := map[string]string{"yes": "ascii", "no": "unicode"}[a.config.ASCII]
	if glyphs == "" {
		return a.Env
	}
	return func(name string) string {
		if name == "BERTH_GLYPHS" {
			return glyphs
		}
		return a.Env(name)
	}
}

// contextOrBackground is the command's context; completion may run without.
func contextOrBackground(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}
