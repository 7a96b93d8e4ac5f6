package lab

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// virshURI connects from this machine, as berth does.
func virshURI(t *testing.T, uri string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "virsh", append([]string{"-q", "-c", uri}, args...)...).CombinedOutput()
	return string(out), err
}

func TestLabEveryTransportReachesEveryHost(t *testing.T) {
	l := Start(t, 2)
	for i := 1; i <= 2; i++ {
		for _, transport := range []string{"unix", "unix-ro", "tcp", "tls"} {
			out, err := virshURI(t, l.Host(i).URI(transport), "hostname")
			if err != nil || strings.TrimSpace(out) != l.Host(i).Name {
				t.Errorf("%s of host %d: %v: %s", transport, i, err, out)
			}
		}
		out, err := exec.Command("ssh", "-F", l.Home()+"/.ssh/config", l.Host(i).Name, "virsh", "hostname").CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != l.Host(i).Name {
			t.Errorf("ssh to host %d: %v: %s", i, err, out)
		}
	}
	if out, err := virshURI(t, l.Host(1).URI("test"), "list", "--name"); err != nil || !strings.Contains(out, "test") {
		t.Errorf("mock driver: %v: %s", err, out)
	}
}

func TestLabPowerCutAndCable(t *testing.T) {
	l := Start(t, 1)
	h := l.Host(1)
	l.StartGuest(1, Guest{Name: "empty"})
	if err := h.Cable(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("ping", "-c1", "-W1", h.Addr).Run(); err == nil {
		t.Error("the host answers without its cable")
	}
	if err := h.Cable(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	l.RestartLibvirtd(1)
	if got := l.Virsh(1, "domstate", "empty"); !strings.Contains(got, "running") {
		t.Errorf("after a restart of libvirtd the guest is %s", got)
	}
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := h.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.Virsh(1, "domstate", "empty"); !strings.Contains(got, "shut off") {
		t.Errorf("after a power cut the guest is %s", got)
	}
}

// TestLabDiesWithItsOwner starts a lab in a process of its own, kills that
// with SIGKILL, and looks for what is left.
func TestLabDiesWithItsOwner(t *testing.T) {
	if os.Getenv("LAB_OWNER") != "" {
		l := Start(t, 1)
		l.StartGuest(1, Guest{Name: "orphan", UUID: os.Getenv("LAB_OWNER")})
		os.Stdout.WriteString("dir " + l.Dir + " cable " + l.net.cable() + "\n")
		select {}
	}
	Need(t)
	uuid := newUUID()
	owner := exec.Command(os.Args[0], "-test.run=^TestLabDiesWithItsOwner$")
	owner.Env = append(os.Environ(), "LAB_OWNER="+uuid)
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	f := strings.Fields(line)
	cable := ""
	if len(f) == 4 {
		cable = "/sys/class/net/" + f[3] + "/ifindex"
	}
	before, cableErr := os.ReadFile(cable)
	owner.Process.Signal(syscall.SIGKILL)
	owner.Wait()
	if err != nil || len(f) != 4 || cableErr != nil {
		t.Fatalf("the owner said %q: %v, %v", line, err, cableErr)
	}
	t.Cleanup(func() { os.RemoveAll(f[1]) })
	gone := T{t, nil}
	gone.Await("the guest's end", 5*time.Second, func() bool { return exec.Command("pgrep", "-f", uuid).Run() != nil })
	gone.Await("libvirtd's and sshd's end", 5*time.Second, func() bool { return exec.Command("pgrep", "-f", f[1]).Run() != nil })
	gone.Await("the cable's end", 5*time.Second, func() bool {
		now, err := os.ReadFile(cable) // another lab may have taken the name since
		return err != nil || string(now) != string(before)
	})
}
