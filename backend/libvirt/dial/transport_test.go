package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/backend"
)

func TestTCP(t *testing.T) {
	l := listenTCP(t)
	daemon(t, l, 3)
	mustReach(t, testEnviron(t), "qemu+tcp://"+l.Addr().String()+"/system", false, 3)
	mustReach(t, testEnviron(t), "test+tcp://"+l.Addr().String()+"/default", true, 3)
}

func TestTCPRefused(t *testing.T) {
	l := listenTCP(t)
	addr := l.Addr().String()
	l.Close()
	mustFail(t, testEnviron(t), "qemu+tcp://"+addr+"/system", backend.ErrUnreachable, "refused", "libvirtd-tcp.socket")
	mustFail(t, testEnviron(t), "qemu+tls://"+addr+"/system?no_verify=1", backend.ErrUnreachable, "refused", "libvirtd-tls.socket")
	mustFail(t, testEnviron(t), "qemu+ssh://"+addr+"/system", backend.ErrUnreachable, "refused", "sshd")
}

func TestUnknownName(t *testing.T) {
	mustFail(t, testEnviron(t), "qemu+tcp://no-such-host.invalid/system", backend.ErrUnreachable, "host's name")
}

// TestCancelNeverHangs dials peers that accept and then say nothing.
func TestCancelNeverHangs(t *testing.T) {
	mute := listenTCP(t)
	serve(t, mute, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	addr := mute.Addr().String()
	sshdThenMute := newSSHLab(t).know(0)
	sshdThenMute.srv.noForward.Store(true)
	sshdThenMute.srv.run = func(_ string, ch io.ReadWriter, _ io.Writer) uint32 {
		_, _ = io.Copy(io.Discard, ch)
		return 0
	}
	agentMute := newSSHLab(t).know(0)
	muteAgent := listenUnix(t, filepath.Join(t.TempDir(), "agent"))
	serve(t, muteAgent, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	agentMute.env.getenv = setenv("SSH_AUTH_SOCK", muteAgent.Addr().String())

	for name, c := range map[string]struct {
		env *environ
		uri string
	}{
		"ssh":        {testEnviron(t), "qemu+ssh://" + addr + "/system"},
		"tls":        {testEnviron(t), "qemu+tls://" + addr + "/system?no_verify=1"},
		"remote end": {sshdThenMute.env, sshdThenMute.uri},
		"agent":      {agentMute.env, agentMute.uri},
	} {
		t.Run(name, func(t *testing.T) {
			target, err := parse(c.uri, c.env)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err = target.Dial(ctx, false)
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("returned after %v", took)
			}
			if err == nil {
				t.Fatal("connected")
			}
			checkError(t, err, backend.ErrTimeout)

			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			if _, err = target.Dial(ctx, false); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled, it said %v", err)
			}
		})
	}
}

func TestContextThatHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := newSSHLab(t).know(0)
	tcp := listenTCP(t)
	daemon(t, tcp, 1)
	daemon(t, listenUnix(t, l.env.runDirs[0]+"/libvirt-sock"), 1)
	for _, uri := range []string{"qemu:///system", "qemu+tcp://" + tcp.Addr().String() + "/system", l.uri} {
		target, err := parse(uri, l.env)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := target.Dial(ctx, false); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func TestConnectionOutlivesItsContext(t *testing.T) {
	l := newSSHLab(t).know(0)
	target, err := parse(l.uri, l.env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c, err := target.Dial(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if got := ask(t, c); got != 7 {
		t.Errorf("daemon %d answers, want 7", got)
	}
}

func TestUnix(t *testing.T) {
	for name, c := range map[string]struct {
		uri      string
		uid      int
		readOnly bool
		sockets  []string // below the run or session directory; their daemons count from 1
		reach    uint32
	}{
		"monolithic":               {"qemu:///system", 0, false, []string{"run/libvirt-sock"}, 1},
		"modular first":            {"qemu:///system", 0, false, []string{"run/libvirt-sock", "run/virtqemud-sock"}, 2},
		"direct mode":              {"qemu:///system?mode=direct", 0, false, []string{"run/libvirt-sock", "run/virtqemud-sock"}, 2},
		"legacy mode":              {"qemu:///system?mode=legacy", 0, false, []string{"run/libvirt-sock", "run/virtqemud-sock"}, 1},
		"read-only":                {"qemu:///system", 0, true, []string{"run/libvirt-sock", "run/libvirt-sock-ro"}, 2},
		"read-only without ro":     {"qemu:///system", 0, true, []string{"run/libvirt-sock"}, 1},
		"session":                  {"qemu:///session", 1000, false, []string{"run/libvirt-sock", "session/libvirt-sock"}, 2},
		"session has no ro":        {"qemu:///session", 1000, true, []string{"session/libvirt-sock", "session/libvirt-sock-ro"}, 1},
		"root's session":           {"qemu:///session", 0, false, []string{"run/libvirt-sock"}, 1},
		"test for root":            {"test:///default", 0, false, []string{"run/virtqemud-sock", "run/libvirt-sock", "session/libvirt-sock"}, 2},
		"test for others":          {"test:///default", 1000, false, []string{"run/libvirt-sock", "session/libvirt-sock"}, 2},
		"test at the system's":     {"test:///default", 1000, false, []string{"run/libvirt-sock"}, 1},
		"socket by name":           {"qemu+unix:///system?socket=DIR/x-sock", 1000, false, []string{"x-sock", "x-sock-ro"}, 1},
		"socket by name read-only": {"qemu+unix:///system?socket=DIR/x-sock", 1000, true, []string{"x-sock", "x-sock-ro"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			e := testEnviron(t, "XDG_RUNTIME_DIR", dir+"/xdg")
			e.uid, e.runDirs = c.uid, []string{dir + "/none", dir + "/run"}
			for i, s := range c.sockets {
				path := filepath.Join(dir, strings.Replace(s, "session/", "xdg/libvirt/", 1))
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				daemon(t, listenUnix(t, path), uint32(i+1))
			}
			mustReach(t, e, strings.Replace(c.uri, "DIR", dir, 1), c.readOnly, c.reach)
		})
	}
}

func TestSessionDirs(t *testing.T) {
	for want, vars := range map[string][]string{
		"/x/libvirt":          {"XDG_RUNTIME_DIR", "/x", "XDG_CACHE_HOME", "/c"},
		"/c/libvirt":          {"XDG_CACHE_HOME", "/c"},
		"HOME/.cache/libvirt": nil,
	} {
		e := testEnviron(t, vars...)
		if got := e.sessionDir(); got != strings.Replace(want, "HOME", e.home, 1) {
			t.Errorf("with %q: %s, want %s", vars, got, want)
		}
	}
}

func TestStaleSocketIsPassedOver(t *testing.T) {
	e := testEnviron(t)
	stale := listenUnix(t, e.runDirs[0]+"/virtqemud-sock").(*net.UnixListener)
	stale.SetUnlinkOnClose(false)
	stale.Close()
	mustFail(t, e, "qemu:///system", backend.ErrUnreachable, "nobody listens", "virtqemud-sock", "libvirt-sock")
	daemon(t, listenUnix(t, e.runDirs[0]+"/libvirt-sock"), 5)
	mustReach(t, e, "qemu:///system", false, 5)
}

func TestUnixFailures(t *testing.T) {
	e := testEnviron(t)
	sys := []string{e.runDirs[0] + "/virtqemud-sock", e.runDirs[0] + "/libvirt-sock"}
	mustFail(t, e, "qemu:///system", backend.ErrUnreachable, "no libvirt socket here", sys[0], sys[1], "install libvirt")
	mustFail(t, e, "qemu:///session", backend.ErrUnreachable, e.home+"/.cache/libvirt/libvirt-sock", "install libvirt")
	mustFail(t, e, "qemu+unix:///system?socket=/no/such", backend.ErrUnreachable, "/no/such", "is that its socket")
	e.look = func(name string) string { return "/nonexistent/" + name } // never a real one, which would start
	mustFail(t, e, "qemu:///system", backend.ErrUnreachable, "systemctl start virtqemud.socket")
	mustFail(t, e, "test:///default", backend.ErrUnreachable, "could not be started")
}

func TestPermissionDenied(t *testing.T) {
	e := testEnviron(t)
	target, err := parse("qemu:///system", e)
	if err != nil {
		t.Fatal(err)
	}
	// Root may do everything, so the kernel's answer is made here.
	denied := &net.OpError{Op: "dial", Net: "unix", Err: &os.SyscallError{Syscall: "connect", Err: os.ErrPermission}}
	err = target.explain(t.Context(), target.explainSockets([]string{"/run/libvirt/libvirt-sock"}, denied))
	checkError(t, err, backend.ErrAuth, "usermod -aG libvirt alice", "qemu:///session", "permission denied")
}

func TestAnotherServiceIsNotTakenForLibvirt(t *testing.T) {
	l := listenTCP(t)
	serve(t, l, func(c net.Conn) { _, _ = c.Write([]byte("220 mail.example.org ESMTP\r\n")) })
	c, err := dialIn(t, testEnviron(t), "qemu+tcp://"+l.Addr().String()+"/system", false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 64)); n != 0 || err == nil || !strings.Contains(err.Error(), `"220 "`) {
		t.Errorf("a mail server's greeting gave %d bytes, %v", n, err)
	}
}

func TestKeepaliveClosesADeadConnection(t *testing.T) {
	conn := &deafConn{closed: make(chan struct{})}
	channels, requests := make(chan ssh.NewChannel), make(chan *ssh.Request)
	defer close(channels)
	defer close(requests)
	lost := make(chan error, 1)
	go keepalive(ssh.NewClient(conn, channels, requests), 10*time.Millisecond, 2, func(err error) {
		lost <- err
		conn.Close()
	})
	select {
	case err := <-lost:
		if !strings.Contains(err.Error(), "20ms") {
			t.Errorf("lost for %v, want 20 ms without a sign", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("a server that does not answer was not given up")
	}
}

// deafConn is an ssh connection on which requests are never answered.
type deafConn struct {
	ssh.Conn
	closed chan struct{}
}

func (c *deafConn) SendRequest(string, bool, []byte) (bool, []byte, error) {
	<-c.closed
	return false, nil, net.ErrClosed
}
func (c *deafConn) Wait() error  { <-c.closed; return net.ErrClosed }
func (c *deafConn) Close() error { close(c.closed); return nil }

func TestKeepaliveEndsWithTheConnection(t *testing.T) {
	l := newSSHLab(t).know(0)
	write(t, l.env.home+"/.ssh/config", "ServerAliveInterval 1\n")
	c := mustReach(t, l.env, l.uri, false, 7)
	if err := c.Close(); err != nil { // goleak notices a keepalive that goes on
		t.Error(err)
	}
}

func TestSocketOrder(t *testing.T) {
	e := testEnviron(t)
	e.runDirs = []string{"/run/libvirt", "/var/run/libvirt"}
	target, err := parse("qemu:///system", e)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock", "/var/run/libvirt/virtqemud-sock", "/var/run/libvirt/libvirt-sock"}
	if got := target.sockets(false); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
