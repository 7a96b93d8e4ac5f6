package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
	"berth/model/config"
)

var scheduleColumns = []cellColumn[backend.Schedule]{
	{"N", 0, true, func(s *backend.Schedule, _ time.Time) string { return strconv.FormatInt(s.ID, 10) }},
	{"NAME", 3, false, func(s *backend.Schedule, _ time.Time) string { return backend.Clean(s.Name) }},
	{"CRON", 0, false, func(s *backend.Schedule, _ time.Time) string { return backend.Clean(s.Cron) }},
	{"VMS", 1, false, func(s *backend.Schedule, _ time.Time) string { return scheduleVMs(s) }},
	{"KEEP", 4, false, func(s *backend.Schedule, _ time.Time) string { return keepText(s.Keep) }},
	{"LAST", 2, false, func(s *backend.Schedule, now time.Time) string { return clockText(s.Last, now) }},
	{"RESULT", 1, false, func(s *backend.Schedule, _ time.Time) string { return scheduleResult(s) }},
	{"NEXT", 0, false, scheduleNext},
	{"REPO", 5, false, func(s *backend.Schedule, _ time.Time) string { return backend.Clean(s.Repo.URL) }},
}

func scheduleVMs(s *backend.Schedule) string {
	switch {
	case s.All:
		return "all" + onHosts(s)
	case s.Tag != "":
		return "tag " + backend.Clean(s.Tag) + onHosts(s)
	}
	return strings.Join(cleanAll(s.Names), " ")
}

func onHosts(s *backend.Schedule) string {
	if len(s.Hosts) == 0 {
		return ""
	}
	return " on " + strings.Join(cleanAll(s.Hosts), " ")
}

func scheduleResult(s *backend.Schedule) string {
	switch {
	case s.Last.IsZero():
		return ""
	case s.LastBad != "":
		return backend.Clean(s.LastBad)
	}
	return "ok"
}

func scheduleNext(s *backend.Schedule, now time.Time) string {
	if s.Disabled {
		return "disabled"
	}
	return clockText(s.Next, now)
}

// scheduleRecord is one schedule in JSON.
type scheduleRecord struct {
	Schedule  int64    `json:"schedule"`
	Name      string   `json:"name"`
	Cron      string   `json:"cron"`
	Names     []string `json:"names"`
	All       bool     `json:"all"`
	Tag       string   `json:"tag"`
	Hosts     []string `json:"hosts"`
	Repo      string   `json:"repo"`
	Full      bool     `json:"full"`
	NoQuiesce bool     `json:"no_quiesce"`
	Tags      []string `json:"tags"`
	Limit     int64    `json:"limit_bps"`
	Keep      string   `json:"keep"`
	Verify    float64  `json:"verify_percent"`
	Command   string   `json:"command"`
	Fresh     *float64 `json:"fresh_s"`
	Disabled  bool     `json:"disabled"`
	Owner     string   `json:"owner"`
	Last      *string  `json:"last_at"`
	LastBad   string   `json:"error"`
	Next      *string  `json:"next_at"`
	Missed    int      `json:"missed"`
}

func newScheduleRecord(s *backend.Schedule) scheduleRecord {
	return scheduleRecord{
		s.ID, backend.Clean(s.Name), backend.Clean(s.Cron), cleanAll(s.Names), s.All, backend.Clean(s.Tag), cleanAll(s.Hosts), backend.Clean(s.Repo.URL),
		s.Backup.Full, s.Backup.NoQuiesce, cleanAll(s.Backup.Tags), s.Limit, config.RetentionText(s.Keep), s.Verify, backend.Clean(s.Command), spanSeconds(s.Fresh),
		s.Disabled, backend.Clean(s.Owner), stamp(s.Last), backend.Clean(s.LastBad), stamp(s.Next), s.Missed,
	}
}

const scheduleRecordHelp = `JSON has the keys schedule name cron names all tag hosts repo full no_quiesce tags
limit_bps keep verify_percent command fresh_s disabled owner last_at error (of the
last run) next_at missed (runs that the last one caught up).`

func (a *app) scheduleListCommand() *cobra.Command {
	output := "table"
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List schedules",
		Long:    "List schedules. -o json prints a list of objects. " + scheduleRecordHelp,
		Args:    withUsage(noArguments("")),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listSchedules(cmd, output) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "`FORMAT`: table or json")
	completeFlag(cmd, "output", fixed("table", "json"))
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) listSchedules(cmd *cobra.Command, format string) error {
	if err := checkFormat(format, "table", "json"); err != nil {
		return err
	}
	return a.withBackups(cmd, func(b backend.Backups) error {
		st, err := b.State(cmd.Context())
		if err != nil {
			return err
		}
		if format != "json" {
			return printCells(a, a.Stdout, scheduleColumns, st.Schedules, st.At)
		}
		list := make([]scheduleRecord, len(st.Schedules))
		for i := range st.Schedules {
			list[i] = newScheduleRecord(&st.Schedules[i])
		}
		return encodeJSON(a.Stdout, list)
	})
}

func (a *app) scheduleShowCommand() *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:   "show N",
		Short: "Show one schedule, and what its runs came to",
		Long:  "Show one schedule, and what its runs came to lately. -o json prints one object.\n" + scheduleRecordHelp,
		Args:  withUsage(oneSchedule),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(output, "text", "json"); err != nil {
				return err
			}
			return a.withBackups(cmd, func(b backend.Backups) error {
				st, err := b.State(cmd.Context())
				if err != nil {
					return err
				}
				s, err := findSchedule(&st, args[0])
				if err != nil {
					return err
				}
				if output == "json" {
					return encodeJSON(a.Stdout, newScheduleRecord(s))
				}
				return a.printSchedule(&st, s)
			})
		},
	}
	textOrJSON(cmd, &output)
	a.completeSchedules(cmd)
	return cmd
}

func (a *app) printSchedule(st *backend.BackupsState, s *backend.Schedule) error {
	var errs []error
	line := func(key, value string) {
		if value != "" {
			_, err := fmt.Fprintf(a.Stdout, "%-12s%s\n", key, backend.Clean(value))
			errs = append(errs, err)
		}
	}
	line("Schedule", strings.TrimSpace(fmt.Sprintf("%d %s", s.ID, s.Name)))
	line("Cron", s.Cron)
	line("VMs", scheduleVMs(s))
	line("Repository", s.Repo.URL)
	line("Secret", strings.TrimSpace(s.Repo.PassphraseFile+" "+s.Repo.IdentityFile))
	line("Keeps", keepText(s.Keep))
	if s.Verify > 0 {
		line("Verifies", fmt.Sprintf("%g%% of the chunks after each run", s.Verify))
	}
	line("Command", s.Command)
	if s.Limit > 0 {
		line("Limit", model.Bytes(float64(s.Limit))+"/s")
	}
	line("Last run", strings.TrimSpace(clockText(s.Last, st.At)+" "+scheduleResult(s)))
	line("Next run", scheduleNext(s, st.At))
	line("By", s.Owner)
	mine := slices.DeleteFunc(slices.Clone(st.Transfers), func(t backend.Transfer) bool { return t.Spec.Schedule != s.ID })
	if len(mine) > 0 {
		_, err := fmt.Fprintln(a.Stdout)
		errs = append(errs, err, printCells(a, a.Stdout, transferColumns, mine[:min(len(mine), 10)], st.At))
	}
	return errors.Join(errs...)
}

// oneSchedule wants exactly one.
func oneSchedule(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s which schedule? Give one N; berth backup schedule list shows them", cmd.Name())
	}
	return nil
}

// findSchedule resolves a number or a name.
func findSchedule(st *backend.BackupsState, arg string) (*backend.Schedule, error) {
	var found []*backend.Schedule
	n, err := strconv.ParseInt(strings.TrimPrefix(arg, "#"), 10, 64)
	for i := range st.Schedules {
		if s := &st.Schedules[i]; err == nil && s.ID == n || s.Name == arg {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%s: no such schedule; berth backup schedule list shows what there is", backend.Clean(arg))
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%s: %w: %d schedules are called so; give the number of one", backend.Clean(arg), backend.ErrAmbiguous, len(found))
}
