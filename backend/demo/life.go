package demo

import (
	"fmt"
	"io"
	"time"

	"berth/backend"
)

// What virsh calls the reasons for a state (domstate --reason).
const (
	reasonBooted   = "booted"
	reasonRestored = "restored"
	reasonUnpaused = "unpaused"
	reasonUser     = "user"
	reasonSaving   = "saving"
	reasonIncoming = "migrating" // also of what is restored paused; libvirt never says otherwise
	reasonIOError  = "I/O error"
	reasonShutdown = "shutdown"
	reasonDestroy  = "destroyed"
	reasonCrashed  = "crashed"
	reasonSaved    = "saved"
	reasonPanicked = "panicked"
	reasonWakeup   = "event wakeup"
	reasonUnknown  = "unknown"
)

// plan is what a guest does next, when its clock gets there.
type plan struct {
	in  storyTime // from when the guest's clock next runs; only while it stands still
	at  storyTime
	do  func()
	gen uint64 // a plan whose number has changed was dropped
}

// next plans what the guest does in d of its own time, in place of what it
// planned before.
func (v *vm) next(d storyTime, do func()) {
	v.pending = plan{in: d, do: do, gen: v.pending.gen + 1}
	if v.clockRuns() {
		v.thaw()
	}
}

// forget drops the guest's plan.
func (v *vm) forget() { v.pending = plan{gen: v.pending.gen + 1} }

// freeze stops the guest's clock; its plan keeps what was left to wait. It is
// called before the state changes.
func (v *vm) freeze() {
	now := v.fleet().now
	v.upBefore = v.uptime(now)
	p := &v.pending
	p.gen++
	if p.do != nil && v.clockRuns() {
		p.in = max(p.at-now, 0)
	}
}

// thaw lets the guest's clock run; it is called after the state changed.
func (v *vm) thaw() {
	f := v.fleet()
	p := &v.pending
	if p.do == nil {
		return
	}
	p.gen++
	p.at = f.now + p.in
	gen := p.gen
	f.after(p.in, func() {
		if v.pending.gen != gen {
			return
		}
		do := v.pending.do
		v.forget()
		do()
	})
}

// enterState notes a new state.
func (v *vm) enterState(s backend.State, reason string) {
	f := v.fleet()
	if v.row.State != s {
		v.row.Since = f.shown(f.now)
	}
	v.row.State, v.row.Reason = s, reason
}

// powerOn starts the machine's process. It stands paused when asked to.
func (v *vm) powerOn(paused bool) {
	v.startProcess(v.stored)
	v.draw.used, v.draw.touched = 8*mib, 30*mib
	v.enterState(backend.Running, reasonBooted)
	v.host.tell(v, backend.EventLifecycle, "started", "booted")
	if paused {
		v.enterState(backend.Paused, reasonUser)
		v.host.tell(v, backend.EventLifecycle, "suspended", "paused")
	}
	v.bootGuest()
}

// startProcess is what every start has in common, whether the guest boots or
// goes on from a saved state.
func (v *vm) startProcess(d *definition) {
	f, h := v.fleet(), v.host
	v.live = d
	v.applyDefinition()
	h.nextID++
	v.row.ID = h.nextID
	v.row.StartedAt = f.shown(f.now)
	v.acc, v.rates, v.segment = meters{}, meters{}, f.now
	v.starts++
	v.wrote = 0
	v.shares, v.cpuPart, v.ioPart = usualShares, h.cpuShare, h.diskShare
	v.draw.balloon = float64(d.curMem)
	v.firstTap = h.taps
	h.taps += len(d.nics)
	v.log(logStarted, "")
}

// bootGuest begins at the firmware, and plans the rest.
func (v *vm) bootGuest() {
	v.boots++
	v.phase = phaseFirmware
	v.agentUp, v.latched = false, nil
	v.upBefore, v.upSince = 0, v.fleet().now
	v.bootFor = v.life.delay(5, 20)
	firmware := min(v.life.delay(1, 2.5), v.bootFor/3)
	v.changed()
	v.next(firmware, func() {
		v.phase = phaseKernel
		v.changed()
		v.next(v.bootFor-firmware, v.guestUp)
	})
}

// guestUp is the end of a boot: services run, addresses are had, the agent
// answers. A power button that was pressed meanwhile works now.
func (v *vm) guestUp() {
	v.phase = phaseUp
	v.changed()
	v.setAgent(v.live.agent)
	v.fillDisk()
	switch {
	case v.latched != nil:
		then := v.latched
		v.latched = nil
		v.stopGuest(then)
	case v.habit != nil:
		v.habit()
	case v.role.drive == byBatch:
		v.work()
	}
}

// setAgent tells that the guest agent came or went.
func (v *vm) setAgent(up bool) {
	if v.agentUp == up {
		return
	}
	v.agentUp = up
	what := "disconnected"
	if up {
		what = "connected"
	}
	v.host.tell(v, backend.EventAgent, what, "channel event")
}

// pressPower is the guest's power button. Firmware takes no notice of it, and
// some guests never do; one that is booting obeys when it is up.
func (v *vm) pressPower(then func()) {
	switch {
	case v.ignores || v.phase == phaseFirmware:
	case v.phase == phaseKernel:
		v.latched = then
	case v.phase == phaseUp:
		v.stopGuest(then)
	}
}

// stopGuest lets the guest end its services, and then does what was wanted:
// power off or boot again.
func (v *vm) stopGuest(then func()) {
	if v.phase != phaseUp {
		return
	}
	v.phase = phaseStopping
	v.setAgent(false)
	v.changed()
	v.next(v.life.delay(2, 8), then)
}

// powerOff is the guest switching itself off: for a moment libvirt finds it
// in shutdown.
func (v *vm) powerOff() {
	v.enterState(backend.ShuttingDown, reasonUser)
	v.host.tell(v, backend.EventLifecycle, "shutdown", "finished")
	v.next(v.life.delay(0.1, 0.4), func() { v.stop(backend.Shutoff, reasonShutdown) })
}

// reboot is the guest starting over in the same process.
func (v *vm) reboot() {
	v.setAgent(false)
	v.host.tell(v, backend.EventReboot, "rebooted", "")
	v.bootGuest()
}

// pause makes the guest stand still.
func (v *vm) pause(reason string) {
	v.freeze()
	v.enterState(backend.Paused, reason)
	v.host.tell(v, backend.EventLifecycle, "suspended", eventDetail(reason))
	v.changed()
}

// resume lets a paused or sleeping guest go on.
func (v *vm) resume() {
	reason := reasonUnpaused
	if v.row.State == backend.PMSuspended {
		reason = reasonWakeup
	}
	v.enterState(backend.Running, reason)
	v.upSince = v.fleet().now
	v.host.tell(v, backend.EventLifecycle, "resumed", "unpaused")
	v.thaw()
	v.changed()
}

// crash is the end of a guest that fell over: its process goes, or stays as a
// corpse where the definition says so.
func (v *vm) crash() {
	if v.def().preserve {
		v.stop(backend.Crashed, reasonPanicked)
	} else {
		v.stop(backend.Shutoff, reasonCrashed)
	}
}

// hang stops QEMU's process in its tracks, as an NFS server that went away
// does; unhang lets it go on.
func (v *vm) hang() {
	v.freeze()
	v.stuck, v.stuckAt = true, v.fleet().now
	v.changed()
}

func (v *vm) unhang() {
	v.stuck = false
	if v.clockRuns() {
		v.upSince = v.fleet().now
		v.thaw()
	}
	v.changed()
}

// stop ends the machine's process, whatever the reason.
func (v *vm) stop(s backend.State, reason string) {
	if v.console != nil {
		v.console.print() // its last words
	}
	v.owe()
	if reason == reasonCrashed || v.stuck {
		v.loseBitmaps()
	}
	v.freeze()
	v.forget()
	v.phase, v.stuck, v.agentUp, v.latched = phaseOff, false, false, nil
	v.upBefore = 0
	v.row.ID, v.row.StartedAt, v.row.Note = -1, time.Time{}, ""
	v.enterState(s, reason)
	v.changed() // its rates are zero from here
	v.log(logStopped, reason)
	v.dropConsole(io.EOF)
	gone := v.live
	v.live = nil
	what := "stopped"
	if s == backend.Crashed {
		what = "crashed"
	}
	v.host.tell(v, backend.EventLifecycle, what, eventDetail(reason))
	if v.stored == nil {
		v.forgetImages(gone)
		v.host.remove(v)
	} else {
		v.applyDefinition()
	}
	v.endJob(fmt.Errorf("%s stopped meanwhile (%s): %w", v.row.Name, reason, backend.ErrState))
}

// eventDetail is a reason as libvirt's events tell it.
func eventDetail(reason string) string {
	switch reason {
	case reasonUser:
		return "paused"
	case reasonIOError:
		return "i/o error"
	}
	return reason
}
