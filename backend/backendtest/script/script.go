// Package script runs testscript scripts that drive a program as a person
// does, in a terminal, and libvirt hosts of the lab as another person would.
package script

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/backend/backendtest/lab"
	"berth/backend/backendtest/tty"
)

// wait is how long a script waits for what it does not time itself. A machine
// with two cores that also emulates guests is slow.
const wait = 30 * time.Second

// Run runs the scripts in dir over the program at path bin, which they know by
// its base name. Each sees nothing of the user's: no configuration, no state,
// no keys, no terminal.
func Run(t *testing.T, dir, bin string) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"), "PROGRAM="+bin, "HOME="+e.WorkDir,
				"XDG_CONFIG_HOME="+e.WorkDir+"/config", "XDG_STATE_HOME="+e.WorkDir+"/state", "XDG_CACHE_HOME="+e.WorkDir+"/cache",
				"XDG_RUNTIME_DIR="+e.WorkDir, "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "SHELL=/bin/sh", "USER=tester")
			e.Values[terminal{}] = &session{env: e}
			e.Defer(e.Values[terminal{}].(*session).close)
			return nil
		},
		Cmds: commands,
	})
}

// terminal is the key under which a script's session is kept.
type terminal struct{}

// session is the program in a terminal, as one script runs it, and the script's
// own lab if it has one.
type session struct {
	*tty.Session
	own *lab.Lab
	env *testscript.Env
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
	s.endEngine()
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
//	hypervisor keys           let ssh know the way to the lab's hosts, hv1 and so on
//	guest [-FLAG...] NAME     start a guest of the lab: -os -empty -off -disk -nic -vga -deaf -hostile -title=TEXT
//	virsh ARG...              run virsh on the lab's host; its output can be matched by stdout
//	onhost CMD...             run a command on the lab's host
//	state NAME STATE          wait until virsh reports the state
//	freeze NAME, thaw NAME    stop a guest's QEMU, let it go on
//	line NAME...              wait until just these jobs wait in the queue, in this order
//	job NAME STATE...         wait until the newest job of that VM has one of the states
//	engine kill|stop          end the queue's engine, by SIGKILL or SIGTERM
var commands map[string]commandFunc

func init() {
	commands = map[string]commandFunc{
		"term": cmdTerm, "see": cmdSee, "press-until": cmdPressUntil, "type": cmdType, "key": cmdKey, "mouse": cmdMouse, "sent": cmdSent, "resize": cmdResize, "mode": cmdMode, "nocolor": cmdNoColor, "notitle": cmdNoTitle, "dump": cmdDump,
		"end": cmdEnd, "hypervisor": cmdHypervisor, "guest": cmdGuest, "virsh": cmdVirsh, "onhost": cmdOnHost, "state": cmdState, "job": cmdJob, "line": cmdLine, "engine": cmdEngine,
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
