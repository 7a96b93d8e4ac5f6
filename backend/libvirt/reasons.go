package libvirt

import (
	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// reasonWords are virsh's words (tools/virsh-domain-monitor.c, "domstate
// --reason") for each virDomain*Reason, indexed by state and reason. The first
// of each state is "unknown", which berth shows as nothing.
var reasonWords = [...][]string{
	libvirt.DomainNostate: {""},
	libvirt.DomainRunning: {"", "booted", "migrated", "restored", "from snapshot", "unpaused", "migration canceled",
		"save canceled", "event wakeup", "crashed", "post-copy", "post-copy failed"},
	libvirt.DomainBlocked: {""},
	libvirt.DomainPaused: {"", "user", "migrating", "saving", "dumping", "I/O error", "watchdog", "from snapshot",
		"shutting down", "creating snapshot", "crashed", "starting up", "post-copy", "post-copy failed", "api error"},
	libvirt.DomainShutdown: {"", "user"},
	libvirt.DomainShutoff: {"", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot",
		"daemon"},
	libvirt.DomainCrashed:     {"", "panicked"},
	libvirt.DomainPmsuspended: {""},
}

// What a domain's reason can be relied on for, as seen with libvirt 9.0 and
// QEMU 7.2 (TestLabReasons repeats it):
//
//   - The end of a guest that this libvirtd saw: "shutdown" when the guest
//     powered off or its QEMU was sent SIGTERM, "destroyed", "saved", "crashed"
//     when QEMU was killed or the guest panicked, "failed" when a start was
//     refused.
//   - The end of a guest while no libvirtd ran is told by the next one: "shutdown"
//     when the guest powered off, for libvirt's QEMUs stay until they were asked
//     (-no-shutdown), "crashed" when QEMU was killed.
//   - A libvirtd that has just started and is still taking up its QEMUs says
//     "daemon" of one that it was asked to destroy in that moment.
//   - A libvirtd that starts again has forgotten why the domains that were off
//     already are off, and so has one on a host that was booted: "" for all of
//     them. So "" after a run means either that it ended before libvirtd's last
//     start, in whatever way, or that it was lost with the host; only
//     HostCapacity.Boot tells these apart.
//   - Running and paused domains keep their reason over a restart: one started
//     paused is "user", one let run from there "unpaused", not "booted".
//   - One started paused from its saved state is paused "migrating", for ever:
//     nothing migrates.
//   - Numbers (VM.ID) begin again behind the highest that runs when libvirtd
//     starts, so two runs of a domain may have the same.

// reasonOf is why a domain is in its state, or "" when libvirt does not say.
func reasonOf(state, reason int32) string {
	if state < 0 || int(state) >= len(reasonWords) {
		return ""
	}
	words := reasonWords[state]
	if reason < 0 || int(reason) >= len(words) {
		return ""
	}
	return words[reason]
}

// stateOf is backend's state for virDomainState; the numbers are the same.
func stateOf(state int32) backend.State {
	if state < 0 || state > int32(backend.PMSuspended) {
		return backend.NoState
	}
	return backend.State(state)
}
