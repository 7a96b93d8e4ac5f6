package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"berth/backend"
)

func someSchedules(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%s which schedule? Give one N or more; berth backup schedule list shows them", cmd.Name())
	}
	return nil
}

// changeSchedules does something to each schedule that arguments name, and tells
// what it is then; when one cannot be found nothing is done.
func (a *app) changeSchedules(cmd *cobra.Command, output string, args []string, done string, do func(backend.Backups, *backend.Schedule) error) error {
	if err := a.loadToChange(cmd, checkFormat(output, "text", "json")); err != nil {
		return err
	}
	return a.withBackups(cmd, func(b backend.Backups) error {
		st, err := b.State(cmd.Context())
		if err != nil {
			return err
		}
		var found []backend.Schedule
		var errs []error
		for _, arg := range args {
			s, err := findSchedule(&st, arg)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			found = append(found, *s)
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		records := make([]scheduleRecord, 0, len(found))
		for i := range found {
			s := &found[i]
			if err := do(b, s); err != nil {
				return err
			}
			if output == "json" {
				records = append(records, newScheduleRecord(s))
				continue
			}
			if _, err := fmt.Fprintf(a.Stdout, "schedule %d: %s\n", s.ID, done); err != nil {
				return err
			}
		}
		if output == "json" {
			return encodeJSON(a.Stdout, records)
		}
		return nil
	})
}

func (a *app) scheduleRemoveCommand() *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:     "remove N...",
		Aliases: []string{"rm"},
		Short:   "Remove schedules; their backups stay",
		Args:    withUsage(someSchedules),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeSchedules(cmd, output, args, "removed", func(b backend.Backups, s *backend.Schedule) error { return b.RemoveSchedule(cmd.Context(), s.ID) })
		},
	}
	textOrJSON(cmd, &output)
	a.completeSchedules(cmd)
	return cmd
}

func (a *app) scheduleSwitchCommand(name, short string, disabled bool) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:   name + " N...",
		Short: short,
		Args:  withUsage(someSchedules),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeSchedules(cmd, output, args, name+"d", func(b backend.Backups, s *backend.Schedule) error {
				s.Disabled = disabled
				_, err := b.PutSchedule(cmd.Context(), *s)
				return err
			})
		},
	}
	textOrJSON(cmd, &output)
	a.completeSchedules(cmd)
	return cmd
}

func (a *app) scheduleRunCommand() *cobra.Command {
	wait := false
	output := ""
	cmd := &cobra.Command{
		Use:   "run N",
		Short: "Run a schedule now, whether it is enabled or not",
		Long: "Run a schedule now, whether it is enabled or not. With --wait it shows how that\n" +
			"goes, and the exit code is 1 when any backup failed.",
		Args: withUsage(oneSchedule),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runSchedule(cmd, args[0], wait, output) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&wait, "wait", false, "until all of it has ended")
	textOrJSON(cmd, &output)
	a.completeSchedules(cmd)
	return cmd
}

func (a *app) runSchedule(cmd *cobra.Command, arg string, wait bool, format string) (err error) {
	if err := a.loadToChange(cmd, checkFormat(format, "text", "json")); err != nil {
		return err
	}
	// VMs that are chosen by a tag, or all, are looked for on the hosts that the
	// engine knows; here none is needed, but for the demo's.
	return a.withBackups(cmd, func(b backend.Backups) error {
		ctx := cmd.Context()
		st, err := b.State(ctx)
		if err != nil {
			return err
		}
		s, err := findSchedule(&st, arg)
		if err != nil {
			return err
		}
		ids, err := b.RunSchedule(ctx, s.ID)
		if err != nil && len(ids) == 0 {
			return ended(ctx, err)
		}
		if err != nil {
			a.complain(err)
		}
		w := &follower{app: a, backups: b, ids: ids, o: followOptions{json: format == "json", detach: !wait && !a.flags.demo}}
		return w.run(ctx)
	})
}
