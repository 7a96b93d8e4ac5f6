package backend

import "time"

// EventKind groups events by what they are about.
type EventKind uint8

// The kinds of events. Whatever the kind, an event says only that something
// changed; the next Poll says what it is now.
const (
	EventLifecycle  EventKind = iota // defined, started, stopped, ...
	EventReboot                      // the guest rebooted
	EventIOError                     // a disk gave an error
	EventWatchdog                    // the guest's watchdog fired
	EventAgent                       // the guest agent came or went
	EventDevice                      // a device was added, removed, changed
	EventJob                         // a block or domain job moved on
	EventConnection                  // the connection to the host came or went
)

var eventNames = [...]string{"lifecycle", "reboot", "io-error", "watchdog", "agent", "device", "job", "connection"}

// String is the kind's name, as in filters and JSON.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "other"
}

// Event is something a host told without being asked.
type Event struct {
	At     time.Time
	Host   string
	Kind   EventKind
	UUID   UUID   // zero when it is about the host
	Name   string // the domain's name then
	What   string // "started", "stopped", "defined", ...
	Detail string // libvirt's reason: "booted", "shutdown", "crashed"; may be empty
}
