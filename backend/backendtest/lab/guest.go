package lab

import (
	"bytes"
	"context"
	_ "embed" // for the template
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// Guest describes a domain of the lab.
type Guest struct {
	Name        string
	UUID        string // Define chooses one when empty
	Title       string
	Description string
	MiB         int // 128 for an OS, else 64, when zero
	VCPUs       int // 1 when zero

	// OS boots the lab's Linux: a login on the serial console (root, password
	// berth), the guest agent, an ACPI power button. Without it the guest is
	// empty: it idles in its BIOS and costs about 50 MiB of the host's memory.
	OS      bool
	NoAgent bool
	Words   string // for the guest's kernel command line, see scripts/mkguest
	DiskMiB int    // a qcow2 disk with an ext4 file system, vda
	NIC     bool   // on the lab's isolated network, where DHCP gives an address
	VGA     bool   // a display, by VNC

	Dir string // of the kernel; set by the host
	Log string // of the serial console; set by the host
}

//go:embed guest.xml.tmpl
var guestXML string

var guestTemplate = template.Must(template.New("guest").Funcs(template.FuncMap{"x": Escape}).Parse(guestXML))

// Escape makes text safe inside an XML element.
func Escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) //nolint:errcheck // a Builder does not fail
	return b.String()
}

// DiskPath is where the host keeps the guest's disk.
func (g Guest) DiskPath() string { return "/var/lib/libvirt/images/" + g.Name + ".qcow2" }

// XML is the guest's definition for the host.
func (h *Host) XML(g Guest) (string, error) {
	if g.MiB == 0 {
		g.MiB = 64
		if g.OS {
			g.MiB = 128
		}
	}
	if g.VCPUs == 0 {
		g.VCPUs = 1
	}
	g.Dir, g.Log = h.lab.Image, "/var/log/libvirt/serial/"+g.Name+".log"
	var b bytes.Buffer
	err := guestTemplate.Execute(&b, g)
	return b.String(), err
}

// Define stores a guest's definition, with its disk and network, and returns
// its UUID.
func (h *Host) Define(ctx context.Context, g Guest) (string, error) {
	if g.UUID == "" {
		g.UUID = newUUID()
	}
	if g.DiskMiB > 0 {
		if err := h.makeDisk(ctx, g); err != nil {
			return "", err
		}
	}
	if g.NIC {
		if err := h.makeNetwork(ctx); err != nil {
			return "", err
		}
	}
	text, err := h.XML(g)
	if err != nil {
		return "", err
	}
	return g.UUID, h.DefineXML(ctx, text)
}

// DefineXML stores any definition.
func (h *Host) DefineXML(ctx context.Context, text string) error {
	f, err := os.CreateTemp(h.Dir, "define-*.xml")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = h.Virsh(ctx, "define", f.Name())
	return err
}

// StartGuest defines and starts a guest; with an OS it returns when that is up.
func (h *Host) StartGuest(ctx context.Context, g Guest) (string, error) {
	uuid, err := h.Define(ctx, g)
	if err != nil {
		return "", err
	}
	if _, err := h.Virsh(ctx, "start", g.Name); err != nil {
		return uuid, err
	}
	if !g.OS {
		return uuid, nil
	}
	return uuid, h.WaitGuestUp(ctx, g.Name, 1)
}

// Forget removes whatever is left of a domain, named by its UUID.
func (h *Host) Forget(ctx context.Context, uuid string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := h.Virsh(ctx, "domstate", uuid); err != nil {
		return nil // it is gone, or its host is off
	}
	h.Signal(ctx, uuid, syscall.SIGCONT) //nolint:errcheck // most are not running
	h.Virsh(ctx, "destroy", uuid)        //nolint:errcheck // likewise
	_, err := h.Virsh(ctx, "undefine", "--managed-save", "--snapshots-metadata", "--checkpoints-metadata", "--nvram", uuid)
	if _, gone := h.Virsh(ctx, "domstate", uuid); gone != nil {
		return nil
	}
	return err
}

// makeDisk makes the guest's disk, a volume of the host's default pool.
func (h *Host) makeDisk(ctx context.Context, g Guest) error {
	_, err := h.Run(ctx, "bash", "-ec", `raw=$1.raw; mke2fs -q -t ext4 "$raw" "$2M"; qemu-img convert -O qcow2 "$raw" "$1"; rm "$raw"
		virsh -q pool-info default >/dev/null 2>&1 || virsh -q pool-create-as default dir --target "${1%/*}"
		virsh -q pool-refresh default`,
		"disk", g.DiskPath(), strconv.Itoa(g.DiskMiB))
	return err
}

// The lab's guests meet on a network without a way out: no NAT, no forwarding.
const networkXML = `<network><name>lab</name><bridge name='labbr0'/><ip address='10.79.0.1' netmask='255.255.255.0'><dhcp><range start='10.79.0.10' end='10.79.0.250'/></dhcp></ip></network>`

func (h *Host) makeNetwork(ctx context.Context) error {
	if out, err := h.Virsh(ctx, "net-list", "--name"); err != nil || strings.Contains(out, "lab") {
		return err
	}
	file := filepath.Join(h.Dir, "network.xml")
	if err := os.WriteFile(file, []byte(networkXML), 0o644); err != nil {
		return err
	}
	_, err := h.Virsh(ctx, "net-create", file)
	return err
}

// Serial is everything the guest has written to its serial console since it
// was started.
func (h *Host) Serial(name string) string {
	b, _ := os.ReadFile(filepath.Join(h.Dir, "log", "serial", name+".log"))
	return string(b)
}

// WaitGuestUp waits until the guest's OS has come up n times since it was
// started; resets and reboots count on.
func (h *Host) WaitGuestUp(ctx context.Context, name string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	up := func() bool { return strings.Count(h.Serial(name), "guest up") >= n }
	if err := Await(ctx, up); err != nil {
		return fmt.Errorf("lab: guest %s did not come up: %w; its console says: %s", name, err, h.Serial(name))
	}
	return nil
}

// Await looks every 20 ms whether what is awaited has happened, until ctx ends.
func Await(ctx context.Context, happened func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// QEMU returns the PID of a running domain's process, as this machine sees it.
func (h *Host) QEMU(ctx context.Context, name string) (int, error) {
	uuid, err := h.Virsh(ctx, "domuuid", name)
	if err != nil {
		return 0, err
	}
	mark := []byte("\x00-uuid\x00" + strings.TrimSpace(uuid) + "\x00")
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, mark) {
			return strconv.Atoi(filepath.Base(filepath.Dir(f)))
		}
	}
	return 0, fmt.Errorf("lab: %s has no QEMU process", name)
}

// Signal sends a signal to a running domain's QEMU: SIGSTOP makes its monitor
// deaf, as a stuck disk does; SIGCONT heals it; SIGKILL is a crash of QEMU.
func (h *Host) Signal(ctx context.Context, name string, s syscall.Signal) error {
	pid, err := h.QEMU(ctx, name)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, s)
}
