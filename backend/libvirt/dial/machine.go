package dial

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend"
)

// machineWait bounds a question to the machine behind a connection, which
// over ssh is a program to be run there.
const machineWait = 5 * time.Second

// machine is the one a daemon runs on, as far as the way there lets one look
// beside libvirt.
type machine interface {
	// boot changes whenever the machine is booted.
	boot(ctx context.Context) (string, error)
	// exists looks for a file.
	exists(ctx context.Context, path string) (bool, error)
}

var errNoSight = fmt.Errorf("%w: only a unix socket or ssh shows more of the host than libvirt tells", backend.ErrUnsupported)

// Boot is the same for as long as the machine that the connection leads to
// runs, and another after it was booted again: the kernel's boot ID, with the
// start of the first process where libvirt's guests end with that, as in a
// container. It wraps backend.ErrUnsupported over TCP and TLS.
func (g *guard) Boot(ctx context.Context) (string, error) {
	if g.machine == nil {
		return "", errNoSight
	}
	ctx, cancel := context.WithTimeout(ctx, machineWait)
	defer cancel()
	return g.machine.boot(ctx)
}

// Exists reports whether the machine that the connection leads to has such a
// file. An error means that it cannot be told, and wraps backend.ErrUnsupported
// over TCP and TLS.
func (g *guard) Exists(ctx context.Context, path string) (bool, error) {
	if g.machine == nil {
		return false, errNoSight
	}
	ctx, cancel := context.WithTimeout(ctx, machineWait)
	defer cancel()
	return g.machine.exists(ctx, path)
}

// bootOf makes one word of /proc/sys/kernel/random/boot_id and /proc/1/stat.
func bootOf(id, stat string) (string, error) {
	id = strings.TrimSpace(id)
	if _, err := backend.ParseUUID(id); err != nil {
		return "", fmt.Errorf("the kernel's boot ID is no UUID: %w", err)
	}
	start, ok := startOf(stat)
	if !ok {
		return "", errors.New("the first process's start cannot be read")
	}
	return id + "+" + start, nil
}

// startOf is field 22 of a line of /proc/PID/stat, the start in clock ticks
// since the kernel's boot (proc(5)). The name, field 2, may hold anything.
func startOf(stat string) (string, bool) {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return "", false
	}
	fields := strings.Fields(stat[i+1:]) // from field 3
	if len(fields) < 20 {
		return "", false
	}
	_, err := strconv.ParseUint(fields[19], 10, 64)
	return fields[19], err == nil
}

// here is this machine, or a container on it.
type here struct {
	proc string // where procfs is mounted: "/proc"
	pid  int    // of the daemon at the other end of the socket
}

// hereOf is the machine behind a unix socket, or nil when its daemon cannot be
// seen from here, as from within a container.
func hereOf(c net.Conn) machine {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil
	}
	pid := 0
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	m := here{"/proc", pid}
	if err != nil || pid == 0 || !m.daemon() {
		return nil
	}
	return m
}

// daemon reports whether the process is a libvirt daemon or the init that
// listens for it, rather than something that passes the socket on to another
// machine, as ssh -L.
func (m here) daemon() bool {
	comm, err := os.ReadFile(fmt.Sprintf("%s/%d/comm", m.proc, m.pid))
	name := strings.TrimSpace(string(comm))
	return err == nil && (m.pid == 1 || name == "systemd" || strings.HasPrefix(name, "virt") || strings.Contains(name, "libvirtd"))
}

// boot names the first process of the daemon's PID namespace.
func (m here) boot(context.Context) (string, error) {
	first, err := m.first()
	if err != nil {
		return "", err
	}
	id, err := os.ReadFile(m.proc + "/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	stat, err := os.ReadFile(fmt.Sprintf("%s/%d/stat", m.proc, first))
	if err != nil {
		return "", err
	}
	return bootOf(string(id), string(stat))
}

// first goes up from the daemon to the process that is number 1 in the PID
// namespace that the daemon is in. A daemon's parent is that or, for one that
// still is somebody's child, below it.
func (m here) first() (int, error) {
	_, own, err := m.status(m.pid)
	if err != nil {
		return 0, err
	}
	for pid := m.pid; pid > 0; {
		parent, numbers, err := m.status(pid)
		switch {
		case err != nil:
			return 0, err
		case len(numbers) != len(own):
			return 0, errors.New("the daemon's own first process cannot be found")
		case numbers[len(numbers)-1] == "1":
			return pid, nil
		}
		pid = parent
	}
	// As when the daemon's parent is outside of its namespace.
	return 0, errors.New("the daemon's first process cannot be seen")
}

// status reads a process's parent and its numbers in the PID namespaces it is
// in, the outermost first (proc(5), NSpid).
func (m here) status(pid int) (parent int, numbers []string, err error) {
	text, err := os.ReadFile(fmt.Sprintf("%s/%d/status", m.proc, pid))
	if err != nil {
		return 0, nil, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "PPid":
			parent, err = strconv.Atoi(strings.TrimSpace(value))
		case "NSpid":
			numbers = strings.Fields(value)
		}
	}
	if err == nil && len(numbers) == 0 {
		err = errors.New("the kernel tells no NSpid")
	}
	return parent, numbers, err
}

// exists looks below the daemon's own root directory. Who may not look there
// sees the same as the daemon when both are in one PID namespace.
func (m here) exists(_ context.Context, path string) (bool, error) {
	err := m.stat(path)
	if errors.Is(err, fs.ErrPermission) {
		if _, numbers, serr := m.status(m.pid); serr == nil && len(numbers) == 1 {
			_, err = os.Stat(path)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// stat resolves path as the daemon does, symbolic links included.
func (m here) stat(path string) error {
	at := fmt.Sprintf("%s/%d/root", m.proc, m.pid)
	root, err := unix.Open(at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: at, Err: err}
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return unix.Close(fd)
}
