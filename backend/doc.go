// Package backend is berth's vocabulary: hosts, VMs, figures, verbs, events
// and errors, and the interfaces through which everything above reaches a
// hypervisor. It does no I/O and knows nothing of any terminal.
//
// Two packages below implement it: libvirt (real hosts) and demo (a simulated
// fleet). backendtest holds the one suite of tests that both must pass.
//
// Conventions: sizes are bytes, rates are per second, times are time.Time in
// the local clock of the machine berth runs on. A zero time.Time beside a
// figure means that the figure is not known.
package backend
