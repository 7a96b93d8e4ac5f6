package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/backend"
)

// These tests start this test binary again as other processes, which do one of
// roles to the store that a test works on.

const roleVariable = "BERTH_STORE_TEST_ROLE"

// roles get the store's path, their lines from the test, and where to answer.
var roles = map[string]func(ctx context.Context, path string, in *bufio.Scanner, out io.Writer) error{
	"count":  countRole,
	"batch":  batchRole,
	"change": changeRole,
	"engine": engineRole,
}

func TestMain(m *testing.M) {
	role := roles[os.Getenv(roleVariable)]
	if role == nil {
		goleak.VerifyTestMain(m)
		return
	}
	if err := role(context.Background(), os.Args[len(os.Args)-1], bufio.NewScanner(os.Stdin), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is another process at work on the store.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr bytes.Buffer
	ended  bool
}

func start(t *testing.T, role, path string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], path)}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	p.cmd.Stderr = &p.stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.ended {
			p.kill()
		}
	})
	return p
}

func (p *process) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// hear returns the next line it answers.
func (p *process) hear() string {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatalf("it says no more: %v: %s", p.out.Err(), p.stderr.String())
	}
	return p.out.Text()
}

// end waits until it ends by itself.
func (p *process) end() {
	p.t.Helper()
	p.ended = true
	for p.out.Scan() { // Wait must not come before the last line is read
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%v: %s", err, p.stderr.String())
	}
}

// kill ends it as a crash would, and returns the lines it had said until then.
func (p *process) kill() (said []string) {
	p.ended = true
	p.signal(syscall.SIGKILL)
	for p.out.Scan() {
		said = append(said, p.out.Text())
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); !errors.As(err, &exit) {
		p.t.Errorf("killed: %v", err)
	}
	return said
}

func (p *process) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}

const rounds = 40

// countRole reads a number and writes the next one, as often as rounds says,
// each with a job.
func countRole(ctx context.Context, path string, _ *bufio.Scanner, _ io.Writer) error {
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	for range rounds {
		if err := s.Update(ctx, countOn); err != nil {
			return err
		}
	}
	return s.Close()
}

func countOn(tx *Tx) error {
	kept, err := tx.Setting("count")
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(kept) // "" at first
	if _, err := tx.AddJob(backend.Job{VM: vm(n + 1)}); err != nil {
		return err
	}
	return tx.SetSetting("count", strconv.Itoa(n+1))
}

// Several processes make the file at once, and then no change of one is lost
// to another.
func TestProcessesWriteAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "berth.db")
	const writers = 4
	var all []*process
	for range writers {
		all = append(all, start(t, "count", path))
	}
	for _, p := range all {
		p.end()
	}
	s := opened(t, path)
	view(t, s, func(tx *Tx) error {
		kept, err := tx.Setting("count")
		jobs, e := tx.Jobs(Filter{})
		if kept != strconv.Itoa(writers*rounds) || len(jobs) != writers*rounds {
			t.Errorf("counted %s, %d jobs, want %d", kept, len(jobs), writers*rounds)
		}
		return errors.Join(err, e)
	})
	if got := revision(t, s); got != 1+writers*rounds {
		t.Errorf("revision %d", got)
	}
}

func TestGoroutinesWriteAtOnce(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range rounds {
					if err := s.Update(t.Context(), countOn); err != nil {
						t.Error(err)
					}
					if err := s.View(t.Context(), func(tx *Tx) error {
						kept, err := tx.Setting("count")
						jobs, e := tx.Jobs(Filter{})
						if kept != strconv.Itoa(len(jobs)) {
							t.Errorf("two moments in one view: %s and %d", kept, len(jobs))
						}
						return errors.Join(err, e)
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got := revision(t, s); got != 1+4*rounds {
			t.Errorf("revision %d", got)
		}
	})
}

const batch = 30

// batchRole adds jobs and as many events, so many in one transaction, for
// ever, and says after each how many transactions there were.
func batchRole(ctx context.Context, path string, _ *bufio.Scanner, out io.Writer) error {
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	for {
		var n int
		if err := s.Update(ctx, func(tx *Tx) error {
			kept, err := tx.Setting("batches")
			if err != nil {
				return err
			}
			n, _ = strconv.Atoi(kept) // "" at first
			for i := range batch {
				id, err := tx.AddJob(backend.Job{VM: vm(n*batch + i + 1), Words: strings.Repeat("x", 300)})
				if err != nil {
					return err
				}
				if err := tx.AddEvent(backend.JobEvent{At: time.Now(), Job: id}); err != nil {
					return err
				}
			}
			n++
			return tx.SetSetting("batches", strconv.Itoa(n))
		}); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, n); err != nil {
			return err
		}
	}
}

// kill -9 at any moment loses nothing that was committed, and leaves nothing
// half done.
func TestKilledInTheMiddle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	committed := 0
	for round := range 20 {
		p := start(t, "batch", path)
		for range rng.IntN(8) {
			committed, _ = strconv.Atoi(p.hear())
		}
		<-time.After(time.Duration(rng.IntN(4000)) * time.Microsecond)
		if said := p.kill(); len(said) > 0 {
			committed, _ = strconv.Atoi(said[len(said)-1])
		}
		s := opened(t, path)
		view(t, s, func(tx *Tx) error {
			kept, err := tx.Setting("batches")
			jobs, e := tx.Jobs(Filter{})
			events, ee := tx.Events(backend.LogQuery{})
			n, _ := strconv.Atoi(kept) // "" at first
			// It may have been killed between the commit and saying so.
			if n != committed && n != committed+1 || len(jobs) != n*batch || len(events) != n*batch {
				t.Fatalf("round %d, seed %d: it said %d; there are %d batches, %d jobs, %d events", round, seed, committed, n, len(jobs), len(events))
			}
			committed = n
			return errors.Join(err, e, ee)
		})
		if err := s.Check(t.Context()); err != nil {
			t.Fatalf("round %d, seed %d: %v", round, seed, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d transactions lasted", committed)
}

// changeRole makes one change at a word.
func changeRole(ctx context.Context, path string, in *bufio.Scanner, out io.Writer) error {
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	for in.Scan() {
		if err := s.Update(ctx, countOn); err != nil {
			return err
		}
	}
	return s.Close()
}

func TestWaitWakesOnAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	s := opened(t, path)
	p := start(t, "change", path)
	p.hear()
	for range 3 {
		now := revision(t, s)
		waited := make(chan error, 1)
		go func() { waited <- s.Wait(t.Context(), now) }()
		p.say("now")
		if err := <-waited; err != nil {
			t.Fatal(err)
		}
		if after := revision(t, s); after != now+1 {
			t.Errorf("revision %d after %d", after, now)
		}
	}
	if err := p.in.Close(); err != nil {
		t.Error(err)
	}
	p.end()
}

// engineRole takes the lease, and at each word writes as the engine.
func engineRole(ctx context.Context, path string, in *bufio.Scanner, out io.Writer) error {
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	var epoch int64
	if err := s.Update(ctx, func(tx *Tx) (err error) {
		epoch, err = tx.TakeLease(Lease{PID: os.Getpid(), Host: "here"})
		return err
	}); err != nil {
		return err
	}
	fmt.Fprintln(out, "engine")
	for in.Scan() {
		err := s.Update(ctx, func(tx *Tx) error {
			if err := tx.CheckLease(epoch); err != nil {
				return err
			}
			return tx.SetSetting("written by", in.Text())
		})
		fmt.Fprintln(out, errors.Is(err, ErrLeaseLost), err)
	}
	return s.Close()
}

// An engine that was stopped for a while and did not notice that another took
// over cannot write any more.
func TestAPausedEngineCannotWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	old := start(t, "engine", path)
	old.hear()
	old.say("old")
	if got := old.hear(); got != "false <nil>" {
		t.Fatal(got)
	}
	old.signal(syscall.SIGSTOP)
	s := opened(t, path)
	update(t, s, func(tx *Tx) error {
		epoch, err := tx.TakeLease(Lease{PID: 1, Host: "there"})
		if err == nil && epoch != 2 {
			t.Errorf("epoch %d", epoch)
		}
		return errors.Join(err, tx.SetSetting("written by", "new"))
	})
	old.say("old again")
	old.signal(syscall.SIGCONT)
	if got := old.hear(); !strings.HasPrefix(got, "true ") {
		t.Errorf("the old engine got %s", got)
	}
	view(t, s, func(tx *Tx) error {
		got, err := tx.Setting("written by")
		if got != "new" {
			t.Errorf("written by %s", got)
		}
		return err
	})
	if err := old.in.Close(); err != nil {
		t.Error(err)
	}
	old.end()
}
