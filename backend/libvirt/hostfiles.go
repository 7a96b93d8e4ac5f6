package libvirt

import (
	"context"
	"fmt"
	"path"

	"berth/backend"
	"berth/backend/libvirt/dial"
)

var _ backend.HostFiles = (*Host)(nil)

// onMachine does something with a file of the host.
func (h *Host) onMachine(ctx context.Context, op, at string, f func(dial.Machine) error) error {
	if !path.IsAbs(at) {
		return failed(op, at, fmt.Errorf("%w: the path is not absolute", backend.ErrInvalid))
	}
	m, err := h.machine(ctx)
	if err == nil {
		err = f(m)
	}
	return failed(op, at, onFile(err))
}

// ReadFile implements backend.HostFiles.
func (h *Host) ReadFile(ctx context.Context, at string, limit int64) (b []byte, err error) {
	err = h.onMachine(ctx, "read", at, func(m dial.Machine) error {
		b, err = dial.ReadWhole(ctx, m, at, limit)
		return err
	})
	return b, err
}

// WriteFile implements backend.HostFiles.
func (h *Host) WriteFile(ctx context.Context, at string, content []byte) error {
	const op = "write"
	if err := h.writable(op, at); err != nil {
		return err
	}
	return h.onMachine(ctx, op, at, func(m dial.Machine) error {
		dir, err := m.Stat(ctx, path.Dir(at))
		if err != nil {
			return err
		}
		return m.WriteFile(ctx, at, content, 0o600, dir.UID, dir.GID)
	})
}

// ListFiles implements backend.HostFiles.
func (h *Host) ListFiles(ctx context.Context, dir string) (names []string, err error) {
	err = h.onMachine(ctx, "list", dir, func(m dial.Machine) error {
		names, err = listBelow(ctx, m, dir)
		return err
	})
	return names, err
}

// RenameFile implements backend.HostFiles.
func (h *Host) RenameFile(ctx context.Context, from, to string) error {
	const op = "rename"
	if err := h.writable(op, from); err != nil {
		return err
	}
	if !path.IsAbs(to) {
		return failed(op, from, fmt.Errorf("%w: the new path %q is not absolute", backend.ErrInvalid, to))
	}
	err := h.onMachine(ctx, op, from, func(m dial.Machine) error { return m.Rename(ctx, from, to) })
	if err == nil {
		h.refreshAround(ctx, to)
	}
	return err
}

// RemoveFile implements backend.HostFiles.
func (h *Host) RemoveFile(ctx context.Context, at string) error {
	const op = "remove"
	if err := h.writable(op, at); err != nil {
		return err
	}
	return h.onMachine(ctx, op, at, func(m dial.Machine) error { return m.Remove(ctx, at) })
}

// Room implements backend.HostFiles.
func (h *Host) Room(ctx context.Context, at string) (free uint64, err error) {
	err = h.onMachine(ctx, "look for room at", at, func(m dial.Machine) error {
		free, _, err = m.Room(ctx, at)
		return err
	})
	return free, err
}
