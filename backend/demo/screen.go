package demo

import (
	"fmt"
	"strings"

	"berth/backend"
)

// bootLine is one line that a booting guest prints.
type bootLine struct {
	at   float64 // of the whole boot
	text string
}

// bootLines are what the guest prints from power on until it is up.
func (v *vm) bootLines() []bootLine {
	d := v.def()
	names := osNames[d.os]
	if names.pretty == "" {
		names.pretty, names.kernel = "Linux", "6.1.0"
	}
	stamp := func(at float64, s string) bootLine {
		return bootLine{at, fmt.Sprintf("[%12.6f] %s", (at-0.12)*v.bootFor.Seconds(), s)}
	}
	lines := []bootLine{
		{0.02, "SeaBIOS (version 1.16.3-debian-1.16.3-2)"},
		{0.05, ""},
		{0.06, "iPXE (http://ipxe.org) 00:02.0 CA00 PCI2.10 PnP PMM"},
		{0.09, "Booting from Hard Disk..."},
		{0.11, "GRUB loading."},
		stamp(0.12, "Linux version "+names.kernel),
		stamp(0.125, "Command line: BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro console=tty0 console=ttyS0,115200"),
		stamp(0.13, fmt.Sprintf("Memory: %dK/%dK available", d.curMem/kib*97/100, d.maxMem/kib)),
		stamp(0.17, fmt.Sprintf("smp: Brought up 1 node, %d CPUs", d.vcpus)),
	}
	for i := range d.disks {
		lines = append(lines, stamp(0.22+0.01*float64(i), fmt.Sprintf("virtio_blk virtio%d: [%s] %d 512-byte logical blocks", i+1, d.disks[i].target, d.disks[i].capacity/512)))
	}
	lines = append(lines,
		stamp(0.3, "EXT4-fs (vda1): mounted filesystem with ordered data mode"),
		stamp(0.34, "systemd[1]: Detected virtualization kvm."),
		bootLine{0.4, ""}, bootLine{0.4, "Welcome to " + names.pretty + "!"}, bootLine{0.4, ""},
	)
	for i, unit := range v.units() {
		lines = append(lines, bootLine{0.45 + 0.5*float64(i)/float64(len(v.units())), "[  OK  ] Started " + unit + "."})
	}
	return lines
}

// units are the services that the guest starts, its role's own last.
func (v *vm) units() []string {
	units := []string{"Journal Service", "Rule-based Manager for Device Events and Files", "Network Time Synchronization", "Network Configuration", "OpenBSD Secure Shell server"}
	if v.def().agent {
		units = append(units, "QEMU Guest Agent")
	}
	own := map[string]string{"db": "PostgreSQL RDBMS", "web": "nginx - high performance web server", "lb": "HAProxy Load Balancer", "cache": "Valkey key-value store",
		"queue": "RabbitMQ broker", "mail": "Postfix Mail Transport Agent", "dns": "Unbound DNS server", "git": "Forgejo", "monitor": "Prometheus", "log": "Vector log collector", "app": "Application server"}
	if s, ok := own[v.role.key]; ok {
		units = append(units, s)
	}
	return units
}

// farewell is what the guest prints while it stops.
func (v *vm) farewell() []string {
	var lines []string
	units := v.units()
	for i := len(units) - 1; i >= 0; i-- {
		lines = append(lines, "[  OK  ] Stopped "+units[i]+".")
	}
	return append(lines, "[  OK  ] Reached target System Shutdown.")
}

// issue is the line above the login prompt.
func (v *vm) issue(tty string) string {
	name := osNames[v.def().os].pretty
	if name == "" {
		name = "Linux"
	}
	return name + " " + v.guestName() + " " + tty
}

// guestName is the guest's host name, as a terminal may be shown it.
func (v *vm) guestName() string { return strings.ReplaceAll(backend.Clean(v.hostname), " ", "-") }

// screen is the text on the guest's display now.
func (v *vm) screen() []string {
	now := v.fleet().now
	done := 1.0
	if v.phase < phaseUp {
		done = v.uptime(now).Seconds() / v.bootFor.Seconds()
	}
	var lines []string
	for _, l := range v.bootLines() {
		if l.at <= done {
			lines = append(lines, l.text)
		}
	}
	switch v.phase {
	case phaseUp:
		lines = append(lines, "", v.issue("tty1"), "", v.guestName()+" login: _")
	case phaseStopping:
		lines = append(lines, v.farewell()...)
	}
	return lines
}
