package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/backend"
	"berth/backend/audit"
	"berth/model"
)

// verbSpec is one `berth vm VERB` command.
type verbSpec struct {
	name  string
	short string
	long  string
	verb  backend.Verb
	flags []verbFlag // choose another verb
	// wait is the state that --wait waits for; nil when the verb has none.
	wait    func(backend.State) bool
	waiting bool // --wait is the default
	timeout time.Duration
	// ignored says what a guest that does not follow in time means.
	ignored string
}

// verbFlag is a flag that turns a command's verb into a sister of it.
type verbFlag struct {
	name, help string
	verb       backend.Verb
	alias      string // another name for it, which works but is not listed
}

const (
	actDeadline  = time.Minute
	saveDeadline = 15 * time.Minute // a big guest's memory goes to disk
)

func isRunning(s backend.State) bool { return s == backend.Running || s == backend.Blocked }
func isOff(s backend.State) bool     { return !s.Active() }
func isPaused(s backend.State) bool  { return s == backend.Paused }

func verbCommands() []verbSpec {
	return []verbSpec{
		{name: "start", short: "Start VMs; from their saved state if there is one", verb: backend.VerbStart, wait: isRunning, timeout: actDeadline,
			flags: []verbFlag{{name: "paused", help: "leave the guest paused", verb: backend.VerbStartPaused},
				{name: "fresh", help: "throw a saved state away and boot", verb: backend.VerbStartFresh}}},
		{name: "shutdown", short: "Ask guests to power off, and wait until they have", verb: backend.VerbShutdown, wait: isOff, waiting: true, timeout: actDeadline,
			long:    "The guest is asked through its agent if one is connected, else by ACPI, and may\nignore it; so this waits until the VM is off, or fails after --timeout. With\n--wait=false it returns once the guest has been asked, as virsh does.",
			ignored: "the guest ignored it; berth vm destroy would force it off",
			flags: []verbFlag{{name: "acpi", help: "press the power button", verb: backend.VerbShutdownACPI},
				{name: "agent", help: "ask the guest agent", verb: backend.VerbShutdownAgent}}},
		{name: "reboot", short: "Ask guests to reboot", verb: backend.VerbReboot, timeout: actDeadline},
		{name: "reset", short: "Press the reset button: unwritten data is lost", verb: backend.VerbReset, timeout: actDeadline},
		{name: "destroy", short: "Pull the power cord: unwritten data is lost", verb: backend.VerbDestroy, wait: isOff, timeout: actDeadline},
		{name: "suspend", short: "Let VMs stand still, in memory", verb: backend.VerbSuspend, wait: isPaused, timeout: actDeadline},
		{name: "resume", short: "Let suspended VMs go on", verb: backend.VerbResume, wait: isRunning, timeout: actDeadline},
		{name: "save", short: "Write VMs' memory to disk and stop them", verb: backend.VerbSave, wait: isOff, timeout: saveDeadline,
			flags: []verbFlag{{name: "remove", help: "delete the saved state instead", verb: backend.VerbSaveRemove}}},
		{name: "restore", short: "Start VMs from their saved state", verb: backend.VerbRestore, wait: isRunning, timeout: saveDeadline},
		{name: "autostart", short: "Start VMs with their host, or no longer", verb: backend.VerbAutostartOn, timeout: actDeadline,
			flags: []verbFlag{{name: "disable", help: "no longer; --off will do as well", verb: backend.VerbAutostartOff, alias: "off"}}},
	}
}

// verbFlags are the flags that every verb takes.
type verbFlags struct {
	yes     bool
	wait    bool
	timeout time.Duration
	filter  string
	sisters []bool
}

func (a *app) verbCommand(s verbSpec) *cobra.Command {
	f := verbFlags{sisters: make([]bool, len(s.flags))}
	cmd := &cobra.Command{
		Use:   s.name + " NAME...",
		Short: s.short,
		Long:  verbHelp(s),
		Args:  withUsage(func(_ *cobra.Command, args []string) error { return checkNames(s.name, f.filter, args) }),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.runVerb(cmd, s, &f, args) },
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fl.StringVar(&f.filter, "filter", "", "all VMs for which `EXPR` holds, instead of NAMEs")
	fl.DurationVar(&f.timeout, "timeout", s.timeout, "give up on a VM after `TIME`")
	if s.wait != nil {
		fl.BoolVar(&f.wait, "wait", s.waiting, "wait until the VM has got there")
	}
	for i, sister := range s.flags {
		fl.BoolVar(&f.sisters[i], sister.name, false, sister.help)
		if sister.alias != "" {
			fl.BoolVar(&f.sisters[i], sister.alias, false, sister.help)
			hide(fl, sister.alias)
		}
	}
	a.completeVerb(cmd, s)
	return cmd
}

// hide leaves a flag out of the help.
func hide(fl *pflag.FlagSet, name string) {
	if err := fl.MarkHidden(name); err != nil {
		panic(err) // a misspelt flag name, found by any test that builds the command
	}
}

func verbHelp(s verbSpec) string {
	text := s.short + ".\n\n"
	if s.long != "" {
		text += s.long + "\n\n"
	}
	text += "NAME is a VM's name, its UUID, or either after its host, as in hv1/web1. A name\n" +
		"that several hosts have is refused. The exit code is 0 only when every VM was\n" +
		"done; those that fail are named on stderr, and the others are done all the same."
	if s.verb.Info().Risk >= backend.RiskLoss {
		text += "\n\nIt can lose data, so it asks first; without a terminal it needs --yes."
	}
	return text
}

func checkNames(verb, filter string, args []string) error {
	switch {
	case filter == "" && len(args) == 0:
		return fmt.Errorf("%s what? Give one NAME or more, or --filter", verb)
	case filter != "" && len(args) > 0:
		return errors.New("give NAMEs or --filter, not both")
	}
	return nil
}

// chosenVerb is the verb that the flags ask for.
func (s verbSpec) chosenVerb(f *verbFlags) (backend.Verb, error) {
	verb, by := s.verb, ""
	for i, on := range f.sisters {
		if !on {
			continue
		}
		if by != "" {
			return "", usagef("", "--%s and --%s exclude one another", by, s.flags[i].name)
		}
		verb, by = s.flags[i].verb, s.flags[i].name
	}
	return verb, nil
}

func (a *app) runVerb(cmd *cobra.Command, s verbSpec, f *verbFlags, args []string) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	filter, err := model.ParseFilter(f.filter)
	if err != nil {
		return &usageError{err: err}
	}
	if f.timeout <= 0 {
		return usagef("", "--timeout %s: it must be more than nothing", f.timeout)
	}
	verb, err := s.chosenVerb(f)
	if err != nil {
		return err
	}
	if err := a.needYes(verb, f.yes); err != nil {
		return err
	}
	return a.overFleet(cmd.Context(), func(fl *fleet) error {
		inv := takeInventory(cmd.Context(), fl, filterDepth(filter))
		if err := interrupted(cmd.Context()); err != nil {
			return fmt.Errorf("%w; nothing was done", err)
		}
		a.reportDown(inv)
		if inv.silent() {
			return errReported
		}
		if filtersByQueue(filter) {
			a.noteJobs(cmd.Context(), inv.rows)
		}
		targets, failed := a.targets(inv, filter, args)
		job := &verbJob{app: a, spec: s, verb: verb, flags: f, inv: inv}
		return job.run(cmd.Context(), targets, failed)
	})
}

// targets resolves the arguments or the filter, without doubles, and reports
// what cannot be found.
func (a *app) targets(inv *inventory, filter model.Filter, args []string) (rows []*model.Row, failed bool) {
	if !filter.Empty() {
		rows = inv.matching(filter.Match)
		if len(rows) == 0 {
			a.complain(errNothingMatches)
		}
		return rows, len(rows) == 0 || len(inv.down) > 0
	}
	for _, arg := range args {
		r, err := inv.find(arg)
		if err != nil {
			a.complain(err)
			failed = true
			continue
		}
		if !slices.Contains(rows, r) {
			rows = append(rows, r)
		}
	}
	return rows, failed
}

// verbJob is one verb on its way to several VMs.
type verbJob struct {
	*app
	spec  verbSpec
	verb  backend.Verb
	flags *verbFlags
	inv   *inventory
	trail *audit.Trail
}

// parallel bounds how many VMs are worked on at once.
const parallel = 8

func (j *verbJob) run(ctx context.Context, rows []*model.Row, failed bool) error {
	rows, refused := j.possible(rows)
	failed = failed || refused
	if len(rows) > 0 {
		if err := j.ask(ctx, rows); err != nil {
			return err
		}
	}
	if !j.app.flags.demo {
		j.trail = audit.Open(j.config.Paths.AuditFile, j.Env)
	}
	results := make([]chan error, len(rows))
	slots := make(chan struct{}, parallel)
	for i, r := range rows {
		results[i] = make(chan error, 1)
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i] <- j.one(ctx, r)
		}()
	}
	for i, r := range rows {
		if err := <-results[i]; err != nil {
			j.complain(fmt.Errorf("%s: %w", j.inv.label(r), err))
			failed = true
			continue
		}
		fmt.Fprintf(j.Stdout, "%s: %s\n", j.inv.label(r), j.outcome())
	}
	if failed {
		return errReported
	}
	return nil
}

// possible reports the VMs on which the verb makes no sense now, before
// anything is asked or done, and returns the others.
func (j *verbJob) possible(rows []*model.Row) (able []*model.Row, refused bool) {
	for _, r := range rows {
		if err := j.refusal(r); err != nil {
			j.complain(fmt.Errorf("%s: cannot %s: %w", j.inv.label(r), j.verb, err))
			refused = true
			continue
		}
		able = append(able, r)
	}
	return able, refused
}

func (j *verbJob) refusal(r *model.Row) error {
	if h := j.inv.hosts[r.Host]; h.ReadOnly() {
		return fmt.Errorf("%w: %s was opened without permission to change anything", backend.ErrReadOnly, h.Name())
	}
	if err := j.verb.Check(&r.VM); err != nil {
		return err
	}
	return model.CheckTwin(j.verb, &r.VM, slices.Values(j.inv.rows))
}

// outcome is what stdout says of a VM that was done: what libvirt accepted is
// only called done when berth waited for it, or when it takes effect at once.
func (j *verbJob) outcome() string {
	info := j.verb.Info()
	if j.spec.waiting && !j.flags.wait || j.verb == backend.VerbReboot {
		return info.Doing
	}
	return info.Done
}

// names joins the labels of rows, all of them: what is about to be lost must
// be named.
func (j *verbJob) names(rows []*model.Row) string {
	var out []string
	for _, r := range rows {
		out = append(out, j.inv.label(r))
	}
	return strings.Join(out, ", ")
}
