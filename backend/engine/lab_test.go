package engine_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

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
