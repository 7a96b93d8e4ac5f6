package dial

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/backend"
)

// there is a remote machine that ssh leads to.
type there struct{ client *ssh.Client }

// boot reads the same files as on this machine.
func (m there) boot(ctx context.Context) (string, error) {
	out, err := m.run(ctx, "cat /proc/sys/kernel/random/boot_id /proc/1/stat")
	if err != nil {
		return "", err
	}
	id, stat, _ := strings.Cut(out, "\n")
	return bootOf(id, stat)
}

// exists asks ls, which unlike test tells what is absent from what it may not see.
func (m there) exists(ctx context.Context, path string) (bool, error) {
	out, err := m.run(ctx, "sh -c "+quote("LC_ALL=C ls -dL -- "+quote(path)+" 2>&1"))
	switch {
	case err == nil:
		return true, nil
	case strings.Contains(out, "No such file or directory"):
		return false, nil
	case out != "":
		return false, fmt.Errorf("%w: %s", err, lastLine(out))
	}
	return false, err
}

// run runs a command without input and returns what it printed.
func (m there) run(ctx context.Context, command string) (string, error) {
	session, err := m.client.NewSession()
	if err != nil {
		return "", cleaned{err}
	}
	out := &tail{} // what is asked for is short
	session.Stdout = out
	stop := closeOnDone(ctx, session)
	err = session.Run(command)
	if ended := stop(); ended != nil {
		return "", ended
	}
	_ = session.Close() // it has ended by itself
	if err != nil {
		err = fmt.Errorf("%w: the remote shell did not run a command: %w", backend.ErrUnsupported, cleaned{err})
	}
	return out.String(), err
}
