package demo

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

// open connects to a machine's console.
func open(t *testing.T, v *vm) io.ReadWriteCloser {
	t.Helper()
	c, err := v.host.Console(context.Background(), v.row.UUID, false)
	if err != nil {
		t.Fatalf("Console: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// say types text and returns what the guest has printed since; on a manual
// clock that is there at once.
func say(t *testing.T, c io.ReadWriter, text string) string {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("typing %q: %v", text, err)
	}
	return printed(t, c)
}

// printed reads what is there. Something must be.
func printed(t *testing.T, c io.Reader) string {
	t.Helper()
	buf := make([]byte, 64*kib)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatalf("reading the console: %v", err)
	}
	return string(buf[:n])
}

// login gets to a shell as root.
func login(t *testing.T, c io.ReadWriter) {
	t.Helper()
	if s := printed(t, c); !strings.Contains(s, " login: ") {
		t.Fatalf("no prompt: %q", s)
	}
	s := say(t, c, "rot\x7f\x7foot\rsecret\r")
	if !strings.Contains(s, "Password: ") || strings.Contains(s, "secret") || !strings.HasSuffix(s, ":~# ") {
		t.Fatalf("logging in: %q", s)
	}
}

func TestConsoleShell(t *testing.T) {
	f, _ := newFleet(t, calm)
	v := machine(t, f, "db")
	c := open(t, v)
	login(t, c)
	for command, want := range map[string]string{
		"help":     "poweroff",
		"uptime":   "load average",
		"uname -a": "x86_64",
		"free":     "Mem:",
		"dmesg":    "Linux version",
		"df":       "/dev/vda1",
		"hostname": v.row.Name,
		"echo a b": "a b",
		"date":     "2026",
		"nosuch":   "not found",
		"ip addr":  v.addresses[0],
	} {
		if s := say(t, c, command+"\r"); !strings.Contains(s, want) || !strings.HasPrefix(s, command+"\r\n") || !strings.HasSuffix(s, "# ") {
			t.Errorf("%s printed %q, want %q in it", command, s, want)
		}
	}
	if s := say(t, c, "half a line\x15whoami\r"); !strings.Contains(s, "\r\nroot\r\n") {
		t.Errorf("^U did not erase the line: %q", s)
	}
	if s := say(t, c, "exit\r"); !strings.HasSuffix(s, "login: ") {
		t.Errorf("exit printed %q", s)
	}
}

func TestConsoleFollowsABoot(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "db")
	restart(t, v)
	c := open(t, v)
	var all strings.Builder
	for !strings.Contains(all.String(), "login: ") {
		clock.Advance(500 * time.Millisecond)
		if v.quietNow(t) {
			continue
		}
		all.WriteString(printed(t, c))
		if clock.Now().Sub(aWednesday) > time.Minute {
			t.Fatalf("no prompt after a minute: %q", all.String())
		}
	}
	at := -1
	for _, want := range []string{"SeaBIOS", "Linux version", "PostgreSQL", "login: "} {
		i := strings.Index(all.String(), want)
		if i <= at {
			t.Errorf("%q is not where it should be in %q", want, all.String())
		}
		at = i
	}
}

// quietNow reports whether a read of the console would wait.
func (v *vm) quietNow(t *testing.T) bool {
	t.Helper()
	f := v.fleet()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.console.print()
	return len(v.console.out) == 0
}

func TestConsolePoweroff(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "db")
	c := open(t, v)
	login(t, c)
	if s := say(t, c, "poweroff\r"); !strings.Contains(s, "poweroff") {
		t.Errorf("poweroff echoed %q", s)
	}
	clock.Advance(15 * time.Second)
	rest, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("the console ended with %v, want io.EOF", err)
	}
	if !strings.Contains(string(rest), "Reached target System Shutdown") {
		t.Errorf("its last words are %q", rest)
	}
	if row := shows(t, v); row.State != backend.Shutoff || row.Reason != "shutdown" {
		t.Errorf("it is %s (%s)", row.State, row.Reason)
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("typing at a machine that is off succeeded")
	}
}

func TestConsoleOfWhatHasNone(t *testing.T) {
	f, _ := newFleet(t, calm)
	v := machine(t, f, "dc")
	if _, err := v.host.Console(context.Background(), v.row.UUID, false); !errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("Console: %v, want ErrUnsupported", err)
	}
}

// The picture is of the simulated screen: it changes as the guest boots.
func TestScreenshotFollowsABoot(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "web")
	restart(t, v)
	lit := func() (n int) {
		var buf bytes.Buffer
		if err := v.host.Screenshot(context.Background(), v.row.UUID, &buf); err != nil {
			t.Fatalf("Screenshot: %v", err)
		}
		if path := os.Getenv("DEMO_SCREENSHOT"); path != "" { // to look at
			if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		img, err := png.Decode(&buf)
		if err != nil {
			t.Fatalf("no PNG: %v", err)
		}
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				if r, _, _, _ := img.At(x, y).RGBA(); r > 0 {
					n++
				}
			}
		}
		return n
	}
	clock.Advance(500 * time.Millisecond)
	early := lit()
	clock.Advance(30 * time.Second)
	if late := lit(); late < early+2000 {
		t.Errorf("%d dots lit during the boot, %d after it", early, late)
	}
}
