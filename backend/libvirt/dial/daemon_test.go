package dial

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"berth/backend"
)

// playDaemon makes this test program behave as libvirtd does when a test
// starts it as one: "-d" forks a daemon, which listens and serves one client.
func playDaemon() {
	socket := os.Getenv("DIAL_TEST_DAEMON")
	if socket == "" {
		return
	}
	if want := []string{"--timeout=120", "-d"}; slices.Equal(os.Args[1:], want) {
		child := exec.Command(os.Args[0], "serve")
		child.Stderr = os.Stderr // held open, as a careless daemon would
		if err := child.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	time.AfterFunc(10*time.Second, func() { os.Exit(1) }) // should nobody come
	c, err := l.Accept()
	if err != nil {
		os.Exit(1)
	}
	answer(c, 21)
	os.Exit(0)
}

func TestSessionDaemonIsStarted(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := t.TempDir()
	socket := filepath.Join(run, "libvirt", "libvirt-sock")
	if err := os.Mkdir(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DIAL_TEST_DAEMON", socket)
	for name, look := range map[string]*environ{
		"found":     {getenv: setenv("XDG_RUNTIME_DIR", run), look: func(string) string { return self }},
		"told":      testEnviron(t, "XDG_RUNTIME_DIR", run, "LIBVIRTD_PATH", self),
		"for tests": testEnviron(t, "XDG_RUNTIME_DIR", run, "LIBVIRTD_PATH", self),
	} {
		t.Run(name, func(t *testing.T) {
			e := testEnviron(t)
			e.getenv, e.look = look.getenv, look.look
			uri := "qemu:///session"
			if name == "for tests" {
				uri = "test:///default"
			}
			c := mustReach(t, e, uri, false, 21)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
				t.Error(err)
			}
		})
	}
}

func TestDaemonsThatAreNotStarted(t *testing.T) {
	for name, c := range map[string]struct {
		uri  string
		uid  int
		vars []string
	}{
		"the system's":    {uri: "qemu:///system", uid: 1000},
		"root's session":  {uri: "qemu:///session", uid: 0},
		"root's test":     {uri: "test:///default", uid: 0},
		"forbidden":       {uri: "qemu:///session", uid: 1000, vars: []string{"LIBVIRT_AUTOSTART", "0"}},
		"socket by name":  {uri: "qemu+unix:///session?socket=/no/such", uid: 1000},
		"other transport": {uri: "qemu+tcp://127.0.0.1:1/session", uid: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			e := testEnviron(t, c.vars...)
			mark := filepath.Join(t.TempDir(), "started")
			e.uid, e.look = c.uid, func(string) string { return script(t, "touch "+mark) }
			mustFail(t, e, c.uri, backend.ErrUnreachable)
			if exists(mark) {
				t.Error("started a daemon")
			}
		})
	}
}

// script writes a program.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "libvirtd")
	write(t, path, "#!/bin/sh\n"+text+"\n")
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDaemonThatFails(t *testing.T) {
	e := testEnviron(t)
	program := script(t, "echo 'libvirtd: first line' >&2; echo 'libvirtd: cannot write \x1b[1m/run' >&2; exit 3")
	e.look = func(string) string { return program }
	mustFail(t, e, "qemu:///session", backend.ErrUnreachable, "libvirtd could not be started", "exit status 3", "cannot write", "run it by hand", program)
}

func TestDaemonThatNeverListens(t *testing.T) {
	e := testEnviron(t)
	program := script(t, "exit 0")
	e.look = func(string) string { return program }
	target, err := parse("qemu:///session", e)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c, err := dialFor(t, target, 300*time.Millisecond)
	if err == nil {
		c.Close()
		t.Fatal("connected")
	}
	checkError(t, err, backend.ErrTimeout)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("returned after %v", took)
	}
}
