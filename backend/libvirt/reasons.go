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
