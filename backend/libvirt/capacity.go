package libvirt

import (
	"context"
	"errors"
	"sync"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// Capacity reads the host's CPUs, memory and storage, none of which reaches a
// guest. Disk and Total.Disk are zero where libvirt knows no storage pool.
//
// Boot comes from the machine itself, over a unix socket or ssh; libvirt's own
// protocol tells nothing that changes with a boot and only then, so over TCP
// and TLS it is empty.
func (h *Host) Capacity(ctx context.Context) (backend.HostCapacity, error) {
	const op = "read the capacity of"
	c := backend.HostCapacity{At: h.now()}
	var err error
	if c.Total, err = ask(ctx, h.cheap, nodeSize); err != nil {
		return backend.HostCapacity{}, h.broken(op, err)
	}
	pools, err := ask(ctx, h.cheap, storagePools)
	if err != nil && !errors.As(coded(err), new(*daemonError)) { // a daemon without storage has no pools
		return backend.HostCapacity{}, h.broken(op, err)
	}
	c.Total.Disk, c.Disk = sumPools(pools)
	if c.Boot, err = h.boot(ctx); err != nil {
		return backend.HostCapacity{}, h.broken(op, err)
	}
	return c, nil
}

// nodeSize is the node's logical CPUs and memory.
func nodeSize(lv *libvirt.Libvirt) (r backend.Resources, err error) {
	_, kib, cpus, _, _, _, _, _, err := lv.NodeGetInfo()
	if err != nil {
		return r, err
	}
	r.VCPU, r.Memory = int(cpus), kib<<10
	mem, err := nodeMemory(lv)
	switch {
	case err == nil && mem["total"] > 0:
		r.Memory = mem["total"] << 10
	case err != nil && !unsupported(err):
		return r, err
	}
	return r, nil
}

// pool is a storage pool's size in bytes.
type pool struct {
	capacity, free uint64
	files          bool // its volumes are files of a file system
}

// The kinds of pools that have room of their own; those of iSCSI, SCSI and
// multipath only list devices that others give.
const (
	filePools  = libvirt.ConnectListStoragePoolsDir | libvirt.ConnectListStoragePoolsFs | libvirt.ConnectListStoragePoolsNetfs
	otherPools = libvirt.ConnectListStoragePoolsLogical | libvirt.ConnectListStoragePoolsRbd |
		libvirt.ConnectListStoragePoolsGluster | libvirt.ConnectListStoragePoolsZfs | libvirt.ConnectListStoragePoolsVstorage
)

// storagePools reads the active pools. Their figures are as of their last
// refresh, which a pool has when libvirtd makes or deletes a volume in it.
func storagePools(lv *libvirt.Libvirt) ([]pool, error) {
	var pools []pool
	for _, kind := range []libvirt.ConnectListAllStoragePoolsFlags{filePools, otherPools} {
		found, _, err := lv.ConnectListAllStoragePools(1, kind|libvirt.ConnectListStoragePoolsActive)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			_, capacity, _, free, err := lv.StoragePoolGetInfo(p)
			if hasCode(err, libvirt.ErrNoStoragePool) { // it was removed meanwhile
				continue
			}
			if err != nil {
				return nil, err
			}
			pools = append(pools, pool{capacity, free, kind == filePools})
		}
	}
	return pools, nil
}

// sumPools adds pools up. Several may be directories of one file system, which
// libvirt does not tell; those of the very same size are taken for one, with
// the least that any of them says is free: where they differ one is out of date.
func sumPools(pools []pool) (capacity, free uint64) {
	least := map[uint64]uint64{}
	for _, p := range pools {
		if !p.files {
			capacity += p.capacity
			free += p.free
		} else if f, ok := least[p.capacity]; !ok || p.free < f {
			least[p.capacity] = p.free
		}
	}
	for c, f := range least {
		capacity += c
		free += f
	}
	return capacity, free
}

// sight is what a connection shows of the machine it leads to; dial's are such.
type sight interface {
	Boot(ctx context.Context) (string, error)
	Exists(ctx context.Context, path string) (bool, error)
}

// bootID is which boot of the machine a connection leads to. A machine that is
// booted loses its connections, so it is read once a connection.
type bootID struct {
	mu   sync.Mutex
	read bool
	id   string
}

// of reads it if nobody did. When it cannot be told it is empty.
func (b *bootID) of(ctx context.Context, s sight) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.read {
		id, err := s.Boot(ctx)
		if ctx.Err() != nil {
			return "" // asked again the next time
		}
		b.read = true
		if err == nil {
			b.id = id
		}
	}
	return b.id
}

// boot is which boot of the host this is, or empty.
func (h *Host) boot(ctx context.Context) (string, error) {
	k, err := h.cheap.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer h.cheap.release(k)
	if s, ok := k.cl.wire.Conn.(sight); ok {
		return k.cl.boot.of(ctx, s), nil
	}
	return "", nil
}

// exists reports whether the host has a file; known is false when that cannot
// be told.
func (h *Host) exists(ctx context.Context, path string) (there, known bool, err error) {
	k, err := h.cheap.acquire(ctx)
	if err != nil {
		return false, false, err
	}
	defer h.cheap.release(k)
	if s, ok := k.cl.wire.Conn.(sight); ok {
		there, err = s.Exists(ctx, path)
		known = err == nil
	}
	return there, known, nil
}
