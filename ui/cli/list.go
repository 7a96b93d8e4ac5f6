package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
	"berth/model/config"
)

// vmCommand groups what can be done to VMs without the screen.
func (a *app) vmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vm",
		Short: "List, show and control VMs without the screen",
		Args:  withUsage(noSuchCommand),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		PersistentPreRun: endOnInterrupt,
	}
	cmd.AddCommand(a.listCommand(), a.showCommand())
	for _, v := range verbCommands() {
		cmd.AddCommand(a.verbCommand(v))
	}
	return cmd
}

// listFlags are those of berth vm list.
type listFlags struct {
	output  string
	filter  string
	sort    string
	columns []string
	desc    bool
}

var listFormats = []string{"table", "json", "csv", "name"}

func (a *app) listCommand() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List VMs, running or not",
		Long: "List the VMs of all hosts, running or not.\n\n" +
			"CPU% is of one core, as in top; CPU/V% of the VM's own vCPUs. MEM is what the\n" +
			"guest uses of what it may have; ~ before it: what its QEMU holds on the host,\n" +
			"which may be more, because the guest itself does not tell. Rates are\n" +
			"measured over " + rateSpan.String() + ", so a list with rates takes that long; -o name, or\n" +
			"--columns without rates, answers at once.\n\n" +
			"Filter terms all have to hold: web  !web  /^web[0-9]+$/  state:running\n" +
			"name:web*  tag:prod  host:hv1  cpu>50  mem>=80%  mem>2G  uptime<1h\n\n" + recordHelp,
		Example: "  berth vm list --filter 'state:running cpu>50' --sort cpu\n" +
			"  berth vm list -o json | jq -r '.[] | select(.stuck_s != null) | .name'\n" +
			"  berth vm list --columns name,state,uptime --sort name:desc",
		Args: withUsage(noArguments("choose some with --filter, or one with berth vm show")),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runList(cmd, &f) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVarP(&f.output, "output", "o", "table", "`FORMAT`: table, json, csv or name")
	cmd.Flags().StringVar(&f.filter, "filter", "", "only VMs for which `EXPR` holds")
	cmd.Flags().StringVar(&f.sort, "sort", "", "order by `COL`; COL:asc and COL:desc give the direction")
	cmd.Flags().BoolVar(&f.desc, "desc", false, "largest first, as figures are anyway")
	cmd.Flags().StringSliceVar(&f.columns, "columns", nil, "column `IDS` for table and csv: "+strings.Join(model.ColumnIDs(), ","))
	a.completeListFlags(cmd)
	return cmd
}

// listPlan is what the flags of berth vm list come to.
type listPlan struct {
	format  string
	filter  model.Filter
	by      string
	desc    bool
	columns []model.Column
	chosen  bool // columns were named, so none is dropped for width
}

func (a *app) planList(f *listFlags) (listPlan, error) {
	p := listPlan{format: f.output}
	if !slices.Contains(listFormats, f.output) {
		return p, fmt.Errorf("-o %q: use table, json, csv or name", f.output)
	}
	if len(f.columns) > 0 && (f.output == "json" || f.output == "name") {
		return p, fmt.Errorf("--columns is for -o table and csv")
	}
	var err error
	if p.filter, err = model.ParseFilter(f.filter); err != nil {
		return p, err
	}
	order := f.sort
	if order == "" {
		order = "name"
	}
	if p.by, p.desc, err = parseSort(order); err != nil {
		return p, fmt.Errorf("--sort: %w", err)
	}
	p.desc = p.desc || f.desc
	return p, p.choose(f.columns, a.config.Columns)
}

// choose takes the columns of the flag, else of the config.
func (p *listPlan) choose(flag, configured []string) error {
	ids := flag
	p.chosen = len(flag) > 0
	if !p.chosen {
		ids = configured
	}
	for _, id := range ids {
		col, ok := model.ColumnByID(id)
		if !ok {
			text := fmt.Sprintf("--columns: there is no column %q", id)
			if near := config.Nearest(id, model.ColumnIDs()); near != "" {
				text += fmt.Sprintf("; did you mean %q?", near)
			}
			return fmt.Errorf("%s (columns: %s)", text, strings.Join(model.ColumnIDs(), " "))
		}
		p.columns = append(p.columns, col)
	}
	return nil
}

// depth is the least that answers the question.
func (p *listPlan) depth() depth {
	d := max(columnDepth(p.by), filterDepth(p.filter))
	switch {
	case p.format == "json", p.format == "csv" && !p.chosen:
		return depthRates
	case p.format == "name":
		return d
	}
	for _, c := range p.columns {
		d = max(d, columnDepth(c.ID))
	}
	return d
}

// columnDepth says what must be known to fill a column.
func columnDepth(id string) depth {
	switch id {
	case "cpu", "cpu_own", "disk_read", "disk_write", "disk_ops", "net_rx", "net_tx":
		return depthRates
	case "name", "state", "host", "uuid", "id", "reason", "persistent", "autostart":
		return depthState
	}
	return depthFacts
}

// filterDepth says what must be known to decide a filter. Its keys are called
// like the columns; a term without key also looks at titles and addresses.
func filterDepth(f model.Filter) depth {
	d := depthState
	for _, key := range f.Keys() {
		if key == "saved" {
			continue
		}
		d = max(d, columnDepth(key))
	}
	return d
}

func (a *app) runList(cmd *cobra.Command, f *listFlags) (err error) {
	if err := a.load(cmd); err != nil {
		return err
	}
	plan, err := a.planList(f)
	if err != nil {
		return &usageError{err: err}
	}
	fl, err := a.openFleet(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { err = closeAll(err, fl) }()
	if err := a.needHosts(fl); err != nil {
		return errors.Join(err, a.printNothing(plan))
	}
	answers := gather(cmd.Context(), fl.hosts, plan.depth())
	if err := interrupted(cmd.Context()); err != nil {
		return err
	}
	rows, failed := a.collect(answers)
	if plan.needsQueue() {
		a.noteJobs(cmd.Context(), rows)
	}
	if plan.needsBackups() {
		a.noteBackups(cmd.Context(), rows)
	}
	if nobodyAnswered(answers) {
		return errors.Join(errReported, a.printNothing(plan))
	}
	rows = slices.DeleteFunc(rows, func(r *model.Row) bool { return !plan.filter.Match(r) })
	model.SortRows(rows, plan.by, plan.desc)
	if err := a.print(plan, rows, time.Now()); err != nil {
		return err
	}
	if failed {
		return errReported
	}
	return nil
}

// collect joins what hosts told and reports those that failed.
func (a *app) collect(answers []gathered) (rows []*model.Row, failed bool) {
	for _, g := range answers {
		if g.err != nil {
			a.complain(hostError(g))
			failed = true
		}
		rows = append(rows, g.rows...)
	}
	return rows, failed
}

func nobodyAnswered(answers []gathered) bool {
	return !slices.ContainsFunc(answers, func(g gathered) bool { return g.err == nil })
}

// hostError names the host, what went wrong and what to do, each once: of
// errors within errors the innermost, which is nearest to the cause. One that
// names only the host gets its URI too.
func hostError(g gathered) error {
	var op *backend.OpError
	if !errors.As(g.err, &op) {
		return fmt.Errorf("%s: %w", g.host.Name(), g.err)
	}
	for inner := op; errors.As(inner.Err, &inner); {
		op = inner
	}
	if op.Target != g.host.Name() {
		return op
	}
	named := *op
	named.Target = fmt.Sprintf("%s (%s)", g.host.Name(), g.host.URI())
	return &named
}

// closeAll closes the hosts at a command's end; their errors matter only when
// nothing else went wrong.
func closeAll(err error, f *fleet) error {
	if cerr := f.close(); err == nil {
		return cerr
	}
	return err
}
