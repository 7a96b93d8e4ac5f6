package libvirt_test

import (
	"context"
	"errors"
	"strings"
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
		var err error
		c, err = h.Capacity(t.Context())
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
