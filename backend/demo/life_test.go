package demo

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

// calm is a fleet in which nothing happens that the test does not do.
var calm = Options{Seed: 4, Calm: true}

// restart brings a running machine to the moment after its power was switched on.
func restart(t *testing.T, v *vm) {
	t.Helper()
	act(t, v, backend.VerbDestroy)
	act(t, v, backend.VerbStart)
}

func TestBootTakesItsTime(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "web")
	restart(t, v)
	if row := shows(t, v); row.State != backend.Running || len(row.Addresses) != 0 || row.Mem.Source != backend.MemoryResident {
		t.Errorf("just started it is %s with addresses %v and memory from source %d", row.State, row.Addresses, row.Mem.Source)
	}
	began := clock.Now()
	for len(shows(t, v).Addresses) == 0 {
		if clock.Advance(250 * time.Millisecond); clock.Now().Sub(began) > time.Minute {
			t.Fatal("no addresses a minute after the start")
		}
	}
	if took := clock.Now().Sub(began); took < 4*time.Second || took > 21*time.Second {
		t.Errorf("it booted in %v, want 5 to 20 s", took)
	}
	row := shows(t, v)
	if row.Disk.ReadBytes < 50*mib || row.CPU.Used < 2*time.Second {
		t.Errorf("the boot read %d bytes and used %v of CPU: no burst", row.Disk.ReadBytes, row.CPU.Used)
	}
	if row.Mem.Source != backend.MemoryGuest {
		t.Error("its balloon driver tells nothing")
	}
}

func TestPauseStopsABoot(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "web")
	restart(t, v)
	clock.Advance(3 * time.Second)
	act(t, v, backend.VerbSuspend)
	before := shows(t, v)
	clock.Advance(5 * time.Minute)
	after := shows(t, v)
	if after.CPU.Used != before.CPU.Used || len(after.Addresses) > 0 {
		t.Errorf("paused it went on: %v of CPU, was %v; addresses %v", after.CPU.Used, before.CPU.Used, after.Addresses)
	}
	act(t, v, backend.VerbResume)
	clock.Advance(20 * time.Second)
	if len(shows(t, v).Addresses) == 0 {
		t.Error("resumed it did not finish its boot")
	}
}

func TestShutdownTakesSeconds(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "web")
	began := clock.Now()
	act(t, v, backend.VerbShutdown)
	if row := shows(t, v); row.State != backend.Running {
		t.Fatalf("just asked it is %s", row.State)
	}
	for shows(t, v).State != backend.Shutoff {
		if clock.Advance(100 * time.Millisecond); clock.Now().Sub(began) > time.Minute {
			t.Fatal("it did not shut down")
		}
	}
	if took := clock.Now().Sub(began); took < 2*time.Second || took > 10*time.Second {
		t.Errorf("it shut down in %v, want 2 to 9 s", took)
	}
}

func TestSomeGuestsIgnoreThePowerButton(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "vpn")
	act(t, v, backend.VerbShutdown)
	clock.Advance(10 * time.Minute)
	if row := shows(t, v); row.State != backend.Running {
		t.Fatalf("it is %s: it should ignore its power button", row.State)
	}
	err := v.host.Do(context.Background(), backend.Action{Verb: backend.VerbShutdownAgent, UUID: v.row.UUID})
	if !errors.Is(err, backend.ErrState) {
		t.Errorf("shutdown by an agent it does not have: %v", err)
	}
	act(t, v, backend.VerbDestroy)
	if row := shows(t, v); row.State != backend.Shutoff || row.Reason != "destroyed" {
		t.Errorf("forced off it is %s (%s)", row.State, row.Reason)
	}
}

// A guest does not notice that it was saved, but for the clock on the wall.
func TestSaveKeepsTheGuest(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "db")
	clock.Advance(time.Minute)
	memory := shows(t, v).Mem.Used
	act(t, v, backend.VerbSave)
	up := v.saved.uptime
	clock.Advance(time.Hour)
	if row := shows(t, v); row.State != backend.Shutoff || row.Reason != "saved" || !row.ManagedSave || row.CPU.Used != 0 {
		t.Fatalf("saved it is %s (%s), managed save %v", row.State, row.Reason, row.ManagedSave)
	}
	act(t, v, backend.VerbRestore)
	row := shows(t, v)
	if got := v.uptime(f.now); got < up || got > up+time.Second {
		t.Errorf("its uptime is %v, was %v", got, up)
	}
	if off := float64(row.Mem.Used) / float64(memory); off < 0.98 || off > 1.02 {
		t.Errorf("it uses %d bytes of memory, did %d", row.Mem.Used, memory)
	}
	if len(row.Addresses) == 0 || row.Reason != "restored" {
		t.Errorf("restored it has addresses %v and is running (%s)", row.Addresses, row.Reason)
	}
}

func TestSaveInMidBootGoesOn(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "web")
	restart(t, v)
	clock.Advance(2 * time.Second)
	act(t, v, backend.VerbSave)
	clock.Advance(time.Hour)
	act(t, v, backend.VerbRestore)
	if len(shows(t, v).Addresses) > 0 {
		t.Error("restored it is up at once")
	}
	clock.Advance(20 * time.Second)
	if len(shows(t, v).Addresses) == 0 {
		t.Error("it did not finish its boot")
	}
}

func TestFullDiskPausesUntilThereIsRoom(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "log")
	f.mu.Lock()
	v.fullUntil = f.now + 3*time.Minute
	v.ioError()
	f.mu.Unlock()
	if row := shows(t, v); row.State != backend.Paused || row.Reason != "I/O error" || row.Note == "" {
		t.Fatalf("it is %s (%s), note %q", row.State, row.Reason, row.Note)
	}
	act(t, v, backend.VerbResume)
	clock.Advance(4 * time.Second)
	if row := shows(t, v); row.State != backend.Paused || row.Reason != "I/O error" {
		t.Errorf("resumed without room it is %s (%s)", row.State, row.Reason)
	}
	clock.Advance(3 * time.Minute)
	act(t, v, backend.VerbResume)
	clock.Advance(time.Minute)
	if row := shows(t, v); row.State != backend.Running || row.Note != "" {
		t.Errorf("resumed with room it is %s (%s), note %q", row.State, row.Reason, row.Note)
	}
}

func TestHungMonitor(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "build")
	polls(t, f)
	f.mu.Lock()
	v.hang()
	f.mu.Unlock()
	since := clock.Now()
	clock.Advance(time.Minute)
	row := shows(t, v)
	if row.State != backend.Running || !row.StuckSince.Equal(since) || !row.Disk.At.Equal(since) || !row.Mem.At.Equal(since) {
		t.Errorf("it is %s, stuck since %v, disk figures of %v; it hung at %v", row.State, row.StuckSince, row.Disk.At, since)
	}
	figures, err := v.host.Figures(context.Background(), []backend.UUID{v.row.UUID})
	if err != nil || len(figures) != 1 || !figures[0].StuckSince.Equal(since) {
		t.Errorf("Figures: %+v, %v", figures, err)
	}
	if _, err := v.host.Guest(context.Background(), v.row.UUID); !errors.Is(err, backend.ErrNoAgent) {
		t.Errorf("its agent: %v", err)
	}
	err = v.host.Do(context.Background(), backend.Action{Verb: backend.VerbSuspend, UUID: v.row.UUID})
	if !errors.Is(err, backend.ErrStuck) || backend.Hint(err) == "" {
		t.Errorf("suspend: %v, want ErrStuck with a hint", err)
	}
	if waited := clock.Now().Sub(since); waited < lockWait {
		t.Errorf("libvirt gave up after %v", waited)
	}
	act(t, v, backend.VerbDestroy)
	if row := shows(t, v); row.State != backend.Shutoff || !row.StuckSince.IsZero() {
		t.Errorf("forced off it is %s, stuck since %v", row.State, row.StuckSince)
	}
}

func TestCrashes(t *testing.T) {
	f, _ := newFleet(t, calm)
	gone, corpse := machine(t, f, "cache"), machine(t, f, "test")
	f.mu.Lock()
	gone.crash()
	corpse.crash()
	f.mu.Unlock()
	if row := shows(t, gone); row.State != backend.Shutoff || row.Reason != "crashed" {
		t.Errorf("on_crash destroy leaves it %s (%s)", row.State, row.Reason)
	}
	if row := shows(t, corpse); row.State != backend.Crashed || row.Reason != "panicked" {
		t.Errorf("on_crash preserve leaves it %s (%s)", row.State, row.Reason)
	}
	act(t, gone, backend.VerbStart)
	lines, err := gone.host.LogTail(context.Background(), gone.row.UUID, 100)
	if err != nil || !strings.Contains(strings.Join(lines, "\n"), "shutting down, reason=crashed") {
		t.Errorf("the log does not tell of the crash: %q, %v", lines, err)
	}
}

// Verbs on one machine wait for one another, and forcing off for nobody.
func TestVerbsTakeTurns(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "db")
	h := v.host
	ctx := context.Background()
	j, err := h.accept(ctx, backend.Action{Verb: backend.VerbSave, UUID: v.row.UUID})
	if err != nil {
		t.Fatalf("save: %v", err)
	}
	if row := shows(t, v); row.State != backend.Paused || row.Reason != "saving" {
		t.Errorf("being saved it is %s (%s)", row.State, row.Reason)
	}
	began := clock.Now()
	if err := h.Do(ctx, backend.Action{Verb: backend.VerbSuspend, UUID: v.row.UUID}); !errors.Is(err, backend.ErrState) {
		t.Errorf("suspend of what was being saved: %v", err)
	}
	if clock.Now() == began {
		t.Error("the second verb did not wait for the first")
	}
	if err := h.await(ctx, j); err != nil {
		t.Errorf("save: %v", err)
	}
	act(t, v, backend.VerbRestore)
	if j, err = h.accept(ctx, backend.Action{Verb: backend.VerbSave, UUID: v.row.UUID}); err != nil {
		t.Fatalf("save: %v", err)
	}
	act(t, v, backend.VerbDestroy)
	if err := h.await(ctx, j); !errors.Is(err, backend.ErrState) {
		t.Errorf("a save that was cut short by force: %v", err)
	}
	if row := shows(t, v); row.ManagedSave {
		t.Error("half a save was kept")
	}
}

// What somebody begins is carried out though they leave.
func TestVerbsOutliveTheirCaller(t *testing.T) {
	f, clock := newFleet(t, calm)
	v := machine(t, f, "web")
	if _, err := v.host.accept(context.Background(), backend.Action{Verb: backend.VerbDestroy, UUID: v.row.UUID}); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Second)
	if row := shows(t, v); row.State != backend.Shutoff {
		t.Errorf("it is %s", row.State)
	}
}
