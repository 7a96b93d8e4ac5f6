package libvirt

import (
	"context"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// XML is the domain's definition. A running domain has two: the live one, and
// the stored one for its next start; one that is off has one. The text is
// libvirt's own, not cleaned, for it is edited and defined again.
func (h *Host) XML(ctx context.Context, u backend.UUID, stored bool) (string, error) {
	flags := libvirt.DomainXMLFlags(0)
	if stored {
		flags = libvirt.DomainXMLInactive
		if !h.readOnly {
			flags |= libvirt.DomainXMLSecure // without it a define would drop passwords
		}
	}
	text, err := h.xml(ctx, u, flags)
	return text, failed("read the XML of", h.label(u), err)
}

func (h *Host) xml(ctx context.Context, u backend.UUID, flags libvirt.DomainXMLFlags) (string, error) {
	d, err := h.find(ctx, u)
	if err != nil {
		return "", err
	}
	return ask(ctx, h.single, func(lv *libvirt.Libvirt) (string, error) { return lv.DomainGetXMLDesc(d, flags) })
}

// Define validates a definition against libvirt's schema and stores it. The
// error of a refused one wraps backend.ErrInvalid and holds libvirt's words.
func (h *Host) Define(ctx context.Context, xml string) (backend.UUID, error) {
	name := ""
	if x, err := parseDomain(xml); err == nil {
		name = x.Name
	}
	if err := h.writable("define", name); err != nil {
		return backend.UUID{}, err
	}
	d, err := tell(ctx, h.action, func(lv *libvirt.Libvirt) (libvirt.Domain, error) {
		return lv.DomainDefineXMLFlags(xml, libvirt.DomainDefineValidate)
	})
	if err != nil {
		return backend.UUID{}, failed("define", name, err)
	}
	u := backend.UUID(d.UUID)
	h.table.touch(u, touchState|touchFacts|touchFlags)
	return u, nil
}
