package demo

import (
	"fmt"
	"math"

	"berth/backend"
)

// operations says, by verb, what a machine does and how long that takes. The
// verb was checked against the machine's state.
var operations = map[backend.Verb]func(v *vm, a *backend.Action) (operation, error){
	backend.VerbStart:         start,
	backend.VerbStartPaused:   startPaused,
	backend.VerbStartFresh:    startFresh,
	backend.VerbRestore:       func(v *vm, _ *backend.Action) (operation, error) { return v.restoring(false), nil },
	backend.VerbShutdown:      shutdown,
	backend.VerbShutdownACPI:  shutdownACPI,
	backend.VerbShutdownAgent: shutdownAgent,
	backend.VerbReboot:        reboot,
	backend.VerbReset:         reset,
	backend.VerbDestroy:       destroy,
	backend.VerbSuspend:       suspend,
	backend.VerbResume:        resume,
	backend.VerbSave:          save,
	backend.VerbSaveRemove:    saveRemove,
	backend.VerbAutostartOn:   autostart(true),
	backend.VerbAutostartOff:  autostart(false),
	backend.VerbRename:        rename,
	backend.VerbUndefine:      undefine,
}

// soon is an operation without a failure that takes between low and high
// seconds.
func (v *vm) soon(low, high float64, effect func()) operation {
	return operation{v.acts.delay(low, high), func() error { effect(); return nil }}
}

func start(v *vm, _ *backend.Action) (operation, error) {
	if v.saved != nil {
		return v.restoring(false), nil
	}
	return v.starting(false), nil
}

// starting boots the machine, unless one of its images is not there.
func (v *vm) starting(paused bool) operation {
	return operation{v.acts.delay(0.25, 0.9), func() error {
		if err := v.missing(v.stored); err != nil {
			return err
		}
		v.powerOn(paused)
		return nil
	}}
}

func startPaused(v *vm, _ *backend.Action) (operation, error) {
	if v.saved != nil {
		return v.restoring(true), nil
	}
	return v.starting(true), nil
}

func startFresh(v *vm, _ *backend.Action) (operation, error) {
	return v.soon(0.25, 0.9, func() {
		v.dropSaved()
		v.powerOn(false)
	}), nil
}

// shutdown asks the agent when it is connected, else presses the button.
func shutdown(v *vm, a *backend.Action) (operation, error) {
	if v.agentUp {
		return shutdownAgent(v, a)
	}
	return shutdownACPI(v, a)
}

func shutdownACPI(v *vm, _ *backend.Action) (operation, error) {
	return v.soon(0.005, 0.03, func() { v.pressPower(v.powerOff) }), nil
}

func shutdownAgent(v *vm, _ *backend.Action) (operation, error) {
	if !v.agentUp {
		return operation{}, fmt.Errorf("%w: QEMU guest agent is not connected", backend.ErrNoAgent)
	}
	return v.soon(0.02, 0.15, func() { v.stopGuest(v.powerOff) }), nil
}

func reboot(v *vm, _ *backend.Action) (operation, error) {
	return v.soon(0.005, 0.1, func() { v.pressPower(v.reboot) }), nil
}

func reset(v *vm, _ *backend.Action) (operation, error) {
	return v.soon(0.01, 0.03, func() {
		if v.row.State == backend.ShuttingDown {
			v.enterState(backend.Running, reasonBooted)
		}
		v.reboot()
	}), nil
}

// destroy takes longer when QEMU does not go by itself and must be killed.
func destroy(v *vm, _ *backend.Action) (operation, error) {
	off := func() { v.stop(backend.Shutoff, reasonDestroy) }
	if v.stuck {
		return v.soon(10, 11, off), nil
	}
	return v.soon(0.1, 0.4, off), nil
}

func suspend(v *vm, _ *backend.Action) (operation, error) {
	return v.soon(0.01, 0.04, func() { v.pause(reasonUser) }), nil
}

func resume(v *vm, _ *backend.Action) (operation, error) {
	return v.soon(0.01, 0.04, func() {
		v.resume()
		v.fillDisk()
	}), nil
}

// save writes the guest's memory to disk while it stands still, at the speed
// that the host's disk has left.
func save(v *vm, _ *backend.Action) (operation, error) {
	v.freeze()
	kept := &saved{
		live: v.live, phase: v.phase, uptime: v.upBefore, bootFor: v.bootFor, pending: v.pending,
		paused: v.row.State == backend.Paused || v.row.State == backend.PMSuspended, agentUp: v.agentUp, draw: v.draw,
	}
	v.enterState(backend.Paused, reasonSaving)
	v.changed()
	takes := seconds(0.4 + math.Min(v.draw.used/(0.6*v.host.diskSpeed), 20))
	return operation{takes, func() error {
		v.saved, v.row.ManagedSave = kept, true
		v.stop(backend.Shutoff, reasonSaved)
		return nil
	}}, nil
}

func saveRemove(v *vm, _ *backend.Action) (operation, error) {
	return v.soon(0.02, 0.2, v.dropSaved), nil
}

func (v *vm) dropSaved() { v.saved, v.row.ManagedSave = nil, false }

// restoring reads the memory back; the guest goes on where it was.
func (v *vm) restoring(paused bool) operation {
	takes := seconds(0.5 + math.Min(v.saved.draw.used/v.host.diskSpeed, 15))
	return operation{takes, func() error { v.restore(paused); return nil }}
}

func (v *vm) restore(paused bool) {
	s := v.saved
	v.dropSaved()
	v.startProcess(s.live)
	v.phase, v.bootFor, v.agentUp, v.draw = s.phase, s.bootFor, s.agentUp, s.draw
	v.upBefore, v.upSince = s.uptime, v.fleet().now
	v.pending = plan{in: s.pending.in, do: s.pending.do, gen: v.pending.gen + 1}
	v.host.tell(v, backend.EventLifecycle, "started", "restored")
	if paused || s.paused {
		v.enterState(backend.Paused, reasonIncoming)
		v.host.tell(v, backend.EventLifecycle, "suspended", "restored")
	} else {
		v.enterState(backend.Running, reasonRestored)
		v.thaw()
	}
	v.changed()
}

func autostart(on bool) func(*vm, *backend.Action) (operation, error) {
	return func(v *vm, _ *backend.Action) (operation, error) {
		return v.soon(0.002, 0.01, func() { v.row.Autostart = on }), nil
	}
}

func rename(v *vm, a *backend.Action) (operation, error) {
	if err := checkName(a.New); err != nil {
		return operation{}, err
	}
	takes := v.acts.delay(0.01, 0.03)
	return operation{takes, func() error {
		if o := v.host.named(a.New); o != nil {
			return fmt.Errorf("%w name: a VM called %s exists on %s", backend.ErrInvalid, backend.Clean(a.New), v.host.name)
		}
		v.host.tell(v, backend.EventLifecycle, "undefined", "renamed")
		v.stored = v.stored.renamed(a.New)
		v.applyDefinition()
		v.host.sorted = nil
		v.host.tell(v, backend.EventLifecycle, "defined", "renamed")
		return nil
	}}, nil
}

// undefine refuses, as libvirt does, what would leave something behind.
func undefine(v *vm, a *backend.Action) (operation, error) {
	del := a.Delete
	switch {
	case v.row.ManagedSave && !del.ManagedSave:
		return operation{}, fmt.Errorf("%w: %s has a saved state; delete that with it", backend.ErrState, v.row.Name)
	case len(v.snapshots) > 0 && !del.Snapshots:
		return operation{}, fmt.Errorf("%w: %s has %d snapshots; delete these with it", backend.ErrState, v.row.Name, len(v.snapshots))
	case len(v.checkpoints) > 0 && !del.Snapshots:
		return operation{}, fmt.Errorf("%w: %s has %d checkpoints; delete these with it", backend.ErrState, v.row.Name, len(v.checkpoints))
	}
	low := 0.02
	if del.Storage {
		low += 0.3 * float64(len(v.stored.disks))
	}
	return v.soon(low, low*1.5, func() {
		v.host.remove(v)
		v.leaveImages(del.Storage)
		if del.NVRAM {
			v.leaveNVRAM()
		}
		v.host.tell(v, backend.EventLifecycle, "undefined", "removed")
	}), nil
}
