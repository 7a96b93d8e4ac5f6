package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/backend/backendtest/lab"
	"berth/backend/backendtest/tty"
)

// The program is tested as people use it: testdata/script holds scripts that
// run the real binary, in a terminal or as a command, over the demo fleet; those
// in testdata/lab do so over real libvirt hosts and guests. commands tells
// what a script can say besides testscript's own words.

func TestMain(m *testing.M) {
	os.Exit(lab.Main(m))
}

func TestScripts(t *testing.T) { runScripts(t, "script") }

func TestLabScripts(t *testing.T) {
	lab.Need(t)
	runScripts(t, "lab")
}

// wait is how long a script waits for what it does not time itself. A machine
// with two cores that also emulates guests is slow.
const wait = 30 * time.Second

func runScripts(t *testing.T, dir string) {
	bin := build(t)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", dir),
		Setup: func(e *testscript.Env) error {
			// Nothing of the user's: no configuration, no state, no keys, no terminal.
			e.Vars = append(e.Vars, "PATH="+bin+":"+os.Getenv("PATH"), "BERTH="+bin+"/berth", "HOME="+e.WorkDir,
				"XDG_CONFIG_HOME="+e.WorkDir+"/config", "XDG_STATE_HOME="+e.WorkDir+"/state", "XDG_CACHE_HOME="+e.WorkDir+"/cache",
				"XDG_RUNTIME_DIR="+e.WorkDir, "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "SHELL=/bin/sh", "USER=tester")
			e.Values[terminal{}] = &session{}
			e.Defer(e.Values[terminal{}].(*session).close)
			return nil
		},
		Cmds: commands,
	})
}

// build compiles the program once, as it is shipped.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "berth"), ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// terminal is the key under which a script's session is kept.
type terminal struct{}

// session is the program in a terminal, as one script runs it, and the script's
// own lab if it has one.
type session struct {
	*tty.Session
	own *lab.Lab
}

// stop ends the program; what hangs is killed.
func (s *session) stop() {
	if s.Session != nil {
		s.Session.Close() //nolint:errcheck // it was killed
		s.Session = nil
	}
}

func (s *session) close() {
	s.stop()
	if s.own != nil {
		s.own.Close() //nolint:errcheck // its processes are gone
	}
}

func of(ts *testscript.TestScript) *session { return ts.Value(terminal{}).(*session) }

type commandFunc = func(ts *testscript.TestScript, neg bool, args []string)

// commands are the words of the scripts:
//
//	term [-host] WxH CMD...   run a command in a terminal of that size; -host: on the lab's host
//	see [-within D] REGEXP... wait until each matches the screen; ! see: until none does
//	type TEXT...              type text
//	press-until KEY REGEXP    press a key each second until the screen matches
//	key NAME...               press keys: enter esc up ctrl-c ^] ..., or any single character
//	mouse X,Y | mouse wheel   click at a column and row, from 1; turn the wheel down there
//	sent REGEXP               what was sent to the terminal so far matches
//	resize WxH                change the terminal's size
//	mode N on|off             check a DEC private mode of the terminal: 1049 alternate screen, 25 cursor
//	nocolor                   no colour was sent to the terminal so far
//	notitle REGEXP            the window's title does not match
//	dump                      log the screen
//	end [CODE]                wait until the program has ended, with that exit status
//	hypervisor [-own]         name the lab's host, or one of the script's own, in $URI, $URI_RO, $URI_TEST, _TCP, _TLS, _SSH
//	hypervisor crash|start    kill the host's libvirtd, start it again
//	guest [-FLAG...] NAME     start a guest of the lab: -os -empty -off -disk -nic -vga -deaf -hostile -title=TEXT
//	virsh ARG...              run virsh on the lab's host; its output can be matched by stdout
//	onhost CMD...             run a command on the lab's host
//	state NAME STATE          wait until virsh reports the state
//	freeze NAME, thaw NAME    stop a guest's QEMU, let it go on
var commands map[string]commandFunc

func init() {
	commands = map[string]commandFunc{
		"term": cmdTerm, "see": cmdSee, "press-until": cmdPressUntil, "type": cmdType, "key": cmdKey, "mouse": cmdMouse, "sent": cmdSent, "resize": cmdResize, "mode": cmdMode, "nocolor": cmdNoColor, "notitle": cmdNoTitle, "dump": cmdDump,
		"end": cmdEnd, "hypervisor": cmdHypervisor, "guest": cmdGuest, "virsh": cmdVirsh, "onhost": cmdOnHost, "state": cmdState,
		"freeze": func(ts *testscript.TestScript, _ bool, a []string) { signal(ts, a[0], syscall.SIGSTOP) },
		"thaw":   func(ts *testscript.TestScript, _ bool, a []string) { signal(ts, a[0], syscall.SIGCONT) },
	}
}

func size(ts *testscript.TestScript, s string) (w, h int) {
	if _, err := fmt.Sscanf(s, "%dx%d", &w, &h); err != nil {
		ts.Fatalf("no size: %q", s)
	}
	return w, h
}

func cmdTerm(ts *testscript.TestScript, _ bool, args []string) {
	of(ts).stop()
	onHost := args[0] == "-host"
	if onHost {
		args = args[1:]
	}
	w, h := size(ts, args[0])
	argv := args[1:]
	if argv[0] == "berth" {
		argv[0] = ts.Getenv("BERTH")
	}
	if onHost {
		argv = host(ts).Command(argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR",
		"SHELL", "USER", "EDITOR", "VISUAL", "NO_COLOR", "LIBVIRT_DEFAULT_URI", "TERM", "LC_ALL", "LANG"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	s, err := tty.Start(cmd, w, h)
	ts.Check(err)
	of(ts).Session = s
}

func cmdSee(ts *testscript.TestScript, neg bool, args []string) {
	limit := wait
	if len(args) > 1 && args[0] == "-within" {
		d, err := time.ParseDuration(args[1])
		ts.Check(err)
		limit, args = d, args[2:]
	}
	var patterns []*regexp.Regexp
	for _, a := range args {
		patterns = append(patterns, regexp.MustCompile(`(?m)`+a))
	}
	missing := func(screen string) (what []string) {
		for _, p := range patterns {
			if p.MatchString(screen) == neg {
				what = append(what, p.String()[4:])
			}
		}
		return what
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_, err := of(ts).Await(ctx, func(screen string) bool { return len(missing(screen)) == 0 })
	if err != nil {
		screen := of(ts).Screen()
		ts.Fatalf("%v after %v; %s: %q; the screen is\n%s", err, limit, map[bool]string{false: "not to be seen", true: "still there"}[neg], missing(screen), screen)
	}
}

func cmdPressUntil(ts *testscript.TestScript, _ bool, args []string) {
	seen := func(screen string) bool { return regexp.MustCompile(args[1]).MatchString(screen) }
	for range int(wait.Seconds()) {
		cmdKey(ts, false, args[:1])
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := of(ts).Await(ctx, seen)
		cancel()
		if err == nil {
			return
		}
	}
	ts.Fatalf("not to be seen: %q; the screen is\n%s", args[1], of(ts).Screen())
}

func cmdType(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(of(ts).Type(strings.Join(args, " ")))
}

var keys = map[string]string{
	"enter": tty.Enter, "esc": tty.Esc, "tab": tty.Tab, "backspace": tty.Backspace, "space": " ", "^]": tty.CtrlRight,
	"up": tty.Up, "down": tty.Down, "left": tty.Left, "right": tty.Right, "pgup": tty.PageUp, "pgdown": tty.PageDown, "ctrl-space": tty.CtrlSpace,
}

func cmdKey(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		seq, ok := keys[name]
		switch letter, ctrl := strings.CutPrefix(name, "ctrl-"); {
		case ok:
		case ctrl && len(letter) == 1:
			seq = string(letter[0] & 0x1f)
		case len(name) == 1:
			seq = name
		default:
			ts.Fatalf("no key %q", name)
		}
		ts.Check(of(ts).Type(seq))
		if name == "esc" { // an Esc followed at once by more would be one Alt key
			settle(ts)
		}
	}
}

// settle waits until the program has answered and been quiet for a moment.
func settle(ts *testscript.TestScript) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	_, err := of(ts).Quiet(ctx, 120*time.Millisecond)
	ts.Check(err)
}

// cmdMouse sends what an xterm does in SGR mode (ctlseqs, "Extended coordinates").
func cmdMouse(ts *testscript.TestScript, _ bool, args []string) {
	var x, y int
	if args[0] == "wheel" {
		ts.Check(of(ts).Type("\x1b[<65;5;8M"))
		return
	}
	if _, err := fmt.Sscanf(args[0], "%d,%d", &x, &y); err != nil {
		ts.Fatalf("no place: %q", args[0])
	}
	ts.Check(of(ts).Type(fmt.Sprintf("\x1b[<0;%d;%dM\x1b[<0;%d;%dm", x, y, x, y)))
}

func cmdSent(ts *testscript.TestScript, neg bool, args []string) {
	out, _ := of(ts).TakeOutput()
	if regexp.MustCompile(args[0]).Match(out) == neg {
		ts.Fatalf("sent to the terminal: %q", out)
	}
}

func cmdResize(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(of(ts).Resize(size(ts, args[0])))
}

func cmdMode(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := of(ts).Mode(n); got != (args[1] == "on") {
		ts.Fatalf("terminal mode %d is on: %v", n, got)
	}
}

var colour = regexp.MustCompile(`\x1b\[(\d+;)*([34]8[;:]|[34][0-7][;m]|9[0-7][;m]|10[0-7][;m])`)

func cmdNoColor(ts *testscript.TestScript, neg bool, _ []string) {
	out, _ := of(ts).TakeOutput()
	if found := colour.Find(out); (found != nil) != neg {
		ts.Fatalf("colour in the output: %q", found)
	}
}

func cmdNoTitle(ts *testscript.TestScript, _ bool, args []string) {
	if title := of(ts).Title(); regexp.MustCompile(args[0]).MatchString(title) {
		ts.Fatalf("the window's title is %q", title)
	}
}

func cmdDump(ts *testscript.TestScript, _ bool, _ []string) { ts.Logf("%s", of(ts).Screen()) }

func cmdEnd(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	code, err := of(ts).Wait(ctx)
	if err != nil {
		ts.Fatalf("the program does not end: %v; the screen is\n%s", err, of(ts).Screen())
	}
	if len(args) > 0 && strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit status %d; the screen is\n%s", code, of(ts).Screen())
	}
}

// host is the script's own lab host, or the one that all scripts share, each
// with guests of names of its own.
func host(ts *testscript.TestScript) *lab.Host {
	if own := of(ts).own; own != nil {
		return own.Host(1)
	}
	h, err := lab.SharedHost()
	ts.Check(err)
	return h
}

func cmdHypervisor(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	switch strings.Join(args, "") {
	case "-own":
		l, err := lab.Up(ctx, "", 1)
		ts.Check(err)
		of(ts).own = l
	case "crash":
		ts.Check(host(ts).KillLibvirtd(ctx, "KILL"))
		return
	case "start":
		ts.Check(host(ts).StartLibvirtd(ctx))
		return
	}
	for name, transport := range map[string]string{"URI": "unix", "URI_RO": "unix-ro", "URI_TEST": "test", "URI_TCP": "tcp", "URI_TLS": "tls", "URI_SSH": "ssh"} {
		ts.Setenv(name, host(ts).URI(transport))
	}
}

func cmdGuest(ts *testscript.TestScript, _ bool, args []string) {
	var g lab.Guest
	f := flag.NewFlagSet("guest", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	off, words := f.Bool("off", false, ""), map[string]*bool{}
	f.BoolVar(&g.OS, "os", false, "")
	f.BoolVar(&g.NIC, "nic", false, "")
	f.BoolVar(&g.VGA, "vga", false, "")
	f.IntVar(&g.DiskMiB, "disk", 0, "")
	f.StringVar(&g.Title, "title", "", "")
	f.StringVar(&g.Description, "description", "", "")
	for _, w := range []string{"hog", "writer", "deaf", "hostile"} {
		words[w] = f.Bool(w, false, "")
	}
	ts.Check(f.Parse(args))
	for w, on := range words {
		if *on {
			g.Words += w + " "
		}
	}
	g.Name = f.Arg(0)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	h := host(ts)
	start := h.StartGuest
	if *off {
		start = h.Define
	}
	uuid, err := start(ctx, g)
	ts.Defer(func() { ts.Check(h.Forget(context.Background(), uuid)) })
	ts.Check(err)
	ts.Setenv("UUID_"+strings.ReplaceAll(g.Name, "-", "_"), uuid)
}

func cmdVirsh(ts *testscript.TestScript, neg bool, args []string) {
	cmdOnHost(ts, neg, append([]string{"virsh", "-q", "-c", "qemu:///system"}, args...))
}

func cmdOnHost(ts *testscript.TestScript, neg bool, args []string) {
	c := host(ts).Command(args...)
	if err := ts.Exec(c[0], c[1:]...); (err != nil) != neg {
		ts.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
}

func cmdState(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var got string
	is := func() bool {
		got, _ = host(ts).Virsh(ctx, "domstate", args[0])
		got = strings.TrimSpace(got)
		return got == args[1]
	}
	if lab.Await(ctx, is) != nil {
		ts.Fatalf("%s is %s, not %s", args[0], got, args[1])
	}
}

func signal(ts *testscript.TestScript, name string, s syscall.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	ts.Check(host(ts).Signal(ctx, name, s))
}

// TestHouse keeps the layout and the direction of the imports: main → ui →
// model → backend, as the design has it.
func TestHouse(t *testing.T) {
	allowed := []string{"main.go", "main_test.go", "ui", "model", "backend", "themes", "screenshots", "testdata", "go.mod", "go.sum", "README.md", "LICENSE", "Makefile"}
	files, err := exec.Command("git", "ls-files").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(string(files)) {
		if top, _, _ := strings.Cut(f, "/"); !strings.HasPrefix(top, ".") && !slices.Contains(allowed, top) {
			t.Errorf("%s: not in the layout", f)
		}
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %s", exit.Stderr)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		for _, fault := range p.faults() {
			t.Errorf("%s imports %s", p.ImportPath, fault)
		}
	}
}

// pkg is a package as go list tells it, tests left out.
type pkg struct {
	ImportPath    string
	Imports, Deps []string
}

// forbidden says what packages of a layer must not import, and even of what
// those import there must be nothing.
var forbidden = []struct{ layer, imports, deps string }{
	{`^berth/backend`, `^berth/(ui|model|themes)`, `^github\.com/charmbracelet/(bubbletea|bubbles|lipgloss|fang)`},
	{`^berth/model`, `^github\.com/charmbracelet/lipgloss|^berth/themes`, `^berth/ui`},
	{``, ``, `^charm\.land/`},
}

func (p pkg) faults() (bad []string) {
	for _, f := range forbidden {
		if !regexp.MustCompile(f.layer).MatchString(p.ImportPath) {
			continue
		}
		matching := func(never string, deps []string) (found []string) {
			for _, d := range deps {
				if never != "" && regexp.MustCompile(never).MatchString(d) {
					found = append(found, d)
				}
			}
			return found
		}
		bad = append(append(bad, matching(f.imports, p.Imports)...), matching(f.deps, p.Deps)...)
	}
	// Below backend, packages meet in backend alone, except with their own parts.
	of, below := strings.CutPrefix(p.ImportPath, "berth/backend/")
	part, _, _ := strings.Cut(of, "/")
	for _, d := range p.Imports {
		if below && strings.HasPrefix(d, "berth/backend/") && !strings.HasPrefix(d+"/", "berth/backend/"+part+"/") {
			bad = append(bad, d)
		}
	}
	return bad
}
