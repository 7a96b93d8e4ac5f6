package libvirt_test

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest/lab"
)

// uuidOf reads a UUID that the lab gave.
func uuidOf(t testing.TB, s string) backend.UUID {
	t.Helper()
	id, err := backend.ParseUUID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// onHost opens a Host and closes it when the test ends.
func onHost(t testing.TB, uri string) backend.Host {
	t.Helper()
	h := open(t, uri, false)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// vm polls h and finds a VM, or nil.
func vm(t testing.TB, h backend.Host, id backend.UUID) *backend.VM {
	t.Helper()
	p, err := h.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.VMs, func(v backend.VM) bool { return v.UUID == id })
	if i < 0 {
		return nil
	}
	return &p.VMs[i]
}

// TestLabTransports reaches one host in every way there is.
func TestLabTransports(t *testing.T) {
	l := lab.Start(t, 1)
	t.Setenv("HOME", l.Home())
	t.Setenv("SSH_AUTH_SOCK", "")
	id := uuidOf(t, l.Define(1, lab.Guest{Name: "there"}))
	for _, transport := range []string{"unix", "tcp", "tls", "ssh"} {
		t.Run(transport, func(t *testing.T) {
			h := onHost(t, l.Host(1).URI(transport))
			if v := vm(t, h, id); v == nil || v.Name != "there" || v.State != backend.Shutoff {
				t.Fatalf("the VM is %+v", v)
			}
			l.Await("what the host is", 10*time.Second, func() bool {
				s, err := h.Sample(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return s.MemTotal > 0 && s.CPUs > 0 && strings.HasPrefix(s.Libvirt, "9.") && strings.HasPrefix(s.Hypervisor, "QEMU 7.")
			})
		})
	}
	t.Run("ssh by alias", func(t *testing.T) {
		if v := vm(t, onHost(t, "qemu+ssh://hv1/system"), id); v == nil {
			t.Error("~/.ssh/config is not honoured")
		}
	})
	t.Run("ssh to an unknown host", func(t *testing.T) {
		if err := os.WriteFile(l.Home()+"/.ssh/known_hosts", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := onHost(t, l.Host(1).URI("ssh")).Poll(t.Context())
		if !errors.Is(err, backend.ErrHostKey) || backend.Hint(err) == "" {
			t.Errorf("error %v, hint %q", err, backend.Hint(err))
		}
	})
}

// regexpCPUTime is what changes in dominfo by itself.
var regexpCPUTime = regexp.MustCompile(`CPU time:.*`)

// TestLabReadOnlySocket: even a Host that believes it may write can change
// nothing through libvirt's read-only socket.
func TestLabReadOnlySocket(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "untouched"}))
	before := l.Virsh(1, "dumpxml", "untouched") + l.Virsh(1, "dominfo", "untouched")
	h := onHost(t, l.Host(1).URI("unix-ro"))
	if vm(t, h, id) == nil {
		t.Fatal("the VM cannot be seen")
	}
	for _, info := range backend.Verbs() {
		if err := h.Do(t.Context(), backend.Action{Verb: info.Verb, UUID: id, Name: "untouched", New: "changed"}); err == nil {
			t.Errorf("%s succeeded", info.Verb)
		}
	}
	if _, err := h.(backend.Definer).Define(t.Context(), "<domain type='qemu'><name>changed</name><memory>1024</memory><os><type>hvm</type></os></domain>"); err == nil {
		t.Error("Define succeeded")
	}
	after := l.Virsh(1, "dumpxml", "untouched") + l.Virsh(1, "dominfo", "untouched")
	if clean := func(s string) string { return regexpCPUTime.ReplaceAllString(s, "") }; clean(before) != clean(after) {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

// TestLabEventsOfOthers: what virsh does is told within 300 ms of virsh's end.
func TestLabEventsOfOthers(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "watched"}))
	h := onHost(t, l.Host(1).URI("unix"))
	events, err := h.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		virsh, what string
		state       backend.State
	}{
		{"suspend", "suspended", backend.Paused},
		{"resume", "resumed", backend.Running},
		{"destroy", "stopped", backend.Shutoff},
		{"start", "started", backend.Running},
	} {
		l.Virsh(1, step.virsh, "watched")
		limit := time.NewTimer(300 * time.Millisecond)
		for heard := false; !heard; {
			select {
			case e, ok := <-events:
				if !ok {
					t.Fatal("the channel was closed")
				}
				heard = e.UUID == id && e.What == step.what
			case <-limit.C:
				t.Fatalf("300 ms after virsh %s nothing was told", step.virsh)
			}
		}
		limit.Stop()
		if v := vm(t, h, id); v == nil || v.State != step.state {
			t.Errorf("after virsh %s the next poll tells %+v", step.virsh, v)
		}
	}
}

// TestLabStuckQEMU: one QEMU that does not answer holds up neither polls nor
// the figures of others, nor actions on them, and is marked; it heals.
func TestLabStuckQEMU(t *testing.T) {
	l := lab.Shared(t)
	sick := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "sick"}))
	well := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "well", DiskMiB: 16}))
	h := onHost(t, l.Host(1).URI("unix"))
	vm(t, h, sick)
	l.StopQEMU(1, "sick")
	t.Cleanup(func() { l.ContQEMU(1, "sick") })

	both := []backend.UUID{sick, well}
	var slowest time.Duration
	timed := func(f func(context.Context) error) error {
		from := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := f(ctx)
		slowest = max(slowest, time.Since(from))
		return err
	}
	marked := func() bool {
		if err := timed(func(ctx context.Context) error { _, err := h.Poll(ctx); return err }); err != nil {
			t.Fatalf("Poll: %v", err)
		}
		// Its answer may be an error while the stuck one is being found out.
		timed(func(ctx context.Context) error { _, err := h.Figures(ctx, both); return err }) //nolint:errcheck
		v := vm(t, h, sick)
		return v != nil && !v.StuckSince.IsZero()
	}
	l.Await("the stuck VM to be marked", 30*time.Second, marked)
	if slowest > 5*time.Second {
		t.Errorf("a poll or figures took %v", slowest)
	}
	var figures []backend.Figures
	l.Await("the other's figures", 10*time.Second, func() bool {
		figures, _ = h.Figures(t.Context(), both)
		return slices.ContainsFunc(figures, func(f backend.Figures) bool { return f.UUID == well && !f.Disk.At.IsZero() })
	})
	if err := timed(func(ctx context.Context) error {
		return h.Do(ctx, backend.Action{Verb: backend.VerbSuspend, UUID: well, Name: "well"})
	}); err != nil {
		t.Errorf("an action on the other: %v", err)
	}
	if v := vm(t, h, well); v.State != backend.Paused || !v.StuckSince.IsZero() {
		t.Errorf("the other is %+v", v)
	}
	l.ContQEMU(1, "sick")
	l.Await("the stuck VM to be well again", 60*time.Second, func() bool {
		h.Figures(t.Context(), both) //nolint:errcheck // it may still be avoided
		return vm(t, h, sick).StuckSince.IsZero()
	})
}

// TestLabLibvirtdRestarts: the Host comes back by itself, and tells events again.
func TestLabLibvirtdRestarts(t *testing.T) {
	l := lab.Start(t, 1)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "survivor"}))
	h := onHost(t, l.Host(1).URI("unix"))
	events, err := h.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	vm(t, h, id)
	if err := l.Host(1).KillLibvirtd(t.Context(), "KILL"); err != nil {
		t.Fatal(err)
	}
	l.Await("the event channel's end", 5*time.Second, func() bool {
		select {
		case _, ok := <-events:
			return !ok
		default:
			return false
		}
	})
	if _, err := h.Poll(t.Context()); !errors.Is(err, backend.ErrUnreachable) {
		t.Errorf("a poll without libvirtd: %v", err)
	}
	if err := l.Host(1).StartLibvirtd(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Await("the host's answer", 15*time.Second, func() bool { _, err := h.Poll(t.Context()); return err == nil })
	if v := vm(t, h, id); v == nil || v.State != backend.Running {
		t.Fatalf("afterwards it is %+v", v)
	}
	if events, err = h.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Virsh(1, "suspend", "survivor")
	select {
	case <-events:
	case <-time.After(2 * time.Second):
		t.Error("no events after the restart")
	}
}

// TestLabManyShortLives: connections that end while events are being
// subscribed to must not bring libvirtd down (see watch.go).
func TestLabManyShortLives(t *testing.T) {
	l := lab.Start(t, 1)
	uri := l.Host(1).URI("unix")
	before := l.Virsh(1, "uri") + pidOf(t, l)
	for i := range 300 {
		h := open(t, uri, false)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(i%30)*time.Millisecond, cancel)
		events, err := h.Watch(ctx)
		if err == nil {
			h.Poll(ctx) //nolint:errcheck // it may be cut off
			for range events {
			}
		}
		cancel()
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := l.Virsh(1, "uri") + pidOf(t, l); after != before {
		t.Errorf("libvirtd was %q and is %q", before, after)
	}
}

func pidOf(t *testing.T, l lab.T) string {
	t.Helper()
	b, err := os.ReadFile(l.Host(1).Dir + "/run/libvirtd.pid")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Host(1).Run(t.Context(), "kill", "-0", strings.TrimSpace(string(b))); err != nil {
		t.Fatalf("libvirtd is gone: %v", err)
	}
	return string(b)
}

// TestLabRealGuest is what only a guest with an OS and a display can show.
func TestLabRealGuest(t *testing.T) {
	l := lab.Shared(t)
	id := uuidOf(t, l.StartGuest(1, lab.Guest{Name: "whole", OS: true, NIC: true, DiskMiB: 64, VGA: true, Words: "hostname=whole-inside hostile"}))
	h := onHost(t, l.Host(1).URI("unix"))

	t.Run("agent", func(t *testing.T) {
		var g backend.Guest
		l.Await("the agent", 30*time.Second, func() (ok bool) {
			var err error
			g, err = h.Guest(t.Context(), id)
			return err == nil && len(g.Interfaces) > 1 && len(g.Interfaces[1].Addresses) > 0
		})
		if g.OSName != "berth lab guest" || !strings.Contains(g.Kernel, "cloud") {
			t.Errorf("OS %q, kernel %q", g.OSName, g.Kernel)
		}
		if !slices.ContainsFunc(g.Filesystems, func(f backend.GuestFilesystem) bool {
			return f.Mount == "/mnt" && f.Type == "ext4" && f.Total > 1<<20
		}) {
			t.Errorf("file systems %+v", g.Filesystems)
		}
		if g.Hostname != backend.Clean(g.Hostname) || !strings.Contains(g.Hostname, "evil") || strings.ContainsRune(g.Hostname, '\x1b') {
			t.Errorf("host name %q", g.Hostname)
		}
	})
	t.Run("addresses and figures", func(t *testing.T) {
		l.Await("them", 30*time.Second, func() bool {
			h.Figures(t.Context(), []backend.UUID{id}) //nolint:errcheck // asked again
			v := vm(t, h, id)
			return len(v.Addresses) > 0 && strings.HasPrefix(v.Addresses[0], "10.79.0.") && v.CPU.Used > 0 && v.Mem.Used > 20<<20 && v.Disk.ReadBytes > 0 && v.Net.TxBytes > 0
		})
	})
	t.Run("screenshot", func(t *testing.T) {
		var b bytes.Buffer
		if err := h.(backend.Screenshotter).Screenshot(t.Context(), id, &b); err != nil {
			t.Fatal(err)
		}
		if img, err := png.Decode(&b); err != nil || img.Bounds().Dx() < 320 {
			t.Errorf("picture %v, %v", img, err)
		}
	})
	t.Run("shutdown by ACPI", func(t *testing.T) {
		if err := h.Do(t.Context(), backend.Action{Verb: backend.VerbShutdownACPI, UUID: id, Name: "whole"}); err != nil {
			t.Fatal(err)
		}
		l.Await("power off", 30*time.Second, func() bool { return vm(t, h, id).State == backend.Shutoff })
		if v := vm(t, h, id); v.Reason != "shutdown" {
			t.Errorf("it is off because of %q", v.Reason)
		}
	})
}
