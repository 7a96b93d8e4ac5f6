package model

import (
	"context"
	"errors"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// showReach turns to the page that says why no host answers, and back to the
// list as soon as one does.
func (a *App) showReach() {
	switch {
	case a.Screen == ScreenVMs && a.Fleet.unreached():
		a.Screen = ScreenConnect
	case a.Screen == ScreenConnect && a.Fleet.anyConnected():
		a.Screen = ScreenVMs
		a.want()
	}
}

// Failures are the connections that were tried and why each failed.
func (a *App) Failures() []Attempt {
	out := append([]Attempt(nil), a.Attempts...)
	for _, s := range a.Fleet.hosts {
		if s.Err != nil {
			out = append(out, Attempt{URI: s.Host.URI(), Err: s.Err})
		}
	}
	return out
}

// retry tries all connections again.
func (a *App) retry() tea.Cmd {
	cmds := []tea.Cmd{a.Fleet.PollNow()}
	for _, t := range a.Attempts {
		cmds = append(cmds, a.tryURI(t.URI))
	}
	return tea.Batch(cmds...)
}

func (a *App) askURI() tea.Cmd {
	a.promptURI("qemu+ssh://")
	return nil
}

func (a *App) promptURI(value string) {
	a.Push(newPrompt("Connect to", "qemu:///system, qemu+ssh://user@host/system, qemu+tcp://host/system, …", value,
		func(a *App, uri string) tea.Cmd { return a.tryURI(uri) }))
}

// tryURI connects to one more host; it joins the fleet when it answers.
func (a *App) tryURI(uri string) tea.Cmd {
	switch {
	case a.opt.Connect == nil:
		return a.Warn("this berth cannot connect to hosts")
	case a.connecting[uri]:
		return a.Info("already connecting to " + uri)
	case a.hasURI(uri):
		return a.Warn(uri + " is connected already")
	}
	a.connecting[uri] = true
	connect, names, parent := a.opt.Connect, a.hostNames(), a.ctx
	return tea.Batch(a.Info("connecting to "+uri), func() tea.Msg {
		host, err := connect(uri, names)
		if err == nil {
			ctx, cancel := context.WithTimeout(parent, pollDeadline)
			defer cancel()
			if _, err = host.Poll(ctx); err != nil {
				err = errors.Join(err, host.Close())
			}
		}
		return result(func(a *App) tea.Cmd { return a.connected(uri, host, err) })
	})
}

func (a *App) connected(uri string, host backend.Host, err error) tea.Cmd {
	delete(a.connecting, uri)
	a.forgetAttempt(uri)
	if err != nil {
		a.Attempts = append(a.Attempts, Attempt{URI: uri, Err: err})
		if a.Screen == ScreenConnect && len(a.Overlays) == 0 {
			a.promptURI(uri) // so that a slip can be put right
		}
		return a.Bad(err.Error())
	}
	if a.hasURI(host.URI()) {
		return tea.Batch(a.Warn(host.URI()+" is connected already"), closeHost(host))
	}
	if a.Fleet.HostState(host.Name()) != nil { // another attempt took the name meanwhile
		return tea.Sequence(closeHost(host), func() tea.Msg { return result(func(a *App) tea.Cmd { return a.tryURI(uri) }) })
	}
	a.added = append(a.added, host)
	cmds := []tea.Cmd{a.Fleet.Add(host), a.OK("connected to " + host.Name())}
	if a.Screen == ScreenConnect {
		cmds = append(cmds, a.Go(ScreenVMs))
	}
	return tea.Batch(cmds...)
}

// hasURI reports whether the fleet has a host by that URI.
func (a *App) hasURI(uri string) bool {
	for _, s := range a.Fleet.hosts {
		if s.Host.URI() == uri {
			return true
		}
	}
	return false
}

// closeHost ends a connection that is not wanted; that it cannot be ended
// properly changes nothing.
func closeHost(h backend.Host) tea.Cmd {
	return func() tea.Msg {
		_ = h.Close()
		return nil
	}
}

func (a *App) forgetAttempt(uri string) {
	kept := a.Attempts[:0]
	for _, t := range a.Attempts {
		if t.URI != uri {
			kept = append(kept, t)
		}
	}
	a.Attempts = kept
}

// startDemo fills the fleet with simulated hosts.
func (a *App) startDemo() tea.Cmd {
	if a.opt.StartDemo == nil {
		return a.Warn("no demo is built in")
	}
	if a.Demo {
		return a.Go(ScreenVMs)
	}
	a.Demo, a.Attempts = true, nil
	hosts, q := a.opt.StartDemo()
	cmds := []tea.Cmd{a.Queue.replace(q)}
	if a.opt.DemoBackups != nil {
		a.demoBackups = a.opt.DemoBackups()
		cmds = append(cmds, a.Backups.replace(a.demoBackups))
	}
	for _, h := range hosts {
		if a.Fleet.HostState(h.Name()) != nil {
			continue
		}
		a.demoHosts[h.Name()] = true
		a.added = append(a.added, h)
		cmds = append(cmds, a.Fleet.Add(h))
	}
	return tea.Batch(append(cmds, a.Go(ScreenVMs))...)
}

// hostNames are the fleet's host names, for completion.
func (a *App) hostNames() []string {
	var out []string
	for _, s := range a.Fleet.hosts {
		out = append(out, s.Host.Name())
	}
	return out
}
