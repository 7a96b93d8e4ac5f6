package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

var _ backend.VolumeNamer = (*Host)(nil)

// DraftVolume implements backend.VolumeNamer. libvirt renames no volumes: that is
// done to their files, where berth sees those.
func (h *Host) DraftVolume(ctx context.Context, pool, volume string) (string, error) {
	const op = "make"
	target := pool + "/" + volume
	if err := h.writable(op, target); err != nil {
		return "", err
	}
	draft, err := h.draftVolume(ctx, pool, volume)
	return draft, failed(op, target, err)
}

func (h *Host) draftVolume(ctx context.Context, pool, volume string) (string, error) {
	m, dir, err := h.folderOf(ctx, pool)
	if err != nil {
		return "", err
	}
	list, err := m.List(ctx, dir)
	if err != nil {
		return "", onFile(err)
	}
	for _, f := range list {
		switch rest, ours := strings.CutPrefix(f.Name, dial.DraftPrefix); {
		case f.Name == volume:
			return "", fmt.Errorf("%w: it is there already: %w", backend.ErrInvalid, fs.ErrExist)
		case ours && strings.HasSuffix(rest, "-"+volume) && f.Mode.IsRegular() && h.now().Sub(f.Modified) > draftAge:
			if err := m.Remove(ctx, path.Join(dir, f.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", onFile(err)
			}
		}
	}
	return dial.DraftPrefix + freshName() + "-" + volume, nil
}

// NameVolume implements backend.VolumeNamer.
func (h *Host) NameVolume(ctx context.Context, pool, draft, volume string) error {
	const op = "name"
	target := pool + "/" + volume
	if err := h.writable(op, target); err != nil {
		return err
	}
	m, dir, err := h.folderOf(ctx, pool)
	if err == nil {
		err = onFile(m.Rename(ctx, path.Join(dir, draft), path.Join(dir, volume)))
	}
	if err != nil {
		return failed(op, target, err)
	}
	p, err := h.pool(ctx, pool)
	if err == nil {
		err = changePool(ctx, h, func(lv *libvirt.Libvirt) error { return lv.StoragePoolRefresh(p, 0) })
	}
	return failed(op, target, err)
}

// folderOf is where a pool's volumes lie as files.
func (h *Host) folderOf(ctx context.Context, pool string) (dial.Machine, string, error) {
	m, err := h.machine(ctx)
	if err != nil {
		return nil, "", err
	}
	pools, err := h.Pools(ctx)
	if err != nil {
		return nil, "", err
	}
	i := slices.IndexFunc(pools, func(p backend.Pool) bool { return p.Name == pool })
	if i < 0 {
		return nil, "", fmt.Errorf("%w: there is no pool %s", backend.ErrNoStorage, backend.Clean(pool))
	}
	if p := pools[i]; !path.IsAbs(p.Path) || !slices.Contains([]string{"dir", "fs", "netfs"}, p.Type) {
		return nil, "", fmt.Errorf("%w: pool %s does not hold files", backend.ErrUnsupported, backend.Clean(pool))
	}
	return m, pools[i].Path, nil
}
