package dial

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/backend"
)

func TestMain(m *testing.M) {
	playDaemon()
	goleak.VerifyTestMain(m)
}

// testEnviron is a machine of the test's own: an empty home, no daemons, no
// agent.
func testEnviron(t testing.TB, vars ...string) *environ {
	t.Helper()
	dir := t.TempDir()
	e := &environ{
		home:      filepath.Join(dir, "home"),
		user:      "alice",
		uid:       1000,
		hostname:  "desk.example.org",
		runDirs:   []string{filepath.Join(dir, "run")},
		pki:       filepath.Join(dir, "pki"),
		sshDir:    filepath.Join(dir, "etc-ssh"),
		remoteRun: filepath.Join(dir, "remote"),
		look:      func(string) string { return "" },
		getenv: func(name string) string {
			for i := 0; i < len(vars); i += 2 {
				if vars[i] == name {
					return vars[i+1]
				}
			}
			return ""
		},
	}
	for _, d := range []string{e.home + "/.ssh", e.runDirs[0], e.pki, e.sshDir, e.remoteRun} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// dialIn parses uri in e and dials it, for ten seconds at most.
func dialIn(t testing.TB, e *environ, uri string, readOnly bool) (net.Conn, error) {
	t.Helper()
	target, err := parse(uri, e)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return target.Dial(ctx, readOnly)
}

// dialFor dials target for a given time at most.
func dialFor(t testing.TB, target *Target, patience time.Duration) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return target.Dial(ctx, false)
}

// daemon answers libvirt calls on a listener: each gets an empty reply whose
// first word of payload is the daemon's number, so that tests know whom they
// reached.
func daemon(t testing.TB, l net.Listener, number uint32) {
	t.Helper()
	serve(t, l, func(c net.Conn) { answer(c, number) })
}

// serve runs handle for every connection, and closes those still open at the
// end of the test.
func serve(t testing.TB, l net.Listener, handle func(net.Conn)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served := make(chan struct{})
			go func() { defer close(served); defer c.Close(); handle(c) }()
			t.Cleanup(func() { c.Close(); <-served })
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// answer replies to every packet until c ends.
func answer(c io.ReadWriter, number uint32) {
	for {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(size[:]))-4); err != nil {
			return
		}
		reply := binary.BigEndian.AppendUint32(nil, packetMin+4)
		for _, w := range []uint32{0x20008086, 1, 66, 1, 0, 0, number} {
			reply = binary.BigEndian.AppendUint32(reply, w)
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

func listenUnix(t testing.TB, path string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func listenTCP(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ask makes one call and returns the daemon's number.
func ask(t testing.TB, c net.Conn) uint32 {
	t.Helper()
	call := binary.BigEndian.AppendUint32(nil, packetMin)
	if _, err := c.Write(append(call, make([]byte, packetMin-4)...)); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, packetMin+4)
	if _, err := io.ReadFull(c, reply); err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint32(reply[packetMin:])
}

// mustReach dials uri and checks which daemon is there.
func mustReach(t *testing.T, e *environ, uri string, readOnly bool, number uint32) net.Conn {
	t.Helper()
	c, err := dialIn(t, e, uri, readOnly)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if got := ask(t, c); got != number {
		t.Errorf("reached daemon %d, want %d", got, number)
	}
	return c
}

// mustFail dials uri and checks that the error is of a kind and says all of
// words, in its text on one line.
func mustFail(t *testing.T, e *environ, uri string, kind error, words ...string) {
	t.Helper()
	c, err := dialIn(t, e, uri, false)
	if err == nil {
		c.Close()
		t.Fatal("connected")
	}
	checkError(t, err, kind, words...)
}

func checkError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	var op *backend.OpError
	if !errors.As(err, &op) || op.Op != "connect" || op.Target == "" {
		t.Errorf("%#v is no complete *backend.OpError", err)
	}
	if !errors.Is(err, kind) {
		t.Errorf("%v is not %v", err, kind)
	}
	for _, w := range append(words, "connect ") {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\r\x1b") {
		t.Errorf("%q is not one clean line", err)
	}
}
