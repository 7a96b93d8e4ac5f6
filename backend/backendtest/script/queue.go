package script

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/backend/backendtest/lab"
)

// ask runs the program and decodes the JSON that it prints.
func ask(env *testscript.Env, into any, args ...string) error {
	cmd := exec.Command(env.Getenv("PROGRAM"), append(args, "-o", "json")...)
	cmd.Env, cmd.Dir = env.Vars, env.WorkDir
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if len(out) == 0 {
		return err
	}
	return json.Unmarshal(out, into)
}

// engineOf is the process of the script's engine, or 0.
func engineOf(env *testscript.Env) (int, error) {
	if _, err := os.Stat(filepath.Join(env.Getenv("XDG_STATE_HOME"), "berth", "berth.db")); err != nil {
		return 0, nil // there is no queue, and asking would make one
	}
	var e struct {
		Running bool
		PID     int
	}
	if err := ask(env, &e, "engine", "status"); err != nil || !e.Running {
		return 0, err
	}
	return e.PID, nil
}

// endEngine ends the script's engine, if there is one, and waits until it is
// gone.
func endEngine(env *testscript.Env, by syscall.Signal) (was bool, err error) {
	pid, err := engineOf(env)
	if pid == 0 || err != nil {
		return false, err
	}
	if err := syscall.Kill(pid, by); err != nil {
		return true, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	// Its first thread is gone before the others, and with the last of them its
	// lock.
	var now int
	err = lab.Await(ctx, func() bool {
		if !gone(pid) {
			return false
		}
		now, err = engineOf(env)
		return err == nil && now != pid
	})
	return true, err
}

// gone reports whether a process has ended, waited for by its parent or not.
func gone(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}

func cmdEngine(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"kill": syscall.SIGKILL, "stop": syscall.SIGTERM}
	if len(args) != 1 || signals[args[0]] == 0 {
		ts.Fatalf("engine kill|stop")
	}
	was, err := endEngine(of(ts).env, signals[args[0]])
	ts.Check(err)
	if !was {
		ts.Fatalf("no engine runs")
	}
}

// cmdJob waits until the newest job of a VM has one of the states.
func cmdJob(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("job NAME STATE...")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*wait)
	defer cancel()
	var got string
	var failed error
	is := func() bool {
		var jobs []struct {
			Job         int
			Name, State string
			Error       string
		}
		if failed = ask(of(ts).env, &jobs, "queue", "list", "--all"); failed != nil {
			return false
		}
		newest := 0
		for _, j := range jobs {
			if j.Name == args[0] && j.Job > newest {
				newest, got = j.Job, j.State+" "+j.Error
			}
		}
		state, _, _ := strings.Cut(got, " ")
		return newest > 0 && slices.Contains(args[1:], state)
	}
	if lab.Await(ctx, is) != nil {
		log, _ := os.ReadFile(filepath.Join(ts.Getenv("XDG_STATE_HOME"), "berth", "engine.log"))
		ts.Fatalf("the job of %s is %q, not %s; %v; the engine's log:\n%s", args[0], got, strings.Join(args[1:], " or "), failed, log)
	}
}

// cmdLine waits until just these jobs wait, in this order: the engine thinks of
// what was asked for a moment after it was.
func cmdLine(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*wait)
	defer cancel()
	var got []string
	var failed error
	is := func() bool {
		var jobs []struct{ Name, State string }
		if failed = ask(of(ts).env, &jobs, "queue", "list"); failed != nil {
			return false
		}
		got = nil
		for _, j := range jobs {
			if slices.Contains([]string{"held", "queued", "reserved"}, j.State) {
				got = append(got, j.Name)
			}
		}
		return slices.Equal(got, args)
	}
	if lab.Await(ctx, is) != nil {
		ts.Fatalf("in line are %v, not %v; %v", got, args, failed)
	}
}

// endEngine ends the engine that a script left running.
func (s *session) endEngine() {
	if _, err := endEngine(s.env, syscall.SIGKILL); err != nil {
		s.env.T().Log("the script's engine:", err)
	}
}
