package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// network is the lab's Ethernet: a bridge in a network namespace of its own,
// to which this machine and every host have one cable. Cables vanish with the
// namespaces at their ends, so nothing is left when the lab dies.
type network struct {
	subnet int      // 10.78.subnet.0/24, and the name of the cable
	lock   *os.File // holds the subnet for this lab
	sw     *process // owns the bridge's namespace
}

func plugNetwork(ctx context.Context, dir string) (*network, error) {
	log, err := os.Create(filepath.Join(dir, "switch.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	n := &network{}
	sw, err := startProcess(log, []string{"-n", "-p"}, "cat")
	if err != nil {
		return nil, err
	}
	n.sw = sw
	if err := n.layCable(ctx); err != nil {
		sw.kill() //nolint:errcheck // the first error says more
		return nil, err
	}
	err = runAll(ctx,
		n.inSwitch("link", "add", "br0", "type", "bridge"),
		n.inSwitch("link", "set", "br0", "up"),
		[]string{"ip", "addr", "add", n.addr(1) + "/24", "dev", n.cable()},
		[]string{"ip", "link", "set", n.cable(), "up"},
		n.inSwitch("link", "set", "up0", "master", "br0", "up"),
	)
	if err != nil {
		n.unplug() //nolint:errcheck // the first error says more
		return nil, err
	}
	return n, nil
}

// subnetLocks is one place for all labs of this machine, whatever TMPDIR the
// test that starts one has.
const subnetLocks = "/tmp/berth-lab-subnets"

// layCable claims subnets until one's cable can be laid: a lab that is ending
// may still hold the name of its cable though it has let go of the subnet.
func (n *network) layCable(ctx context.Context) error {
	for from := 1; ; from = n.subnet + 1 {
		if err := n.claim(from); err != nil {
			return err
		}
		err := runAll(ctx, []string{"ip", "link", "add", n.cable(), "type", "veth", "peer", "name", "up0", "netns", n.sw.init()})
		if err == nil {
			return nil
		}
		n.lock.Close()
		if !strings.Contains(err.Error(), "File exists") {
			return err
		}
	}
}

// claim takes the first subnet from the given one on that no other lab of this
// machine holds.
func (n *network) claim(from int) error {
	dir := subnetLocks
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := from; i < 255; i++ {
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(i)), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			if _, err := os.Stat("/sys/class/net/berthlab" + strconv.Itoa(i)); err != nil {
				n.subnet, n.lock = i, f
				return nil
			}
		}
		f.Close()
	}
	return fmt.Errorf("lab: all subnets 10.78.1.0 to 10.78.254.0 are in use (locks in %s)", dir)
}

func (n *network) cable() string              { return "berthlab" + strconv.Itoa(n.subnet) }
func (n *network) addr(last int) string       { return fmt.Sprintf("10.78.%d.%d", n.subnet, last) }
func (n *network) switchPort(h string) string { return "to-" + h }

// inSwitch is an ip(8) command in the bridge's namespace.
func (n *network) inSwitch(args ...string) []string {
	return append([]string{"nsenter", "-t", n.sw.init(), "-n", "ip"}, args...)
}

// plug lays a cable from the bridge to eth0 in the namespace of pid. A host
// keeps its network card when it is booted again: with another address of the
// card nobody would reach it until their memory of the old one ended.
func (n *network) plug(ctx context.Context, host, addr, pid string) error {
	port := n.switchPort(host)
	return runAll(ctx,
		n.inSwitch("link", "add", port, "type", "veth", "peer", "name", "eth0", "address", cardOf(addr), "netns", pid),
		n.inSwitch("link", "set", port, "master", "br0", "up"),
	)
}

// cardOf is the network card's address of the host with an IPv4 address, a
// locally administered one.
func cardOf(addr string) string {
	ip := net.ParseIP(addr).To4()
	return net.HardwareAddr{0x02, 0xbe, ip[0], ip[1], ip[2], ip[3]}.String()
}

// unplugHost takes the host's cable away at once; the kernel would do so a
// moment after the host's end.
func (n *network) unplugHost(host string) {
	c := n.inSwitch("link", "del", n.switchPort(host))
	run(context.Background(), c[0], c[1:]...) //nolint:errcheck // it may be gone already
}

func (n *network) unplug() error {
	run(context.Background(), "ip", "link", "del", n.cable()) //nolint:errcheck // it may be gone already
	err := n.sw.kill()
	n.lock.Close()
	return err
}
