package backend

import "fmt"

// Verb is something berth can do to a domain.
type Verb string

// The verbs. Their names are what the command line and the audit trail use.
const (
	VerbStart         Verb = "start" // resumes from a saved state if there is one
	VerbStartPaused   Verb = "start-paused"
	VerbStartFresh    Verb = "start-fresh" // drops a saved state and boots
	VerbShutdown      Verb = "shutdown"    // libvirt chooses: agent if connected, else ACPI
	VerbShutdownACPI  Verb = "shutdown-acpi"
	VerbShutdownAgent Verb = "shutdown-agent"
	VerbReboot        Verb = "reboot"
	VerbReset         Verb = "reset"   // the reset button
	VerbDestroy       Verb = "destroy" // the power cord
	VerbSuspend       Verb = "suspend"
	VerbResume        Verb = "resume"
	VerbSave          Verb = "save"        // managed save
	VerbSaveRemove    Verb = "save-remove" // drop the managed save image
	VerbRestore       Verb = "restore"     // start from the managed save image
	VerbAutostartOn   Verb = "autostart-on"
	VerbAutostartOff  Verb = "autostart-off"
	VerbRename        Verb = "rename"
	VerbUndefine      Verb = "undefine"
)

// Action is one verb on one domain, with what the verb needs to know.
type Action struct {
	Verb   Verb
	UUID   UUID
	Name   string          // the domain's name as the person saw it, for messages
	New    string          // VerbRename: the new name
	Delete UndefineOptions // VerbUndefine
}

// UndefineOptions say what goes with a domain's definition.
type UndefineOptions struct {
	Storage     bool // delete the volumes of its writable disks
	Snapshots   bool // drop snapshot and checkpoint metadata
	NVRAM       bool // delete the UEFI variable store, else keep it
	ManagedSave bool // delete a saved state
}

// Risk says what a verb can cost.
type Risk uint8

// The risks, in rising order.
const (
	RiskNone      Risk = iota // nothing is lost, and it can be undone
	RiskInterrupt             // the service the guest gives is interrupted
	RiskLoss                  // what the guest has not written, or a saved state, is lost
	RiskDestroy               // data on disk or a definition is deleted: type the name
)

// VerbInfo describes a verb for menus, confirmations and the command line.
type VerbInfo struct {
	Verb  Verb
	Label string // "Force off"
	Doing string // "forcing off": while it is under way
	Done  string // "forced off"
	Risk  Risk
	Warn  string // what is lost, in one sentence; empty for RiskNone
}

var verbs = []VerbInfo{
	{VerbStart, "Start", "starting", "started", RiskNone, ""},
	{VerbStartPaused, "Start paused", "starting paused", "started paused", RiskNone, ""},
	{VerbStartFresh, "Start fresh", "starting fresh", "started fresh", RiskLoss, "A saved state is thrown away; the guest boots as after a power cut."},
	{VerbShutdown, "Shut down", "shutting down", "shut down", RiskInterrupt, "The guest is asked to power off."},
	{VerbShutdownACPI, "Shut down by ACPI", "shutting down", "shut down", RiskInterrupt, "The guest's power button is pressed."},
	{VerbShutdownAgent, "Shut down by agent", "shutting down", "shut down", RiskInterrupt, "The guest's agent is asked to power off."},
	{VerbReboot, "Reboot", "rebooting", "rebooted", RiskInterrupt, "The guest is asked to reboot."},
	{VerbReset, "Reset", "resetting", "reset", RiskLoss, "As the reset button: what the guest has not written is lost."},
	{VerbDestroy, "Force off", "forcing off", "forced off", RiskLoss, "As pulling the power cord: what the guest has not written is lost."},
	{VerbSuspend, "Pause", "pausing", "paused", RiskInterrupt, "The guest stands still until it is resumed."},
	{VerbResume, "Resume", "resuming", "resumed", RiskNone, ""},
	{VerbSave, "Save", "saving", "saved", RiskInterrupt, "Its memory is written to disk and the guest stops until it is restored."},
	{VerbSaveRemove, "Remove saved state", "removing saved state", "saved state removed", RiskLoss, "The saved memory is deleted; the next start boots as after a power cut."},
	{VerbRestore, "Restore", "restoring", "restored", RiskNone, ""},
	{VerbAutostartOn, "Autostart on", "setting autostart", "autostart on", RiskNone, ""},
	{VerbAutostartOff, "Autostart off", "clearing autostart", "autostart off", RiskNone, ""},
	{VerbRename, "Rename", "renaming", "renamed", RiskNone, ""},
	{VerbUndefine, "Delete", "deleting", "deleted", RiskDestroy, "The definition is deleted, with what is chosen below."},
}

// Verbs returns every verb's description.
func Verbs() []VerbInfo { return append([]VerbInfo(nil), verbs...) }

// Info describes v; an unknown verb is described by its own name.
func (v Verb) Info() VerbInfo {
	for _, i := range verbs {
		if i.Verb == v {
			return i
		}
	}
	return VerbInfo{Verb: v, Label: string(v), Doing: string(v), Done: string(v), Risk: RiskDestroy}
}

// Check says why v makes no sense on vm as it is now, or nil. Hosts may still
// refuse. The error wraps ErrState and reads "web1 is shut off".
func (v Verb) Check(vm *VM) error {
	active := vm.State.Active()
	switch v {
	case VerbStart, VerbStartPaused, VerbStartFresh:
		if active {
			return notNow(vm, "")
		}
		if v == VerbStartFresh && !vm.ManagedSave {
			return stateError("%s has no saved state: start it", vm.Name)
		}
	case VerbRestore:
		if active {
			return notNow(vm, "")
		}
		if !vm.ManagedSave {
			return stateError("%s has no saved state", vm.Name)
		}
	case VerbShutdown, VerbShutdownACPI, VerbReboot:
		if !active {
			return notNow(vm, "")
		}
		if vm.State == Paused {
			return notNow(vm, ": resume it first")
		}
	case VerbShutdownAgent:
		if vm.State != Running && vm.State != Blocked {
			return notNow(vm, "")
		}
		if !vm.FactsAt.IsZero() && !vm.HasAgent {
			return stateError("%s has no guest agent channel", vm.Name)
		}
	case VerbReset, VerbDestroy:
		if !active {
			return notNow(vm, "")
		}
	case VerbSuspend:
		if vm.State != Running && vm.State != Blocked {
			return notNow(vm, "")
		}
	case VerbResume:
		if vm.State != Paused && vm.State != PMSuspended {
			return notNow(vm, "")
		}
	case VerbSave:
		if !active {
			return notNow(vm, "")
		}
		if !vm.Persistent {
			return transient(vm)
		}
	case VerbSaveRemove:
		if !vm.ManagedSave {
			return stateError("%s has no saved state", vm.Name)
		}
	case VerbAutostartOn, VerbAutostartOff:
		if !vm.Persistent {
			return transient(vm)
		}
	case VerbRename:
		if active {
			return notNow(vm, ": shut it down first")
		}
		if !vm.Persistent {
			return transient(vm)
		}
	case VerbUndefine:
		if !vm.Persistent {
			return transient(vm)
		}
		if active {
			return notNow(vm, ": shut it down first")
		}
	}
	return nil
}

func notNow(vm *VM, hint string) error { return stateError("%s is %s%s", vm.Name, vm.State, hint) }

func transient(vm *VM) error {
	return stateError("%s is transient: it has no stored definition", vm.Name)
}

// errState is put into words only when somebody reads it: lists ask Check for
// thousands of domains and show one answer.
type errState struct {
	format string
	args   []any
}

func stateError(format string, args ...any) error { return &errState{format, args} }

// Error is the reason in words.
func (e *errState) Error() string { return fmt.Sprintf(e.format, e.args...) }

// Is makes errors.Is(err, ErrState) true.
func (e *errState) Is(target error) bool { return target == ErrState }
