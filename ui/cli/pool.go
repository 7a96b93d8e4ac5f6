package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

// poolCommand groups what can be done to storage pools without the screen.
func (a *app) poolCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pool",
		Short: "List, start, stop, refresh and make storage pools",
		Long: "List, start, stop, refresh and make storage pools of the chosen hosts. POOL is a\n" +
			"pool's name, with its host before it where several have it: hv1/default.",
		Args:             withUsage(noSuchCommand),
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: endOnInterrupt,
	}
	cmd.AddCommand(a.poolListCommand(), a.poolDefineCommand())
	for _, s := range poolVerbs() {
		cmd.AddCommand(a.poolVerbCommand(s))
	}
	return cmd
}

var poolListFormats = []string{"table", "json", "yaml", "name"}

// poolRecord is one pool in JSON and YAML; its keys are a promise, as
// imageRecord's.
type poolRecord struct {
	Host       string   `json:"host"`
	Name       string   `json:"name"`
	UUID       string   `json:"uuid"`
	Type       string   `json:"type"`
	Path       string   `json:"path"`
	Active     bool     `json:"active"`
	Autostart  bool     `json:"autostart"`
	Capacity   *float64 `json:"capacity_bytes"`
	Allocation *float64 `json:"allocation_bytes"`
	Available  *float64 `json:"available_bytes"`
	Volumes    int      `json:"volumes"`
	Trouble    string   `json:"trouble"`
}

func newPoolRecord(p *backend.Pool) poolRecord {
	r := poolRecord{Host: backend.Clean(p.Host), Name: backend.Clean(p.Name), UUID: p.UUID.String(), Type: backend.Clean(p.Type), Path: backend.Clean(p.Path),
		Active: p.Active, Autostart: p.Autostart, Volumes: p.Volumes, Trouble: backend.Clean(p.Trouble)}
	if p.Active {
		r.Capacity, r.Allocation, r.Available = rounded(float64(p.Capacity), 0), rounded(float64(p.Allocation), 0), rounded(float64(p.Available), 0)
	}
	return r
}

var poolColumns = []cellColumn[poolRecord]{
	{"HOST", 0, false, func(r *poolRecord, _ time.Time) string { return r.Host }},
	{"POOL", 0, false, func(r *poolRecord, _ time.Time) string { return r.Name }},
	{"ST", 0, false, func(r *poolRecord, _ time.Time) string {
		return map[bool]string{true: "active", false: "inactive"}[r.Active]
	}},
	{"AUTO", 4, false, func(r *poolRecord, _ time.Time) string { return map[bool]string{true: "yes", false: "no"}[r.Autostart] }},
	{"TYPE", 3, false, func(r *poolRecord, _ time.Time) string { return r.Type }},
	{"VOLUMES", 2, true, func(r *poolRecord, _ time.Time) string { return countOrNone(r.Volumes) }},
	{"SIZE", 1, true, func(r *poolRecord, _ time.Time) string { return bytesOrNone(r.Capacity) }},
	{"FREE", 1, true, func(r *poolRecord, _ time.Time) string { return bytesOrNone(r.Available) }},
	{"PATH", 2, false, func(r *poolRecord, _ time.Time) string { return r.Path }},
	{"TROUBLE", 3, false, func(r *poolRecord, _ time.Time) string { return firstLine(r.Trouble) }},
}

func (a *app) poolListCommand() *cobra.Command {
	output := "table"
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List storage pools",
		Long: "List the storage pools of the chosen hosts.\n\n" +
			"JSON is a list of objects: host name uuid type path active autostart\n" +
			"capacity_bytes allocation_bytes available_bytes (null while it does not run)\n" +
			"volumes trouble.",
		Args: withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(output, poolListFormats...); err != nil {
				return err
			}
			return a.withHosts(cmd, func(f *fleet) error {
				pools, failed := pools(cmd.Context(), a, f)
				records := make([]poolRecord, len(pools))
				for i := range pools {
					records[i] = newPoolRecord(&pools[i])
				}
				if err := a.printPools(output, records, len(f.hosts) > 1); err != nil {
					return err
				}
				return failedIf(failed)
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`FORMAT`: table, json, yaml or name")
	completeFlag(cmd, "output", fixed(poolListFormats...))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

// pools are those of all hosts, by host and name.
func pools(ctx context.Context, a *app, f *fleet) ([]backend.Pool, bool) {
	list, failed := fromStorage(ctx, a, f, func(ctx context.Context, s backend.Storage) ([]backend.Pool, error) { return s.Pools(ctx) })
	slices.SortStableFunc(list, func(x, y backend.Pool) int {
		return cmp.Or(strings.Compare(x.Host, y.Host), strings.Compare(x.Name, y.Name))
	})
	return list, failed
}

func (a *app) printPools(format string, records []poolRecord, hosts bool) error {
	switch format {
	case "json":
		return encodeJSON(a.Stdout, records)
	case "yaml":
		return encodeYAML(a, records)
	case "name":
		for _, r := range records {
			name := r.Name
			if hosts {
				name = r.Host + "/" + name
			}
			if _, err := fmt.Fprintln(a.Stdout, name); err != nil {
				return err
			}
		}
		return nil
	}
	columns := poolColumns
	if !hosts {
		columns = columns[1:]
	}
	return printCells(a, a.Stdout, columns, records, time.Now())
}

// poolVerb is one `berth pool WORD POOL...` command.
type poolVerb struct {
	name, short, done string
	verb              backend.PoolVerb
	undo              backend.PoolVerb // with --disable; empty: there is no such flag
	undone            string
	want              func(*backend.Pool) bool
}

func poolVerbs() []poolVerb {
	active := func(p *backend.Pool) bool { return p.Active }
	return []poolVerb{
		{name: "start", short: "Start pools", done: "started", verb: backend.PoolStart, want: func(p *backend.Pool) bool { return !p.Active }},
		{name: "stop", short: "Stop pools; nothing is deleted", done: "stopped", verb: backend.PoolDestroy, want: active},
		{name: "refresh", short: "Look for volumes that came or went behind libvirt's back", done: "refreshed", verb: backend.PoolRefresh, want: active},
		{name: "autostart", short: "Start pools with their host, or no longer", done: "autostart on", verb: backend.PoolAutostartOn,
			undo: backend.PoolAutostartOff, undone: "autostart off", want: func(*backend.Pool) bool { return true }},
		{name: "undefine", short: "Forget stopped pools; their images stay", done: "forgotten", verb: backend.PoolUndefine, want: func(p *backend.Pool) bool { return !p.Active }},
	}
}

func (a *app) poolVerbCommand(s poolVerb) *cobra.Command {
	undo := false
	cmd := &cobra.Command{
		Use:   s.name + " POOL...",
		Short: s.short,
		Long:  s.short + ".\n\nPOOL is a pool's name, or HOST/NAME. Those that fail are named, and the others are\ndone all the same.",
		Args:  someFiles("POOL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			verb, done := s.verb, s.done
			if undo {
				verb, done = s.undo, s.undone
			}
			return a.changePools(cmd, args, verb, done)
		},
	}
	if s.undo != "" {
		cmd.Flags().BoolVar(&undo, "disable", false, "no longer")
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.poolCompletions(cmd, args, s.want)
	}
	return cmd
}

func (a *app) changePools(cmd *cobra.Command, args []string, verb backend.PoolVerb, done string) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	if err := a.mayChange(); err != nil {
		return err
	}
	w := &imageWork{app: a, verb: "pool-" + string(verb)}
	return a.withHosts(cmd, func(f *fleet) error {
		list, failed := pools(cmd.Context(), a, f)
		for _, arg := range args {
			p, err := findPool(list, arg)
			if err == nil {
				err = doPool(cmd.Context(), f, p, verb)
				w.note(p.Host, p.Name, err)
			}
			if err != nil {
				a.complain(fmt.Errorf("%s: %w", backend.Clean(arg), err))
				failed = true
				continue
			}
			if err := w.say(arg, "%s", done); err != nil {
				return err
			}
		}
		return failedIf(failed)
	})
}

func doPool(ctx context.Context, f *fleet, p *backend.Pool, verb backend.PoolVerb) error {
	i := slices.IndexFunc(f.hosts, func(h backend.Host) bool { return h.Name() == p.Host })
	if i < 0 {
		return fmt.Errorf("there is no host %q", backend.Clean(p.Host))
	}
	if f.hosts[i].ReadOnly() {
		return fmt.Errorf("%w: %s was opened without permission to change anything", backend.ErrReadOnly, backend.Clean(p.Host))
	}
	s, err := storageOf(f.hosts[i])
	if err != nil {
		return err
	}
	return s.PoolDo(ctx, p.Name, verb)
}

// findPool finds the pool that an argument names.
func findPool(list []backend.Pool, arg string) (*backend.Pool, error) {
	var found []*backend.Pool
	for i := range list {
		if p := &list[i]; p.Name == arg || p.Host+"/"+p.Name == arg {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("%w: no such pool; berth pool list shows what there is", backend.ErrNoStorage)
	}
	var names []string
	for _, p := range found {
		names = append(names, backend.Clean(p.Host+"/"+p.Name))
	}
	return nil, fmt.Errorf("%w: say which of %s", backend.ErrAmbiguous, strings.Join(names, ", "))
}

func (a *app) poolDefineCommand() *cobra.Command {
	spec := backend.PoolSpec{Autostart: true}
	cmd := &cobra.Command{
		Use:   "define NAME FOLDER",
		Short: "Make a pool of a folder, build that, start it",
		Long: "Make a pool of type dir of a folder on the host that -c names, make the folder where\n" +
			"there is none, and start the pool, now and with the host.",
		Example: "  berth pool define fast /srv/nvme/images -c qemu+ssh://hv2/system",
		Args:    fromTo("NAME and FOLDER", 2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec.Name, spec.Path = args[0], args[1]
			wrong := error(nil)
			if !filepath.IsAbs(spec.Path) {
				wrong = usagef("", "%q: give an absolute path, it is the host's", spec.Path)
			}
			return a.definePool(cmd, spec, wrong)
		},
	}
	cmd.Flags().BoolVar(&spec.Autostart, "autostart", true, "start it with the host; --autostart=false: do not")
	return cmd
}

func (a *app) definePool(cmd *cobra.Command, spec backend.PoolSpec, wrong error) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	if err := errors.Join(a.mayChange(), wrong); err != nil {
		return err
	}
	w := &imageWork{app: a, verb: "pool-define"}
	return w.onHost(cmd, spec.Name, spec.Name+" "+spec.Path, "made and started", func(ctx context.Context, s backend.Storage) error { return s.DefinePool(ctx, spec) })
}

// completePools offers the names of pools.
func (a *app) completePools(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.poolCompletions(cmd, args, func(*backend.Pool) bool { return true })
}

func (a *app) poolCompletions(cmd *cobra.Command, taken []string, want func(*backend.Pool) bool) ([]string, cobra.ShellCompDirective) {
	if err := a.load(cmd); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(contextOrBackground(cmd), completionDeadline)
	defer cancel()
	f, err := a.openFleet(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, h := range f.hosts {
		s, ok := h.(backend.Storage)
		if !ok {
			continue
		}
		list, err := s.Pools(ctx)
		if err != nil {
			continue // nobody at a prompt wants to read why
		}
		for i := range list {
			if p := &list[i]; want(p) && !slices.Contains(taken, p.Name) {
				out = append(out, backend.Clean(p.Name)+"\t"+backend.Clean(p.Type)+" on "+backend.Clean(h.Name())+", "+model.Bytes(float64(p.Available))+" free")
			}
		}
	}
	if err := f.close(); err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
	return out, noFiles
}
