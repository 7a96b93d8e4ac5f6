package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
)

// createFlags are those of berth backup create.
type createFlags struct {
	repoFlags
	selection
	full      bool
	noQuiesce bool
	limit     rateValue
	jobs      int
	addTags   []string
	detach    bool
	output    string
}

// selection chooses VMs: by name, all, or by tag.
type selection struct {
	all bool
	tag string
}

func (s *selection) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.all, "all", false, "all VMs")
	cmd.Flags().StringVar(&s.tag, "tag", "", "all VMs that have `TAG`")
	completeFlag(cmd, "tag", fixed())
}

// check refuses a selection that chooses nothing, or in two ways.
func (s *selection) check(verb string, args []string) error {
	ways := 0
	for _, chosen := range []bool{len(args) > 0, s.all, s.tag != ""} {
		if chosen {
			ways++
		}
	}
	switch ways {
	case 0:
		return fmt.Errorf("%s what? Give one VM or more, --all, or --tag", verb)
	case 1:
		return nil
	}
	return errors.New("give VMs, --all or --tag, not several of them")
}

func (a *app) backupCreateCommand() *cobra.Command {
	var f createFlags
	cmd := &cobra.Command{
		Use:   "create VM...",
		Short: "Back up VMs, running or not",
		Long: "Back up VMs, running or not. All disks of a VM are of one moment, for which the\n" +
			"file systems of a running guest are frozen through its agent, if it has one. The\n" +
			"first backup of a VM reads all of its disks, later ones what has changed.\n\n" +
			"VM is a VM's name, its UUID, or either after its host, as in hv1/web1.\n\n" +
			"The engine does it; this command orders it and shows how it goes. ^C cancels what\n" +
			"was ordered, and waits until nothing is left behind; a second ^C does not wait.\n" +
			"When the terminal is lost, or with --detach, the engine goes on: berth backup jobs.\n" +
			"The exit code is 1 when any was not backed up.\n\n" +
			repoHelp + " A passphrase that\n" +
			"lies in no file is handed to the engine in one of XDG_RUNTIME_DIR, which is\n" +
			"removed at the end.\n\n" +
			"With -o json each change is a line of its own; the last of each transfer has a\n" +
			"state that is an end. " + transferRecordHelp,
		Example: "  berth backup create web1 db1 --repo /srv/backup\n" +
			"  berth backup create --all --bwlimit 50M --add-tag before-upgrade --detach",
		Args: withUsage(func(_ *cobra.Command, args []string) error { return f.check("create backups of", args) }),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runBackupCreate(cmd, &f, args) },
	}
	f.repoFlags.add(cmd)
	fl := cmd.Flags()
	f.selection.add(cmd)
	fl.BoolVar(&f.full, "full", false, "read everything, whatever has changed")
	fl.BoolVar(&f.noQuiesce, "no-quiesce", false, "do not freeze file systems: as after a power cut")
	fl.Var(&f.limit, "bwlimit", "read at most `RATE` a second each, as 50M (default: the config's backup.limit)")
	fl.IntVar(&f.jobs, "jobs", 0, "at most `N` at a time; the config's backup.jobs_per_host and jobs_per_repo bound them anyway")
	fl.StringArrayVar(&f.addTags, "add-tag", nil, "give the points `TAG`, for lists and --keep-tag; may be given several times")
	fl.BoolVar(&f.detach, "detach", false, "do not wait for the end")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "bwlimit", fixed("10M", "50M", "100M"))
	completeFlag(cmd, "jobs", fixed())
	completeFlag(cmd, "add-tag", fixed())
	cmd.ValidArgsFunction = a.completeAnyVM
	return cmd
}

// completeAnyVM offers VMs in any state.
func (a *app) completeAnyVM(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeNames(cmd, args, func(*model.Row) bool { return true })
}

func (f *createFlags) wrong() error {
	err := checkFormat(f.output, "text", "json")
	switch {
	case f.jobs < 0:
		err = errors.Join(err, usagef("", "--jobs %d: use 1 or more", f.jobs))
	case f.jobs > 0 && f.detach:
		err = errors.Join(err, usagef("", "--jobs and --detach exclude one another: the engine goes by the config's backup.jobs_per_host and jobs_per_repo"))
	}
	for _, t := range f.addTags {
		if terr := checkTag(t); terr != nil {
			err = errors.Join(err, &usageError{err: fmt.Errorf("--add-tag: %w", terr)})
		}
	}
	return err
}

func (a *app) runBackupCreate(cmd *cobra.Command, f *createFlags, args []string) error {
	if err := a.loadToChange(cmd, f.wrong()); err != nil {
		return err
	}
	if a.flags.demo && f.detach {
		return usagef("", "the demo has its engine within; there is none that could go on")
	}
	ctx := cmd.Context()
	return a.overFleet(ctx, func(fl *fleet) error {
		rows, failed, err := a.selected(ctx, fl, &f.selection, args)
		if err != nil {
			return ended(ctx, err)
		}
		limit := int64(f.limit)
		if !cmd.Flags().Changed("bwlimit") {
			limit = a.config.Backup.Limit
		}
		spec := backend.TransferSpec{Kind: backend.TransferBackup, Limit: limit,
			Backup: backend.BackupSpec{Full: f.full, NoQuiesce: f.noQuiesce, Tags: f.addTags}}
		specs := make([]backend.TransferSpec, len(rows))
		for i, r := range rows {
			specs[i] = spec
			specs[i].VM, specs[i].Name = r.Key(), r.Name
		}
		err = a.order(ctx, fl, &f.repoFlags, specs, followOptions{jobs: f.jobs, detach: f.detach, json: f.output == "json"})
		if err == nil && failed {
			return errReported
		}
		return err
	})
}

// selected are the chosen VMs that can be changed. Those that cannot be found
// are complained about, and the others are done all the same.
func (a *app) selected(ctx context.Context, fl *fleet, s *selection, args []string) (rows []*model.Row, failed bool, err error) {
	d := depthState
	if s.tag != "" {
		d = depthFacts
	}
	inv := takeInventory(ctx, fl, d)
	if err := interrupted(ctx); err != nil {
		return nil, false, fmt.Errorf("%w; nothing was ordered", err)
	}
	a.reportDown(inv)
	if inv.silent() {
		return nil, true, errReported
	}
	switch {
	case s.all:
		rows, failed = inv.rows, len(inv.down) > 0
	case s.tag != "":
		rows = inv.matching(func(r *model.Row) bool { return slices.Contains(r.Tags, s.tag) })
		failed = len(inv.down) > 0
	default:
		rows, failed = a.targets(inv, model.Filter{}, args)
	}
	rows = slices.DeleteFunc(slices.Clone(rows), func(r *model.Row) bool {
		h := inv.hosts[r.Host]
		if h.ReadOnly() {
			a.complain(fmt.Errorf("%s: %w: %s was opened without permission to change anything", inv.label(r), backend.ErrReadOnly, h.Name()))
			failed = true
		}
		return h.ReadOnly()
	})
	if len(rows) == 0 {
		if !failed {
			a.complain(errors.New("there is no VM to back up"))
		}
		return nil, true, errReported
	}
	return rows, failed, nil
}
