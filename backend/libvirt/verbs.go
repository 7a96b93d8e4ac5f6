package libvirt

import (
	"context"
	"errors"
	"fmt"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// verbCall carries out one verb. It returns once the daemon has.
type verbCall func(lv *libvirt.Libvirt, d libvirt.Domain, a backend.Action) error

// verbCalls are the verbs as virsh does them.
var verbCalls = map[backend.Verb]verbCall{
	backend.VerbStart:         start(0),
	backend.VerbStartPaused:   start(libvirt.DomainStartPaused),
	backend.VerbStartFresh:    start(libvirt.DomainStartForceBoot),
	backend.VerbRestore:       restore,
	backend.VerbShutdown:      shutdown(libvirt.DomainShutdownDefault),
	backend.VerbShutdownACPI:  shutdown(libvirt.DomainShutdownAcpiPowerBtn),
	backend.VerbShutdownAgent: shutdown(libvirt.DomainShutdownGuestAgent),
	backend.VerbReboot: func(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
		return lv.DomainReboot(d, libvirt.DomainRebootDefault)
	},
	backend.VerbReset: func(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
		return lv.DomainReset(d, 0)
	},
	backend.VerbDestroy: destroy,
	backend.VerbSuspend: func(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
		return lv.DomainSuspend(d)
	},
	backend.VerbResume: resume,
	backend.VerbSave: func(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
		return lv.DomainManagedSave(d, 0)
	},
	backend.VerbSaveRemove: saveRemove,
	backend.VerbAutostartOn: func(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
		return lv.DomainSetAutostart(d, 1)
	},
	backend.VerbAutostartOff: func(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
		return lv.DomainSetAutostart(d, 0)
	},
	backend.VerbRename: rename,
}

// Do carries out one verb. Errors are OpErrors with libvirt's own words. When
// ctx ends first, the daemon may still carry it out; the error, which wraps
// backend.ErrTimeout, says so.
func (h *Host) Do(ctx context.Context, a backend.Action) error {
	name := a.Name
	if name == "" {
		name = h.label(a.UUID)
	}
	if err := h.writable(string(a.Verb), name); err != nil {
		return err
	}
	err := h.do(ctx, a)
	h.table.touch(a.UUID, touchState|touchFacts|touchFlags)
	if errors.Is(err, context.DeadlineExceeded) {
		return &backend.OpError{Op: string(a.Verb), Target: backend.Clean(name), Err: err,
			Hint: "the host may still do it: watch the state"}
	}
	return failed(string(a.Verb), name, err)
}

func (h *Host) do(ctx context.Context, a backend.Action) error {
	if a.Verb == backend.VerbUndefine {
		return h.undefine(ctx, a)
	}
	call := verbCalls[a.Verb]
	if call == nil {
		return fmt.Errorf("%w: berth has no verb %q", backend.ErrUnsupported, a.Verb)
	}
	// The look-up may be tried again, which finds out about a dead connection.
	d, err := ask(ctx, h.action, func(lv *libvirt.Libvirt) (libvirt.Domain, error) {
		return lv.DomainLookupByUUID(libvirt.UUID(a.UUID))
	})
	if err != nil {
		return err
	}
	_, err = tell(ctx, h.action, func(lv *libvirt.Libvirt) (struct{}, error) { return struct{}{}, call(lv, d, a) })
	return err
}

func start(flags libvirt.DomainCreateFlags) verbCall {
	return func(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
		_, err := lv.DomainCreateWithFlags(d, uint32(flags))
		return err
	}
}

func shutdown(mode libvirt.DomainShutdownFlagValues) verbCall {
	return func(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
		if mode == libvirt.DomainShutdownDefault { // drivers without flags, as test:///, know only this
			return lv.DomainShutdown(d)
		}
		return lv.DomainShutdownFlags(d, mode)
	}
}

// destroy cuts a domain's power. A libvirtd that has just started and is still
// taking up its QEMUs kills this one, finds it gone before it is done, enters
// "daemon" as the reason, and says that the domain is not running (seen with
// libvirt 9.0): what was wanted has happened all the same.
func destroy(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
	before, _, stateErr := lv.DomainGetState(d, 0)
	err := lv.DomainDestroyFlags(d, libvirt.DomainDestroyDefault)
	if stateErr != nil || !stateOf(before).Active() || !hasCode(err, libvirt.ErrOperationInvalid) {
		return err
	}
	after, why, stateErr := lv.DomainGetState(d, 0)
	if stateErr == nil && stateOf(after) == backend.Shutoff && why == int32(libvirt.DomainShutoffDaemon) {
		return nil
	}
	return err
}

// restore starts from a saved state; without one it refuses, where start would boot.
func restore(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
	if err := mustBeSaved(lv, d); err != nil {
		return err
	}
	_, err := lv.DomainCreateWithFlags(d, 0)
	return err
}

// saveRemove deletes a saved state. libvirt does nothing, without an error,
// when there is none.
func saveRemove(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
	if err := mustBeSaved(lv, d); err != nil {
		return err
	}
	return lv.DomainManagedSaveRemove(d, 0)
}

func mustBeSaved(lv *libvirt.Libvirt, d libvirt.Domain) error {
	has, err := lv.DomainHasManagedSaveImage(d, 0)
	if err == nil && has == 0 {
		err = fmt.Errorf("%w: there is no saved state", backend.ErrState)
	}
	return err
}

// resume continues a paused domain, or wakes one that its guest suspended.
func resume(lv *libvirt.Libvirt, d libvirt.Domain, _ backend.Action) error {
	state, _, err := lv.DomainGetState(d, 0)
	if err != nil {
		return err
	}
	if stateOf(state) == backend.PMSuspended {
		return lv.DomainPmWakeup(d, 0)
	}
	return lv.DomainResume(d)
}

func rename(lv *libvirt.Libvirt, d libvirt.Domain, a backend.Action) error {
	if a.New == "" {
		return fmt.Errorf("%w: the new name is empty", backend.ErrInvalid)
	}
	_, err := lv.DomainRename(d, libvirt.OptString{a.New}, 0)
	return err
}
