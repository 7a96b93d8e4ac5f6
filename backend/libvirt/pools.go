package libvirt

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

var _ backend.Storage = (*Host)(nil)

// poolWait bounds one call about a pool: one on a dead NFS server never answers.
const poolWait = 30 * time.Second

// poolXML is a storage pool (docs/formatstorage.rst).
type poolXML struct {
	XMLName xml.Name `xml:"pool"`
	Type    string   `xml:"type,attr"`
	Name    string   `xml:"name"`
	Target  struct {
		Path string `xml:"path"`
	} `xml:"target"`
}

// onPool makes one call on the lane of storage.
func onPool[T any](ctx context.Context, h *Host, fn func(*libvirt.Libvirt) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, poolWait)
	defer cancel()
	return ask(ctx, h.storage, fn)
}

// changePool is onPool for what must not be sent twice.
func changePool(ctx context.Context, h *Host, fn func(*libvirt.Libvirt) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*poolWait)
	defer cancel()
	_, err := tell(ctx, h.storage, func(lv *libvirt.Libvirt) (struct{}, error) { return struct{}{}, fn(lv) })
	return err
}

// Pools implements backend.Storage.
func (h *Host) Pools(ctx context.Context) ([]backend.Pool, error) {
	const op = "list the storage pools of"
	list, err := onPool(ctx, h, allPools)
	if err != nil {
		return nil, h.broken(op, err)
	}
	out := make([]backend.Pool, 0, len(list))
	for _, p := range list {
		v, err := onPool(ctx, h, func(lv *libvirt.Libvirt) (backend.Pool, error) { return describePool(lv, p) })
		switch {
		case hasCode(err, libvirt.ErrNoStoragePool): // it was removed meanwhile
			continue
		case errors.As(coded(err), new(*daemonError)):
			v.Trouble = coded(err).Error()
		case err != nil:
			return nil, h.broken(op, err)
		}
		v.Host, v.Name, v.UUID = h.name, backend.Clean(p.Name), backend.UUID(p.UUID)
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b backend.Pool) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// allPools lists pools, running or not; a daemon without storage has none.
func allPools(lv *libvirt.Libvirt) ([]libvirt.StoragePool, error) {
	list, _, err := lv.ConnectListAllStoragePools(1, 0)
	if unsupported(err) {
		return nil, nil
	}
	return list, err
}

// poolStates are the words of virStoragePoolState that are trouble.
var poolStates = map[uint8]string{
	uint8(libvirt.StoragePoolDegraded):     "libvirt says that it is degraded",
	uint8(libvirt.StoragePoolInaccessible): "libvirt says that it cannot be reached",
}

func describePool(lv *libvirt.Libvirt, p libvirt.StoragePool) (v backend.Pool, err error) {
	text, err := lv.StoragePoolGetXMLDesc(p, 0)
	if err != nil {
		return v, err
	}
	var x poolXML
	if err := xml.Unmarshal([]byte(text), &x); err != nil {
		return v, fmt.Errorf("%w: the pool's XML cannot be read: %w", backend.ErrInvalid, err)
	}
	v.Type, v.Path = backend.Clean(x.Type), backend.Clean(x.Target.Path)
	if auto, err := lv.StoragePoolGetAutostart(p); err == nil { // a transient pool has none
		v.Autostart = auto != 0
	}
	state, capacity, allocation, available, err := lv.StoragePoolGetInfo(p)
	if err != nil {
		return v, err
	}
	v.Active, v.Trouble = state != uint8(libvirt.StoragePoolInactive), poolStates[state]
	if !v.Active {
		return v, nil
	}
	v.Capacity, v.Allocation, v.Available = capacity, allocation, available
	n, err := lv.StoragePoolNumOfVolumes(p)
	v.Volumes = int(n)
	return v, err
}

// poolCalls carry out the verbs of pools.
var poolCalls = map[backend.PoolVerb]func(*libvirt.Libvirt, libvirt.StoragePool) error{
	backend.PoolStart:        func(lv *libvirt.Libvirt, p libvirt.StoragePool) error { return lv.StoragePoolCreate(p, 0) },
	backend.PoolDestroy:      (*libvirt.Libvirt).StoragePoolDestroy,
	backend.PoolRefresh:      func(lv *libvirt.Libvirt, p libvirt.StoragePool) error { return lv.StoragePoolRefresh(p, 0) },
	backend.PoolAutostartOn:  func(lv *libvirt.Libvirt, p libvirt.StoragePool) error { return lv.StoragePoolSetAutostart(p, 1) },
	backend.PoolAutostartOff: func(lv *libvirt.Libvirt, p libvirt.StoragePool) error { return lv.StoragePoolSetAutostart(p, 0) },
	backend.PoolUndefine:     (*libvirt.Libvirt).StoragePoolUndefine,
}

// PoolDo implements backend.Storage.
func (h *Host) PoolDo(ctx context.Context, name string, verb backend.PoolVerb) error {
	op := string(verb) + " the pool"
	if err := h.writable(op, name); err != nil {
		return err
	}
	call := poolCalls[verb]
	if call == nil {
		return failed(op, name, fmt.Errorf("%w: berth has no verb %q for pools", backend.ErrInvalid, verb))
	}
	p, err := h.pool(ctx, name)
	if err == nil {
		err = changePool(ctx, h, func(lv *libvirt.Libvirt) error { return call(lv, p) })
	}
	return failed(op, name, err)
}

func (h *Host) pool(ctx context.Context, name string) (libvirt.StoragePool, error) {
	return onPool(ctx, h, func(lv *libvirt.Libvirt) (libvirt.StoragePool, error) { return lv.StoragePoolLookupByName(name) })
}

// DefinePool implements backend.Storage. A pool that cannot be started is not
// left defined.
func (h *Host) DefinePool(ctx context.Context, s backend.PoolSpec) error {
	const op = "make the pool"
	if err := h.writable(op, s.Name); err != nil {
		return err
	}
	return failed(op, s.Name, h.definePool(ctx, s))
}

func (h *Host) definePool(ctx context.Context, s backend.PoolSpec) error {
	if s.Name == "" || !path.IsAbs(s.Path) {
		return fmt.Errorf("%w: a pool needs a name and an absolute path", backend.ErrInvalid)
	}
	_, err := h.pool(ctx, s.Name)
	if err == nil {
		return fmt.Errorf("%w: there is a pool of that name", backend.ErrInvalid)
	}
	if !hasCode(err, libvirt.ErrNoStoragePool) {
		return err
	}
	x := poolXML{Type: "dir", Name: s.Name}
	x.Target.Path = path.Clean(s.Path)
	var p libvirt.StoragePool
	err = changePool(ctx, h, func(lv *libvirt.Libvirt) (err error) {
		p, err = lv.StoragePoolDefineXML(marshal(x), 0)
		return err
	})
	if err != nil {
		return err
	}
	err = changePool(ctx, h, func(lv *libvirt.Libvirt) error {
		if err := lv.StoragePoolBuild(p, 0); err != nil {
			return err
		}
		if err := lv.StoragePoolCreate(p, 0); err != nil {
			return err
		}
		if !s.Autostart {
			return nil
		}
		return lv.StoragePoolSetAutostart(p, 1)
	})
	if err == nil {
		return nil
	}
	undo := changePool(context.WithoutCancel(ctx), h, func(lv *libvirt.Libvirt) error {
		_ = lv.StoragePoolDestroy(p) // as a rule it does not run
		return lv.StoragePoolUndefine(p)
	})
	return errors.Join(err, undo)
}

// refreshAround has the pool of a file's folder notice a change that was made
// beside libvirt. Where that is not possible its list is out of date, no more.
func (h *Host) refreshAround(ctx context.Context, file string) {
	_ = changePool(ctx, h, func(lv *libvirt.Libvirt) error {
		p, err := lv.StoragePoolLookupByTargetPath(path.Dir(file))
		if err != nil {
			return err
		}
		return lv.StoragePoolRefresh(p, 0)
	})
}
