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
	// Env is the environment with the ascii setting applied.
	Env     func(string) string
	Version string

	// Connect makes a further host, named unlike those in names.
	Connect func(uri string, names []string) (backend.Host, error)
	// StartDemo makes the simulated fleet that the demo flags describe, and its queue.
	StartDemo func() ([]backend.Host, backend.Queue)
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
	defer func() { err = errors.Join(err, o.Queue.Close()) }()
	var demo backend.Queue
	start := o.StartDemo
	o.StartDemo = func() (hosts []backend.Host, q backend.Queue) { hosts, demo = start(); return hosts, demo }
	defer func() {
		if demo != nil {
			err = errors.Join(err, demo.Close())
		}
	}()
	return a.Console(cmd.Context(), o)
}

func (a *app) consoleOptions(f *fleet) (ConsoleOptions, error) {
	by, desc, err := parseSort(a.config.Sort)
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
		StartDemo: a.startDemo,
		Queue:     newLazyQueue(func(ctx context.Context) (backend.Queue, error) { return a.openQueue(ctx, hosts.all) }),
	}, nil
}

// startDemo makes the simulated fleet and its queue beside a console that began with others.
func (a *app) startDemo() ([]backend.Host, backend.Queue) {
	hosts := a.demoHosts()
	return hosts, newLazyQueue(func(ctx context.Context) (backend.Queue, error) {
		return a.Queue(ctx, QueueOptions{Config: a.config, Fleet: func() []backend.Host { return hosts }, Demo: true, Env: a.Env})
	})
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
