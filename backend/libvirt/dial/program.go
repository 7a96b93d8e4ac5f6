package dial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"

	"berth/backend"
)

// DraftPrefix begins the names of files that berth has not finished. libvirt's
// pools do not list what begins with a dot.
const DraftPrefix = ".berth-"

// leash runs a program (its arguments) and ends it when its own standard input
// ends: with this process, however that ends, or with the ssh connection. It
// says so more than once: qemu-nbd overlooks a SIGTERM while it starts.
const leash = `PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin; command -v "$1" >/dev/null 2>&1 || { echo "$1 is not installed" >&2; exit 127; }
exec 3<&0; "$@" 3<&- </dev/null & p=$!; { cat <&3 >/dev/null 2>&1; while kill $p 2>/dev/null; do sleep .2; done; } >/dev/null 2>&1 &
exec 3<&-; wait $p`

// runMost bounds the output of Run.
const runMost = 1 << 20

// packages have the programs that berth runs.
var packages = map[string]string{"qemu-nbd": "qemu-utils", "qemu-img": "qemu-utils", "virsh": "libvirt-clients"}

// Program is a program that runs on a machine.
type Program struct {
	name  string
	input io.Closer
	kill  func()
	said  *tail
	done  chan struct{}
	err   error // after done
	once  sync.Once
}

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// Err says how it ended, in its own words; only after Done.
func (p *Program) Err() error {
	if p.err == nil {
		return nil
	}
	if why := p.missing(); why != nil {
		return why
	}
	if said := lastLine(p.said.String()); said != "" {
		return fmt.Errorf("%s: %s", p.name, said)
	}
	return fmt.Errorf("%s: %w", p.name, p.err)
}

// missing is the error of a program that is not installed.
func (p *Program) missing() error {
	if !strings.Contains(p.said.String(), "is not installed") {
		return nil
	}
	e := &backend.OpError{Op: "run", Target: p.name, Err: fmt.Errorf("%w: it is not installed on the host", backend.ErrUnsupported)}
	if pkg := packages[p.name]; pkg != "" {
		e.Hint = "install the package " + pkg + " there"
	}
	return e
}

// Stop ends the program and waits until it has, or ctx ends.
func (p *Program) Stop(ctx context.Context) error {
	p.once.Do(func() { _ = p.input.Close() }) // it may have ended by itself
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
}

// Start implements Machine.
func (m *localMachine) Start(_ context.Context, argv ...string) (*Program, error) {
	cmd := m.command(context.Background(), argv) // ctx only bounds the start
	p := &Program{name: argv[0], said: &tail{}, done: make(chan struct{})}
	cmd.Stderr = p.said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.input, p.kill = in, func() { _ = cmd.Process.Kill() } // it may have ended
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// command is argv on a leash, below the machine's root.
func (m *localMachine) command(ctx context.Context, argv []string) *exec.Cmd {
	args := append([]string{"-c", leash, "berth"}, argv...)
	cmd := exec.CommandContext(ctx, "/bin/sh", args...)
	m.confine(cmd)
	return cmd
}

// confine has a program see what the machine sees.
func (m *localMachine) confine(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a ^C is for berth alone
	cmd.Dir = "/"
	if m.root != nil {
		cmd.SysProcAttr.Chroot = m.prefix()
	}
}

// Run implements Machine.
func (m *localMachine) Run(ctx context.Context, argv ...string) (string, error) {
	cmd := m.command(ctx, argv)
	p := &Program{name: argv[0], said: &tail{}}
	out := &head{most: runMost}
	cmd.Stdout, cmd.Stderr = out, p.said
	in, err := cmd.StdinPipe() // open for as long as this process lives
	if err != nil {
		return "", err
	}
	defer in.Close()
	cmd.WaitDelay = machineWait
	p.err = cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return out.String(), errors.Join(p.Err(), out.err)
}

// Start implements Machine.
func (m *sshMachine) Start(ctx context.Context, argv ...string) (*Program, error) {
	p, session, err := m.program(ctx, argv, nil)
	if err != nil {
		return nil, err
	}
	p.kill = func() { _ = session.Close() }
	go func() {
		p.err = session.Wait()
		close(p.done)
	}()
	return p, nil
}

// program starts argv on a leash.
func (m *sshMachine) program(ctx context.Context, argv []string, out io.Writer) (*Program, *ssh.Session, error) {
	words := []string{"sh", "-c", quote(leash), "berth"}
	for _, a := range argv {
		words = append(words, quote(a))
	}
	p := &Program{name: argv[0], said: &tail{}, done: make(chan struct{})}
	session, err := within(ctx, m.client.NewSession)
	if err != nil {
		return nil, nil, cleaned{err}
	}
	session.Stdout, session.Stderr = out, p.said
	in, err := session.StdinPipe()
	if err == nil {
		_, err = within(ctx, func() (struct{}, error) { return struct{}{}, session.Start(strings.Join(words, " ")) })
	}
	if err != nil {
		_ = session.Close() // the first error is the one to tell
		return nil, nil, cleaned{err}
	}
	p.input = in
	return p, session, nil
}

// Run implements Machine.
func (m *sshMachine) Run(ctx context.Context, argv ...string) (string, error) {
	out := &head{most: runMost}
	p, session, err := m.program(ctx, argv, out)
	if err != nil {
		return "", err
	}
	stop := closeOnDone(ctx, session)
	p.err = session.Wait()
	if ended := stop(); ended != nil {
		return "", ended
	}
	_ = session.Close() // it has ended by itself
	return out.String(), errors.Join(p.Err(), out.err)
}

// head keeps the first bytes that a program wrote, and notes when there are more.
type head struct {
	buf  bytes.Buffer
	most int
	err  error
}

// Write never fails, so that the program is not held up.
func (w *head) Write(p []byte) (int, error) {
	room := w.most - w.buf.Len()
	if len(p) > room {
		w.err = fmt.Errorf("%w: the program wrote more than %d bytes", backend.ErrInvalid, w.most)
		w.buf.Write(p[:room])
		return len(p), nil
	}
	w.buf.Write(p)
	return len(p), nil
}

// String is what was kept.
func (w *head) String() string { return w.buf.String() }

// within runs a call that takes no context and returns when it does or when
// ctx ends; the call then goes on until its connection ends.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	got := make(chan answer, 1)
	go func() {
		v, err := f()
		got <- answer{v, err}
	}()
	select {
	case a := <-got:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
