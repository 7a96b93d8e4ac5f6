package libvirt

import (
	"fmt"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// lifecycleWords are virsh's words for virDomainEventType and its details
// (tools/virsh-domain-event.c).
var lifecycleWords = [...]struct {
	what    string
	details []string
}{
	libvirt.DomainEventDefined:   {"defined", []string{"added", "updated", "renamed", "from snapshot"}},
	libvirt.DomainEventUndefined: {"undefined", []string{"removed", "renamed"}},
	libvirt.DomainEventStarted:   {"started", []string{"booted", "migrated", "restored", "from snapshot", "event wakeup", "recreated"}},
	libvirt.DomainEventSuspended: {"suspended", []string{"paused", "migrated", "I/O error", "watchdog", "restored", "from snapshot",
		"api error", "post-copy", "post-copy failed"}},
	libvirt.DomainEventResumed: {"resumed", []string{"unpaused", "migrated", "from snapshot", "post-copy", "post-copy failed"}},
	libvirt.DomainEventStopped: {"stopped", []string{"shutdown", "destroyed", "crashed", "migrated", "saved", "failed",
		"from snapshot", "recreated"}},
	libvirt.DomainEventShutdown:    {"shutdown", []string{"finished", "finished after guest request", "finished after host request"}},
	libvirt.DomainEventPmsuspended: {"pmsuspended", []string{"memory", "disk"}},
	libvirt.DomainEventCrashed:     {"crashed", []string{"panicked", "crashloaded"}},
}

var (
	watchdogWords = []string{"none", "pause", "reset", "poweroff", "shutdown", "debug", "inject-nmi"}
	ioErrorWords  = []string{"none", "pause", "report"}
	blockJobTypes = []string{"block job", "block pull", "block copy", "block commit", "active block commit", "backup"}
	blockJobEnds  = []string{"completed", "failed", "canceled", "ready"}
	agentStates   = []string{"", "connected", "disconnected"}
	agentReasons  = []string{"", "domain started", "channel event"}
)

// word is list[i], or "" when libvirt sends a number berth does not know.
func word(list []string, i int32) string {
	if i < 0 || int(i) >= len(list) {
		return ""
	}
	return list[i]
}

// translate makes backend's event from one of go-libvirt's, and says what must
// be read again because of it.
func translate(raw any) (ev backend.Event, what touch, ok bool) {
	about := func(d libvirt.Domain, kind backend.EventKind, what, detail string) backend.Event {
		return backend.Event{Kind: kind, UUID: backend.UUID(d.UUID), Name: backend.Clean(d.Name),
			What: what, Detail: backend.Clean(detail)}
	}
	switch m := raw.(type) {
	case *libvirt.DomainEventCallbackLifecycleMsg:
		if m.Msg.Event < 0 || int(m.Msg.Event) >= len(lifecycleWords) {
			return about(m.Msg.Dom, backend.EventLifecycle, "changed", ""), touchState | touchFacts | touchFlags, true
		}
		w := lifecycleWords[m.Msg.Event]
		return about(m.Msg.Dom, backend.EventLifecycle, w.what, word(w.details, m.Msg.Detail)), lifecycleTouch(m.Msg.Event), true
	case *libvirt.DomainEventCallbackRebootMsg:
		return about(m.Msg.Dom, backend.EventReboot, "rebooted", ""), touchState, true
	case *libvirt.DomainEventCallbackIOErrorReasonMsg:
		reason := m.Msg.Reason
		if reason == "" {
			reason = "I/O error"
		}
		detail := fmt.Sprintf("%s on %s (%s)", reason, m.Msg.DevAlias, m.Msg.SrcPath)
		return about(m.Msg.Dom, backend.EventIOError, "disk error: "+word(ioErrorWords, m.Msg.Action), detail), touchState, true
	case *libvirt.DomainEventCallbackWatchdogMsg:
		return about(m.Msg.Dom, backend.EventWatchdog, "watchdog", word(watchdogWords, m.Msg.Action)), touchState, true
	case *libvirt.DomainEventCallbackAgentLifecycleMsg:
		return about(m.Dom, backend.EventAgent, "agent "+word(agentStates, m.State), word(agentReasons, m.Reason)), 0, true
	case *libvirt.DomainEventCallbackPmsuspendMsg:
		return about(m.Msg.Dom, backend.EventLifecycle, "pmsuspended", "memory"), touchState, true
	case *libvirt.DomainEventCallbackPmsuspendDiskMsg:
		return about(m.Msg.Dom, backend.EventLifecycle, "pmsuspended", "disk"), touchState, true
	case *libvirt.DomainEventCallbackPmwakeupMsg:
		return about(m.Msg.Dom, backend.EventLifecycle, "woke up", ""), touchState, true
	}
	return translateDevice(raw, about)
}

// lifecycleTouch is what a lifecycle event may have changed.
func lifecycleTouch(event int32) touch {
	switch libvirt.DomainEventType(event) {
	case libvirt.DomainEventSuspended, libvirt.DomainEventResumed, libvirt.DomainEventPmsuspended, libvirt.DomainEventShutdown:
		return touchState
	}
	return touchState | touchFacts | touchFlags
}

// translateDevice does those that are about a device or a job.
func translateDevice(raw any, about func(libvirt.Domain, backend.EventKind, string, string) backend.Event) (backend.Event, touch, bool) {
	switch m := raw.(type) {
	case *libvirt.DomainEventCallbackDeviceAddedMsg:
		return about(m.Dom, backend.EventDevice, "device added", m.DevAlias), touchFacts, true
	case *libvirt.DomainEventCallbackDeviceRemovedMsg:
		return about(m.Msg.Dom, backend.EventDevice, "device removed", m.Msg.DevAlias), touchFacts, true
	case *libvirt.DomainEventCallbackDiskChangeMsg:
		return about(m.Msg.Dom, backend.EventDevice, "disk changed", m.Msg.DevAlias), touchFacts, true
	case *libvirt.DomainEventCallbackTrayChangeMsg:
		return about(m.Msg.Dom, backend.EventDevice, "tray moved", m.Msg.DevAlias), 0, true
	case *libvirt.DomainEventCallbackBalloonChangeMsg:
		return about(m.Msg.Dom, backend.EventDevice, "balloon changed", fmt.Sprintf("%d KiB", m.Msg.Actual)), touchFacts, true
	case *libvirt.DomainEventCallbackMetadataChangeMsg:
		return about(m.Dom, backend.EventDevice, "metadata changed", ""), touchFacts, true
	case *libvirt.DomainEventCallbackBlockJobMsg:
		what := word(blockJobTypes, m.Msg.Type) + " " + word(blockJobEnds, m.Msg.Status)
		return about(m.Msg.Dom, backend.EventJob, what, m.Msg.Path), touchFacts, true
	case *libvirt.DomainEventCallbackMigrationIterationMsg:
		return about(m.Dom, backend.EventJob, "migration iteration", fmt.Sprint(m.Iteration)), 0, true
	}
	return backend.Event{}, 0, false
}
