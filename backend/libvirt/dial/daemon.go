package dial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"berth/backend"
)

// startable names the program to start when no daemon answers, or is "".
// Only a user's own daemon is started, as libvirt's client does: the system's
// belongs to whoever runs the machine, and one that root starts is just that.
// LIBVIRT_AUTOSTART=0 forbids it.
func (t *Target) startable(err error) string {
	absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	own := t.session() || t.driver == "test"
	if !absent || !own || t.env.uid == 0 || t.params.socket != "" || t.env.getenv("LIBVIRT_AUTOSTART") == "0" {
		return ""
	}
	for _, socket := range t.socketNames() {
		name := map[string]string{"virtqemud-sock": "virtqemud", "libvirt-sock": "libvirtd"}[socket]
		if p := t.env.getenv(strings.ToUpper(name) + "_PATH"); p != "" {
			return p
		}
		if p := t.env.look(name); p != "" {
			return p
		}
	}
	return ""
}

// startDaemon starts the user's own daemon, which ends itself two minutes
// after its last client left, and connects to it.
func (t *Target) startDaemon(ctx context.Context, program string, paths []string) (net.Conn, error) {
	cmd := exec.CommandContext(ctx, program, "--timeout=120", "-d")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a ^C for berth is not for the daemon
	cmd.WaitDelay = 100 * time.Millisecond               // should the daemon keep stderr open
	runErr := cmd.Run()
	if errors.Is(runErr, exec.ErrWaitDelay) {
		runErr = nil
	}
	// Also when it failed: somebody else may have started one just now, and
	// then this one could not have its pid file.
	wait := ctx
	if runErr != nil {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
	}
	conn, err := awaitSocket(wait, paths)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, err
	}
	why := lastLine(stderr.String())
	if runErr != nil {
		why = strings.TrimSuffix(runErr.Error()+": "+why, ": ")
	}
	return nil, faultf(backend.ErrUnreachable, "run it by hand to see why: "+program+" --timeout=120",
		"%s could not be started: %s", filepath.Base(program), why)
}

// awaitSocket tries paths until one answers or ctx ends. Nothing tells when a
// socket begins to listen but trying it.
func awaitSocket(ctx context.Context, paths []string) (net.Conn, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := dialFirst(ctx, paths)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w)", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// lastLine is the last line of a program's output that says anything.
func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return backend.Clean(strings.TrimSpace(lines[len(lines)-1]))
}
