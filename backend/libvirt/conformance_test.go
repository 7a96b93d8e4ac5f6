package libvirt_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest"
	"berth/backend/backendtest/lab"
	"berth/backend/host"
	"berth/backend/libvirt"
)

func TestMain(m *testing.M) {
	if os.Getenv(freezeEnv) != "" {
		freezeForEver()
	}
	os.Exit(lab.Main(m))
}

// open makes a Host on one of the lab's; the test closes it.
func open(t testing.TB, uri string, readOnly bool) *libvirt.Host {
	t.Helper()
	h, err := libvirt.New(libvirt.Options{Name: "hv1", URI: uri, ReadOnly: readOnly, Local: host.New().Sample})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestLabConformanceQEMU is the suite on real guests: each case that starts
// one waits for a whole Linux to boot under software emulation where it needs
// the guest to obey.
func TestLabConformanceQEMU(t *testing.T) {
	l := lab.Shared(t)
	hv := l.Host(1)
	noShares := ""
	if err := lab.CgroupsMissing(); err != nil {
		noShares = err.Error()
	} else if err := hv.Cgroups(t.Context()); err != nil {
		t.Fatal(err)
	}
	definition := func(name, title, description string) string {
		text, err := hv.XML(lab.Guest{Name: name, Title: title, Description: description, OS: true, VGA: true})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	l.Define(1, lab.Guest{Name: "makes the pool", DiskMiB: 1})
	backendtest.Run(t, backendtest.Fixture{
		Open:         func(t testing.TB) backend.Host { return open(t, hv.URI("unix"), false) },
		OpenReadOnly: func(t testing.TB) backend.Host { return open(t, hv.URI("unix"), true) },
		XML:          definition,
		Transient: func(t testing.TB, h backend.Host) backend.UUID {
			return transient(t, l, lab.Guest{Name: "transient"})
		},
		WithDisk:   func(t testing.TB, name string) string { return withDisk(t, l, name) },
		GuestObeys: true,
		HasAgent:   true,
		NoShares:   noShares,
		NoLog:      "the lab host's /var/log is not this machine's; testdata/lab/detail.txt reads one on the host",
		Console:    &backendtest.Talk{Prompt: "login: ", Type: "root\r", Reply: "Password: "},
		Within:     time.Minute,
	})
}

// withDisk describes a guest without a system whose disk is made here.
func withDisk(t testing.TB, l lab.T, name string) string {
	t.Helper()
	g := lab.Guest{Name: name, DiskMiB: 8}
	if _, err := l.Host(1).Run(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", g.DiskPath(), "8M"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(l.Host(1).Dir + "/lib/images/" + name + ".qcow2"); err != nil {
			t.Error(err)
		}
	})
	text, err := l.Host(1).XML(g)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// transient starts a guest that has no stored definition.
func transient(t testing.TB, l lab.T, g lab.Guest) backend.UUID {
	t.Helper()
	text, err := l.Host(1).XML(g)
	if err != nil {
		t.Fatal(err)
	}
	file := l.Host(1).Dir + "/" + g.Name + ".xml"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	l.Virsh(1, "create", file)
	id, err := backend.ParseUUID(strings.TrimSpace(l.Virsh(1, "domuuid", g.Name)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Host(1).Forget(context.Background(), id.String()); err != nil {
			t.Error(err)
		}
	})
	return id
}

// TestLabConformanceTestDriver is the suite on libvirt's mock driver, over a
// real libvirtd's socket.
func TestLabConformanceTestDriver(t *testing.T) {
	l := lab.Shared(t)
	uri := l.Host(1).URI("test")
	backendtest.Run(t, backendtest.Fixture{
		Open:         func(t testing.TB) backend.Host { return open(t, uri, false) },
		OpenReadOnly: func(t testing.TB) backend.Host { return open(t, uri, true) },
		XML: func(name, title, description string) string {
			var about string
			if title != "" { // the schema wants none rather than an empty one
				about = "<title>" + lab.Escape(title) + "</title><description>" + lab.Escape(description) + "</description>"
			}
			return "<domain type='test'><name>" + lab.Escape(name) + "</name>" + about + "<memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>"
		},
		GuestObeys: true,
		Lacks: map[backend.Verb]string{
			backend.VerbStartPaused:   "the mock driver has no flags for starting",
			backend.VerbStartFresh:    "the mock driver has no flags for starting",
			backend.VerbShutdownACPI:  "the mock driver has no ways of shutting down",
			backend.VerbShutdownAgent: "the mock driver has no agents",
		},
		VagueErrors:  "the mock driver calls every refusal an internal error",
		VagueReasons: "the mock driver says booted of what was restored",
		NoLog:        "the mock driver runs no QEMU",
		NoBackups:    "the mock driver makes none",
		NoStorage:    "the mock driver's pools are not real",
		NoShares:     "the mock driver's domains have a weight of another kind",
		NoBoot:       "the mock driver is no machine",
		NoImages:     "the mock driver has no files",
		NoCounters:   "the mock driver's domains use no CPU",
		NoScreenshot: "the mock driver's picture is the same whether a domain runs or not",
	})
}
