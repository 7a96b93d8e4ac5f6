package libvirt

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

// fixture reads one of testdata's definitions, as libvirt 9.0 gave them.
func fixture(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFactsOfALiveDomain(t *testing.T) {
	x, err := parseDomain(fixture(t, "live.xml"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	got := makeFacts(x, now)
	want := &facts{
		at: now, vcpus: 2, memoryMax: 160 << 20, memoryNow: 160 << 20, title: "web�31m front", description: "first line second",
		tags: []string{"web", "prod"}, os: "debian12", hasAgent: true, agentUp: true, disks: 1, targets: []string{"vda"},
		nics: []nicFact{{device: "vnet6", swap: true, leases: true}, {device: "macvtap0"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDescribeALiveDomain(t *testing.T) {
	x, err := parseDomain(fixture(t, "live.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var d backend.Detail
	describe(&d, x)
	want := backend.Detail{
		Machine: "pc-q35-7.2", Arch: "x86_64", CPUModel: "qemu64", Emulator: "/usr/bin/qemu-system-x86_64",
		Firmware: "UEFI /usr/share/OVMF/OVMF_CODE_4M.fd", ConsolePTY: "/dev/pts/2", Graphics: "vnc 127.0.0.1:5900",
		Disks: []backend.DiskDetail{{Target: "vda", Device: "disk", Bus: "virtio", Source: "/var/lib/libvirt/images/top.qcow2",
			Format: "qcow2", Backing: []string{"/var/lib/libvirt/images/mid.qcow2", "nbd://store:10809/base"}}},
		NICs: []backend.NICDetail{
			{Target: "vnet6", MAC: "52:54:00:bb:a2:71", Model: "virtio", Type: "network", Source: "default"},
			{Target: "macvtap0", MAC: "52:54:00:bb:a2:72", Model: "e1000e", Type: "direct", Source: "eth0", LinkDown: true},
		},
	}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("got  %+v\nwant %+v", d, want)
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		unit, value string
		want        uint64
	}{
		{"", "64", 64 << 10}, {"KiB", "1", 1 << 10}, {"MiB", " 5 ", 5 << 20}, {"GB", "2", 2e9}, {"b", "7", 7},
		{"TiB", "1", 1 << 40}, {"parsec", "1", 0}, {"KiB", "-1", 0}, {"PiB", "18446744073709551615", 0}, {"KiB", "", 0},
	} {
		if got := (sizeXML{c.unit, c.value}).bytes(); got != c.want {
			t.Errorf("%q %q is %d, want %d", c.value, c.unit, got, c.want)
		}
	}
}

func TestOSNames(t *testing.T) {
	for id, want := range map[string]string{
		"http://debian.org/debian/12": "debian12", "http://microsoft.com/win/10": "win10",
		"http://ubuntu.com/ubuntu/22.04": "ubuntu22.04", "": "", "plain": "plain", "http://x": "x",
	} {
		var m metadataXML
		m.Libosinfo.OS.ID = id
		if got := m.osName(); got != want {
			t.Errorf("%q is %q, want %q", id, got, want)
		}
	}
}

func TestSourcesReadAsPeopleWriteThem(t *testing.T) {
	for xml, want := range map[string]string{
		`<source file='/a'/>`:           "/a",
		`<source dev='/dev/sda'/>`:      "/dev/sda",
		`<source pool='p' volume='v'/>`: "p/v",
		`<source dir='/d'/>`:            "/d",
		``:                              "",
		`<source protocol='rbd' name='pool/img'><host name='mon' port='6789'/></source>`: "rbd://mon:6789/pool/img",
		`<source protocol='nbd'><host name='::1' port='1'/></source>`:                    "nbd://[::1]:1/",
	} {
		x, err := parseDomain("<domain><devices><disk>" + xml + "</disk></devices></domain>")
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Devices.Disks[0].Source.place(); got != want {
			t.Errorf("%s is %q, want %q", xml, got, want)
		}
	}
}

func TestDefinitionsDiffer(t *testing.T) {
	live, stored := fixture(t, "live.xml"), fixture(t, "stored.xml")
	if differs, err := definitionsDiffer(live, stored); differs || err != nil {
		t.Errorf("what only a running domain has counts as a difference: %v, %v", differs, err)
	}
	for _, change := range [][2]string{
		{"<vcpu placement='static'>2</vcpu>", "<vcpu placement='static'>4</vcpu>"},
		{"<source network='default'/>", "<source network='other'/>"},
		{"/var/lib/libvirt/images/top.qcow2", "/var/lib/libvirt/images/new.qcow2"},
		{"<memballoon model='virtio'>", "<memballoon model='none'>"},
		{"<memory unit='KiB'>163840</memory>", "<memory unit='KiB'>263840</memory>"},
		{"cache='none'", "cache='writeback'"},
	} {
		changed := strings.Replace(stored, change[0], change[1], 1)
		if changed == stored {
			t.Fatalf("the fixture has no %s", change[0])
		}
		if differs, err := definitionsDiffer(live, changed); !differs || err != nil {
			t.Errorf("%s for %s went unnoticed: %v", change[1], change[0], err)
		}
	}
	if _, err := definitionsDiffer(live, "<domain"); err == nil {
		t.Error("broken XML went unnoticed")
	}
}

func TestSnapshotAndCheckpointXML(t *testing.T) {
	s, err := parseSnapshot(`<domainsnapshot><name>s2</name><description>after</description><state>disk-snapshot</state>
		<parent><name>s1</name></parent><creationTime>1700000000</creationTime><disks><disk name='vda' snapshot='external'/></disks>
		<domain><name>s9</name></domain></domainsnapshot>`)
	want := backend.Snapshot{Name: "s2", Parent: "s1", Created: time.Unix(1700000000, 0), State: "disk-snapshot", External: true, Description: "after"}
	if err != nil || s != want {
		t.Errorf("%+v, %v", s, err)
	}
	c, err := parseCheckpoint(`<domaincheckpoint><name>c1</name><creationTime>x</creationTime>
		<disks><disk name='vda' checkpoint='bitmap'/><disk name='vdb' checkpoint='no'/></disks></domaincheckpoint>`)
	if err != nil || !reflect.DeepEqual(c, backend.Checkpoint{Name: "c1", Disks: []string{"vda"}}) {
		t.Errorf("%+v, %v", c, err)
	}
}

func FuzzDomainXML(f *testing.F) {
	f.Add(fakeXML)
	for _, name := range []string{"live.xml", "stored.xml"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := parseDomain(text)
		if err != nil {
			return
		}
		fs := makeFacts(x, time.Now())
		var d backend.Detail
		describe(&d, x)
		for _, s := range append(append([]string{fs.title, fs.description, fs.os, d.Machine, d.Arch, d.CPUModel, d.Firmware, d.Emulator, d.ConsolePTY, d.Graphics}, fs.tags...), shown(&d)...) {
			if s != backend.Clean(s) {
				t.Errorf("%q was not cleaned", s)
			}
		}
		if same, err := definitionsDiffer(text, text); err == nil && same {
			t.Error("a definition differs from itself")
		}
	})
}

// shown is every string of a detail's devices.
func shown(d *backend.Detail) (out []string) {
	for _, x := range d.Disks {
		out = append(append(out, x.Target, x.Device, x.Bus, x.Source, x.Format), x.Backing...)
	}
	for _, x := range d.NICs {
		out = append(out, x.Target, x.MAC, x.Model, x.Type, x.Source)
	}
	return out
}
