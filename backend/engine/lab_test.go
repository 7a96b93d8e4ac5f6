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

// The steps at which the engine dies: all those of a start, then of an end.
var (
	startSteps = []string{
		"note starting asked/before", "note starting asked/done", "start/before", "start/done",
		"note starting paused/before", "note starting paused/done",
		"note starting resumed/before", "note starting resumed/done", "resume/before", "resume/done",
		"note running/before", "note running/done",
	}
	stopSteps = []string{
		"note stopping/before", "note stopping/done", "destroy/before", "destroy/done", "note cancelled/before", "note cancelled/done",
	}
)

// TestLabKilledAtEveryStep takes one job through its life with an engine that is
// killed with SIGKILL at each step, twice with libvirtd killed as well.
func TestLabKilledAtEveryStep(t *testing.T) {
	s := newScene(t, 1)
	uuid := s.Define(1, lab.Guest{Name: "often"})
	id := s.submit("often", uuid)
	for _, step := range startSteps {
		s.start(step)
		s.dies(step)
		if step == "start/done" || step == "resume/done" {
			s.restartLibvirtd("KILL")
		}
	}
	s.start("")
	s.awaits(id, backend.JobRunning)
	s.starts("often", 1)
	s.kill()
	s.change(id, backend.JobChange{Cancel: true, Force: true})
	for _, step := range stopSteps {
		s.start(step)
		s.dies(step)
	}
	if j := s.job(id); j.State != backend.JobCancelled {
		t.Errorf("it is %s\n%s", j.State, s.story())
	}
	if state := s.Virsh(1, "domstate", "often"); !strings.Contains(state, "shut off") {
		t.Errorf("its VM is %s", state)
	}
	s.starts("often", 1)
}

func (s *scene) restartLibvirtd(signal string) {
	s.Helper()
	if err := errors.Join(s.Host(1).KillLibvirtd(s.Context(), signal), s.Host(1).StartLibvirtd(s.Context())); err != nil {
		s.Fatal(err)
	}
}

// TestLabQueueOverTrouble has more VMs than fit, and everything goes wrong: the
// engine is killed, libvirtd restarted, the guest ends while nobody looks, the
// host loses its power.
func TestLabQueueOverTrouble(t *testing.T) {
	s := newScene(t, 1)
	guests := []string{"one", "two", "three"}
	var ids []backend.JobID
	for _, name := range guests {
		g := lab.Guest{Name: name, OS: name == "one"}
		ids = append(ids, s.submit(name, s.Define(1, g)))
	}
	s.start("")
	for _, id := range ids[:roomForVMs] {
		s.awaits(id, backend.JobRunning)
	}
	if j := s.awaits(ids[2], backend.JobReserved); j.Why.Code != backend.WhyResources || j.Why.Dimension != "cpu" {
		t.Errorf("the third waits because of %s", j.Why)
	}

	second := exec.Command(os.Args[0])
	second.Env = append(os.Environ(), engineDir+"="+s.dir)
	second.Run() //nolint:errcheck // its exit code tells
	if code := second.ProcessState.ExitCode(); code != exitHeld {
		t.Errorf("a second engine ends with %d", code)
	}

	s.restartLibvirtd("TERM") // beside a living engine
	s.WaitGuestUp(1, "one", 1)
	s.kill()
	s.Virsh(1, "shutdown", "one") // beside a dead one
	s.Await("the guest's end", labPatience, func() bool { return strings.Contains(s.Virsh(1, "domstate", "one"), "shut off") })
	s.start("")
	s.awaits(ids[0], backend.JobDone)
	s.awaits(ids[2], backend.JobRunning)
	s.awaits(ids[1], backend.JobRunning)
	s.starts("one", 1)

	if err := s.Host(1).Kill(); err != nil { // beside a living engine
		t.Fatal(err)
	}
	s.awaits(ids[1], backend.JobUnknown)
	s.boot()
	for _, id := range ids[1:] {
		s.awaits(id, backend.JobRunning)
	}
	s.starts("two", 2)
	s.starts("three", 2)

	s.kill()
	if err := s.Host(1).Kill(); err != nil { // beside a dead one
		t.Fatal(err)
	}
	s.boot()
	s.start("")
	s.awaitStarts(3, "two", "three")
	for _, id := range ids[1:] {
		s.awaits(id, backend.JobRunning)
	}

	s.Virsh(1, "destroy", "two")
	s.awaits(ids[1], backend.JobCancelled)
	s.Virsh(1, "managedsave", "three")
	s.awaits(ids[2], backend.JobHeld)
	s.change(ids[2], backend.JobChange{Release: true})
	s.awaits(ids[2], backend.JobRunning)
	s.starts("two", 3)
	s.starts("three", 4) // the last from its saved state
}

// awaitStarts waits until QEMU was started that often for each of the domains.
func (s *scene) awaitStarts(want int, names ...string) {
	s.Helper()
	for _, name := range names {
		s.Await("the start of "+name, labPatience, func() bool {
			log, err := os.ReadFile(filepath.Join(s.Host(1).Dir, "log", "qemu", name+".log"))
			return err == nil && bytes.Count(log, []byte("starting up libvirt version")) >= want
		})
	}
}

func (s *scene) boot() {
	s.Helper()
	if err := s.Host(1).Boot(s.Context()); err != nil {
		s.Fatal(err)
	}
}

// TestLabTwoHosts: VMs whose disks both hosts see run where there is room; when
// a host is lost and fenced, its job goes on at the other.
func TestLabTwoHosts(t *testing.T) {
	t.Setenv(engineFence, "true")
	s := newScene(t, 2)
	ids := map[string]backend.JobID{}
	for _, name := range []string{"one", "two", "three"} {
		ids[name] = s.submit(name, s.Define(1, lab.Guest{Name: name}))
	}
	s.start("")
	on := map[string][]string{}
	for name, id := range ids {
		j := s.awaits(id, backend.JobRunning)
		on[j.RunsOn] = append(on[j.RunsOn], name)
	}
	if len(on["hv1"]) != roomForVMs || len(on["hv2"]) != 1 {
		t.Fatalf("they run on %v\n%s", on, s.story())
	}
	guest := on["hv2"][0]
	if state := s.Virsh(2, "domstate", guest); !strings.Contains(state, "running") {
		t.Errorf("on hv2 %s is %s", guest, state)
	}
	if state := s.Virsh(1, "domstate", guest); !strings.Contains(state, "shut off") {
		t.Errorf("on hv1 %s is %s", guest, state)
	}
	if err := s.Host(2).Kill(); err != nil {
		t.Fatal(err)
	}
	s.change(ids[on["hv1"][0]], backend.JobChange{Cancel: true, Force: true})
	s.awaits(ids[on["hv1"][0]], backend.JobCancelled)
	s.awaitOn(ids[guest], "hv1")
	s.starts(guest, 1) // on hv1
	if err := s.Host(2).Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Await("the end of the definition on hv2", labPatience, func() bool { return !strings.Contains(s.Virsh(2, "list", "--all", "--name"), guest) })
	if state := s.Virsh(1, "domstate", guest); !strings.Contains(state, "running") {
		t.Errorf("on hv1 %s is %s", guest, state)
	}
}

// awaitOn waits for a job to run on a host.
func (s *scene) awaitOn(id backend.JobID, host string) {
	s.Helper()
	s.Await("the job to run on "+host+"\n"+s.story(), labPatience, func() bool {
		j := s.job(id)
		return j.State == backend.JobRunning && j.RunsOn == host
	})
}
