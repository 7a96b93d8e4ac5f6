package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is CPU time by who used it, read at one moment.
type usage struct {
	at                    time.Time
	berth, libvirtd, qemu time.Duration
}

// tick is the unit of /proc/PID/stat's times (proc(5)): USER_HZ is 100 on
// every Linux that runs libvirt.
const tick = 10 * time.Millisecond

// sample reads the CPU time of pid (0: nobody), and of every libvirtd and QEMU
// of the lab host, which are those below its directory's first process.
func (b *bench) sample(pid int) usage {
	u := usage{at: time.Now(), berth: cpuTime(pid)}
	for _, p := range b.family() {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p))
		switch name := strings.TrimSpace(string(comm)); {
		case name == "libvirtd":
			u.libvirtd += cpuTime(p)
		case strings.HasPrefix(name, "qemu-system"):
			u.qemu += cpuTime(p)
		}
	}
	return u
}

// family lists the processes in the host's PID namespace.
func (b *bench) family() (pids []int) {
	own, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", b.host.PID))
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		if ns, _ := os.Readlink(d + "/ns/pid"); ns == own {
			pid, _ := strconv.Atoi(filepath.Base(d))
			pids = append(pids, pid)
		}
	}
	return pids
}

// percent is what each used between two samples, in percent of one core.
func percent(a, b usage) (berth, libvirtd, qemu float64) {
	of := func(x, y time.Duration) float64 { return 100 * (y - x).Seconds() / b.at.Sub(a.at).Seconds() }
	return of(a.berth, b.berth), of(a.libvirtd, b.libvirtd), of(a.qemu, b.qemu)
}

// cpuTime is utime + stime of a process, 0 when it is gone.
func cpuTime(pid int) time.Duration {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(stat, ')')
	f := strings.Fields(string(stat[i+1:]))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * tick
}

// resident is a process's VmRSS in MiB.
func resident(pid int) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, _ := strconv.ParseFloat(strings.Fields(rest + " 0")[0], 64)
	return kib / 1024
}

// descendant is the process at the end of pid's line of only children: what
// nsenter has started.
func descendant(pid int) int {
	for {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		f := strings.Fields(string(children))
		if len(f) == 0 {
			return pid
		}
		pid, _ = strconv.Atoi(f[0])
	}
}
