package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is the first process of a set of namespaces. It reads its standard
// input and ends when that does, and so with whoever holds the other end.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Reader // its standard output
	pid   int           // as this machine sees it
}

// startProcess runs argv as the first process of new namespaces, which are
// given as flags of unshare(1).
func startProcess(stderr *os.File, namespaces []string, argv ...string) (*process, error) {
	args := append(append(namespaces, "-f", "--kill-child", "--"), argv...)
	p := &process{cmd: exec.Command("unshare", args...)}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a ^C is for the owner alone
	p.cmd.Stderr = stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.lines = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if p.pid, err = onlyChild(p.cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, p.kill())
	}
	return p, nil
}

// onlyChild waits until pid has forked and returns its child.
func onlyChild(pid int) (int, error) {
	file := fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(file)
		if err != nil {
			return 0, fmt.Errorf("lab: unshare ended: %w", err)
		}
		if f := strings.Fields(string(b)); len(f) > 0 {
			return strconv.Atoi(f[0])
		}
	}
	return 0, errors.New("lab: unshare started nothing in 5 s")
}

func (p *process) init() string { return strconv.Itoa(p.pid) }

// tell writes a line to the process's standard input.
func (p *process) tell(line string) error {
	_, err := io.WriteString(p.stdin, line+"\n")
	return err
}

// hear returns the process's next line of output.
func (p *process) hear(ctx context.Context) (string, error) {
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := p.lines.ReadString('\n')
		got <- answer{strings.TrimSpace(line), err}
	}()
	select {
	case a := <-got:
		return a.line, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// kill is a power cut: everything in the process's PID namespace dies at once.
func (p *process) kill() error {
	if p.pid > 0 {
		syscall.Kill(p.pid, syscall.SIGKILL) //nolint:errcheck // gone already is as good
	}
	p.stdin.Close()
	p.cmd.Process.Kill() //nolint:errcheck // likewise
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// run runs a command of this machine and tells its output when it fails.
func run(ctx context.Context, name string, args ...string) error {
	_, err := output(ctx, name, args...)
	return err
}

// output runs a command and returns what it printed on its standard output.
func output(ctx context.Context, name string, args ...string) (string, error) {
	path, err := lookPath(name)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("lab: %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return string(out), nil
}

// runAll runs commands in turn up to the first that fails.
func runAll(ctx context.Context, commands ...[]string) error {
	for _, c := range commands {
		if err := run(ctx, c[0], c[1:]...); err != nil {
			return err
		}
	}
	return nil
}
