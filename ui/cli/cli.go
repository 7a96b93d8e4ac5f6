// Package cli is berth's command line: flags, the commands for scripts, and
// the exit codes. It opens no screen itself: the console is given to it, as
// are the constructors of hosts, so that tests can give others.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model/config"
)

// The exit codes, for all commands.
const (
	ExitOK     = 0 // everything asked for was done
	ExitFailed = 1 // something was not; stderr says what and why
	ExitUsage  = 2 // the command line or the configuration is wrong; nothing was done
	// A command that a signal ended exits with 128 and the signal's number, as
	// shells have it: 130 for ^C, 143 for SIGTERM.
)

// HostSpec says which host to make.
type HostSpec struct {
	Name     string // its label; empty: from the URI
	URI      string
	ReadOnly bool
}

// DemoSpec says which simulated fleet to make.
type DemoSpec struct {
	Seed     uint64
	Hosts    int
	VMs      int
	ReadOnly bool
}

// Program is one run of berth: what it was given and what it may use.
type Program struct {
	Args    []string // without the program's name
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Env     func(string) string
	UID     int
	Version string

	// Connect makes a host without I/O. Its error, for a URI that is not
	// supported, wraps backend.ErrURI and says which are.
	Connect func(HostSpec) (backend.Host, error)
	// Local reports whether a URI names a daemon on this machine.
	Local func(uri string) bool
	// Supported lists the forms of URI, for help texts.
	Supported func() []string
	// Demo makes a simulated fleet.
	Demo func(DemoSpec) []backend.Host
	// Queue opens the queue: OpenQueue, or the demo's. Its error says what to do
	// when that cannot be.
	Queue func(context.Context, QueueOptions) (backend.Queue, error)
	// Backups opens the backups: OpenBackups, or the demo's. Its error says what
	// to do when that cannot be.
	Backups func(context.Context, BackupsOptions) (backend.Backups, error)
	// OpenPlace opens the place of a repository: PlaceOpener's, in the program.
	OpenPlace OpenPlaceFunc
	// Engine runs the engine until it is idle or ctx ends: RunEngine. When
	// another engine runs, it returns at once, or, never being idle, waits until
	// that has ended.
	Engine func(context.Context, EngineOptions) error
	// Console opens the screen and returns when the person leaves it.
	Console func(context.Context, ConsoleOptions) error
	// DefaultTheme is the theme when nothing names one.
	DefaultTheme string
	// Themes lists the names of all themes, with the user's own from dir.
	Themes func(dir string) []string
	// ThemeProblems says what is wrong with the themes there are, with the
	// user's own from dir; nil when each can be used.
	ThemeProblems func(dir string) []error
	// Frame says what is wrong with the look of a host's frame, or nil.
	Frame func(spec string) error
	// Actions lists the IDs of the console's actions, for the key map.
	Actions func() []string
}

// Run carries out the command line and returns the exit code. It never exits
// the process itself.
func (p Program) Run(ctx context.Context) int {
	a := &app{Program: p}
	root := a.rootCommand()
	root.SetArgs(append([]string{}, p.Args...)) // not nil: cobra would take os.Args
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	return a.exit(root.ExecuteContextC(ctx))
}

// app is one run: the program, its flags, and what was loaded for them.
type app struct {
	Program
	flags  globalFlags
	config *config.Config
}

// errReported means that stderr already says what failed.
var errReported = errors.New("failed")

// exit prints err, which cmd ended with, unless that was done, and returns the
// code for it.
func (a *app) exit(cmd *cobra.Command, err error) int {
	if err == nil {
		return ExitOK
	}
	signal := interruption(cmd.Context())
	reported := errors.Is(err, errReported)
	if signal != nil && !reported && !errors.Is(err, signal) {
		err = signal // what a call says whose context ended helps nobody
	}
	if !reported {
		a.complain(err)
	}
	var ue *usageError
	var fe *config.FileError
	switch {
	case signal != nil:
		return signal.ExitCode()
	case errors.As(err, &ue):
		if ue.hint == "" {
			ue.hint = helpHint(cmd)
		}
		fmt.Fprintln(a.Stderr, ue.hint)
		return ExitUsage
	case errors.Is(err, backend.ErrURI), errors.As(err, &fe):
		return ExitUsage
	}
	return ExitFailed
}

// complain writes one error to stderr, cleaned, since parts of it may come
// from a guest or a daemon.
func (a *app) complain(err error) {
	for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
		fmt.Fprintln(a.Stderr, "berth: "+backend.Clean(line))
	}
}

// isTerminal reports whether stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}
