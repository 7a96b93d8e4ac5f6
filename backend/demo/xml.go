package demo

import (
	"encoding/xml"
	"fmt"
	"strings"

	"berth/backend"
)

// metadataNS is the namespace of berth's own element in a domain's metadata.
const metadataNS = "urn:berth:1"

// xml writes the definition as libvirt would; live is the running machine that
// was started with it, or nil for the stored form.
func (d *definition) xml(live *vm) string {
	if d.text != "" {
		return backend.CleanXML(withID(d.text, live))
	}
	w := &xmlWriter{}
	id := ""
	if live != nil {
		id = fmt.Sprintf(" id='%d'", live.row.ID)
	}
	w.open("domain", " type='"+d.kind+"'"+id)
	w.text("name", "", d.name)
	w.text("uuid", "", d.uuid.String())
	if d.title != "" {
		w.text("title", "", d.title)
	}
	if d.desc != "" {
		w.text("description", "", d.desc)
	}
	d.writeMetadata(w)
	w.text("memory", " unit='KiB'", fmt.Sprint(d.maxMem/kib))
	w.text("currentMemory", " unit='KiB'", fmt.Sprint(d.curMem/kib))
	w.text("vcpu", " placement='static'", fmt.Sprint(d.vcpus))
	d.writeMachine(w)
	w.open("devices", "")
	w.text("emulator", "", "/usr/bin/qemu-system-x86_64")
	for i := range d.disks {
		d.disks[i].write(w, live != nil)
	}
	for i := range d.nics {
		d.nics[i].write(w, live, i)
	}
	d.writeConsole(w, live)
	w.close()
	w.close()
	return w.b.String()
}

func (d *definition) writeMetadata(w *xmlWriter) {
	w.open("metadata", "")
	w.open("libosinfo:libosinfo", " xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'")
	w.empty("libosinfo:os", fmt.Sprintf(" id='http://libosinfo.org/%s'", escape(d.os)))
	w.close()
	if len(d.tags) > 0 {
		w.open("berth:tags", " xmlns:berth='"+metadataNS+"'")
		for _, t := range d.tags {
			w.text("berth:tag", "", t)
		}
		w.close()
	}
	w.close()
}

func (d *definition) writeMachine(w *xmlWriter) {
	firmware := ""
	if d.uefi {
		firmware = " firmware='efi'"
	}
	w.open("os", firmware)
	w.text("type", " arch='x86_64' machine='"+d.machine+"'", "hvm")
	if d.uefi {
		w.text("loader", " readonly='yes' type='pflash'", "/usr/share/OVMF/OVMF_CODE_4M.fd")
		w.text("nvram", " template='/usr/share/OVMF/OVMF_VARS_4M.fd'", d.nvramPath())
	}
	w.empty("boot", " dev='hd'")
	w.close()
	w.open("features", "")
	w.empty("acpi", "")
	w.empty("apic", "")
	w.close()
	w.empty("cpu", " mode='host-passthrough' check='none' migratable='on'")
	w.empty("clock", " offset='utc'")
	w.text("on_poweroff", "", "destroy")
	w.text("on_reboot", "", "restart")
	onCrash := "destroy"
	if d.preserve {
		onCrash = "preserve"
	}
	w.text("on_crash", "", onCrash)
}

func (k *diskDef) write(w *xmlWriter, live bool) {
	kind, attr := "file", "file"
	if strings.HasPrefix(k.source, "/dev/") {
		kind, attr = "block", "dev"
	}
	w.open("disk", fmt.Sprintf(" type='%s' device='%s'", kind, k.device))
	w.empty("driver", fmt.Sprintf(" name='qemu' type='%s' discard='unmap'", escape(k.format)))
	w.empty("source", fmt.Sprintf(" %s='%s'", attr, escape(k.source)))
	if live {
		for _, b := range k.backing {
			w.open("backingStore", " type='file'")
			w.empty("format", " type='qcow2'")
			w.empty("source", fmt.Sprintf(" file='%s'", escape(b)))
		}
		if k.device == "disk" {
			w.empty("backingStore", "")
		}
		for range k.backing {
			w.close()
		}
	}
	w.empty("target", fmt.Sprintf(" dev='%s' bus='%s'", escape(k.target), escape(k.bus)))
	if k.readOnly {
		w.empty("readonly", "")
	}
	w.close()
}

func (n *nicDef) write(w *xmlWriter, live *vm, i int) {
	w.open("interface", " type='"+escape(n.kind)+"'")
	w.empty("mac", " address='"+escape(n.mac)+"'")
	w.empty("source", fmt.Sprintf(" %s='%s'", escape(n.kind), escape(n.source)))
	if live != nil {
		w.empty("target", " dev='"+live.tap(i)+"'")
	}
	w.empty("model", " type='"+escape(n.model)+"'")
	w.close()
}

func (d *definition) writeConsole(w *xmlWriter, live *vm) {
	pty := ""
	if live != nil {
		pty = live.pty()
	}
	if d.console {
		w.open("serial", " type='pty'")
		if pty != "" {
			w.empty("source", " path='"+pty+"'")
		}
		w.open("target", " type='isa-serial' port='0'")
		w.empty("model", " name='isa-serial'")
		w.close()
		w.close()
		w.open("console", " type='pty'")
		if pty != "" {
			w.empty("source", " path='"+pty+"'")
		}
		w.empty("target", " type='serial' port='0'")
		w.close()
	}
	if d.agent {
		w.open("channel", " type='unix'")
		w.empty("target", " type='virtio' name='org.qemu.guest_agent.0'")
		w.close()
	}
	if d.graphics {
		w.empty("graphics", " type='vnc' port='"+live.vncPort()+"' autoport='yes' listen='127.0.0.1'")
		w.open("video", "")
		w.empty("model", " type='virtio' heads='1' primary='yes'")
		w.close()
	}
	w.empty("memballoon", " model='virtio'")
	w.open("rng", " model='virtio'")
	w.text("backend", " model='random'", "/dev/urandom")
	w.close()
}

// tap is the host device of the machine's i-th network card.
func (v *vm) tap(i int) string { return fmt.Sprintf("vnet%d", v.firstTap+i) }

// pty is the host device of the machine's serial console.
func (v *vm) pty() string {
	if !v.row.State.Active() || !v.def().console {
		return ""
	}
	return fmt.Sprintf("/dev/pts/%d", v.row.ID)
}

// vncPort is the port of the machine's display; -1 while it is off, as in a
// stored definition.
func (v *vm) vncPort() string {
	if v == nil {
		return "-1"
	}
	return fmt.Sprint(5900 + v.row.ID)
}

// xmlWriter writes indented elements, with the quotes libvirt uses. Attributes
// are given as they stand in the tag, with a blank before each.
type xmlWriter struct {
	b     strings.Builder
	stack []string
}

func (w *xmlWriter) indent() { w.b.WriteString(strings.Repeat("  ", len(w.stack))) }

func (w *xmlWriter) open(name, attrs string) {
	w.indent()
	w.b.WriteString("<" + name + attrs + ">\n")
	w.stack = append(w.stack, name)
}

func (w *xmlWriter) close() {
	name := w.stack[len(w.stack)-1]
	w.stack = w.stack[:len(w.stack)-1]
	w.indent()
	w.b.WriteString("</" + name + ">\n")
}

func (w *xmlWriter) empty(name, attrs string) {
	w.indent()
	w.b.WriteString("<" + name + attrs + "/>\n")
}

func (w *xmlWriter) text(name, attrs, text string) {
	w.indent()
	w.b.WriteString("<" + name + attrs + ">" + escape(text) + "</" + name + ">\n")
}

// escape writes text for XML. What XML 1.0 cannot hold becomes '�'; control
// and format characters that it can are written as references.
func escape(s string) string {
	var b strings.Builder
	if xml.EscapeText(&b, []byte(s)) != nil { // a strings.Builder never fails
		return ""
	}
	return backend.CleanXML(b.String())
}
