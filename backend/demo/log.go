package demo

import (
	"context"
	"fmt"

	"berth/backend"
)

// logKind is what a log entry is about.
type logKind uint8

const (
	logStarted logKind = iota
	logStopped
)

// logEntry is one moment of a machine's QEMU log.
type logEntry struct {
	at     storyTime
	kind   logKind
	reason string
}

// logKept is how many entries a log keeps before it is rotated.
const logKept = 64

func (v *vm) log(kind logKind, reason string) {
	if len(v.history) >= logKept {
		v.history = append(v.history[:0], v.history[logKept/2:]...)
	}
	v.history = append(v.history, logEntry{v.fleet().now, kind, reason})
}

// LogTail returns the last lines of what QEMU and libvirt wrote about the
// machine: the command line of each start, and why it stopped.
func (h *host) LogTail(ctx context.Context, id backend.UUID, n int) ([]string, error) {
	v, err := h.find(ctx, "read the log of", id)
	if err != nil {
		return nil, err
	}
	defer h.leave()
	var lines []string
	for _, e := range v.history {
		lines = append(lines, v.logLines(e)...)
	}
	lines = lines[max(0, len(lines)-max(n, 0)):]
	for i := range lines {
		lines[i] = backend.Clean(lines[i])
	}
	return lines, nil
}

func (v *vm) logLines(e logEntry) []string {
	stamp := v.fleet().shown(e.at).UTC().Format("2006-01-02 15:04:05.000") + "+0000: "
	if e.kind == logStarted {
		return append([]string{
			stamp + "starting up libvirt version: 10.10.0, qemu version: 9.2.0, kernel: 6.12.9-amd64, hostname: " + v.host.name + ".example.net",
		}, v.commandLine()...)
	}
	var before []string
	switch e.reason {
	case reasonDestroy:
		before = []string{stamp[:len(stamp)-7] + "Z qemu-system-x86_64: terminating on signal 15 from pid 1204 (/usr/sbin/libvirtd)"}
	case reasonCrashed:
		before = []string{"KVM internal error. Suberror: 3", "qemu-system-x86_64: error: kvm run failed Bad address"}
	}
	return append(before, stamp+"shutting down, reason="+e.reason)
}

// commandLine is how QEMU was called.
func (v *vm) commandLine() []string {
	d := v.def()
	lines := []string{
		"LC_ALL=C \\", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \\", "/usr/bin/qemu-system-x86_64 \\",
		"-name guest=" + d.name + ",debug-threads=on \\",
		"-machine " + d.machine + ",usb=off,dump-guest-core=off,memory-backend=pc.ram \\",
		"-accel " + d.kind + " \\",
		fmt.Sprintf("-m size=%dk \\", d.maxMem/kib),
		fmt.Sprintf("-smp %d,sockets=%d,cores=1,threads=1 \\", d.vcpus, d.vcpus),
		"-uuid " + d.uuid.String() + " \\",
	}
	for i := range d.disks {
		k := &d.disks[i]
		lines = append(lines, fmt.Sprintf(`-blockdev '{"driver":"%s","file":"libvirt-%d-storage","node-name":"libvirt-%d-format"}' \`, k.format, i+1, i+1))
	}
	lines = append(lines, "-msg timestamp=on")
	if d.console {
		lines = append(lines, "char device redirected to /dev/pts/7 (label charserial0)")
	}
	return lines
}
