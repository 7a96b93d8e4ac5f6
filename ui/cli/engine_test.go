package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend"
)

// An engine of these tests is this test binary, told by its environment how
// to behave.
const (
	fakeEngineVar = "BERTH_TEST_ENGINE"
	fakeReadyVar  = "BERTH_TEST_READY"
	fakeUntilVar  = "BERTH_TEST_UNTIL"
)

// fakeEngine is what the test binary does when a spawner runs it.
func fakeEngine(how string) {
	switch how {
	case "dies":
		fmt.Fprintln(os.Stderr, "line one\n\x1b[2Jthe disk is full")
		os.Exit(1)
	case "other": // another was quicker
		ready()
		os.Exit(0)
	case "slow": // until the test is over; nobody knows it by its number to end it
		if err := untilOver(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "lives":
		sid, err := unix.Getsid(0)
		if err != nil || sid != os.Getpid() {
			fmt.Fprintln(os.Stderr, "not in a session of its own:", sid, err)
			os.Exit(1)
		}
		if wd, err := os.Getwd(); wd != "/" {
			fmt.Fprintln(os.Stderr, "not in /:", wd, err)
			os.Exit(1)
		}
		ready()
		<-make(chan struct{})
	}
}

func ready() {
	if err := os.WriteFile(os.Getenv(fakeReadyVar), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		panic(err)
	}
}

// untilOver waits until nobody holds the pipe open for writing any more. To
// open it does not wait: the test may be over before it began.
func untilOver() error {
	pipe, err := os.OpenFile(os.Getenv(fakeUntilVar), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, pipe)
	return errors.Join(err, pipe.Close())
}

// holdPipe makes a pipe that is open for writing until the test is over, or
// this process.
func holdPipe(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pipe.Close(); err != nil {
			t.Error(err)
		}
	})
}

func newSpawner(t *testing.T, how string) (*spawner, string) {
	t.Helper()
	dir := t.TempDir()
	flag, until := filepath.Join(dir, "ready"), filepath.Join(dir, "until")
	holdPipe(t, until)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &spawner{
		argv: []string{exe}, log: filepath.Join(dir, "state", "engine.log"),
		env: append(os.Environ(), fakeEngineVar+"="+how, fakeReadyVar+"="+flag, fakeUntilVar+"="+until),
		running: func(context.Context) (bool, error) {
			_, err := os.Stat(flag)
			return err == nil, nil
		},
	}, flag
}

func TestEngineIsBroughtUpInASessionOfItsOwn(t *testing.T) {
	s, flag := newSpawner(t, "lives")
	if err := s.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(flag)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil || pid == os.Getpid() {
		t.Fatal(pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("it does not live on: %v", err)
	}
	s.argv = []string{"/nonexistent"} // one that runs is left alone
	if err := s.ensure(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnEngineThatWasQuickerIsAsGood(t *testing.T) {
	s, _ := newSpawner(t, "other")
	if err := s.ensure(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnEngineThatDoesNotComeUpIsExplained(t *testing.T) {
	s, _ := newSpawner(t, "dies")
	if err := os.MkdirAll(filepath.Dir(s.log), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.log, []byte("of another day\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.ensure(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 1:\nline one\n") || !strings.Contains(err.Error(), "the disk is full") ||
		strings.Contains(err.Error(), "of another day") || strings.ContainsRune(err.Error(), 0x1b) {
		t.Errorf("%v", err)
	}

	s, _ = newSpawner(t, "slow")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.ensure(ctx); err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("%v", err)
	}

	s.argv = []string{"/nonexistent"}
	if err := s.ensure(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	bad := errors.New("no queue")
	s.running = func(context.Context) (bool, error) { return false, bad }
	if err := s.ensure(t.Context()); !errors.Is(err, bad) {
		t.Errorf("%v", err)
	}
}

func TestTheEngineIsHandedWhatItNeeds(t *testing.T) {
	a := &app{flags: globalFlags{config: "mine.yaml", write: true}}
	argv, err := a.engineArguments("/bin/berth", "/s/engine.log")
	wd, werr := os.Getwd()
	if want := "/bin/berth engine --log-file /s/engine.log --config " + wd + "/mine.yaml --write"; err != nil || werr != nil || strings.Join(argv, " ") != want {
		t.Errorf("%q, %v", argv, err)
	}
}

func TestTheEnginesLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "engine.log")
	l := &boundedLog{path: path, most: 100}
	if err := l.open(); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := fmt.Fprintf(l, "line %02d of the log\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	before, err2 := os.ReadFile(path + ".1")
	if err != nil || err2 != nil || len(now) > 100 || len(before) > 100 || !bytes.HasSuffix(now, []byte("line 49 of the log\n")) || len(before) == 0 {
		t.Errorf("%v %v: %q, before it %q", err, err2, now, before)
	}
	if got := tail(path+".1", 0, 2); strings.Count(got, "\n") != 1 || strings.HasPrefix(got, "\n") {
		t.Errorf("its tail is %q", got)
	}
}

func TestLogLines(t *testing.T) {
	write := func(journal bool) string {
		var b bytes.Buffer
		log := slog.New(newLogHandler(&b, journal)).With("host", "hv 1").WithGroup("job")
		log.Info("started\x1b[2J", "id", 12, "name", "a\nb")
		log.Debug("not this")
		log.Error("broken", "err", errors.New("oh"))
		return b.String()
	}
	plain := strings.Split(write(false), "\n")
	if len(plain) != 3 || !strings.HasSuffix(plain[0], " INFO  started\ufffd[2J host=\"hv 1\" job.id=12 job.name=\"a b\"") || len(plain[0]) < 20 || !strings.HasSuffix(plain[1], ` ERROR broken host="hv 1" job.err=oh`) {
		t.Errorf("%q", plain)
	}
	journal := strings.Split(write(true), "\n")
	if journal[0] != "<6>started\ufffd[2J host=\"hv 1\" job.id=12 job.name=\"a b\"" || !strings.HasPrefix(journal[1], "<3>broken") {
		t.Errorf("%q", journal)
	}
}

func TestEngineUnit(t *testing.T) {
	if got := EngineUnit("/usr/local/bin/berth", "", false); !strings.Contains(got, "\nExecStart=/usr/local/bin/berth engine --idle 0\n") || !strings.Contains(got, "After=libvirtd.service virtqemud.service libvirt-guests.service") ||
		!strings.Contains(got, "WantedBy=multi-user.target") || strings.Contains(got, "Environment") {
		t.Error(got)
	}
	got := EngineUnit("/opt/my berth/100%/berth", "/var/s $x", true)
	for _, want := range []string{"ExecStart=\"/opt/my berth/100%%/berth\" engine", "Environment=\"XDG_STATE_HOME=/var/s $$x\"\n", "WantedBy=default.target"} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "After=") {
		t.Error("a user's unit cannot wait for the system's")
	}
}

// runEngine runs berth ARGS with an engine that does do.
func runEngine(t *testing.T, do func(context.Context, EngineOptions) error, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	home := t.TempDir()
	var out, errs bytes.Buffer
	p := testProgram(args, func(k string) string { return map[string]string{"HOME": home}[k] })
	p.Stdin, p.Stdout, p.Stderr, p.Engine = strings.NewReader(""), &out, &errs, do
	code = p.Run(t.Context())
	return code, out.String(), errs.String()
}

func TestEngineInTheForeground(t *testing.T) {
	var got EngineOptions
	take := func(_ context.Context, o EngineOptions) error {
		got = o
		o.Log.Info("here I am")
		h, err := o.Connect("other", "fake://hv2")
		if err != nil {
			return err
		}
		if h.Name() != "other" {
			t.Errorf("named %s", h.Name())
		}
		return h.Close()
	}
	code, out, errs := runEngine(t, take, "engine", "-c", "fake://hv1", "--idle", "1d")
	if code != 0 || out != "" || !strings.Contains(errs, "INFO  here I am") || got.Idle != 24*time.Hour || len(got.Hosts) != 1 || got.Hosts[0].URI() != "fake://hv1" {
		t.Errorf("code %d, %q, %q, %+v", code, out, errs, got)
	}
	if _, _, errs = runEngine(t, take, "engine"); errs == "" || got.Idle != 10*time.Minute || len(got.Hosts) != 0 {
		t.Errorf("%q, %+v", errs, got)
	}
	if runEngine(t, take, "engine", "--idle", "0"); got.Idle != 0 {
		t.Errorf("idle %v", got.Idle)
	}
	for want, args := range map[string][]string{
		"engine within": {"engine", "--demo"}, "read-only": {"engine", "-r"}, "is not a time": {"engine", "--idle", "5"}, `no command "berth engine sttus"; did you mean "status"?`: {"engine", "sttus"},
	} {
		if code, _, errs := runEngine(t, take, args...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%v: code %d, %q", args, code, errs)
		}
	}
	broken := errors.New("the disk is full")
	if code, _, errs := runEngine(t, func(context.Context, EngineOptions) error { return broken }, "engine"); code != 1 || !strings.Contains(errs, "the disk is full") {
		t.Errorf("code %d, %q", code, errs)
	}
}

// Being told to end is no failure, so that systemd takes it for none.
func TestEngineEndsCleanlyWhenToldTo(t *testing.T) {
	home := t.TempDir()
	var errs bytes.Buffer
	ctx, stop := WithSignals(t.Context(), syscall.SIGTERM)
	defer stop()
	p := testProgram([]string{"engine"}, func(k string) string { return map[string]string{"HOME": home}[k] })
	p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), &errs, &errs
	p.Engine = func(ctx context.Context, _ EngineOptions) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	if code := p.Run(ctx); code != 0 || errs.Len() > 0 {
		t.Errorf("code %d, %q", code, errs.String())
	}
}

func TestEngineStatus(t *testing.T) {
	status := func(e backend.EngineState, args ...string) (int, string, string) {
		t.Helper()
		home := t.TempDir()
		var out, errs bytes.Buffer
		p := testProgram(append([]string{"engine", "status"}, args...), func(k string) string { return map[string]string{"HOME": home}[k] })
		p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), &out, &errs
		p.Queue = func(context.Context, QueueOptions) (backend.Queue, error) {
			q := newFakeQueue()
			q.state.Engine = e
			return q, nil
		}
		return p.Run(t.Context()), out.String(), errs.String()
	}
	up := backend.EngineState{Running: true, PID: 7, Host: "m", Since: at(-2 * time.Hour), Trouble: "hv2 is slow"}
	if code, out, errs := status(up); code != 0 || out != "running: process 7 on m, for 2h0m; hv2 is slow\n" || errs != "" {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := status(backend.EngineState{}); code != 1 || out != "not running\n" || errs != "" {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	if code, out, _ := status(backend.EngineState{Lost: true, PID: 7, Host: "m"}); code != 1 || out != "not running: process 7 on m was killed, or its machine went down\n" {
		t.Errorf("code %d, %q", code, out)
	}
	if code, out, _ := status(backend.EngineState{Running: true}); code != 0 || out != "running, but it has not said yet which process it is\n" {
		t.Errorf("code %d, %q", code, out)
	}
	if code, out, _ := status(up, "-o", "json"); code != 0 || !strings.Contains(out, `"pid": 7`) || !strings.Contains(out, `"since": "2026-03-04T10:00:00Z"`) {
		t.Errorf("code %d, %q", code, out)
	}
}

func TestAnEngineThatDoesNotSayWhoItIsIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newFakeQueue()
		q.state.Engine = backend.EngineState{Running: true}
		begun := time.Now()
		err := (&app{}).stopEngine(t.Context(), q, q.state.Engine)
		if took := time.Since(begun); !errors.Is(err, backend.ErrTimeout) || took != stopDeadline {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestEngineStartAndStopSayWhatIs(t *testing.T) {
	cli := func(e backend.EngineState, args ...string) (int, string, string) {
		t.Helper()
		home := t.TempDir()
		var out, errs bytes.Buffer
		p := testProgram(append([]string{"engine"}, args...), func(k string) string { return map[string]string{"HOME": home}[k] })
		p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), &out, &errs
		p.Queue = func(context.Context, QueueOptions) (backend.Queue, error) {
			q := newFakeQueue()
			q.state.Engine = e
			return q, nil
		}
		return p.Run(t.Context()), out.String(), errs.String()
	}
	up := backend.EngineState{Running: true, PID: 1 << 30, Host: "m", Since: time.Now().Add(-2 * time.Minute)}
	if code, out, errs := cli(up, "start"); code != 0 || out != "running: process 1073741824 on m, for 2m already\n" || errs != "" {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := cli(backend.EngineState{}, "stop"); code != 1 || out != "" || !strings.Contains(errs, "no engine runs") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	if code, _, errs := cli(up, "stop"); code != 1 || !strings.Contains(errs, "stop it where it runs") { // on another machine
		t.Errorf("code %d, %q", code, errs)
	}
	var err error
	if up.Host, err = os.Hostname(); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := cli(up, "stop"); code != 1 || !strings.Contains(errs, "no such process") {
		t.Errorf("code %d, %q", code, errs)
	}
	for want, args := range map[string][]string{"engine within": {"start", "--demo"}, "read-only": {"stop", "-r"}} {
		if code, _, errs := cli(up, args...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%v: code %d, %q", args, code, errs)
		}
	}
}
