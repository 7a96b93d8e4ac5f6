// Berth is a console for libvirt and KVM hosts.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	// First of all: it keeps Bubble Tea from asking the terminal anything.
	_ "berth/ui/background"

	"berth/backend"
	"berth/backend/demo"
	"berth/backend/host"
	"berth/backend/libvirt"
	"berth/backend/libvirt/dial"
	"berth/model"
	"berth/themes"
	"berth/ui/cli"
)

// version is set by the linker for releases: -ldflags "-X main.version=1.2.3".
var version string

func main() { os.Exit(run()) }

// run is main with its deferred calls done before the process ends.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return program().Run(ctx)
}

// program wires the command line to this process and to the backends.
func program() cli.Program {
	return cli.Program{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Env: os.Getenv, UID: os.Getuid(), Version: buildVersion(),
		Connect: connect, Local: local, Supported: dial.Supported, Demo: simulate, Console: console,
		DefaultTheme: themes.Default,
		Themes:       func(dir string) []string { return themes.Source{UserDir: dir}.Names() },
		Actions:      model.ActionIDs,
	}
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

// simulate makes the demo fleet.
func simulate(s cli.DemoSpec) []backend.Host {
	return demo.New(demo.Options{Seed: s.Seed, Hosts: s.Hosts, VMs: s.VMs, ReadOnly: s.ReadOnly}).Hosts()
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
