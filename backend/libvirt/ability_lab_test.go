package libvirt_test

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

// within bounds one call of a test.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestLabBoot: the boot is the same however the host is reached and whoever
// asks, and another after the host lost its power.
func TestLabBoot(t *testing.T) {
	l := lab.Start(t, 1)
	t.Setenv("HOME", l.Home())
	t.Setenv("SSH_AUTH_SOCK", "")
	bootBy := func(transport string) string {
		c, err := onHost(t, l.Host(1).URI(transport)).(backend.Capacitor).Capacity(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return c.Boot
	}
	first := bootBy("unix")
	if first == "" || bootBy("ssh") != first || bootBy("tcp") != "" {
		t.Fatalf("by unix %q, ssh %q, tcp %q", first, bootBy("ssh"), bootBy("tcp"))
	}
	l.RestartLibvirtd(1)
	if again := bootBy("unix"); again != first {
		t.Errorf("after libvirtd's restart it is %q, was %q", again, first)
	}
	h := onHost(t, l.Host(1).URI("ssh")).(backend.Capacitor)
	if c, err := h.Capacity(within(t)); err != nil || c.Boot != first {
		t.Fatal(c.Boot, err)
	}
	if err := l.Host(1).Kill(); err != nil {
		t.Fatal(err)
	}
	if err := l.Host(1).Boot(within(t)); err != nil {
		t.Fatal(err)
	}
	if now := bootBy("unix"); now == first || now == "" {
		t.Errorf("after the power cut it is %q, was %q", now, first)
	}
	var c backend.HostCapacity
	l.Await("an answer to the one that was connected", 30*time.Second, func() (ok bool) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // nobody tells that the old connection is dead
		defer cancel()
		var err error
		c, err = h.Capacity(ctx)
		return err == nil
	})
	if c.Boot == first || c.Boot == "" {
		t.Errorf("who was connected still says %q", c.Boot)
	}
}

// TestLabRefusals: what libvirt refuses a start for is told by sentinel, and in
// its own words.
func TestLabRefusals(t *testing.T) {
	l := lab.Start(t, 1)
	h := onHost(t, l.Host(1).URI("unix"))
	holder := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "holder", DiskMiB: 16}))
	text, err := h.XML(t.Context(), holder, true)
	if err != nil {
		t.Fatal(err)
	}
	rival := withoutSerial(strings.Replace(text, holder.String(), "11111111-2222-4333-8444-555555555555", 1))
	rival = strings.Replace(rival, "<name>holder", "<name>rival", 1)
	for _, c := range []struct {
		name, from, to string
		want           error
		words          string
	}{
		{"a disk in use", "", "", backend.ErrLocked, "Is another process using the image"},
		{"a disk that is not there", "holder.qcow2", "nosuch.qcow2", backend.ErrNoStorage, "nosuch.qcow2"},
		{"more memory than there is", ">65536<", ">4294967296<", backend.ErrNoMemory, "Cannot allocate memory"},
		{"no such network", "</devices>", "<interface type='network'><source network='nosuch'/></interface></devices>", backend.ErrUnsupported, "nosuch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.ReplaceAll(rival, c.from, c.to)
			if c.want == backend.ErrNoMemory || c.want == backend.ErrUnsupported { // else the lock is what is refused
				changed = strings.ReplaceAll(changed, "holder.qcow2", "spare.qcow2")
				if _, err := l.Host(1).Run(within(t), "qemu-img", "create", "-q", "-f", "qcow2", "/var/lib/libvirt/images/spare.qcow2", "1M"); err != nil {
					t.Fatal(err)
				}
			}
			id, err := h.(backend.Definer).Define(t.Context(), changed)
			if err != nil {
				t.Fatal(err)
			}
			err = h.Do(within(t), backend.Action{Verb: backend.VerbStartPaused, UUID: id, Name: "rival"})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want %v and libvirt's words", err, c.want)
			}
			if c.want != backend.ErrUnsupported && backend.Hint(err) == "" {
				t.Errorf("no hint with %v", err)
			}
			if v := vm(t, h, id); v.State != backend.Shutoff || v.Reason != "failed" {
				t.Errorf("it is %s (%s)", v.State, v.Reason)
			}
		})
	}
}

// withoutSerial takes the devices away that write a file named after the guest.
func withoutSerial(xml string) string {
	for _, element := range []string{"serial", "console"} {
		for {
			from := strings.Index(xml, "<"+element+" ")
			to := strings.Index(xml, "</"+element+">")
			if from < 0 || to < from {
				break
			}
			xml = xml[:from] + xml[to+len(element)+3:]
		}
	}
	return xml
}

// TestLabReasons is what reasons.go says libvirt tells of the end of a domain,
// across a libvirtd that ends and comes back.
func TestLabReasons(t *testing.T) {
	l := lab.Start(t, 1)
	hv := l.Host(1)
	id := uuidOf(t, l.Define(1, lab.Guest{Name: "mortal", OS: true}))
	h := onHost(t, hv.URI("unix"))
	do := func(verb backend.Verb) {
		t.Helper()
		if err := h.Do(within(t), backend.Action{Verb: verb, UUID: id, Name: "mortal"}); err != nil {
			t.Fatal(err)
		}
	}
	is := func(when string, state backend.State, reasons ...string) {
		t.Helper()
		var got *backend.VM
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := lab.Await(ctx, func() bool {
			p, err := h.Poll(ctx)
			for i := range p.VMs {
				if v := &p.VMs[i]; err == nil && v.UUID == id {
					got = v
				}
			}
			return got != nil && got.State == state && slices.Contains(reasons, got.Reason)
		})
		if err != nil {
			t.Errorf("%s it is %+v, want %s %q", when, got, state, reasons)
		}
	}
	restarted := func(meanwhile func()) {
		t.Helper()
		if err := hv.KillLibvirtd(t.Context(), "KILL"); err != nil {
			t.Fatal(err)
		}
		meanwhile()
		if err := hv.StartLibvirtd(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	qemu := func() int {
		t.Helper()
		pid, err := hv.QEMU(t.Context(), "mortal")
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	nothing := func() {}

	do(backend.VerbStartPaused)
	is("started paused", backend.Paused, "user")
	restarted(nothing)
	is("and libvirtd restarted", backend.Paused, "user")
	do(backend.VerbResume)
	is("let run", backend.Running, "unpaused")
	restarted(nothing)
	is("and libvirtd restarted", backend.Running, "unpaused")

	do(backend.VerbDestroy) // while libvirtd takes it up, or when it has
	is("destroyed at once", backend.Shutoff, "daemon", "destroyed")
	do(backend.VerbStart)
	do(backend.VerbDestroy)
	is("destroyed", backend.Shutoff, "destroyed")
	restarted(nothing)
	is("and libvirtd restarted", backend.Shutoff, "")

	do(backend.VerbStart)
	pid := qemu()
	restarted(func() { kill(t, pid, syscall.SIGKILL) })
	is("killed while no libvirtd ran", backend.Shutoff, "crashed")

	do(backend.VerbStart)
	kill(t, qemu(), syscall.SIGKILL)
	is("killed", backend.Shutoff, "crashed")

	do(backend.VerbStart)
	l.WaitGuestUp(1, "mortal", 1)
	l.Await("the guest to plan its end", 20*time.Second, func() bool { // its agent connects a little later
		_, err := hv.Virsh(t.Context(), "qemu-agent-command", "mortal",
			`{"execute":"guest-exec","arguments":{"path":"/bin/sh","arg":["-c","sleep 3; /bin/poweroff -f"]}}`)
		return err == nil
	})
	restarted(func() {
		l.Await("the guest's last word", 20*time.Second, func() bool { return strings.Contains(hv.Serial("mortal"), "Power down") })
	})
	is("powered off while no libvirtd ran", backend.Shutoff, "shutdown")

	do(backend.VerbStart)
	do(backend.VerbSave)
	is("saved", backend.Shutoff, "saved")
	do(backend.VerbStartPaused)
	is("restored paused", backend.Paused, "migrating")
	if err := hv.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := hv.Boot(within(t)); err != nil {
		t.Fatal(err)
	}
	is("after a power cut", backend.Shutoff, "")
}

func kill(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// TestLabReach: what is only on one host's disk is not seen on the other,
// whichever way that is asked, and a pool's old list is read again.
func TestLabReach(t *testing.T) {
	l := lab.Start(t, 2)
	t.Setenv("HOME", l.Home())
	t.Setenv("SSH_AUTH_SOCK", "")
	id := uuidOf(t, l.Define(1, lab.Guest{Name: "moving", OS: true, DiskMiB: 16, NIC: true}))
	xml, err := onHost(t, l.Host(1).URI("unix")).XML(t.Context(), id, true)
	if err != nil {
		t.Fatal(err)
	}
	reach := func(host int, transport, xml string) error {
		return onHost(t, l.Host(host).URI(transport)).(backend.Reacher).Reach(within(t), xml)
	}
	all := []string{"unix", "ssh", "tcp"}
	for _, transport := range all {
		if err := reach(1, transport, xml); err != nil {
			t.Errorf("its own host by %s: %v", transport, err)
		}
		if err := reach(2, transport, xml); !errors.Is(err, backend.ErrNoStorage) || !strings.Contains(err.Error(), "moving.qcow2") {
			t.Errorf("another by %s: %v, want ErrNoStorage", transport, err)
		}
	}
	// A pool that has been there for long, and then the image appears.
	l.Virsh(2, "pool-create-as", "default", "dir", "--target", "/var/lib/libvirt/images")
	if _, err := l.Host(2).Run(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", "/var/lib/libvirt/images/moving.qcow2", "1M"); err != nil {
		t.Fatal(err)
	}
	for _, transport := range all {
		if err := reach(2, transport, xml); !errors.Is(err, backend.ErrUnsupported) || !strings.Contains(err.Error(), "lab") {
			t.Errorf("another without its network by %s: %v, want ErrUnsupported", transport, err)
		}
	}
	l.Define(2, lab.Guest{Name: "neighbour", NIC: true}) // which makes the network
	for _, transport := range all {
		if err := reach(2, transport, xml); err != nil {
			t.Errorf("another with all it needs by %s: %v", transport, err)
		}
	}
	for what, change := range map[string][2]string{
		"an unknown machine type": {"machine='pc-q35-7.2'", "machine='pc-q35-99.9'"},
		"another architecture":    {"arch='x86_64'", "arch='sparc'"},
		"a CPU beyond this one":   {"</domain>", "<cpu mode='custom' match='exact'><model>Icelake-Server</model><feature policy='require' name='svm'/><feature policy='require' name='vmx'/></cpu></domain>"},
		"a kernel elsewhere":      {"vmlinuz", "nosuchkernel"},
	} {
		changed := strings.Replace(xml, change[0], change[1], 1)
		if what == "a CPU beyond this one" {
			changed = cpuElement.ReplaceAllString(changed, "")
			changed = strings.Replace(changed, change[0], change[1], 1)
		}
		if err := reach(2, "unix", changed); !errors.Is(err, backend.ErrUnsupported) && !errors.Is(err, backend.ErrNoStorage) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

var cpuElement = regexp.MustCompile(`(?s)<cpu .*</cpu>`)
