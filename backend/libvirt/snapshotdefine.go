package libvirt

import (
	"context"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

var _ backend.SnapshotDefiner = (*Host)(nil)

// RedefineSnapshot implements backend.SnapshotDefiner.
func (h *Host) RedefineSnapshot(ctx context.Context, u backend.UUID, text string) error {
	const op = "redefine a snapshot of"
	if err := h.writable(op, h.label(u)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	d, err := h.find(ctx, u)
	if err == nil {
		_, err = ask(ctx, h.backup, func(lv *libvirt.Libvirt) (libvirt.DomainSnapshot, error) {
			return lv.DomainSnapshotCreateXML(d, text, uint32(libvirt.DomainSnapshotCreateRedefine))
		})
	}
	return failed(op, h.label(u), err)
}
