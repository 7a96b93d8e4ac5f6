package lab

import (
	"context"
	"crypto/rand"
	_ "embed" // for the script
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed scripts/host
var hostScript string

// Host is one libvirt host of a lab.
type Host struct {
	Name string // "hv1"
	Addr string // its IPv4 address, reachable from this machine
	Dir  string // its run, etc, lib, log and cache directories are here
	PID  int    // of the host's first process, as this machine sees it; 0 while it is off

	lab     *Lab
	init    *process
	cgroups bool // see Cgroups
}

const libvirtdConf = `listen_tls = 1
listen_tcp = 1
auth_tcp = "none"
auth_tls = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0777"
unix_sock_ro_perms = "0777"
key_file = "/etc/libvirt/pki/serverkey.pem"
cert_file = "/etc/libvirt/pki/servercert.pem"
ca_file = "/etc/libvirt/pki/cacert.pem"
host_uuid = "%s"
`

// No cgroups (but see Cgroups), no security labels and no changed owners: the lab must leave no
// trace outside its directory. No virtlogd either, so libvirtd is all there is.
const qemuConf = `user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
stdio_handler = "file"
vnc_listen = "127.0.0.1"
`

const sshdConfig = `ListenAddress %[1]s
HostKey %[2]s/ssh/host_key
AuthorizedKeysFile %[2]s/home/.ssh/id_ed25519.pub
PidFile /run/sshd.pid
PermitRootLogin yes
StrictModes no
UsePAM no
PasswordAuthentication no
Subsystem sftp internal-sftp
`

// install writes the host's configuration, as an administrator would once.
func (h *Host) install(ca *authority) error {
	for _, d := range []string{"run", "etc/pki", "etc/qemu", "lib", "log", "cache", "ssh"} {
		if err := os.MkdirAll(filepath.Join(h.Dir, d), 0o755); err != nil {
			return err
		}
	}
	pki := filepath.Join(h.Dir, "etc", "pki")
	if err := ca.issue(pki, "server", net.ParseIP(h.Addr)); err != nil {
		return err
	}
	cert, err := os.ReadFile(filepath.Join(ca.dir, "cacert.pem"))
	if err != nil {
		return err
	}
	files := map[string]string{
		"etc/pki/cacert.pem": string(cert),
		"etc/libvirtd.conf":  fmt.Sprintf(libvirtdConf, newUUID()),
		"etc/qemu.conf":      qemuConf,
		"ssh/sshd_config":    fmt.Sprintf(sshdConfig, h.Addr, h.lab.Dir),
		"hosts":              fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", h.Addr, h.Name),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(h.Dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// newUUID is a random (version 4) UUID in its canonical form.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Boot starts the host, whose disks are as it left them, and returns when
// libvirtd answers.
func (h *Host) Boot(ctx context.Context) error {
	if h.init != nil {
		return fmt.Errorf("lab: %s is up", h.Name)
	}
	if err := emptyDir(filepath.Join(h.Dir, "run")); err != nil {
		return err
	}
	console, err := os.OpenFile(filepath.Join(h.Dir, "console.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer console.Close()
	if err := h.start(ctx, console); err != nil {
		log, _ := os.ReadFile(console.Name())
		return fmt.Errorf("lab: %s did not come up: %w: %s", h.Name, err, log)
	}
	if h.cgroups {
		return h.makeCgroups(ctx)
	}
	return nil
}

// start makes the host's namespaces, plugs its cable in, and waits until it is up.
func (h *Host) start(ctx context.Context, console *os.File) error {
	p, err := startProcess(console, []string{"-m", "-n", "-u", "-p"}, "bash", "-c", hostScript, "host", h.Dir, h.Name, h.Addr)
	if err != nil {
		return err
	}
	h.init, h.PID = p, p.pid
	if err := errors.Join(h.lab.net.plug(ctx, h.Name, h.Addr, p.init()), p.tell("plugged")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	line, err := p.hear(ctx)
	if err == nil && line != "up" {
		err = fmt.Errorf("it said %q", line)
	}
	return err
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Kill cuts the host's power: all its processes die at once.
func (h *Host) Kill() error {
	if h.init == nil {
		return nil
	}
	err := h.init.kill()
	h.lab.net.unplugHost(h.Name)
	h.init, h.PID = nil, 0
	if h.cgroups {
		err = errors.Join(err, h.dropCgroups())
	}
	return err
}

// Cable pulls the host's network cable, or plugs it in again.
func (h *Host) Cable(ctx context.Context, in bool) error {
	state := map[bool]string{true: "up", false: "down"}[in]
	c := h.lab.net.inSwitch("link", "set", h.lab.net.switchPort(h.Name), state)
	return run(ctx, c[0], c[1:]...)
}

// Socket is libvirtd's read-write unix socket as this machine sees it.
func (h *Host) Socket() string { return filepath.Join(h.Dir, "run", "libvirt", "libvirt-sock") }

// URI is the connection URI of the host by unix, unix-ro (its read-only
// socket), tcp, tls or ssh, or of libvirt's mock driver by test.
func (h *Host) URI(transport string) string {
	home := filepath.Join(h.lab.Home(), ".ssh")
	switch transport {
	case "unix":
		return "qemu+unix:///system?socket=" + h.Socket()
	case "unix-ro":
		return "qemu+unix:///system?socket=" + h.Socket() + "-ro"
	case "tcp":
		return "qemu+tcp://" + h.Addr + "/system"
	case "tls":
		return "qemu+tls://" + h.Addr + "/system?pkipath=" + h.lab.PKI()
	case "ssh":
		return "qemu+ssh://root@" + h.Addr + "/system?keyfile=" + home + "/id_ed25519&known_hosts=" + home + "/known_hosts"
	case "test":
		return "test+unix:///default?socket=" + h.Socket()
	}
	panic("lab: no transport " + transport)
}

// Home is Lab.Home of the host's lab.
func (h *Host) Home() string { return h.lab.Home() }

// Command is a command line that runs args on the host, as a shell there would.
func (h *Host) Command(args ...string) []string {
	return append([]string{"nsenter", "-t", strconv.Itoa(h.PID), "-m", "-n", "-u", "-p", "-r", "--"}, args...)
}

// Run runs a command on the host and returns its output.
func (h *Host) Run(ctx context.Context, args ...string) (string, error) {
	c := h.Command(args...)
	return output(ctx, c[0], c[1:]...)
}

// Virsh runs virsh on the host.
func (h *Host) Virsh(ctx context.Context, args ...string) (string, error) {
	return h.Run(ctx, append([]string{"virsh", "-q", "-c", "qemu:///system"}, args...)...)
}

// KillLibvirtd ends libvirtd with a signal ("KILL", "TERM") and waits until
// it is gone; guests run on.
func (h *Host) KillLibvirtd(ctx context.Context, signal string) error {
	pid, err := os.ReadFile(filepath.Join(h.Dir, "run", "libvirtd.pid"))
	if err != nil {
		return err
	}
	p := strings.TrimSpace(string(pid))
	_, err = h.Run(ctx, "bash", "-c", `kill -"$1" "$2" && while kill -0 "$2" 2>/dev/null; do sleep .02; done`, "kill", signal, p)
	return err
}

// StartLibvirtd starts libvirtd after KillLibvirtd.
func (h *Host) StartLibvirtd(ctx context.Context) error {
	// As a server it must not hold the pipes that Run waits for.
	_, err := h.Run(ctx, "bash", "-c", "libvirtd -d -l </dev/null >/dev/null 2>&1")
	return err
}

// RestartLibvirtd is what an upgrade of libvirt does.
func (h *Host) RestartLibvirtd(ctx context.Context) error {
	return errors.Join(h.KillLibvirtd(ctx, "TERM"), h.StartLibvirtd(ctx))
}
