package libvirt

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"

	"berth/backend"
)

// agentChannel is the channel a guest agent listens on.
const agentChannel = "org.qemu.guest_agent.0"

// domainXML is what berth reads of a domain's definition
// (docs/formatdomain.rst). The rest is skipped.
type domainXML struct {
	Type        string      `xml:"type,attr"`
	Name        string      `xml:"name"`
	Title       string      `xml:"title"`
	Description string      `xml:"description"`
	Metadata    metadataXML `xml:"metadata"`
	Memory      sizeXML     `xml:"memory"`
	Current     sizeXML     `xml:"currentMemory"`
	VCPU        vcpuXML     `xml:"vcpu"`
	OS          osXML       `xml:"os"`
	CPU         cpuXML      `xml:"cpu"`
	Devices     devicesXML  `xml:"devices"`
}

// metadataXML is what libosinfo and berth keep with a definition. berth's is
//
//	<berth:tags xmlns:berth="urn:berth:1"><berth:tag>web</berth:tag></berth:tags>
type metadataXML struct {
	Tags struct {
		Tag []string `xml:"urn:berth:1 tag"`
	} `xml:"urn:berth:1 tags"`
	Libosinfo struct {
		OS struct {
			ID string `xml:"id,attr"`
		} `xml:"os"`
	} `xml:"http://libosinfo.org/xmlns/libvirt/domain/1.0 libosinfo"`
}

type sizeXML struct {
	Unit  string `xml:"unit,attr"`
	Value string `xml:",chardata"`
}

type vcpuXML struct {
	Current string `xml:"current,attr"`
	Max     string `xml:",chardata"`
}

type osXML struct {
	Firmware string `xml:"firmware,attr"`
	Type     struct {
		Arch    string `xml:"arch,attr"`
		Machine string `xml:"machine,attr"`
	} `xml:"type"`
	Loader struct {
		Type string `xml:"type,attr"`
		Path string `xml:",chardata"`
	} `xml:"loader"`
	NVRAM  string `xml:"nvram"`
	Kernel string `xml:"kernel"`
	Initrd string `xml:"initrd"`
}

type cpuXML struct {
	Text  string `xml:",innerxml"`
	Match string `xml:"match,attr"`
	Check string `xml:"check,attr"`
	Mode  string `xml:"mode,attr"`
	Model string `xml:"model"`
}

type devicesXML struct {
	Emulator   string         `xml:"emulator"`
	Disks      []diskXML      `xml:"disk"`
	Interfaces []interfaceXML `xml:"interface"`
	Channels   []channelXML   `xml:"channel"`
	Consoles   []consoleXML   `xml:"console"`
	Serials    []consoleXML   `xml:"serial"`
	Graphics   []graphicsXML  `xml:"graphics"`
	TPMs       []tpmXML       `xml:"tpm"`
}

type diskXML struct {
	Type   string `xml:"type,attr"`
	Device string `xml:"device,attr"`
	Driver struct {
		Type string `xml:"type,attr"`
	} `xml:"driver"`
	Source sourceXML `xml:"source"`
	Target struct {
		Dev string `xml:"dev,attr"`
		Bus string `xml:"bus,attr"`
	} `xml:"target"`
	ReadOnly  *struct{}   `xml:"readonly"`
	Shareable *struct{}   `xml:"shareable"`
	Backing   *backingXML `xml:"backingStore"`
	// Mirror is a block copy or the commit of an active image under way.
	Mirror     *mirrorXML     `xml:"mirror"`
	Encryption *encryptionXML `xml:"encryption"`
}

// encryptionXML says how an image is encrypted, and names the secret.
type encryptionXML struct {
	Format string `xml:"format,attr"` // "luks"
	Inner  string `xml:",innerxml"`
}

// luks is the disk's encryption by QEMU, or nil.
func (x *diskXML) luks() *encryptionXML {
	for _, e := range []*encryptionXML{x.Source.Encryption, x.Encryption} {
		if e != nil && e.Format == "luks" {
			return e
		}
	}
	return nil
}

type mirrorXML struct {
	Job   string `xml:"job,attr"` // "copy", "active-commit"
	Ready string `xml:"ready,attr"`
}

// job is libvirt's word for it; without one it is a copy.
func (m *mirrorXML) job() string {
	if m.Job == "active-commit" {
		return "commit"
	}
	return "copy"
}

type backingXML struct {
	Source  sourceXML   `xml:"source"`
	Backing *backingXML `xml:"backingStore"`
}

type sourceXML struct {
	File       string         `xml:"file,attr"`
	Dev        string         `xml:"dev,attr"`
	Dir        string         `xml:"dir,attr"`
	Protocol   string         `xml:"protocol,attr"`
	Name       string         `xml:"name,attr"`
	Pool       string         `xml:"pool,attr"`
	Volume     string         `xml:"volume,attr"`
	Startup    string         `xml:"startupPolicy,attr"` // "mandatory", "requisite", "optional"
	Encryption *encryptionXML `xml:"encryption"`
	Hosts      []struct {
		Name string `xml:"name,attr"`
		Port string `xml:"port,attr"`
	} `xml:"host"`
}

type interfaceXML struct {
	Type string `xml:"type,attr"`
	MAC  struct {
		Address string `xml:"address,attr"`
	} `xml:"mac"`
	Source struct {
		Network string `xml:"network,attr"`
		Bridge  string `xml:"bridge,attr"`
		Dev     string `xml:"dev,attr"`
		Path    string `xml:"path,attr"`
	} `xml:"source"`
	Target struct {
		Dev string `xml:"dev,attr"`
	} `xml:"target"`
	Model struct {
		Type string `xml:"type,attr"`
	} `xml:"model"`
	Link struct {
		State string `xml:"state,attr"`
	} `xml:"link"`
}

type tpmXML struct {
	Backend struct {
		Type string `xml:"type,attr"` // "emulator": swtpm
	} `xml:"backend"`
}

type channelXML struct {
	Target struct {
		Name  string `xml:"name,attr"`
		State string `xml:"state,attr"`
	} `xml:"target"`
}

type consoleXML struct {
	Type   string `xml:"type,attr"`
	TTY    string `xml:"tty,attr"`
	Source struct {
		Path string `xml:"path,attr"`
	} `xml:"source"`
}

type graphicsXML struct {
	Type    string `xml:"type,attr"`
	Port    string `xml:"port,attr"`
	TLSPort string `xml:"tlsPort,attr"`
	Listen  string `xml:"listen,attr"`
	Socket  string `xml:"socket,attr"`
	Listens []struct {
		Address string `xml:"address,attr"`
		Socket  string `xml:"socket,attr"`
	} `xml:"listen"`
}

// parseDomain reads a domain's definition.
func parseDomain(text string) (*domainXML, error) {
	d := new(domainXML)
	if err := xml.Unmarshal([]byte(text), d); err != nil {
		return nil, fmt.Errorf("%w: the domain's XML cannot be read: %w", backend.ErrInvalid, err)
	}
	return d, nil
}

// unitSizes are libvirt's units (virScaleInteger in src/util/virutil.c), in
// lower case: its own are KiB where none is given.
var unitSizes = map[string]uint64{
	"": 1 << 10, "b": 1, "byte": 1, "bytes": 1,
	"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
	"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
	"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
	"t": 1 << 40, "tib": 1 << 40, "tb": 1e12,
	"p": 1 << 50, "pib": 1 << 50, "pb": 1e15,
}

// bytes is the size, or 0 when it cannot be read.
func (s sizeXML) bytes() uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(s.Value), 10, 64)
	unit := unitSizes[strings.ToLower(s.Unit)]
	if err != nil || unit == 0 || n > 1<<63/unit {
		return 0
	}
	return n * unit
}

// online is the number of vCPUs the domain starts with or has now.
func (v vcpuXML) online() int {
	for _, s := range []string{v.Current, v.Max} {
		if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil && n > 0 && n < 1<<16 {
			return n
		}
	}
	return 0
}

// osName makes libosinfo's short id from its identifier, which ends in the
// system's name and version: "http://debian.org/debian/12" is debian12.
func (m *metadataXML) osName() string {
	id := m.Libosinfo.OS.ID
	if id == "" {
		return ""
	}
	version := path.Base(id)
	name := path.Base(path.Dir(id))
	if name == "." || name == "/" || strings.Contains(name, ":") {
		name = ""
	}
	return backend.Clean(name + version)
}

// agent tells whether an agent channel is configured, and whether libvirt
// says that an agent holds its other end open.
func (d *devicesXML) agent() (configured, connected bool) {
	for _, c := range d.Channels {
		if c.Target.Name == agentChannel {
			return true, c.Target.State == "connected"
		}
	}
	return false, false
}

// console is the host's pseudo-terminal of the first serial console, or "".
func (d *devicesXML) console() string {
	for _, c := range append(append([]consoleXML(nil), d.Consoles...), d.Serials...) {
		if c.TTY != "" {
			return c.TTY
		}
		if c.Type == "pty" && c.Source.Path != "" {
			return c.Source.Path
		}
	}
	return ""
}

// place is a disk source as a person would write it.
func (s *sourceXML) place() string {
	switch {
	case s.File != "":
		return s.File
	case s.Dev != "":
		return s.Dev
	case s.Dir != "":
		return s.Dir
	case s.Pool != "":
		return s.Pool + "/" + s.Volume
	case s.Protocol != "":
		host := ""
		if len(s.Hosts) > 0 {
			host = s.Hosts[0].Name
			if s.Hosts[0].Port != "" {
				host = net.JoinHostPort(host, s.Hosts[0].Port)
			}
		}
		return s.Protocol + "://" + host + "/" + strings.TrimPrefix(s.Name, "/")
	}
	return ""
}

// chain is the backing chain below a disk, nearest first. libvirt ends it
// with an empty element.
func (d *diskXML) chain() []string {
	var c []string
	for b := d.Backing; b != nil; b = b.Backing {
		if p := b.Source.place(); p != "" {
			c = append(c, backend.Clean(p))
		}
	}
	return c
}

// from is what a network card is attached to.
func (i *interfaceXML) from() string {
	for _, s := range []string{i.Source.Network, i.Source.Bridge, i.Source.Dev, i.Source.Path} {
		if s != "" {
			return s
		}
	}
	return ""
}

// swapped reports whether the host's device counts in the other direction than
// the guest, as taps do (virDomainNetTypeSharesHostView in libvirt).
func (i *interfaceXML) swapped() bool { return i.Type != "direct" && i.Type != "ethernet" }

// display is the first display as "vnc 127.0.0.1:5900", or "".
func (d *devicesXML) display() string {
	for i := range d.Graphics {
		if g := &d.Graphics[i]; g.Type != "egl-headless" { // which only renders for another
			return strings.TrimSpace(g.Type + " " + g.place())
		}
	}
	return ""
}

// place is the socket or address of a display, or "" while it has none.
func (g *graphicsXML) place() string {
	addr, sock := g.Listen, g.Socket
	for _, l := range g.Listens {
		addr, sock = cmp.Or(addr, l.Address), cmp.Or(sock, l.Socket)
	}
	port := g.Port
	if port == "" || port == "-1" {
		port = g.TLSPort
	}
	switch {
	case sock != "":
		return sock
	case port != "" && port != "-1":
		return net.JoinHostPort(addr, port)
	}
	return ""
}

// firmware says what boots the domain.
func (o *osXML) firmware() string {
	switch {
	case o.Loader.Type == "pflash" || o.Firmware == "efi":
		return strings.TrimSpace("UEFI " + strings.TrimSpace(o.Loader.Path))
	case o.Loader.Path != "":
		return "BIOS " + strings.TrimSpace(o.Loader.Path)
	}
	return "BIOS"
}

// model names the CPU that the guest sees.
func (c *cpuXML) model() string {
	switch {
	case c.Model != "" && c.Mode != "" && c.Mode != "custom":
		return c.Model + " (" + c.Mode + ")"
	case c.Model != "":
		return c.Model
	}
	return c.Mode
}
