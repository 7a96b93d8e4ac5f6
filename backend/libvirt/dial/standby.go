package dial

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"sync"
)

// guardScript waits for the word "done" on its standard input; when that ends
// without it, the program (its arguments) is run until it succeeds.
const guardScript = `trap '' HUP INT TERM; PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin
command -v "$1" >/dev/null 2>&1 || { echo "$1 is not installed" >&2; exit 127; }
echo ready; read -r w && [ "$w" = "done" ] && exit 0
i=0; while [ $i -lt 60 ]; do timeout 20 "$@" </dev/null >/dev/null 2>&1 && exit 0; i=$((i+1)); sleep 1; done; exit 1`

// Guard is a program that waits on a machine to make good what this process
// may not live to.
type Guard struct {
	in   io.WriteCloser
	once sync.Once
	done chan struct{}
}

// Dismiss ends it without effect.
func (g *Guard) Dismiss() {
	g.once.Do(func() {
		_, _ = io.WriteString(g.in, "done\n") // when it cannot be told it does its work, which does no harm
		_ = g.in.Close()
	})
}

// Release has it do its work now, and does not wait.
func (g *Guard) Release() { g.once.Do(func() { _ = g.in.Close() }) }

// Done is closed when it has ended.
func (g *Guard) Done() <-chan struct{} { return g.done }

// Guard implements Machine.
func (m *localMachine) Guard(ctx context.Context, argv ...string) (*Guard, error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", guardScript, "berth"}, argv...)...)
	m.confine(cmd)
	p := &Program{name: argv[0], said: &tail{}}
	cmd.Stderr = p.said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	g := &Guard{done: make(chan struct{})}
	if g.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	heard := make(chan struct{}) // Wait would close what is being read
	go func() {
		<-heard
		p.err = cmd.Wait()
		close(g.done)
	}()
	var first error
	_, err = within(ctx, func() (struct{}, error) {
		defer close(heard)
		var b [6]byte
		_, first = io.ReadFull(out, b[:])
		return struct{}{}, first
	})
	if err == nil {
		return g, nil
	}
	return nil, g.stillborn(ctx, p, err)
}

// stillborn is the error of a guard that did not start.
func (g *Guard) stillborn(ctx context.Context, p *Program, err error) error {
	g.Dismiss()
	select {
	case <-g.done:
		if said := p.Err(); said != nil {
			return said
		}
	case <-ctx.Done():
	}
	return err
}

// Guard implements Machine.
func (m *sshMachine) Guard(ctx context.Context, argv ...string) (*Guard, error) {
	words := []string{"sh", "-c", quote(guardScript), "berth"}
	for _, a := range argv {
		words = append(words, quote(a))
	}
	session, err := within(ctx, m.client.NewSession)
	if err != nil {
		return nil, cleaned{err}
	}
	p := &Program{name: argv[0], said: &tail{}}
	session.Stderr = p.said
	g := &Guard{done: make(chan struct{})}
	out, err := session.StdoutPipe()
	if err == nil {
		g.in, err = session.StdinPipe()
	}
	if err == nil {
		_, err = within(ctx, func() (struct{}, error) { return struct{}{}, session.Start(strings.Join(words, " ")) })
	}
	if err != nil {
		_ = session.Close() // the first error is the one to tell
		return nil, cleaned{err}
	}
	go func() {
		p.err = session.Wait()
		close(g.done)
	}()
	_, err = within(ctx, func() (int, error) { var b [6]byte; return io.ReadFull(out, b[:]) })
	if err == nil {
		return g, nil
	}
	return nil, g.stillborn(ctx, p, err)
}
