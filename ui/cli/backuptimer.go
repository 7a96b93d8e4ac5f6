package cli

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/robfig/cron/v3"
	"github.com/spf13/cobra"

	"berth/backend"
)

// timerFlags are those of berth backup schedule timer.
type timerFlags struct {
	user bool
	into string
}

func (a *app) scheduleTimerCommand() *cobra.Command {
	var f timerFlags
	cmd := &cobra.Command{
		Use:   "timer N",
		Short: "Print a systemd service and timer that run a schedule",
		Long: "Print a systemd service and timer that run a schedule at its times, instead of the\n" +
			"engine's own clock: disable it there, else it runs twice.\n\n" +
			"  berth backup schedule timer 1 --into /etc/systemd/system\n" +
			"  berth backup schedule disable 1\n" +
			"  systemctl daemon-reload; systemctl enable --now berth-backup-1.timer",
		Args: withUsage(oneSchedule),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runTimer(cmd, &f, args[0]) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&f.user, "user", false, "for systemctl --user")
	cmd.Flags().StringVar(&f.into, "into", "", "write both to files in `DIR`")
	a.completeSchedules(cmd)
	return cmd
}

func (a *app) runTimer(cmd *cobra.Command, f *timerFlags, arg string) error {
	return a.withBackups(cmd, func(b backend.Backups) error {
		st, err := b.State(cmd.Context())
		if err != nil {
			return err
		}
		s, err := findSchedule(&st, arg)
		if err != nil {
			return err
		}
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("where this program is: %w", err)
		}
		if !s.Disabled {
			a.complain(fmt.Errorf("the engine runs schedule %d by its own clock too; berth backup schedule disable %d", s.ID, s.ID))
		}
		argv := []string{exe}
		if a.flags.config != "" {
			file, err := filepath.Abs(a.flags.config)
			if err != nil {
				return fmt.Errorf("%s: %w", a.flags.config, err)
			}
			argv = append(argv, "--config", file)
		}
		service, timer, err := TimerUnits(argv, a.Env("XDG_STATE_HOME"), f.user, s)
		if err != nil {
			return err
		}
		return a.putUnits(f.into, fmt.Sprintf("berth-backup-%d", s.ID), service, timer)
	})
}

func (a *app) putUnits(dir, name, service, timer string) error {
	if dir == "" {
		_, err := fmt.Fprintf(a.Stdout, "# %s.service\n%s\n# %s.timer\n%s", name, service, name, timer)
		return err
	}
	var errs []error
	for file, text := range map[string]string{name + ".service": service, name + ".timer": timer} {
		path := filepath.Join(dir, file)
		if err := renameio.WriteFile(path, []byte(text), 0o644); err != nil {
			errs = append(errs, &backend.OpError{Op: "write", Target: path, Err: pathReason(err)})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err := io.WriteString(a.Stdout, filepath.Join(dir, name)+".service and .timer written\n")
	return err
}

// TimerUnits are the texts of a systemd service that runs a schedule, and of
// its timer. argv is the program with its global flags.
func TimerUnits(argv []string, stateHome string, user bool, s *backend.Schedule) (service, timer string, err error) {
	when, err := calendar(s.Cron)
	if err != nil {
		return "", "", err
	}
	after := "After=libvirtd.service virtqemud.service network-online.target\nWants=network-online.target\n"
	if user {
		after = ""
	}
	environment := ""
	if filepath.IsAbs(stateHome) {
		environment = "Environment=" + unitQuote("XDG_STATE_HOME="+stateHome) + "\n"
	}
	var command []string
	for _, word := range argv {
		command = append(command, unitQuote(word))
	}
	what := strings.TrimSpace(fmt.Sprintf("schedule %d %s", s.ID, backend.Clean(s.Name)))
	service = "[Unit]\nDescription=" + unitText("berth: backups of "+what) + "\n" + after + "\n" +
		"[Service]\nType=oneshot\n" + environment +
		"ExecStart=" + strings.Join(command, " ") + fmt.Sprintf(" backup schedule run %d --wait\n", s.ID) +
		// The engine may be its child, and outlives it.
		"KillMode=process\nNoNewPrivileges=yes\n"
	timer = "[Unit]\nDescription=" + unitText("berth: "+what) + "\n\n[Timer]\n" + when + "\n[Install]\nWantedBy=timers.target\n"
	return service, timer, nil
}

// unitText is free text in a unit: percent signs are specifiers there.
func unitText(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// calendar is a cron specification in the words of systemd.time(7).
func calendar(spec string) (string, error) {
	parsed, err := cron.ParseStandard(spec)
	if err != nil {
		return "", fmt.Errorf("%q: %w", backend.Clean(spec), err)
	}
	switch s := parsed.(type) {
	case cron.ConstantDelaySchedule:
		return fmt.Sprintf("OnActiveSec=%ds\nOnUnitActiveSec=%ds\n", int(s.Delay.Seconds()), int(s.Delay.Seconds())), nil
	case *cron.SpecSchedule:
		return specCalendar(s), nil
	}
	return "", fmt.Errorf("%q: %w: systemd has no word for it", backend.Clean(spec), backend.ErrUnsupported)
}

// starBit is how package cron marks a field that is *.
const starBit = 1 << 63

// specCalendar writes five fields. When both days of the month and of the week
// are told, cron runs on either, and systemd on both: so two lines are needed.
func specCalendar(s *cron.SpecSchedule) string {
	clock := fmt.Sprintf("%s:%s:00", field(s.Hour, 0, 23, "%02d"), field(s.Minute, 0, 59, "%02d"))
	zone := ""
	if s.Location != nil && s.Location != time.Local {
		zone = " " + s.Location.String()
	}
	month := field(s.Month, 1, 12, "%02d")
	line := func(weekdays, days string) string {
		if weekdays != "" {
			weekdays += " "
		}
		return "OnCalendar=" + weekdays + "*-" + month + "-" + days + " " + clock + zone + "\n"
	}
	anyDay, anyWeekday := s.Dom&starBit != 0, s.Dow&starBit != 0
	out := ""
	switch {
	case anyDay && anyWeekday:
		out = line("", "*")
	case anyDay:
		out = line(weekdays(s.Dow), "*")
	case anyWeekday:
		out = line("", field(s.Dom, 1, 31, "%02d"))
	default:
		out = line(weekdays(s.Dow), "*") + line("", field(s.Dom, 1, 31, "%02d"))
	}
	return out + "Persistent=true\n"
}

// field is a set of numbers: "*", "02", "00,15,30,45", "08..18".
func field(set uint64, low, high int, format string) string {
	set &^= starBit
	all := (uint64(1)<<(high+1) - 1) &^ (uint64(1)<<low - 1)
	if set&all == all {
		return "*"
	}
	var parts []string
	for set &= all; set != 0; {
		from := bits.TrailingZeros64(set)
		to := from
		for set&(1<<(to+1)) != 0 {
			to++
		}
		set &^= uint64(1)<<(to+1) - 1
		switch to - from {
		case 0:
			parts = append(parts, fmt.Sprintf(format, from))
		case 1:
			parts = append(parts, fmt.Sprintf(format, from), fmt.Sprintf(format, to))
		default:
			parts = append(parts, fmt.Sprintf(format+".."+format, from, to))
		}
	}
	return strings.Join(parts, ",")
}

func weekdays(set uint64) string {
	var names []string
	for d := time.Sunday; d <= time.Saturday; d++ {
		if set&(1<<uint(d)) != 0 {
			names = append(names, d.String()[:3])
		}
	}
	if len(names) == 7 {
		return ""
	}
	return strings.Join(names, ",")
}
