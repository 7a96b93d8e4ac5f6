package script

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/backend/backendtest/tty"
)

func cmdTerm(ts *testscript.TestScript, _ bool, args []string) {
	of(ts).stop()
	onHost := args[0] == "-host"
	if onHost {
		args = args[1:]
	}
	w, h := size(ts, args[0])
	argv := args[1:]
	if program := ts.Getenv("PROGRAM"); argv[0] == filepath.Base(program) {
		argv[0] = program
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
	"up": tty.Up, "down": tty.Down, "left": tty.Left, "right": tty.Right, "pgup": tty.PageUp, "pgdown": tty.PageDown, "ctrl-space": tty.CtrlSpace, "f2": tty.F2,
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
