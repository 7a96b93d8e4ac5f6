package dial

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

// TestLocalPrograms end with whoever started them, and say what they lacked.
func TestLocalPrograms(t *testing.T) {
	m := &localMachine{}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if out, err := m.Run(ctx, "printf", "%s", "it's $HOME"); out != "it's $HOME" || err != nil {
		t.Errorf("Run: %q, %v", out, err)
	}
	if _, err := m.Run(ctx, "ls", "/no such folder"); err == nil || !strings.Contains(err.Error(), "No such file") {
		t.Errorf("a program that fails: %v", err)
	}
	if _, err := m.Run(ctx, "qemu-nbd-that-nobody-has"); !errors.Is(err, backend.ErrUnsupported) || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("a program that is not there: %v", err)
	}
	p, err := m.Start(ctx, "sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
		t.Fatalf("it ended: %v", p.Err())
	default:
	}
	if err := p.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
	short, stop := context.WithCancel(ctx)
	stop()
	if _, err := m.Run(short, "sleep", "1000"); !errors.Is(err, context.Canceled) {
		t.Errorf("a Run that is cancelled: %v", err)
	}
}

// guardEnv makes this test binary a process that dies with a guard standing by.
const guardEnv = "BERTH_TEST_GUARD"

// TestGuard acts when its process is killed, and only then.
func TestGuard(t *testing.T) {
	if file := os.Getenv(guardEnv); file != "" {
		if _, err := (&localMachine{}).Guard(context.Background(), "touch", file); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("ready\n") //nolint:errcheck // who started it would wait
		select {}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	file := filepath.Join(t.TempDir(), "acted")
	g, err := (&localMachine{}).Guard(ctx, "touch", file)
	if err != nil {
		t.Fatal(err)
	}
	g.Dismiss()
	<-g.Done()
	if _, err := os.Stat(file); err == nil {
		t.Error("a guard that was dismissed acted")
	}
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestGuard$")
	cmd.Env = append(os.Environ(), guardEnv+"="+file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // it was killed
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if _, err := os.Stat(file); err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the guard did not act")
		}
	}
	if _, err := (&localMachine{}).Guard(ctx, "nobody-has-this"); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("a guard without its program: %v", err)
	}
}

// TestLocalFiles appear whole and are never overwritten by a new name.
func TestLocalFiles(t *testing.T) {
	m, ctx, dir := &localMachine{}, t.Context(), t.TempDir()
	at := filepath.Join(dir, "f")
	if err := m.WriteFile(ctx, at, []byte("text"), 0o640, -1, -1); err != nil {
		t.Fatal(err)
	}
	if st, err := m.Stat(ctx, at); err != nil || st.Mode.Perm() != 0o640 || st.Size != 4 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := m.Allocate(ctx, at, 5, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Allocate over a file: %v", err)
	}
	if err := m.Allocate(ctx, at+"2", 1<<30, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Rename(ctx, at, at+"2"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Rename over a file: %v", err)
	}
	if b, err := ReadWhole(ctx, m, at, 3); err == nil {
		t.Errorf("ReadWhole gave %q", b)
	}
	long := filepath.Join(dir, strings.Repeat("d", 120))
	if err := m.Mkdir(ctx, long, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Rename(filepath.Join(dir, "s"), filepath.Join(long, "s")); err != nil {
		t.Fatal(err)
	}
	c, err := m.DialUnix(ctx, filepath.Join(long, "s"))
	if err != nil {
		t.Fatalf("a socket whose path is too long for its address: %v", err)
	}
	c.Close()
}
