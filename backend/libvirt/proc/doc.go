// Package proc reads figures of QEMU processes from /proc, on the machine
// where they run. What libvirt must ask each QEMU's monitor for takes
// milliseconds a guest and blocks on a stuck one; this takes microseconds and
// never blocks.
//
// Formats are those of proc(5).
package proc

// root is where proc is mounted; tests put fixtures in its place.
var root = "/proc"
