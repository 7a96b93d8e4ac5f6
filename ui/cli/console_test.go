package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"

	"berth/backend"
)

// terminal is a pseudo-terminal of that width whose output is collected.
func terminal(t *testing.T, width uint16) (tty *os.File, output func() string) {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(ptmx, &pty.Winsize{Rows: 24, Cols: width}); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The read fails when the other side is closed: that is the end.
		_, _ = buf.ReadFrom(ptmx)
	}()
	return tty, func() string {
		if err := tty.Close(); err != nil {
			t.Error(err)
		}
		<-done
		if err := ptmx.Close(); err != nil {
			t.Error(err)
		}
		return buf.String()
	}
}

// open runs berth on a terminal and returns what its console was given.
func open(t *testing.T, env map[string]string, args ...string) (o ConsoleOptions, code int, stderr string) {
	t.Helper()
	tty, output := terminal(t, 80)
	var errs bytes.Buffer
	if env == nil {
		env = map[string]string{"HOME": t.TempDir()}
	}
	p := testProgram(args, func(k string) string { return env[k] })
	p.Stdin, p.Stdout, p.Stderr = tty, tty, &errs
	p.Console = func(_ context.Context, got ConsoleOptions) error { o = got; return nil }
	code = p.Run(t.Context())
	output()
	return o, code, errs.String()
}

func hostNames(hosts []backend.Host) string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name())
	}
	return strings.Join(out, " ")
}

func TestConsoleOpensThoughNothingAnswers(t *testing.T) {
	o, code, _ := open(t, nil)
	if code != 0 || len(o.Hosts) != 0 || len(o.Tried) == 0 {
		t.Errorf("code %d, hosts %q, tried %v", code, hostNames(o.Hosts), o.Tried)
	}
	for _, a := range o.Tried {
		if !errors.Is(a.Err, backend.ErrUnreachable) || a.URI == "" {
			t.Errorf("tried %+v", a)
		}
	}
}

func TestConsoleGetsItsHosts(t *testing.T) {
	o, code, errs := open(t, nil, "-c", "fake://down", "-c", "fake://hv1", "-r")
	if code != 0 || hostNames(o.Hosts) != "down hv1" || len(o.Tried) != 0 || !o.Hosts[1].ReadOnly() {
		t.Errorf("code %d %s, hosts %q, tried %v", code, errs, hostNames(o.Hosts), o.Tried)
	}
	// A further connection gets a name of its own, and is read-only too.
	h, err := o.Connect("fake://hv1", []string{"down", "hv1"})
	if err != nil || h.Name() != "hv1-2" || !h.ReadOnly() {
		t.Errorf("one more: %v %v", h, err)
	}
	if _, err := o.Connect("xen:///", nil); !errors.Is(err, backend.ErrURI) {
		t.Errorf("unsupported: %v", err)
	}
	if hosts, q := o.StartDemo(); len(hosts) != 3 || q == nil {
		t.Errorf("the demo has %d hosts and the queue %v", len(hosts), q)
	}
}

func TestConsoleOfTheDemo(t *testing.T) {
	o, code, errs := open(t, nil, "--demo", "--demo-hosts", "2", "--demo-vms", "5", "--theme", "dark", "--refresh", "500ms")
	if code != 0 || !o.Demo || len(o.Hosts) != 2 || o.Config.Theme != "dark" || o.Config.Refresh.String() != "500ms" || o.SortBy != "name" || o.Desc {
		t.Errorf("code %d %s, %+v", code, errs, o)
	}
}

func TestConsoleTakesTheConfig(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, ".config", "berth")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := "sort: cpu\nascii: yes\nconnections:\n  - {uri: 'fake://hv2', name: prod, theme: dark, frame: white on red, readonly: true}\n  - fake://hv1\n"
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o, code, errs := open(t, map[string]string{"HOME": home})
	if code != 0 || hostNames(o.Hosts) != "prod hv1" || o.SortBy != "cpu" || !o.Desc || o.Env("BERTH_GLYPHS") != "ascii" || o.Env("HOME") != home {
		t.Errorf("code %d %s, %+v", code, errs, o)
	}
	if len(o.HostThemes) != 1 || o.HostThemes["prod"] != "dark" {
		t.Errorf("themes of hosts: %v", o.HostThemes)
	}
	if len(o.HostFrames) != 1 || o.HostFrames["prod"] != "white on red" {
		t.Errorf("frames of hosts: %v", o.HostFrames)
	}
	if h, err := o.Connect("fake://hv2", []string{"hv1"}); err != nil || h.Name() != "prod" || !h.ReadOnly() {
		t.Errorf("one that the config knows: %v %v", h, err)
	}
	if !o.Hosts[0].ReadOnly() || o.Hosts[1].ReadOnly() {
		t.Errorf("read-only: %v and %v, want the first alone", o.Hosts[0].ReadOnly(), o.Hosts[1].ReadOnly())
	}
}

func TestTheConsoleErrorIsTheProgramError(t *testing.T) {
	tty, output := terminal(t, 80)
	var errs bytes.Buffer
	p := testProgram([]string{"--demo"}, func(string) string { return "" })
	p.Stdin, p.Stdout, p.Stderr = tty, tty, &errs
	p.Console = func(context.Context, ConsoleOptions) error { return errors.New("the terminal went away") }
	code := p.Run(t.Context())
	output()
	if code != ExitFailed || errs.String() != "berth: the terminal went away\n" {
		t.Errorf("code %d, %q", code, errs.String())
	}
}

func TestTheTableFitsTheTerminal(t *testing.T) {
	for _, width := range []int{60, 80, 120} {
		t.Run(strconv.Itoa(width), func(t *testing.T) { t.Parallel(); fits(t, width) })
	}
}

func fits(t *testing.T, width int) {
	t.Helper()
	tty, output := terminal(t, uint16(width))
	p := testProgram([]string{"vm", "list", "--demo"}, func(string) string { return "" })
	p.Stdin, p.Stdout, p.Stderr = tty, tty, os.Stderr
	if code := p.Run(t.Context()); code != 0 {
		t.Errorf("code %d", code)
	}
	lines := strings.Split(strings.TrimSpace(output()), "\r\n")
	if len(lines) != 25 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if w := ansi.StringWidth(line); w > width {
			t.Errorf("at %d a line is %d wide: %s", width, w, line)
		}
	}
}
