package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// undefine deletes a definition and what was chosen to go with it. Storage is
// looked up before anything is deleted, and deleted last: a refusal by libvirt
// then costs no data, and a volume that no pool knows stops the whole.
func (h *Host) undefine(ctx context.Context, a backend.Action) error {
	d, stored, err := h.storedDefinition(ctx, a.UUID)
	if err != nil {
		return err
	}
	var volumes []volume
	if a.Delete.Storage {
		if volumes, err = h.volumesOf(ctx, stored); err != nil {
			return err
		}
	}
	if err := h.undefineOnly(ctx, d, stored, a.Delete); err != nil {
		return err
	}
	return h.deleteVolumes(ctx, volumes)
}

// storedDefinition is the definition that the next start would use. A running
// domain is refused: libvirt would make it transient instead of deleting it.
func (h *Host) storedDefinition(ctx context.Context, u backend.UUID) (libvirt.Domain, *domainXML, error) {
	type found struct {
		dom    libvirt.Domain
		active bool
		xml    string
	}
	f, err := ask(ctx, h.action, func(lv *libvirt.Libvirt) (f found, err error) {
		if f.dom, err = lv.DomainLookupByUUID(libvirt.UUID(u)); err != nil {
			return f, err
		}
		active, err := lv.DomainIsActive(f.dom)
		if err != nil {
			return f, err
		}
		f.active = active != 0
		f.xml, err = lv.DomainGetXMLDesc(f.dom, libvirt.DomainXMLInactive)
		return f, err
	})
	if err != nil {
		return f.dom, nil, err
	}
	if f.active {
		return f.dom, nil, fmt.Errorf("%w: it is running; shut it down first", backend.ErrState)
	}
	x, err := parseDomain(f.xml)
	return f.dom, x, err
}

// undefineOnly deletes the definition with its metadata and variable store.
func (h *Host) undefineOnly(ctx context.Context, d libvirt.Domain, x *domainXML, o backend.UndefineOptions) error {
	var flags libvirt.DomainUndefineFlagsValues
	if o.Snapshots {
		flags |= libvirt.DomainUndefineSnapshotsMetadata | libvirt.DomainUndefineCheckpointsMetadata
	}
	if o.ManagedSave {
		flags |= libvirt.DomainUndefineManagedSave
	}
	switch {
	case o.NVRAM:
		flags |= libvirt.DomainUndefineNvram
	case x.OS.NVRAM != "" || x.OS.Firmware == "efi" || x.OS.Loader.Type == "pflash":
		flags |= libvirt.DomainUndefineKeepNvram
	}
	_, err := tell(ctx, h.action, func(lv *libvirt.Libvirt) (struct{}, error) {
		err := lv.DomainUndefineFlags(d, flags)
		if unsupported(err) && flags == 0 {
			err = lv.DomainUndefine(d)
		}
		return struct{}{}, err
	})
	var e *daemonError
	if errors.As(coded(err), &e) && errors.Is(err, backend.ErrState) || e != nil && e.kind == backend.ErrState {
		return &backend.OpError{Op: "delete the definition", Err: e,
			Hint: "choose to delete its snapshots, saved state or NVRAM with it"}
	}
	return err
}

// volume is a storage volume to delete.
type volume struct {
	vol    libvirt.StorageVol
	target string // the disk that uses it
}

// volumesOf finds the volumes of a domain's writable disks. Those that no pool
// of libvirt knows are an error: only libvirt can tell what else lives there.
func (h *Host) volumesOf(ctx context.Context, x *domainXML) ([]volume, error) {
	var vols []volume
	var strangers []string
	for i := range x.Devices.Disks {
		d := &x.Devices.Disks[i]
		if d.Device != "" && d.Device != "disk" || d.ReadOnly != nil || d.Shareable != nil || d.Source.place() == "" {
			continue
		}
		v, err := h.volumeOf(ctx, &d.Source)
		switch {
		case err == nil:
			vols = append(vols, volume{v, d.Target.Dev})
		case hasCode(err, libvirt.ErrNoStorageVol), hasCode(err, libvirt.ErrNoStoragePool), unsupported(err):
			strangers = append(strangers, d.Source.place())
		default:
			return nil, err
		}
	}
	if len(strangers) > 0 {
		return nil, &backend.OpError{
			Op: "delete storage", Target: backend.Clean(strings.Join(strangers, ", ")),
			Err:  fmt.Errorf("%w: no storage pool of this host knows it; nothing was deleted", backend.ErrUnsupported),
			Hint: "refresh the pool (virsh pool-refresh), or delete without storage and remove the file yourself",
		}
	}
	return vols, nil
}

func (h *Host) volumeOf(ctx context.Context, s *sourceXML) (libvirt.StorageVol, error) {
	return ask(ctx, h.action, func(lv *libvirt.Libvirt) (libvirt.StorageVol, error) {
		switch {
		case s.Pool != "":
			p, err := lv.StoragePoolLookupByName(s.Pool)
			if err != nil {
				return libvirt.StorageVol{}, err
			}
			return lv.StorageVolLookupByName(p, s.Volume)
		case s.Protocol != "":
			return libvirt.StorageVol{}, libvirt.ErrUnsupported
		}
		return lv.StorageVolLookupByPath(s.place())
	})
}

// deleteVolumes deletes them all, going on after a failure, and names those
// that are left.
func (h *Host) deleteVolumes(ctx context.Context, vols []volume) error {
	var left []error
	for _, v := range vols {
		_, err := tell(ctx, h.action, func(lv *libvirt.Libvirt) (struct{}, error) {
			return struct{}{}, lv.StorageVolDelete(v.vol, 0)
		})
		if err != nil {
			left = append(left, failed("delete volume", v.vol.Pool+"/"+v.vol.Name, err))
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("the definition is deleted, some storage is left: %w", errors.Join(left...))
	}
	return nil
}
