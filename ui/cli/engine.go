package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
	"berth/model/config"
)

// EngineOptions say how to run the engine.
type EngineOptions struct {
	Config *config.Config
	// Hosts are those that the flags and the config name. Further ones are
	// those that jobs were submitted for; Connect makes them.
	Hosts []backend.Host
	// Connect makes a host of that name.
	Connect func(name, uri string) (backend.Host, error)
	// OpenPlace is Program.OpenPlace.
	OpenPlace OpenPlaceFunc
	Idle      time.Duration // ends itself after so long without work; 0: never
	Log       *slog.Logger
	Env       func(string) string
}

// engineFlags are those of berth engine.
type engineFlags struct {
	idle    spanValue
	logFile string
}

func (a *app) engineCommand() *cobra.Command {
	var f engineFlags
	cmd := &cobra.Command{
		Use:   "engine",
		Short: "Run the engine that starts queued VMs and makes backups",
		Long: "Run the engine that starts queued VMs and carries out backups, restores and their\n" +
			"schedules, in the foreground, with its log on stderr.\n" +
			"There is seldom a need to: the first job brings one up in the background, which\n" +
			"goes on when you log out and ends when nothing is left to do and no schedule is\n" +
			"there. Its log is\n" +
			"engine.log in the state folder (berth info).\n\n" +
			"There is one engine at a time. A second waits with --idle 0, else it ends at once.\n" +
			"Ending it touches no guest: the next engine finds every job where it was. berth\n" +
			"engine unit prints a systemd unit that keeps one running from boot.",
		Args:             withUsage(noSuchCommand),
		RunE:             func(cmd *cobra.Command, _ []string) error { return a.runEngine(cmd, &f) },
		PersistentPreRun: endOnInterrupt,
	}
	cmd.Flags().Var(&f.idle, "idle", "end after `TIME` without work; 0: never (default: the config's queue.idle, 10m)")
	cmd.Flags().StringVar(&f.logFile, "log-file", "", "write the log to `FILE`, which is kept small, instead of stderr")
	hide(cmd.Flags(), "log-file")
	completeFlag(cmd, "idle", fixed("0", "10m", "1h"))
	cmd.ValidArgsFunction = fixed()
	cmd.AddCommand(a.engineStatusCommand(), a.engineStartCommand(), a.engineStopCommand(), a.engineUnitCommand())
	return cmd
}

func (a *app) runEngine(cmd *cobra.Command, f *engineFlags) (err error) {
	if err := a.load(cmd); err != nil {
		return err
	}
	if a.flags.demo {
		return usagef("Try: berth queue --demo", "the demo has its engine within; there is none beside it")
	}
	if err := a.mayChange(); err != nil {
		return err
	}
	sink, journal, closeLog, err := a.engineSink(f.logFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	log := slog.New(newLogHandler(sink, journal))
	say := func(err error) { log.Error(err.Error()) }
	err = a.reloading(cmd, say, func(ctx context.Context) error { return a.serveEngine(ctx, f, cmd.Flags().Changed("idle"), log) })
	if interruption(cmd.Context()) != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil // it was told to end, and has
	}
	return err
}

// serveEngine runs the engine under the config in force.
func (a *app) serveEngine(ctx context.Context, f *engineFlags, idleTold bool, log *slog.Logger) (err error) {
	hosts, err := a.configuredHosts()
	if err != nil {
		return err
	}
	defer func() { err = closeAll(err, hosts) }()
	idle := a.config.Queue.Idle
	if idleTold {
		idle = time.Duration(f.idle)
	}
	return a.Engine(ctx, EngineOptions{Config: a.config, Hosts: hosts.hosts, Connect: a.connectNamed, OpenPlace: a.OpenPlace, Idle: idle, Log: log, Env: a.Env})
}

// engineSink is where the engine's log goes, and whether systemd's journal
// reads it, which notes the time itself.
func (a *app) engineSink(file string) (sink io.Writer, journal bool, done func() error, err error) {
	if file == "" {
		return a.Stderr, a.Env("JOURNAL_STREAM") != "", func() error { return nil }, nil
	}
	log, err := openLog(file, maxEngineLog)
	if err != nil {
		return nil, false, nil, err
	}
	return log, false, log.Close, nil
}

// configuredHosts are those that flags, config or environment name; when none
// does, there are none: the engine then serves those that jobs came with.
func (a *app) configuredHosts() (*fleet, error) {
	f := &fleet{}
	taken := labels{}
	for _, c := range a.chosen() {
		h, err := a.connect(c, taken)
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		f.hosts = append(f.hosts, h)
	}
	return f, nil
}

// connectNamed makes a host under a name that was given to it before. One that
// the config guards is guarded.
func (a *app) connectNamed(name, uri string) (backend.Host, error) {
	return a.Connect(HostSpec{Name: name, URI: uri, ReadOnly: a.readOnly(a.entry(uri))})
}

// engineLog is where the engine in the background writes.
func engineLog(p config.Paths) string { return filepath.Join(p.StateDir, "engine.log") }

func (a *app) engineStatusCommand() *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell whether the engine runs; the exit code does too",
		Long: "Tell whether the engine runs. The exit code is 0 when it does, else 1.\n\n" +
			"JSON is one object: running pid machine since beat_at lost\n" +
			"(it never said that it would end) trouble.",
		Args: withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(output, "text", "json"); err != nil {
				return err
			}
			return a.withQueue(cmd, func(q backend.Queue) error {
				st, err := q.State(cmd.Context())
				if err != nil {
					return err
				}
				return a.printEngine(output, st.Engine, st.At)
			})
		},
	}
	textOrJSON(cmd, &output)
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) printEngine(format string, e backend.EngineState, now time.Time) error {
	var err error
	if format == "json" {
		err = encodeJSON(a.Stdout, newEngineRecord(e))
	} else {
		_, err = fmt.Fprintln(a.Stdout, engineText(e, now))
	}
	if err == nil && !e.Running {
		return errReported
	}
	return err
}

func engineText(e backend.EngineState, now time.Time) string {
	text := "not running"
	switch {
	case e.Lost:
		text = fmt.Sprintf("not running: process %d on %s was killed, or its machine went down", e.PID, e.Host)
	case e.Running && e.PID == 0:
		text = "running, but it has not said yet which process it is"
	case e.Running:
		text = fmt.Sprintf("running: process %d on %s, for %s", e.PID, e.Host, model.Duration(now.Sub(e.Since)))
	}
	if e.Running && e.Trouble != "" {
		text += "; " + e.Trouble
	}
	return backend.Clean(text)
}

func (a *app) engineStartCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Bring the engine up in the background, unless one runs",
		Long: "Bring the engine up in the background, unless one runs, as the first job does. It\n" +
			"goes on when you log out, and ends when it has been idle for the config's\n" +
			"queue.idle (10m).",
		Args: withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.overEngine(cmd, func(q backend.Queue, e backend.EngineState) error {
				if e.Running {
					_, err := fmt.Fprintf(a.Stdout, "%s already\n", engineText(e, time.Now()))
					return err
				}
				if err := a.ensureEngine(cmd.Context(), func(ctx context.Context) (bool, error) {
					st, err := q.State(ctx)
					e = st.Engine
					return e.Running, err
				}); err != nil {
					return &backend.OpError{Op: "start the engine", Err: err, Hint: "berth engine runs it in the foreground"}
				}
				_, err := fmt.Fprintln(a.Stdout, "running")
				return err
			})
		},
	}
	cmd.ValidArgsFunction = fixed()
	return cmd
}

func (a *app) engineStopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "End the engine; what runs goes on, and nothing more starts",
		Long: "End the engine. No guest is touched: what runs goes on, nothing more starts, and\n" +
			"the next engine finds every job where it is.",
		Args: withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.overEngine(cmd, func(q backend.Queue, e backend.EngineState) error { return a.stopEngine(cmd.Context(), q, e) })
		},
	}
	cmd.ValidArgsFunction = fixed()
	return cmd
}

// overEngine runs do over the state of a real queue's engine.
func (a *app) overEngine(cmd *cobra.Command, do func(backend.Queue, backend.EngineState) error) error {
	if err := a.load(cmd); err != nil {
		return err
	}
	if a.flags.demo {
		return usagef("Try: berth queue --demo", "the demo has its engine within; there is none beside it")
	}
	if err := a.mayChange(); err != nil {
		return err
	}
	return a.withQueue(cmd, func(q backend.Queue) error {
		st, err := q.State(cmd.Context())
		if err != nil {
			return err
		}
		return do(q, st.Engine)
	})
}

// stopDeadline is how long an engine is given to end.
const stopDeadline = 30 * time.Second

func (a *app) stopEngine(ctx context.Context, q backend.Queue, e backend.EngineState) error {
	if !e.Running {
		return errors.New("no engine runs")
	}
	ctx, cancel := context.WithTimeout(ctx, stopDeadline)
	defer cancel()
	for e.PID == 0 { // it has only just begun, and has not said who it is
		if pause(ctx, spawnStep) != nil {
			return fmt.Errorf("%w: an engine runs, but has not said for %s which process it is", backend.ErrTimeout, stopDeadline)
		}
		st, err := q.State(ctx)
		if ctx.Err() != nil { // said at the top, whatever the state was by then
			continue
		}
		if err != nil {
			return err
		}
		if e = st.Engine; !e.Running {
			return errors.New("no engine runs")
		}
	}
	pid := e.PID
	machine, err := os.Hostname()
	if err == nil && machine != e.Host {
		err = fmt.Errorf("%w: this is %s", backend.ErrUnsupported, machine)
	}
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGTERM)
	}
	if err != nil {
		return &backend.OpError{Op: "stop the engine", Target: fmt.Sprintf("process %d on %s", pid, backend.Clean(e.Host)), Err: err, Hint: "stop it where it runs, as who runs it"}
	}
	for {
		st, err := q.State(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && (!st.Engine.Running || st.Engine.PID != pid) {
			_, err := fmt.Fprintln(a.Stdout, "stopped")
			return err
		}
		if pause(ctx, spawnStep) != nil {
			return fmt.Errorf("%w: process %d was asked to end and has not after %s", backend.ErrTimeout, pid, stopDeadline)
		}
	}
}

func (a *app) engineUnitCommand() *cobra.Command {
	user := false
	cmd := &cobra.Command{
		Use:   "unit",
		Short: "Print a systemd unit that keeps the engine running",
		Long: "Print a systemd unit that keeps the engine running from boot.\n\n" +
			"  as root   berth engine unit > /etc/systemd/system/berth-engine.service\n" +
			"            systemctl enable --now berth-engine\n" +
			"  a user's  berth engine unit --user > ~/.config/systemd/user/berth-engine.service\n" +
			"            systemctl --user enable --now berth-engine; loginctl enable-linger",
		Args: withUsage(noArguments("")),
		RunE: func(cmd *cobra.Command, _ []string) error {
			exe, err := os.Executable()
			if err != nil {
				return fmt.Errorf("where this program is: %w", err)
			}
			_, err = io.WriteString(a.Stdout, EngineUnit(exe, a.Env("XDG_STATE_HOME"), user))
			return err
		},
	}
	cmd.Flags().BoolVar(&user, "user", false, "for systemctl --user")
	cmd.ValidArgsFunction = fixed()
	return cmd
}

// EngineUnit is the text of a systemd unit for the program at path. stateHome
// is $XDG_STATE_HOME when that is set, since systemd would not know of it.
func EngineUnit(path, stateHome string, user bool) string {
	// Before libvirt-guests shuts guests down or saves them for the machine's own
	// shutdown, the engine is gone: it would take that for the guests' will, and
	// their jobs for done. The next one sees another boot.
	after, target := "\nAfter=libvirtd.service virtqemud.service libvirt-guests.service network-online.target\nWants=network-online.target", "multi-user.target"
	if user {
		after, target = "", "default.target"
	}
	environment := ""
	if filepath.IsAbs(stateHome) {
		environment = "Environment=" + unitQuote("XDG_STATE_HOME="+stateHome) + "\n"
	}
	return "[Unit]\nDescription=berth: starts queued VMs" + after + "\n\n" +
		"[Service]\n" + environment +
		"ExecStart=" + unitQuote(path) + " engine --idle 0\n" +
		// A session's libvirt daemon, and with it guests, may be the engine's
		// children: systemd must leave them alone.
		"KillMode=process\nRestart=always\nRestartSec=5\nNoNewPrivileges=yes\n\n" +
		"[Install]\nWantedBy=" + target + "\n"
}
