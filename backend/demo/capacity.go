package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"berth/backend"
)

// shelf is where the fleet's hosts all mount the same file server; what is
// below /dev is one host's own.
const shelf = "/var/lib/libvirt/images/"

// Capacity is the host's size and the fleet's shelf of disk images.
func (h *host) Capacity(ctx context.Context) (backend.HostCapacity, error) {
	if err := h.enter(ctx, "read the capacity of"); err != nil {
		return backend.HostCapacity{}, err
	}
	defer h.leave()
	f := h.fleet
	c := backend.HostCapacity{At: f.shown(f.now), Boot: h.boot(), Total: backend.Resources{VCPU: h.cpus, Memory: h.memTotal, Disk: f.shelfSize}}
	c.Disk = f.shelfSize - min(f.shelved(), f.shelfSize)
	return c, nil
}

// boot is which boot of the host this is. The story has no second one.
func (h *host) boot() string {
	c := newChance(h.fleet.opts.Seed, streamNames, uint64(h.subnet)|1<<44)
	return newUUID(&c).String()
}

// buildShelf makes a shelf with room to grow, in whole TiB.
func (f *Fleet) buildShelf() {
	const tib = 1 << 40
	f.shelfSize = uint64(float64(f.shelved())*1.6)/tib*tib + 2*tib
}

// shelved is what the disk images on the shelf hold.
func (f *Fleet) shelved() (sum uint64) {
	for _, h := range f.hosts {
		for _, v := range h.vms {
			m := v.at(f.now)
			for i := range v.def().disks {
				if k := &v.def().disks[i]; strings.HasPrefix(k.source, shelf) {
					sum += v.allocated(k, &m)
				}
			}
		}
	}
	return sum
}

// Reach says what of a definition this host lacks.
func (h *host) Reach(ctx context.Context, text string) error {
	if err := h.enter(ctx, "look at"); err != nil {
		return err
	}
	defer h.leave()
	var x domainXML
	err := decodeOne(text, &x)
	if err != nil {
		err = fmt.Errorf("%w XML: %s", backend.ErrInvalid, backend.Clean(err.Error()))
	} else {
		err = h.lacks(&x)
	}
	if err != nil {
		return failed("run", strings.TrimSpace(x.Name)+" on "+h.name, err, "")
	}
	return nil
}

// lacks is the first thing that a machine of that definition would miss.
func (h *host) lacks(x *domainXML) error {
	if !slices.Contains(hypervisors, x.Type) {
		return fmt.Errorf("%w: this host runs no '%s' domains", backend.ErrUnsupported, backend.Clean(x.Type))
	}
	for i := range x.Disks {
		if s := x.Disks[i].Source.File + x.Disks[i].Source.Dev; s != "" && !h.sees(s) {
			return fmt.Errorf("%w: there is no %s", backend.ErrNoStorage, backend.Clean(s))
		}
	}
	return nil
}

// sees reports whether a disk image is there: those that machines have are,
// on the shelf for all hosts, else on their own.
func (h *host) sees(source string) bool {
	for _, o := range h.fleet.hosts {
		if o != h && !strings.HasPrefix(source, shelf) {
			continue
		}
		for _, v := range o.vms {
			for _, d := range []*definition{v.stored, v.live} {
				if d != nil && slices.ContainsFunc(d.disks, func(k diskDef) bool { return k.source == source }) {
					return true
				}
			}
		}
	}
	return false
}
