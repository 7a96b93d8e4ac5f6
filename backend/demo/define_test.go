package demo

import (
	"context"
	"encoding/xml"
	"strings"
	"testing"

	"berth/backend"
)

// What the simulator writes it can read, and reads back the same.
func TestGeneratedXMLReadsBack(t *testing.T) {
	f, _ := newFleet(t, Options{Seed: 2, VMs: 240, Calm: true})
	for _, h := range f.hosts {
		for _, v := range h.vms {
			text, err := h.XML(context.Background(), v.row.UUID, true)
			if err != nil {
				t.Fatal(err)
			}
			d, err := parseDefinition(text)
			if err != nil {
				t.Fatalf("%s: %v\n%s", v.row.Name, err, text)
			}
			o := v.stored
			if d.name != o.name || d.uuid != o.uuid || d.vcpus != o.vcpus || d.maxMem != o.maxMem || d.curMem != o.curMem ||
				d.os != o.os || d.agent != o.agent || d.console != o.console || d.graphics != o.graphics ||
				len(d.disks) != len(o.disks) || len(d.nics) != len(o.nics) || len(d.tags) != len(o.tags) || d.preserve != o.preserve || d.uefi != o.uefi {
				t.Errorf("%s reads back as %+v, was %+v", v.row.Name, d, o)
			}
		}
	}
}

// A person's XML is kept word for word; only what must change does.
func TestDefinedTextIsKept(t *testing.T) {
	f, _ := newFleet(t, calm)
	h := f.hosts[0]
	ctx := context.Background()
	const text = `<domain type="qemu" id="7"><!-- keep me -->
	<name>mine</name><memory>65536</memory><os><type>hvm</type></os>
	<metadata><x:y xmlns:x="urn:x"><name>not this one</name></x:y></metadata></domain>`
	id, err := h.Define(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Do(ctx, backend.Action{Verb: backend.VerbRename, UUID: id, New: "yours"}); err != nil {
		t.Fatal(err)
	}
	got, err := h.XML(ctx, id, true)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(` id="7"`, "", "<name>mine</name>", "<name>yours</name>\n  <uuid>"+id.String()+"</uuid>").Replace(text)
	if got != want {
		t.Errorf("stored:\n%s\nwant:\n%s", got, want)
	}
	if err := h.Do(ctx, backend.Action{Verb: backend.VerbStart, UUID: id}); err != nil {
		t.Fatal(err)
	}
	if live, err := h.XML(ctx, id, false); err != nil || !strings.Contains(live, `<domain type="qemu" id='`) {
		t.Errorf("live:\n%s\n%v", live, err)
	}
	if row := shows(t, h.byUUID[id]); row.MemoryMax != 64*mib || row.VCPUs != 1 || row.Name != "yours" {
		t.Errorf("it shows as %+v", row)
	}
}

// Whatever is accepted can be read again, is clean, and keeps its identity.
func FuzzDefine(f *testing.F) {
	f.Add(fixtureXML("a", "title", "text"))
	f.Add(fixtureXML("b", "\u009b31m\u202e", "&"))
	f.Add("<domain type='kvm'><name>x</name><memory>1024</memory><os><type>hvm</type></os></domain>")
	f.Add("<?xml version='1.0'?><!-- <domain id='3'> --><domain type='qemu' id='2'><name> y </name><uuid>0f0e0d0c0b0a49088706050403020100</uuid><memory unit='G'>1</memory><vcpu>3</vcpu><os><type>hvm</type></os></domain>")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDefinition(text)
		if err != nil {
			return
		}
		fleet, _ := newFleet(t, Options{VMs: 1, Hosts: 1, Calm: true})
		h := fleet.hosts[0]
		if err := h.store(d); err != nil {
			return
		}
		out := d.xml(nil)
		if backend.CleanLines(out) != out {
			t.Fatalf("%q is not clean", out)
		}
		again, err := parseDefinition(out)
		if err != nil {
			t.Fatalf("%q was accepted, and then not: %v", out, err)
		}
		if again.uuid != d.uuid || again.name != d.name || again.maxMem != d.maxMem {
			t.Fatalf("%q reads back as %s %q %d, was %s %q %d", out, again.uuid, again.name, again.maxMem, d.uuid, d.name, d.maxMem)
		}
		if err := xml.Unmarshal([]byte(d.xml(h.byUUID[d.uuid])), new(domainXML)); err != nil {
			t.Fatalf("the live XML does not parse: %v", err)
		}
	})
}
