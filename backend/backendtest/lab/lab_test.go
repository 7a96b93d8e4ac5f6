package lab

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestLabGuestLifeAndConsole(t *testing.T) {
	l := Shared(t)
	l.StartGuest(1, Guest{Name: "g1", OS: true, DiskMiB: 64, NIC: true})
	if got := strings.TrimSpace(l.Virsh(1, "domstate", "g1")); got != "running" {
		t.Fatalf("state %q", got)
	}
	l.Await("a DHCP lease", 20*time.Second, func() bool { return strings.Contains(l.Virsh(1, "domifaddr", "g1"), "10.79.0.") })
	l.Await("the agent's answer", 20*time.Second, func() bool {
		_, err := l.Host(1).Virsh(t.Context(), "domhostname", "g1", "--source", "agent")
		return err == nil
	})
	l.Virsh(1, "shutdown", "g1", "--mode", "acpi")
	l.Await("power off", 30*time.Second, func() bool { return strings.Contains(l.Virsh(1, "domstate", "g1"), "shut off") })
}
