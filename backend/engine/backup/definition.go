package backup

import (
	"crypto/rand"
	"fmt"
	"path"
	"strings"

	"berth/backend"
)

// definition is a domain's that is being restored.
type definition struct{ *node }

func parseDefinition(text string) (definition, error) {
	n, err := parseXML(text)
	if err != nil {
		return definition{}, err
	}
	if n.name != "domain" || n.find("name").text() == "" {
		return definition{}, fmt.Errorf("%w: this is no definition of a domain", backend.ErrInvalid)
	}
	d := definition{n}
	d.settle()
	return d, nil
}

// settle takes out what only a running domain has, in case the definition is
// that of one.
func (d definition) settle() {
	d.unset("id")
	for _, s := range d.all("seclabel") {
		s.drop(named("label", "imagelabel"))
	}
	devices := d.find("devices")
	if devices == nil {
		return
	}
	for _, e := range devices.elements() {
		e.drop(named("alias"))
		if e.name == "interface" { // "vnet3", given at each start
			e.drop(func(n *node) bool { return n.name == "target" && strings.HasPrefix(n.attr("dev"), "vnet") })
		}
	}
}

func (d definition) name() string { return d.find("name").text() }

// rename makes it a copy's: everything that two domains must not share becomes
// new, and what libvirt gives by itself is left to it.
func (d definition) rename(name string, u backend.UUID) {
	old := d.name()
	d.setText("name", name)
	d.setText("uuid", u.String())
	d.drop(named("title")) // it would name the old one
	if g := d.find("genid"); g != nil {
		g.kids = nil // another generation: the guest is told that it is a copy
	}
	for _, e := range d.find("sysinfo", "system").all("entry") {
		if e.attr("name") == "uuid" { // must be the domain's own
			e.kids = nil
			d.setEntry(e, u.String())
		}
	}
	devices := d.find("devices")
	if devices == nil {
		return
	}
	for _, e := range devices.elements() {
		switch e.name {
		case "interface":
			e.drop(named("mac"))
		case "channel", "serial", "console", "parallel":
			ownFiles(e, old, name)
			// A socket that libvirt has made under the old domain's name; it makes
			// another.
			e.drop(func(n *node) bool {
				return n.name == "source" && n.attr("mode") == "bind" && strings.Contains(n.attr("path"), "/libvirt/qemu/")
			})
		case "vsock":
			if c := e.find("cid"); c != nil {
				c.set("auto", "yes")
				c.unset("address")
			}
		case "graphics":
			d.freePort(e)
		}
	}
	d.moveNVRAM(old, name)
}

// ownFiles gives a copy files of its own for what its serial ports say: two
// domains cannot write to one.
func ownFiles(e *node, old, name string) {
	e.drop(func(n *node) bool { return n.name == "log" && !strings.Contains(path.Base(n.attr("file")), old) })
	own := func(n *node, attr string) {
		if at := n.attr(attr); at != "" {
			n.set(attr, path.Join(path.Dir(at), strings.Replace(path.Base(at), old, name, 1)))
		}
	}
	own(e.find("log"), "file")
	if e.attr("type") == "file" {
		own(e.find("source"), "path")
	}
}

func (d definition) setEntry(e *node, text string) {
	holder := &node{kids: []any{e}}
	holder.setText("entry", text)
}

// freePort lets libvirt choose the port of a display.
func (d definition) freePort(e *node) {
	if e.attr("port") == "" && e.attr("tlsPort") == "" {
		return
	}
	e.unset("tlsPort")
	e.set("port", "-1")
	e.set("autoport", "yes")
}

// moveNVRAM gives a copy a variable store of its own.
func (d definition) moveNVRAM(old, name string) {
	at := d.nvram()
	if at == "" {
		return
	}
	base := path.Base(at)
	if rest, ok := strings.CutPrefix(base, old); ok {
		base = name + rest
	} else {
		base = name + "_VARS.fd"
	}
	d.setNVRAM(path.Join(path.Dir(at), base))
}

// nvram is the path of the UEFI variable store; empty when there is none, or
// libvirt chooses it.
func (d definition) nvram() string { return d.find("os", "nvram").text() }

func (d definition) setNVRAM(at string) {
	if os := d.find("os"); os != nil {
		os.setText("nvram", at)
	}
}

// setDisk points a disk to another image.
func (d definition) setDisk(target, at, format string) error {
	for _, k := range d.find("devices").all("disk") {
		if k.find("target").attr("dev") != target {
			continue
		}
		k.drop(named("backingStore", "mirror"))
		k.set("type", "file")
		if drv := k.find("driver"); drv != nil {
			drv.set("type", format)
		}
		src := k.find("source")
		if src == nil {
			src = &node{name: "source"}
			k.kids = append([]any{src}, k.kids...)
		}
		src.kids = nil // slices, reservations, secrets: of the old image
		src.attrs = nil
		src.set("file", at)
		return nil
	}
	return fmt.Errorf("%w: the definition has no disk %s", backend.ErrInvalid, backend.Clean(target))
}

// tpm reports whether the domain has an emulated TPM, whose state lies with
// libvirt.
func (d definition) tpm() bool {
	for _, t := range d.find("devices").all("tpm") {
		if t.find("backend").attr("type") == "emulator" {
			return true
		}
	}
	return false
}

// newUUID is a random one (RFC 9562, version 4).
func newUUID() (u backend.UUID) {
	rand.Read(u[:]) //nolint:errcheck // never fails (Go 1.24)
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}
