package demo

import "berth/backend"

// definition is a domain's configuration: what libvirt keeps as XML. One that
// is in use is never changed; changing means storing another.
type definition struct {
	name, kind  string // kind is the domain's type: "kvm"
	uuid        backend.UUID
	vcpus       int
	maxMem      uint64 // bytes
	curMem      uint64
	title, desc string
	tags        []string
	os          string // libosinfo's short id
	machine     string
	uefi        bool
	disks       []diskDef
	nics        []nicDef
	agent       bool
	console     bool
	graphics    bool
	preserve    bool // on_crash: keep the crashed machine

	// text is the XML a person gave; empty for one that berth's simulator
	// made, whose XML is written on demand.
	text string
}

// diskDef is one disk or CD-ROM drive.
type diskDef struct {
	target, bus, device, source, format string
	readOnly                            bool
	capacity                            uint64
	backing                             []string
}

// nicDef is one network card.
type nicDef struct {
	mac, model, kind, source string
}

// same reports whether two definitions say the same.
func (d *definition) same(o *definition) bool {
	return d == o || d.xml(nil) == o.xml(nil)
}

// applyDefinition shows the definition in force in the machine's row.
func (v *vm) applyDefinition() {
	d, r := v.def(), &v.row
	r.FactsAt = v.fleet().shown(v.fleet().now)
	r.Name = backend.Clean(d.name)
	if v.stored != nil {
		r.Name = backend.Clean(v.stored.name)
	}
	r.Persistent = v.stored != nil
	r.VCPUs, r.MemoryMax = d.vcpus, d.maxMem
	r.Title, r.Description, r.Tags = backend.Clean(d.title), backend.Clean(d.desc), cleanAll(d.tags)
	r.OS, r.HasAgent = backend.Clean(d.os), d.agent
	r.Disks, r.NICs = 0, len(d.nics)
	for i := range d.disks {
		if d.disks[i].device == "disk" {
			r.Disks++
		}
	}
	r.Snapshots = len(v.snapshots)
}

func cleanAll(list []string) []string {
	if list == nil {
		return nil
	}
	clean := make([]string, len(list))
	for i, s := range list {
		clean[i] = backend.Clean(s)
	}
	return clean
}

// renamed is the definition under another name.
func (d *definition) renamed(name string) *definition {
	c := *d
	c.name = name
	if c.text != "" {
		c.text = replaceName(c.text, name)
	}
	return &c
}
