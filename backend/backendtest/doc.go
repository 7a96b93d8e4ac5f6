// Package backendtest is the conformance suite of backend.Host: what berth
// relies on, whichever hypervisor is behind it. A backend's test makes a
// Fixture and calls Run.
//
// Nothing in it assumes that a verb's effect is there when Do returns: the
// suite waits for the wanted state, on events and by polling, up to a deadline.
package backendtest
