package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/robfig/cron/v3"
	"github.com/spf13/cobra"

	"berth/backend"
)

func (a *app) backupScheduleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Back up VMs again and again",
		Long: "Back up VMs again and again. The engine runs schedules; keep one running with the\n" +
			"unit of berth engine unit, or print a systemd timer for each with berth backup\n" +
			"schedule timer. Runs that were missed are caught up once; one that is due while\n" +
			"the one before still runs is joined with it.\n\n" +
			"N is a schedule's number or name. Without a command they are listed.",
		Args: withUsage(noSuchCommand),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listSchedules(cmd, "table") },
	}
	cmd.AddCommand(a.scheduleAddCommand(), a.scheduleListCommand(), a.scheduleShowCommand(), a.scheduleRemoveCommand(),
		a.scheduleSwitchCommand("enable", "Let schedules run again", false), a.scheduleSwitchCommand("disable", "Keep schedules from running", true),
		a.scheduleRunCommand(), a.scheduleTimerCommand())
	return cmd
}

// scheduleFlags are those of berth backup schedule add.
type scheduleFlags struct {
	repoFlags
	selection
	keepFlags
	cron      string
	name      string
	full      bool
	noQuiesce bool
	addTags   []string
	limit     rateValue
	verify    percentValue
	command   string
	fresh     spanValue
	disabled  bool
	output    string
}

func (a *app) scheduleAddCommand() *cobra.Command {
	var f scheduleFlags
	cmd := &cobra.Command{
		Use:   "add --cron SPEC VM...",
		Short: "Add a schedule",
		Long: "Add a schedule. --cron has the five fields of cron (minute hour day-of-month month\n" +
			"day-of-week), or @hourly, @daily, @weekly or @monthly, in the engine's time zone.\n\n" +
			"After each run the rules, if there are any, forget points of its VMs and prune;\n" +
			"then --verify reads that share of the chunks back, and --command gets the result as\n" +
			"JSON on its standard input. Its secret has to be in a file.\n\n" + keepHelp + "\n\n" + repoHelp,
		Example: "  berth backup schedule add --cron '30 2 * * *' --all --keep-daily 7 --keep-weekly 4\n" +
			"  berth backup schedule add --cron @hourly db1 --verify 2% --command 'notify-backup'",
		Args: withUsage(func(_ *cobra.Command, args []string) error { return f.check("schedule backups of", args) }),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runScheduleAdd(cmd, &f, args) },
	}
	f.repoFlags.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.cron, "cron", "", "when: `SPEC` as '30 2 * * *' or @daily")
	f.selection.add(cmd)
	fl.StringVar(&f.name, "name", "", "`NAME` of the schedule")
	f.keepFlags.add(cmd)
	fl.BoolVar(&f.full, "full", false, "read everything at each run")
	fl.BoolVar(&f.noQuiesce, "no-quiesce", false, "do not freeze file systems")
	fl.StringArrayVar(&f.addTags, "add-tag", nil, "give the points `TAG`")
	fl.Var(&f.limit, "bwlimit", "read at most `RATE` a second each, as 50M")
	fl.Var(&f.verify, "verify", "after each run read back `PERCENT` of the chunks, as 5%")
	fl.StringVar(&f.command, "command", "", "shell `COMMAND` that gets the result of each run")
	fl.Var(&f.fresh, "fresh", "a VM without a point of the last `TIME` stands out (default: twice the interval)")
	fl.BoolVar(&f.disabled, "disabled", false, "it does not run by itself: for systemd timers")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "cron", fixed("@hourly", "@daily", "@weekly", "30 2 * * *"))
	completeFlag(cmd, "verify", fixed("1%", "5%", "100%"))
	completeFlag(cmd, "bwlimit", fixed("10M", "50M", "100M"))
	for _, flag := range []string{"name", "add-tag", "command", "fresh"} {
		completeFlag(cmd, flag, fixed())
	}
	cmd.ValidArgsFunction = a.completeAnyVM
	return cmd
}

func (f *scheduleFlags) wrong() error {
	err := checkFormat(f.output, "text", "json")
	if f.cron == "" {
		err = errors.Join(err, usagef("", "when? Give --cron, as --cron '30 2 * * *' or --cron @daily"))
	} else if _, cerr := cron.ParseStandard(f.cron); cerr != nil {
		err = errors.Join(err, usagef("", "--cron %q: %v; write five fields (minute hour day month weekday) or @daily", backend.Clean(f.cron), cerr))
	}
	if _, nerr := strconv.Atoi(f.name); nerr == nil {
		err = errors.Join(err, usagef("", "--name %s: a number would be taken for a schedule's own", f.name))
	}
	for _, t := range f.addTags {
		if terr := checkTag(t); terr != nil {
			err = errors.Join(err, &usageError{err: fmt.Errorf("--add-tag: %w", terr)})
		}
	}
	return err
}

func (a *app) runScheduleAdd(cmd *cobra.Command, f *scheduleFlags, args []string) error {
	if err := a.loadToChange(cmd, f.wrong()); err != nil {
		return err
	}
	ctx := cmd.Context()
	return a.overFleet(ctx, func(fl *fleet) error {
		s, err := a.schedule(ctx, fl, f, args)
		if err != nil {
			return ended(ctx, err)
		}
		return a.overBackups(ctx, fl, func(b backend.Backups) error {
			if s.Repo, err = a.scheduleRepo(ctx, b, &f.repoFlags); err != nil {
				return ended(ctx, err)
			}
			id, err := b.PutSchedule(ctx, s)
			if err != nil {
				return err
			}
			return a.tellSchedule(ctx, b, f.output, id)
		})
	})
}

// schedule is what the flags come to, but for the repository.
func (a *app) schedule(ctx context.Context, fl *fleet, f *scheduleFlags, args []string) (backend.Schedule, error) {
	s := backend.Schedule{
		Name: f.name, Cron: f.cron, All: f.all, Tag: f.tag, Limit: int64(f.limit), Keep: f.rules, Verify: float64(f.verify), Command: f.command,
		Fresh: time.Duration(f.fresh), Disabled: f.disabled, Backup: backend.BackupSpec{Full: f.full, NoQuiesce: f.noQuiesce, Tags: f.addTags},
	}
	if len(args) == 0 {
		if len(a.flags.connect) > 0 { // those alone were meant
			for _, h := range fl.hosts {
				s.Hosts = append(s.Hosts, h.Name())
			}
		}
		return s, nil
	}
	rows, failed, err := a.selected(ctx, fl, &f.selection, args)
	if err != nil {
		return s, err
	}
	if failed {
		a.complain(errors.New("nothing was scheduled"))
		return s, errReported
	}
	for _, r := range rows {
		s.VMs, s.Names = append(s.VMs, r.Key()), append(s.Names, r.Name)
	}
	return s, nil
}

// scheduleRepo opens the repository, and refuses a secret that nobody could
// give at night.
func (a *app) scheduleRepo(ctx context.Context, b backend.Backups, f *repoFlags) (backend.RepoRef, error) {
	if url, err := a.chosenRepo(f); err == nil && url == "" && a.flags.demo {
		refs, err := a.transferRepo(ctx, b, f)
		if err != nil {
			return backend.RepoRef{}, err
		}
		ref, _, err := refs()
		return ref, err
	}
	r, err := a.openRepo(ctx, f)
	if err != nil {
		return backend.RepoRef{}, err
	}
	if err := r.Close(); err != nil {
		return backend.RepoRef{}, err
	}
	ref := r.ref()
	if !r.Encrypted() {
		return backend.RepoRef{URL: ref.URL}, nil
	}
	if ref.PassphraseFile == "" && ref.IdentityFile == "" {
		return ref, usagef("", "%s is encrypted, and nobody types its passphrase when the schedule runs; give --passphrase-file or --identity-file", backend.Clean(r.url))
	}
	return ref, nil
}

func (a *app) tellSchedule(ctx context.Context, b backend.Backups, format string, id int64) error {
	st, err := b.State(ctx)
	if err != nil {
		return err
	}
	s := scheduleByID(&st, id)
	if format == "json" && s != nil {
		return encodeJSON(a.Stdout, newScheduleRecord(s))
	}
	text := fmt.Sprintf("schedule %d: added", id)
	if s != nil && !s.Next.IsZero() {
		text += "; it runs next " + clockText(s.Next, st.At)
	}
	_, err = fmt.Fprintln(a.Stdout, text)
	return err
}

func scheduleByID(st *backend.BackupsState, id int64) *backend.Schedule {
	i := slices.IndexFunc(st.Schedules, func(s backend.Schedule) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return &st.Schedules[i]
}
