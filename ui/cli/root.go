package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/queue"
	"berth/model"
	"berth/model/config"
)

// globalFlags are those that every command takes.
type globalFlags struct {
	connect   []string
	demo      bool
	demoSeed  uint64
	demoHosts int
	demoVMs   int
	readOnly  bool
	write     bool
	refresh   string
	theme     string
	color     string
	config    string
}

// The bounds of --demo-hosts and --demo-vms.
const (
	maxDemoHosts = 64
	maxDemoVMs   = 10000
)

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "berth",
		Short: "A console for libvirt and KVM hosts",
		Long: "berth shows the VMs of one or many libvirt hosts, live, and carries out what\n" +
			"you want done to them. Without a command it opens its screen.",
		Example: "  berth                                      the VMs of this machine\n" +
			"  berth -c qemu+ssh://root@hv2/system        those of another\n" +
			"  berth --demo                               a simulated fleet, to look around\n" +
			"  berth vm list -o json --filter 'cpu>50'    for scripts",
		Args:              withUsage(noSuchCommand),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE:              a.runRoot,
	}
	root.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help"})
	root.SetFlagErrorFunc(flagError)
	a.addGlobalFlags(root)
	root.AddCommand(a.vmCommand(), a.infoCommand(), a.queueCommand(), a.backupCommand(), a.imageCommand(), a.poolCommand(), a.engineCommand(), a.completionCommand())
	return root
}

// runRoot opens the console, or prints the version. Cobra's own way to say that
// in other words needs text/template, with which the linker can leave out no
// method of any type: the program would be 3 MB larger.
func (a *app) runRoot(cmd *cobra.Command, args []string) error {
	if v, err := cmd.Flags().GetBool("version"); err != nil || !v {
		return errors.Join(err, a.runConsole(cmd, args))
	}
	_, err := fmt.Fprintf(a.Stdout, "berth %s\n", a.Version)
	return err
}

func (a *app) addGlobalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringArrayVarP(&a.flags.connect, "connect", "c", nil, "connect to `URI`, or to the config's connection of that name; may be given several times")
	f.BoolVar(&a.flags.demo, "demo", false, "a simulated fleet instead of real hosts")
	f.Uint64Var(&a.flags.demoSeed, "demo-seed", 1, "the same `N` gives the same story")
	f.IntVar(&a.flags.demoHosts, "demo-hosts", 3, "number of simulated hosts")
	f.IntVar(&a.flags.demoVMs, "demo-vms", 24, "number of simulated VMs beside those of the queue, up to 10000")
	f.BoolVarP(&a.flags.readOnly, "readonly", "r", false, "refuse everything that changes something")
	f.BoolVar(&a.flags.write, "write", false, "allow changes though the config says readonly")
	f.StringVar(&a.flags.refresh, "refresh", "1s", "`TIME` between polls, at least 200ms")
	f.StringVar(&a.flags.theme, "theme", "", "`NAME` of the theme")
	f.StringVar(&a.flags.color, "color", "auto", "colours: `WHEN` is auto, never, 16, 256 or true")
	f.StringVar(&a.flags.config, "config", "", "read `FILE` instead of your own config file")
	root.Flags().BoolP("version", "", false, "print the version")
	a.completeGlobalFlags(root)
}

// load reads the configuration and applies the flags to it.
func (a *app) load(cmd *cobra.Command) error {
	if a.config != nil {
		return nil
	}
	if a.flags.readOnly && a.flags.write {
		return usagef("", "--readonly and --write exclude one another")
	}
	if err := a.checkDemoFlags(); err != nil {
		return err
	}
	paths := config.NewPaths(a.Env, a.UID)
	c, err := config.Load(config.Options{Paths: paths, File: a.flags.config, Env: a.Env, Known: a.known(paths)})
	if err != nil {
		return err
	}
	if err := a.applyFlags(cmd, c); err != nil {
		return &usageError{err: err}
	}
	fillDefaults(c, a.DefaultTheme)
	a.config = c
	if cmd.HasParent() { // the console shows them itself
		for _, w := range c.Warnings {
			a.complain(w)
		}
	}
	return nil
}

// fillDefaults names the defaults that belong to other packages, so that info
// tells them too.
func fillDefaults(c *config.Config, theme string) {
	if c.Theme == "" {
		c.Theme = theme
	}
	if len(c.Columns) == 0 {
		c.Columns = model.DefaultColumnIDs()
	}
	p, own := &c.Queue.Policy, queue.Default().Words()
	p.Order, p.Backfill, p.Placement = cmp.Or(p.Order, own.Order), cmp.Or(p.Backfill, own.Backfill), cmp.Or(p.Placement, own.Placement)
}

func (a *app) known(paths config.Paths) config.Known {
	k := config.Known{Columns: model.ColumnIDs(), Actions: a.Actions, URI: a.checkURI, Frame: a.Frame,
		Orders: texts(queue.Orders()), Backfills: texts(queue.Backfills()), Placements: texts(queue.Placements())}
	if a.Themes != nil {
		k.Themes = func() []string { return a.Themes(paths.ThemesDir) }
	}
	return k
}

// texts are words of another type as plain strings.
func texts[T ~string](words []T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}

// checkURI makes a host, which does no I/O, only to hear whether its URI is
// one that berth supports.
func (a *app) checkURI(uri string) error {
	h, err := a.Connect(HostSpec{URI: uri})
	if err != nil {
		return err
	}
	return h.Close()
}

// applyFlags overrides settings with the flags that were given.
func (a *app) applyFlags(cmd *cobra.Command, c *config.Config) error {
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	for name, value := range map[string]string{"refresh": a.flags.refresh, "theme": a.flags.theme, "color": a.flags.color} {
		if !given(name) {
			continue
		}
		if err := c.Set(name, value, "--"+name); err != nil {
			return err
		}
	}
	if a.flags.readOnly {
		return c.Set("readonly", "true", "--readonly")
	}
	if a.flags.write {
		return c.Set("readonly", "false", "--write")
	}
	return nil
}

func (a *app) checkDemoFlags() error {
	f := &a.flags
	switch {
	case f.demo && len(f.connect) > 0:
		return usagef("", "--demo and --connect exclude one another")
	case f.demoHosts < 1 || f.demoHosts > maxDemoHosts:
		return usagef("", "--demo-hosts %d: use 1 to %d", f.demoHosts, maxDemoHosts)
	case f.demoVMs < 1 || f.demoVMs > maxDemoVMs:
		return usagef("", "--demo-vms %d: use 1 to %d", f.demoVMs, maxDemoVMs)
	}
	return nil
}

// parseSort reads "cpu", "cpu:asc" or "cpu:desc". Without a direction it is
// the column's own.
func parseSort(s string) (by string, desc bool, err error) {
	by, direction, has := strings.Cut(s, ":")
	col, ok := model.ColumnByID(by)
	if !ok {
		text := fmt.Sprintf("there is no column %q", by)
		if near := config.Nearest(by, model.ColumnIDs()); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		return "", false, fmt.Errorf("%s (columns: %s)", text, strings.Join(model.ColumnIDs(), " "))
	}
	if !has {
		return by, col.Descending, nil
	}
	if direction != "asc" && direction != "desc" {
		return "", false, fmt.Errorf("sort direction %q: use asc or desc", direction)
	}
	return by, direction == "desc", nil
}

// since is a figure's age in seconds, never negative.
func since(now, at time.Time) float64 { return max(0, now.Sub(at).Seconds()) }
