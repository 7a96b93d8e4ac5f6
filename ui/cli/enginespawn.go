package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"berth/backend"
)

const (
	// spawnDeadline is how long a new engine may take until it holds the lease.
	// It answers before it has asked any host, so this is for a loaded machine.
	spawnDeadline = 20 * time.Second
	// spawnStep is how often it is asked for: it is there after some 30 ms, and
	// asking takes 0.2.
	spawnStep = 5 * time.Millisecond
	// spawnLines is how much of the log an error quotes.
	spawnLines = 5
)

// spawner brings up an engine in the background.
type spawner struct {
	argv []string // the engine's command line
	env  []string // nil: this process's
	log  string   // where its log goes
	// running asks whether an engine holds the lease.
	running func(context.Context) (bool, error)
}

// ensureEngine brings up an engine unless one runs. It outlives this process,
// its terminal and its session. Errors quote the engine's log.
func (a *app) ensureEngine(ctx context.Context, running func(context.Context) (bool, error)) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("where this program is: %w", err)
	}
	log := engineLog(a.config.Paths)
	argv, err := a.engineArguments(exe, log)
	if err != nil {
		return err
	}
	s := spawner{argv: argv, env: withoutSecrets(os.Environ()), log: log, running: running}
	return s.ensure(ctx)
}

// withoutSecrets is an environment without what only this process may know: the
// engine outlives it, and runs other programs.
func withoutSecrets(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, passphraseVariable+"=") })
}

// engineArguments hands on what decides which hosts the engine sees and what
// it may do to them. It runs in /, so paths have to be whole.
func (a *app) engineArguments(exe, log string) ([]string, error) {
	argv := []string{exe, "engine", "--log-file", log}
	if a.flags.config != "" {
		file, err := filepath.Abs(a.flags.config)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.flags.config, err)
		}
		argv = append(argv, "--config", file)
	}
	if a.flags.write {
		argv = append(argv, "--write")
	}
	return argv, nil
}

func (s *spawner) ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, spawnDeadline)
	defer cancel()
	if up, err := s.running(ctx); up || err != nil {
		return err
	}
	from, ended, err := s.start()
	if err != nil {
		return s.failed(err, from)
	}
	for {
		if up, err := s.running(ctx); up || err != nil {
			return err
		}
		select {
		case err := <-ended:
			return s.gone(ctx, err, from)
		case <-time.After(spawnStep):
		case <-ctx.Done():
			return s.failed(fmt.Errorf("it is not ready after %s", spawnDeadline), from)
		}
	}
}

// gone is what follows when the engine has ended already: another may have
// been quicker, and then all is well.
func (s *spawner) gone(ctx context.Context, err error, from int64) error {
	if up, uerr := s.running(ctx); up || uerr != nil {
		return uerr
	}
	if err == nil {
		err = errors.New("it ended at once")
	}
	return s.failed(err, from)
}

// start runs the engine in a session of its own, without this one's terminal.
// ended gets what became of it. from is the log's length before.
func (s *spawner) start() (from int64, ended <-chan error, err error) {
	if err := os.MkdirAll(filepath.Dir(s.log), 0o700); err != nil {
		return 0, nil, err
	}
	out, err := os.OpenFile(s.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 0, nil, err
	}
	defer out.Close() //nolint:errcheck // the child has its own
	if info, err := out.Stat(); err == nil {
		from = info.Size()
	}
	cmd := exec.Command(s.argv[0], s.argv[1:]...) // not of a context: it outlives all of them
	cmd.Dir, cmd.Env, cmd.Stderr = "/", s.env, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return from, nil, err
	}
	ch := make(chan error, 1)
	go func() { ch <- cmd.Wait() }() // so that it leaves no zombie while this process lives
	return from, ch, nil
}

// failed says why no engine came up, in its own words if it had any.
func (s *spawner) failed(err error, from int64) error {
	text := tail(s.log, from, spawnLines)
	if text != "" {
		text = ":\n" + backend.CleanLines(text) + "\n"
	}
	return fmt.Errorf("%w%s", err, text)
}
