package demo

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest"
)

// conformanceSpeed lets boots and shutdowns pass quickly; Do, polls and events
// are in real time all the same.
const conformanceSpeed = 20

// openCalm makes a small fleet in which nothing happens by itself, and hands
// out its first host.
func openCalm(t testing.TB, readOnly bool) backend.Host {
	f := New(Options{Seed: 7, VMs: 9, Hosts: 1, Speed: conformanceSpeed, Calm: true, ReadOnly: readOnly})
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("closing the fleet: %v", err)
		}
	})
	return f.Hosts()[0]
}

// fixtureXML describes a Linux guest with an agent, a console and a display.
func fixtureXML(name, title, description string) string {
	return fmt.Sprintf(`<domain type='kvm'>
  <name>%s</name>
  <title>%s</title>
  <description>%s</description>
  <memory unit='MiB'>512</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-9.2'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/var/lib/libvirt/images/%[1]s.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <interface type='network'><mac address='52:54:00:aa:bb:cc'/><source network='default'/><model type='virtio'/></interface>
    <serial type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc' port='-1'/>
  </devices>
</domain>
`, quoted(name), quoted(title), quoted(description))
}

func quoted(s string) string {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return ""
	}
	return b.String()
}

func TestConformance(t *testing.T) {
	backendtest.Run(t, backendtest.Fixture{
		Open:         func(t testing.TB) backend.Host { return openCalm(t, false) },
		OpenReadOnly: func(t testing.TB) backend.Host { return openCalm(t, true) },
		XML:          fixtureXML,
		Transient: func(t testing.TB, h backend.Host) backend.UUID {
			d := h.(*host)
			d.fleet.mu.Lock()
			defer d.fleet.mu.Unlock()
			c := newChance(7, streamIncidents, 99)
			return d.runner(&c, 1).row.UUID
		},
		GuestObeys: true,
		HasAgent:   true,
		Strict:     true,
		Console:    &backendtest.Talk{Prompt: "login: ", Type: "ada\rsecret\ruptime\r", Reply: "load average"},
		Within:     10 * time.Second,
	})
}
