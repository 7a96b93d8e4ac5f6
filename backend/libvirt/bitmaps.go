package libvirt

import (
	"context"
	"errors"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// storedBitmap is a bitmap that a disk's image stores.
type storedBitmap struct {
	target, path, format string
	there                bool
}

// bitmaps looks for a checkpoint's bitmaps in the images of the disks that can
// have one.
func (s *subject) bitmaps(ctx context.Context, name string) (list []storedBitmap, err error) {
	m, err := s.h.machine(ctx)
	if err != nil {
		return nil, err
	}
	for i := range s.xml.Devices.Disks {
		x := &s.xml.Devices.Disks[i]
		if x.Driver.Type != "qcow2" || x.skip(false) != "" {
			continue
		}
		b := storedBitmap{target: x.Target.Dev, format: x.Driver.Type}
		if b.path, err = s.place(ctx, x); err != nil {
			return nil, err
		}
		info, err := inspect(ctx, m, b.path, b.format)
		if errors.Is(err, backend.ErrNoStorage) {
			continue
		}
		if err != nil {
			return nil, err
		}
		b.there = info.has(name)
		list = append(list, b)
	}
	return list, nil
}

// removeBitmaps takes a checkpoint's bitmaps out of the images of a domain
// that is off.
func (s *subject) removeBitmaps(ctx context.Context, name string) error {
	m, err := s.h.machine(ctx)
	if err != nil {
		return err
	}
	list, err := s.bitmaps(ctx, name)
	if err != nil {
		return err
	}
	for _, b := range list {
		if !b.there {
			continue
		}
		rctx, cancel := context.WithTimeout(ctx, jobWait)
		_, err = m.Run(rctx, "qemu-img", "bitmap", "--remove", "-f", b.format, "--", b.path, name)
		cancel()
		if err != nil {
			return explainServer(err)
		}
	}
	return nil
}

// regain has libvirt know a checkpoint of a running domain again of which only
// the bitmaps are left. A migration leaves libvirt's part on the host that the
// domain was on, and QEMU takes the bitmaps along: over shared storage within
// the images, else on its own way, so that the images do not tell of them yet.
// libvirt asks QEMU whether it has them and records in them: it refuses
// otherwise.
func (s *subject) regain(ctx context.Context, name string) (*checkpoint, error) {
	list, err := s.bitmaps(ctx, name)
	if err != nil {
		return nil, err
	}
	stored := false
	for _, b := range list {
		stored = stored || b.there
	}
	x := newCheckpointXML{Name: name, Description: safeWords, Created: s.h.now().Unix()}
	for _, b := range list {
		if b.there || !stored {
			x.Disks = append(x.Disks, checkpointDiskXML{b.target, "bitmap"})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	handle, err := ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) (libvirt.DomainCheckpoint, error) {
		return lv.DomainCheckpointCreateXML(s.dom, marshal(x), uint32(libvirt.DomainCheckpointCreateRedefine|libvirt.DomainCheckpointCreateRedefineValidate))
	})
	if err != nil {
		return nil, err
	}
	return s.h.describeCheckpoint(ctx, handle)
}
