// Package libvirt is backend.Host on a real libvirt daemon, reached with
// github.com/digitalocean/go-libvirt: no C library, no virsh.
//
// # Lanes
//
// One QEMU that no longer answers its monitor can block a libvirt call for
// ever, and five such calls use up a connection. So each purpose has a lane of
// its own: cheap calls that never reach a QEMU, dear ones that do, questions
// about one domain, actions. A lane whose deadline passes has its connection
// closed, which is the only thing that frees a go-libvirt call, and dials
// afresh at the next call (lane.go).
//
// Backups, other jobs and storage have lanes too; their data go beside libvirt,
// over a way of its own to the machine (machine.go, dial/road.go), so that a
// stuck call never ends a copy, nor a copy holds up a call.
//
// # What is asked how often
//
// While a Watch is open, Poll works from a table that events keep current
// and sweeps the whole host only every ten seconds; without one it sweeps each
// time. CPU, memory and network counters of local guests come from /proc; those
// of remote guests from calls that do not reach a QEMU. Block and balloon
// figures do reach it, cost milliseconds of it each, and are rationed (duty.go).
package libvirt
