package dial

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"berth/backend"
)

// dialUnix connects to a daemon on this machine, and starts the user's own
// when there is none, as libvirt's client does.
func (t *Target) dialUnix(ctx context.Context, readOnly bool) (net.Conn, error) {
	paths := t.sockets(readOnly)
	conn, err := dialFirst(ctx, paths)
	if err == nil {
		return conn, nil
	}
	if daemon := t.startable(err); daemon != "" {
		return t.startDaemon(ctx, daemon, paths)
	}
	return nil, t.explainSockets(paths, err)
}

// dialFirst connects to the first of paths where somebody listens. Of several
// failures it returns the one that says most: a socket that exists and
// refuses tells more than one that is missing.
func dialFirst(ctx context.Context, paths []string) (net.Conn, error) {
	var (
		d    net.Dialer
		best error = fs.ErrNotExist
	)
	for _, p := range paths {
		conn, err := d.DialContext(ctx, "unix", p)
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if errors.Is(best, fs.ErrNotExist) || (errors.Is(err, fs.ErrPermission) && !errors.Is(best, fs.ErrPermission)) {
			best = err
		}
	}
	return nil, best
}

// sockets lists where the daemon may listen, in libvirt's order: the modular
// daemon before the monolithic one. Only system daemons have sockets that
// allow nothing but reading.
func (t *Target) sockets(readOnly bool) []string {
	if s := t.params.socket; s != "" {
		if readOnly {
			return withReadOnly(s)
		}
		return []string{s}
	}
	var paths []string
	for _, dir := range t.socketDirs() {
		for _, name := range t.socketNames() {
			p := filepath.Join(dir, name)
			if readOnly && !t.session() {
				paths = append(paths, withReadOnly(p)...)
			} else {
				paths = append(paths, p)
			}
		}
	}
	return paths
}

// withReadOnly is path's read-only sibling if there is one, else path.
func withReadOnly(path string) []string {
	if ro := path + "-ro"; strings.HasSuffix(path, "-sock") {
		if _, err := os.Stat(ro); err == nil {
			return []string{ro}
		}
	}
	return []string{path}
}

// socketNames are the daemons that serve t's driver. The test driver is the
// monolithic daemon's only; virtproxyd listens in its place where there are
// modular ones.
func (t *Target) socketNames() []string {
	const modular, monolithic = "virtqemud-sock", "libvirt-sock"
	switch {
	case t.driver == "test":
		return []string{monolithic}
	case t.params.mode == "direct":
		return []string{modular}
	case t.params.mode == "legacy":
		return []string{monolithic}
	}
	return []string{modular, monolithic}
}

func (t *Target) socketDirs() []string {
	switch {
	case t.session() && t.env.uid == 0:
		// Root's own daemon is the system's, which answers to both names.
		return append([]string{t.env.sessionDir()}, t.env.runDirs...)
	case t.session():
		return []string{t.env.sessionDir()}
	case t.driver == "test" && t.env.uid != 0:
		// Anybody's daemon has a test driver; the system's may not let us in.
		return append([]string{t.env.sessionDir()}, t.env.runDirs...)
	}
	return t.env.runDirs
}

// sessionDir is where a user's own daemon keeps its sockets
// (virGetUserRuntimeDirectory in libvirt's src/util/virutil.c).
func (e *environ) sessionDir() string {
	if d := e.getenv("XDG_RUNTIME_DIR"); d != "" {
		return filepath.Join(d, "libvirt")
	}
	if d := e.getenv("XDG_CACHE_HOME"); d != "" {
		return filepath.Join(d, "libvirt")
	}
	return filepath.Join(e.home, ".cache", "libvirt")
}

// explainSockets says why none of paths could be used.
func (t *Target) explainSockets(paths []string, err error) error {
	tried := strings.Join(paths, ", ")
	switch {
	case errors.Is(err, fs.ErrPermission):
		return faultf(backend.ErrAuth, t.permissionHint(), "%w", err)
	case errors.Is(err, fs.ErrNotExist):
		return faultf(backend.ErrUnreachable, t.absentHint(), "no libvirt socket here (tried %s)", tried)
	case errors.Is(err, syscall.ECONNREFUSED):
		return faultf(backend.ErrUnreachable, t.absentHint(), "nobody listens on the socket (tried %s): %w", tried, err)
	}
	return err
}

func (t *Target) permissionHint() string {
	if t.params.socket != "" {
		return "ask the socket's owner for access"
	}
	return "join the group that may use it (usermod -aG libvirt " + orElse(t.env.user, "USER") + ", then log in again), or use qemu:///session"
}

// absentHint says how to get a daemon.
func (t *Target) absentHint() string {
	switch {
	case t.params.socket != "":
		return "is the daemon running, and is that its socket?"
	case t.env.look("virtqemud") != "" && t.driver == "qemu":
		return "start it: systemctl start virtqemud.socket"
	case t.env.look("libvirtd") != "":
		return "start it: systemctl start libvirtd"
	}
	return "install libvirt (Debian: apt install libvirt-daemon-system), or name a remote host"
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
