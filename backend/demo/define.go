package demo

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"berth/backend"
)

// domainXML is what the simulator reads of a definition; the rest is kept as
// it was given.
type domainXML struct {
	XMLName  xml.Name    `xml:"domain"`
	Type     string      `xml:"type,attr"`
	Name     string      `xml:"name"`
	UUID     string      `xml:"uuid"`
	Title    string      `xml:"title"`
	Desc     string      `xml:"description"`
	Memory   memoryXML   `xml:"memory"`
	Current  memoryXML   `xml:"currentMemory"`
	VCPU     *int        `xml:"vcpu"`
	Tags     []string    `xml:"metadata>tags>tag"`
	Info     []osInfoXML `xml:"metadata>libosinfo>os"`
	OS       osXML       `xml:"os"`
	OnCrash  string      `xml:"on_crash"`
	Disks    []diskXML   `xml:"devices>disk"`
	NICs     []nicXML    `xml:"devices>interface"`
	Serials  []struct{}  `xml:"devices>serial"`
	Consoles []struct{}  `xml:"devices>console"`
	Graphics []struct{}  `xml:"devices>graphics"`
	Channels []struct {
		Target struct {
			Name string `xml:"name,attr"`
		} `xml:"target"`
	} `xml:"devices>channel"`
}

type memoryXML struct {
	Unit  string `xml:"unit,attr"`
	Value uint64 `xml:",chardata"`
}

type osInfoXML struct {
	ID string `xml:"id,attr"`
}

type osXML struct {
	Firmware string `xml:"firmware,attr"`
	Type     struct {
		Machine string `xml:"machine,attr"`
		Value   string `xml:",chardata"`
	} `xml:"type"`
}

type diskXML struct {
	Device string `xml:"device,attr"`
	Driver struct {
		Type string `xml:"type,attr"`
	} `xml:"driver"`
	Source struct {
		File string `xml:"file,attr"`
		Dev  string `xml:"dev,attr"`
	} `xml:"source"`
	Target struct {
		Dev string `xml:"dev,attr"`
		Bus string `xml:"bus,attr"`
	} `xml:"target"`
	ReadOnly *struct{} `xml:"readonly"`
}

type nicXML struct {
	Type string `xml:"type,attr"`
	MAC  struct {
		Address string `xml:"address,attr"`
	} `xml:"mac"`
	Source struct {
		Bridge  string `xml:"bridge,attr"`
		Network string `xml:"network,attr"`
		Dev     string `xml:"dev,attr"`
	} `xml:"source"`
	Model struct {
		Type string `xml:"type,attr"`
	} `xml:"model"`
}

// units are libvirt's names of memory units; without one it is KiB.
var units = map[string]uint64{
	"": kib, "b": 1, "bytes": 1, "KB": 1000, "k": kib, "KiB": kib, "MB": 1e6, "M": mib, "MiB": mib,
	"GB": 1e9, "G": gib, "GiB": gib, "TB": 1e12, "T": 1 << 40, "TiB": 1 << 40,
}

// hypervisors are the domain types that libvirt knows and this host would run.
var hypervisors = []string{"kvm", "qemu", "test"}

// Define stores a definition, in place of the one with the same UUID or as a
// new machine. What is wrong with it is an error that wraps ErrInvalid, and
// nothing is changed.
func (h *host) Define(ctx context.Context, text string) (backend.UUID, error) {
	if h.ReadOnly() {
		return backend.UUID{}, failed("define", h.name, backend.ErrReadOnly, hintReadOnly)
	}
	return h.define(ctx, text)
}

// define is Define for whoever may change the host.
func (h *host) define(ctx context.Context, text string) (backend.UUID, error) {
	d, err := parseDefinition(text)
	if err != nil {
		return backend.UUID{}, failed("define", h.name, err, "nothing was changed; correct the XML and define it again")
	}
	if err := h.enter(ctx, "define"); err != nil {
		return backend.UUID{}, err
	}
	defer h.leave()
	if err := h.store(d); err != nil {
		return backend.UUID{}, failed("define", backend.Clean(d.name), err, "nothing was changed")
	}
	return d.uuid, nil
}

// store keeps a valid definition.
func (h *host) store(d *definition) error {
	other := h.named(backend.Clean(d.name))
	if d.uuid.IsZero() {
		if other != nil {
			d.uuid = other.row.UUID
		} else {
			h.definedNew++
			c := newChance(h.fleet.opts.Seed, streamNames, h.definedNew<<16|uint64(slices.Index(h.fleet.hosts, h)))
			d.uuid = newUUID(&c)
		}
		d.text = withUUID(d.text, d.uuid)
	}
	if other != nil && other.row.UUID != d.uuid {
		return fmt.Errorf("%w: domain '%s' already exists with uuid %s", backend.ErrInvalid, other.row.Name, other.row.UUID)
	}
	h.fitDisks(d)
	v, ok := h.byUUID[d.uuid]
	if ok && v.row.Name != backend.Clean(d.name) {
		return fmt.Errorf("%w: domain '%s' is already defined with uuid %s; rename it first", backend.ErrInvalid, v.row.Name, d.uuid)
	}
	if !ok {
		h.adopt(d)
		return nil
	}
	v.stored = d
	v.applyDefinition()
	h.tell(v, backend.EventLifecycle, "defined", "updated")
	return nil
}

// fitDisks gives the disks of a fresh definition the sizes and the backing files
// of the images that they are.
func (h *host) fitDisks(d *definition) {
	for i := range d.disks {
		k := &d.disks[i]
		if img := h.fleet.stock.images[h.place(k.source)]; k.source != "" && img != nil {
			k.capacity, k.backing = uint64(img.size), img.backing
		}
	}
}

// adopt makes a machine of a definition that is new on the host.
func (h *host) adopt(d *definition) {
	v := h.fleet.newVM(h, h.fleet.roleFor(d), nil)
	v.stored, v.hostname = d, d.name
	v.row.UUID, v.row.ID, v.row.State, v.row.Reason = d.uuid, -1, backend.Shutoff, reasonUnknown
	v.lease(false)
	v.applyDefinition()
	h.add(v)
	h.tell(v, backend.EventLifecycle, "defined", "added")
}

// parseDefinition reads domain XML and says what is wrong with it.
func parseDefinition(text string) (*definition, error) {
	var x domainXML
	if err := decodeOne(text, &x); err != nil {
		return nil, fmt.Errorf("%w XML: %s", backend.ErrInvalid, backend.Clean(err.Error()))
	}
	d := &definition{
		name: strings.TrimSpace(x.Name), kind: x.Type, title: x.Title, desc: x.Desc, tags: x.Tags,
		machine: x.OS.Type.Machine, uefi: x.OS.Firmware == "efi", vcpus: 1, text: withoutID(text),
		console: len(x.Serials)+len(x.Consoles) > 0, graphics: len(x.Graphics) > 0, preserve: x.OnCrash == "preserve",
	}
	if err := checkName(d.name); err != nil {
		return nil, err
	}
	if !slices.Contains(hypervisors, x.Type) {
		return nil, fmt.Errorf("%w domain type '%s': it is one of %s", backend.ErrInvalid, backend.Clean(x.Type), strings.Join(hypervisors, ", "))
	}
	if err := x.sizes(d); err != nil {
		return nil, err
	}
	if id := strings.TrimSpace(x.UUID); id != "" {
		u, err := backend.ParseUUID(id)
		if err != nil || u.IsZero() {
			return nil, fmt.Errorf("%w uuid '%s'", backend.ErrInvalid, backend.Clean(id))
		}
		d.uuid = u
	}
	x.devices(d)
	return d, nil
}

// decodeOne reads text as exactly one element of x's kind.
func decodeOne(text string, x *domainXML) error {
	dec := xml.NewDecoder(strings.NewReader(text))
	if err := dec.Decode(x); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("there is none")
		}
		return err
	}
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, ok := tok.(xml.StartElement); ok {
			return errors.New("there is another element after the domain")
		}
	}
}

// sizes reads memory and vCPUs.
func (x *domainXML) sizes(d *definition) error {
	unit, ok := units[x.Memory.Unit]
	if !ok {
		return fmt.Errorf("%w memory unit '%s'", backend.ErrInvalid, backend.Clean(x.Memory.Unit))
	}
	if d.maxMem = x.Memory.Value * unit; d.maxMem < mib {
		return fmt.Errorf("%w memory: a domain has 1 MiB at least", backend.ErrInvalid)
	}
	d.curMem = d.maxMem
	if cur := x.Current.Value * units[x.Current.Unit]; cur > 0 {
		d.curMem = min(cur, d.maxMem)
	}
	if x.VCPU != nil {
		d.vcpus = *x.VCPU
	}
	if d.vcpus < 1 || d.vcpus > 4096 {
		return fmt.Errorf("%w vcpu %d: a domain has 1 to 4096", backend.ErrInvalid, d.vcpus)
	}
	if x.OS.Type.Value == "" {
		return fmt.Errorf("%w os: it has no type", backend.ErrInvalid)
	}
	return nil
}

// devices reads disks, network cards and channels.
func (x *domainXML) devices(d *definition) {
	for i := range x.Disks {
		k := &x.Disks[i]
		device := k.Device
		if device == "" {
			device = "disk"
		}
		d.disks = append(d.disks, diskDef{target: k.Target.Dev, bus: k.Target.Bus, device: device, format: k.Driver.Type,
			source: k.Source.File + k.Source.Dev, readOnly: k.ReadOnly != nil || device == "cdrom", capacity: 10 * gib})
	}
	for i := range x.NICs {
		n := &x.NICs[i]
		d.nics = append(d.nics, nicDef{mac: n.MAC.Address, model: n.Model.Type, kind: n.Type, source: n.Source.Bridge + n.Source.Network + n.Source.Dev})
	}
	for i := range x.Channels {
		d.agent = d.agent || x.Channels[i].Target.Name == "org.qemu.guest_agent.0"
	}
	if len(x.Info) > 0 {
		d.os = x.Info[0].ID[strings.LastIndexByte(x.Info[0].ID, '/')+1:]
	}
}
