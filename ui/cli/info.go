package cli

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model/config"
)

func (a *app) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "Print every path and setting in force, and where it comes from",
		Args:  withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.load(cmd); err != nil {
				return err
			}
			return a.printInfo()
		},
	}
}

func (a *app) printInfo() error {
	w := tabwriter.NewWriter(a.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "berth\t%s\t%s %s/%s\n", a.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	a.infoPaths(w)
	fmt.Fprintln(w, "\nsetting\tvalue\torigin")
	for _, s := range config.AllSettings() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, shown(s.Show(&a.config.Settings)), a.config.Origin(s.Name))
	}
	fmt.Fprintf(w, "filter\t%s\t%s\n", shown(a.config.Filter), a.config.Origin("filter"))
	a.infoConnections(w)
	a.infoProblems(w)
	if a.Supported != nil {
		fmt.Fprintln(w, "\nsupported URIs")
		for _, form := range a.Supported() {
			fmt.Fprintf(w, "%s\n", form)
		}
	}
	return w.Flush()
}

func (a *app) infoPaths(w io.Writer) {
	p := a.config.Paths
	fmt.Fprintln(w, "\npath\tfile\tthere")
	user := p.ConfigFile
	if a.flags.config != "" {
		user = a.flags.config
	}
	for _, row := range [][2]string{
		{"config", user}, {"system config", p.SystemFile}, {"themes", p.ThemesDir},
		{"state", p.StateDir}, {"saved view", p.StateFile}, {"audit trail", p.AuditFile},
	} {
		fmt.Fprintf(w, "%s\t%s\t%s\n", row[0], shown(row[1]), there(row[1]))
	}
}

// infoConnections lists what berth would connect to, and why.
func (a *app) infoConnections(w io.Writer) {
	fmt.Fprintln(w, "\nconnection\tname\taccess\ttheme\tframe\torigin")
	if a.flags.demo {
		fmt.Fprintf(w, "demo\tseed %d, %d hosts, %d VMs\t%s\t-\t-\t--demo\n", a.flags.demoSeed, a.flags.demoHosts, a.flags.demoVMs, access(a.config.ReadOnly))
		return
	}
	conns, origin := a.chosen(), "LIBVIRT_DEFAULT_URI"
	switch {
	case len(a.flags.connect) > 0:
		origin = "--connect"
	case len(a.config.Connections) > 0:
		origin = a.config.Origin("connections")
	case len(conns) == 0:
		origin = "default; the first that answers"
		for _, uri := range defaultURIs {
			conns = append(conns, config.Connection{URI: uri})
		}
	}
	for _, c := range conns {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", backend.Clean(c.URI), shown(c.Name), access(a.readOnly(c)), shown(c.Theme), shown(c.Frame), origin)
	}
}

// infoProblems tells what is wrong with the user's themes: one that cannot be
// read is only noticed when it is chosen.
func (a *app) infoProblems(w io.Writer) {
	if a.ThemeProblems == nil {
		return
	}
	problems := a.ThemeProblems(a.config.Paths.ThemesDir)
	if len(problems) > 0 {
		fmt.Fprintln(w, "\nthemes that cannot be used")
	}
	for _, err := range problems {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintln(w, backend.Clean(line))
		}
	}
}

func access(readOnly bool) string {
	if readOnly {
		return "read-only"
	}
	return "read-write"
}

func shown(s string) string {
	if s == "" {
		return "-"
	}
	return backend.Clean(strings.TrimSpace(s))
}

func there(path string) string {
	if path == "" {
		return "neither HOME nor XDG variables are set"
	}
	if _, err := os.Stat(path); err != nil {
		return "no"
	}
	return "yes"
}
