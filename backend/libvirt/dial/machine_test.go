package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

const bootID = "54c4c00a-65c2-4dc6-9b5c-631dad650b63"

// fakeProc is a procfs of the test's own; processes are added as "pid parent
// start numbers...", the numbers being those of NSpid.
func fakeProc(t *testing.T, processes ...string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir+"/sys/kernel/random/boot_id", bootID+"\n")
	for _, p := range processes {
		f := strings.Fields(p)
		write(t, dir+"/"+f[0]+"/status", "Name:\tx\nPPid:\t"+f[1]+"\nNSpid:\t"+strings.Join(f[3:], "\t")+"\n")
		write(t, dir+"/"+f[0]+"/stat", statLine(f[0], "a) R 1 (b", f[2]))
	}
	return dir
}

// statLine is a line of /proc/PID/stat of a process with such a name and start.
func statLine(pid, name, start string) string {
	return pid + " (" + name + ") S 1 " + strings.Repeat("0 ", 17) + start + " 0 0\n"
}

// The boot is that of the first process of the daemon's PID namespace, which
// may be a container's.
func TestBootOfTheDaemonsOwnMachine(t *testing.T) {
	host := []string{"1 0 23 1", "300 1 4000 300"}
	for name, c := range map[string]struct {
		proc []string
		pid  int
		want string // empty: an error
	}{
		"a daemon of this machine":       {host, 300, bootID + "+23"},
		"systemd's own socket":           {host, 1, bootID + "+23"},
		"a daemon in a container":        {append(host, "900 300 5000 900 1", "919 900 5100 919 19"), 919, bootID + "+5000"},
		"below somebody in there":        {append(host, "900 300 5000 900 1", "910 900 5050 910 7", "919 910 5100 919 19"), 919, bootID + "+5000"},
		"a parent outside":               {append(host, "919 300 5100 919 19"), 919, ""},
		"a first process out of sight":   {append(host, "919 0 5100 919 19"), 919, ""},
		"a process that has ended":       {host, 555, ""},
		"a kernel without PID namespace": {[]string{"1 0 23", "300 1 4000"}, 300, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := here{fakeProc(t, c.proc...), c.pid}.boot(t.Context())
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestBootIsNotMadeUp(t *testing.T) {
	stat := statLine("1", "init", "23")
	for _, c := range [][2]string{{"", stat}, {"no id", stat}, {bootID, ""}, {bootID, "1 (init S 1"}, {bootID, "1 (init) S 1 2 3"}, {bootID, statLine("1", "init", "x")}} {
		if got, err := bootOf(c[0], c[1]); err == nil || got != "" {
			t.Errorf("%q and %q make %q", c[0], c[1], got)
		}
	}
}

// Paths are those of the daemon: below its own root, symbolic links too.
func TestExistsLooksBelowTheDaemonsRoot(t *testing.T) {
	proc := fakeProc(t, "919 1 5100 919 19")
	root := proc + "/919/root"
	write(t, root+"/images/a.qcow2", "")
	if err := os.Symlink("/images", root+"/pool"); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir() + "/outside"
	write(t, outside, "")
	m := here{proc, 919}
	for path, want := range map[string]bool{
		"/images/a.qcow2": true, "/pool/a.qcow2": true, "/images/b.qcow2": false, "/nowhere/at/all": false, outside: false, "/../../../../etc/passwd": false,
	} {
		if got, err := m.exists(t.Context(), path); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", path, got, err, want)
		}
	}
}

// What listens on a unix socket may be a tunnel to another machine.
func TestOnlyDaemonsAreLookedAt(t *testing.T) {
	for comm, want := range map[string]bool{"libvirtd": true, "virtqemud": true, "systemd": true, "ssh": false, "socat": false, "rpc-libvirtd": true} {
		dir := t.TempDir()
		write(t, dir+"/50/comm", comm+"\n")
		if got := (here{dir, 50}).daemon(); got != want {
			t.Errorf("%s: %v", comm, got)
		}
	}
	conn := mustReach(t, unixLab(t), "qemu:///system", false, 1) // served by this very test
	if boot, err := conn.(*guard).Boot(t.Context()); !errors.Is(err, backend.ErrUnsupported) || boot != "" {
		t.Errorf("a socket of some program: %q, %v", boot, err)
	}
}

// unixLab has a daemon that is this process.
func unixLab(t *testing.T) *environ {
	e := testEnviron(t)
	daemon(t, listenUnix(t, filepath.Join(e.runDirs[0], "libvirt-sock")), 1)
	return e
}

// Over TCP only libvirt is there.
func TestNoSightOverTCP(t *testing.T) {
	l := listenTCP(t)
	daemon(t, l, 3)
	c := mustReach(t, testEnviron(t), "qemu+tcp://"+l.Addr().String()+"/system", false, 3).(*guard)
	_, boot := c.Boot(t.Context())
	_, file := c.Exists(t.Context(), "/x")
	if !errors.Is(boot, backend.ErrUnsupported) || !errors.Is(file, backend.ErrUnsupported) {
		t.Errorf("%v, %v", boot, file)
	}
}

// Over ssh a remote shell looks, beside the tunnel.
func TestSightOverSSH(t *testing.T) {
	l := newSSHLab(t).know(0)
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	l.srv.run = func(command string, out io.ReadWriter, _ io.Writer) uint32 {
		switch {
		case strings.HasPrefix(command, "cat "):
			fmt.Fprint(out, bootID+"\n"+statLine("1", "systemd", "31"))
			return 0
		case strings.Contains(command, "/there is"):
			return 0
		case strings.Contains(command, "/absent"):
			fmt.Fprintln(out, "ls: cannot access '/absent': No such file or directory")
			return 2
		case strings.Contains(command, "/hangs"):
			<-stuck
			return 0
		}
		fmt.Fprintln(out, "ls: cannot access '/secret': Permission \x1b[31mdenied")
		return 2
	}
	c := mustReach(t, l.env, l.uri, false, 7).(*guard)
	if boot, err := c.Boot(t.Context()); err != nil || boot != bootID+"+31" {
		t.Errorf("boot %q, %v", boot, err)
	}
	for path, want := range map[string]bool{"/there is'it": true, "/absent": false} {
		if got, err := c.Exists(t.Context(), path); err != nil || got != want {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	if got, err := c.Exists(t.Context(), "/secret"); err == nil || got || strings.ContainsRune(err.Error(), '\x1b') {
		t.Errorf("what may not be seen: %v, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Exists(ctx, "/hangs"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a shell that hangs: %v", err)
	}
	if ask(t, c) != 7 {
		t.Error("the tunnel is gone")
	}
}
