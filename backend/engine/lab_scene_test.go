package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest/lab"
	"berth/backend/engine"
	"berth/backend/libvirt"
	"berth/backend/store"
)

// The variables that make this binary an engine: the folder of its state, the
// step at which it is to die, and its command for fencing.
const (
	engineDir   = "BERTH_TEST_ENGINE"
	engineDies  = "BERTH_TEST_DIES"
	engineFence = "BERTH_TEST_FENCE"
	exitHeld    = 7
	roomForVMs  = 2 // vCPUs that the queue may give away
	labPatience = 40 * time.Second
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(engineDir); dir != "" {
		os.Exit(beEngine(dir, os.Getenv(engineDies)))
	}
	os.Exit(lab.Main(m))
}

// beEngine is a real engine process, which kills itself as kill -9 would when it
// comes to a step.
func beEngine(dir, dies string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := store.Open(ctx, filepath.Join(dir, "berth.db"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.Close() //nolint:errcheck // the process ends
	e, err := engine.New(engine.Options{
		Store: s, Lock: filepath.Join(dir, "engine.lock"), LostGrace: 2 * time.Second, StopGrace: 20 * time.Second,
		Connect: func(name, uri string) (backend.Host, error) {
			return libvirt.New(libvirt.Options{Name: name, URI: uri})
		},
		Limits: func(string) engine.Limits {
			return engine.Limits{CPUOvercommit: float64(roomForVMs) / float64(runtime.NumCPU()), Fence: strings.Fields(os.Getenv(engineFence))}
		},
		Fault: func(step string) error {
			if step == dies {
				syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // nothing comes after it
				select {}
			}
			return nil
		},
	})
	if err == nil {
		err = e.Run(ctx)
	}
	if errors.Is(err, backend.ErrBusy) {
		return exitHeld
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// scene is a lab with a queue.
type scene struct {
	lab.T
	dir    string
	store  *store.Store
	client *engine.Client
	fleet  []backend.Host
	engine *exec.Cmd
	said   bytes.Buffer
}

func newScene(t *testing.T, hosts int) *scene {
	l := lab.Start(t, hosts)
	s := &scene{T: l, dir: t.TempDir()}
	var err error
	if s.store, err = store.Open(t.Context(), filepath.Join(s.dir, "berth.db")); err != nil {
		t.Fatal(err)
	}
	for _, h := range l.Hosts {
		host, err := libvirt.New(libvirt.Options{Name: h.Name, URI: h.URI("unix")})
		if err != nil {
			t.Fatal(err)
		}
		s.fleet = append(s.fleet, host)
	}
	s.client = engine.NewClient(engine.ClientOptions{Store: s.store, Who: "tester", Lock: filepath.Join(s.dir, "engine.lock"),
		Fleet: func() []backend.Host { return s.fleet }})
	for _, h := range s.fleet {
		if err := s.client.AddHost(t.Context(), engine.HostSpec{Name: h.Name(), URI: h.URI()}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		s.kill()
		for _, h := range s.fleet {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// start starts an engine that dies at a step; "" never does.
func (s *scene) start(dies string) {
	s.Helper()
	s.said.Reset()
	s.engine = exec.Command(os.Args[0])
	s.engine.Env = append(os.Environ(), engineDir+"="+s.dir, engineDies+"="+dies)
	s.engine.Stderr = &s.said
	s.engine.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.engine.Start(); err != nil {
		s.Fatal(err)
	}
}

// kill kills the engine, if one runs.
func (s *scene) kill() {
	if s.engine == nil {
		return
	}
	s.engine.Process.Kill() //nolint:errcheck // it may be dead
	s.engine.Wait()         //nolint:errcheck // likewise
	s.engine = nil
}

// dies waits until the engine has killed itself.
func (s *scene) dies(step string) {
	s.Helper()
	done := make(chan error, 1)
	go func() { done <- s.engine.Wait() }()
	select {
	case err := <-done:
		if status, ok := s.engine.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			s.Fatalf("the engine that should die at %q ended: %v: %s", step, err, s.said.String())
		}
	case <-time.After(labPatience):
		s.Fatalf("the engine does not come to %q\n%s", step, s.story())
	}
	s.engine = nil
}

func (s *scene) submit(name, uuid string) backend.JobID {
	s.Helper()
	u, err := backend.ParseUUID(uuid)
	if err != nil {
		s.Fatal(err)
	}
	ids, err := s.client.Submit(s.Context(), []backend.JobSpec{{VM: backend.Key{Host: "hv1", UUID: u}, Name: name, Priority: 50, Estimate: time.Hour}})
	if err != nil {
		s.Fatal(err)
	}
	return ids[0]
}

func (s *scene) job(id backend.JobID) backend.Job {
	s.Helper()
	x, err := s.client.Explain(s.Context(), id)
	if err != nil {
		s.Fatal(err)
	}
	return x.Job
}

// awaits waits for a job's state, woken by the store.
func (s *scene) awaits(id backend.JobID, want backend.JobState) backend.Job {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), labPatience)
	defer cancel()
	for {
		rev, err := s.store.Revision(ctx)
		if err != nil {
			s.Fatal(err)
		}
		j := s.job(id)
		if j.State == want {
			return j
		}
		if err := s.store.Wait(ctx, rev); err != nil {
			s.Fatalf("job %d (%s) is %s (%s), not %s, after %v\n%s%s", id, j.Name, j.State, j.Words, want, labPatience, s.story(), s.said.String())
		}
	}
}

// story is what happened so far.
func (s *scene) story() string {
	events, err := s.client.Log(s.Context(), backend.LogQuery{})
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintln(&b, e.At.Format("15:04:05.000"), e.Job, e.Name, e.What, e.Host, e.Detail)
	}
	return b.String()
}

// starts counts how often QEMU was really started for a domain.
func (s *scene) starts(name string, want int) {
	s.Helper()
	log, err := os.ReadFile(filepath.Join(s.Host(1).Dir, "log", "qemu", name+".log"))
	if err != nil && want > 0 {
		s.Fatal(err)
	}
	if got := bytes.Count(log, []byte("starting up libvirt version")); got != want {
		s.Errorf("QEMU was started %d times for %s, want %d\n%s", got, name, want, s.story())
	}
}

func (s *scene) change(id backend.JobID, c backend.JobChange) {
	s.Helper()
	if err := s.client.Change(s.Context(), []backend.JobID{id}, c); err != nil {
		s.Fatal(err)
	}
}
