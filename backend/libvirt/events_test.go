package libvirt

import (
	"testing"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

func TestEventsInVirshsWords(t *testing.T) {
	dom := libvirt.Domain{Name: "a\x1b", UUID: libvirt.UUID{1}}
	for _, c := range []struct {
		raw          any
		kind         backend.EventKind
		what, detail string
		touch        touch
	}{
		{&libvirt.DomainEventCallbackLifecycleMsg{Msg: libvirt.DomainEventLifecycleMsg{Dom: dom, Event: 2, Detail: 1}},
			backend.EventLifecycle, "started", "migrated", touchState | touchFacts | touchFlags},
		{&libvirt.DomainEventCallbackLifecycleMsg{Msg: libvirt.DomainEventLifecycleMsg{Dom: dom, Event: 3, Detail: 2}},
			backend.EventLifecycle, "suspended", "I/O error", touchState},
		{&libvirt.DomainEventCallbackLifecycleMsg{Msg: libvirt.DomainEventLifecycleMsg{Dom: dom, Event: 77, Detail: 2}},
			backend.EventLifecycle, "changed", "", touchState | touchFacts | touchFlags},
		{&libvirt.DomainEventCallbackLifecycleMsg{Msg: libvirt.DomainEventLifecycleMsg{Dom: dom, Event: 5, Detail: -4}},
			backend.EventLifecycle, "stopped", "", touchState | touchFacts | touchFlags},
		{&libvirt.DomainEventCallbackRebootMsg{Msg: libvirt.DomainEventRebootMsg{Dom: dom}}, backend.EventReboot, "rebooted", "", touchState},
		{&libvirt.DomainEventCallbackWatchdogMsg{Msg: libvirt.DomainEventWatchdogMsg{Dom: dom, Action: 3}}, backend.EventWatchdog, "watchdog", "poweroff", touchState},
		{&libvirt.DomainEventCallbackIOErrorReasonMsg{Msg: libvirt.DomainEventIOErrorReasonMsg{Dom: dom, SrcPath: "/d", DevAlias: "v", Action: 1, Reason: "enospc"}},
			backend.EventIOError, "disk error: pause", "enospc on v (/d)", touchState},
		{&libvirt.DomainEventCallbackAgentLifecycleMsg{Dom: dom, State: 1, Reason: 2}, backend.EventAgent, "agent connected", "channel event", 0},
		{&libvirt.DomainEventCallbackBlockJobMsg{Msg: libvirt.DomainEventBlockJobMsg{Dom: dom, Path: "vda", Type: 2, Status: 3}},
			backend.EventJob, "block copy ready", "vda", touchFacts},
		{&libvirt.DomainEventCallbackDeviceRemovedMsg{Msg: libvirt.DomainEventDeviceRemovedMsg{Dom: dom, DevAlias: "net1"}},
			backend.EventDevice, "device removed", "net1", touchFacts},
	} {
		ev, touched, ok := translate(c.raw)
		want := backend.Event{Kind: c.kind, UUID: backend.UUID{1}, Name: "a�", What: c.what, Detail: c.detail}
		if !ok || ev != want || touched != c.touch {
			t.Errorf("%T: %+v touching %b, want %+v touching %b", c.raw, ev, touched, want, c.touch)
		}
	}
	if _, _, ok := translate("nonsense"); ok {
		t.Error("anything is an event")
	}
}
