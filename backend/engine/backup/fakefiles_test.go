package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"berth/backend"
)

// What follows are a host's images and files.

func (h *fakeHost) OpenImage(_ context.Context, p, _ string) (backend.OpenImage, error) {
	info, err := os.Stat(p)
	if err != nil {
		return nil, err
	}
	return openFake{File: p, Size: info.Size()}, nil
}

type fakeImage struct {
	h        *fakeHost
	to, from string
	size     uint64
}

func (h *fakeHost) MakeImage(_ context.Context, p, _ string, size uint64) (backend.NewImage, error) {
	if h.hook != nil {
		if err := h.hook("make"); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(p); err == nil {
		return nil, fs.ErrExist
	}
	from := filepath.Join(filepath.Dir(p), ".draft-"+filepath.Base(p))
	if err := os.WriteFile(from, nil, 0o600); err != nil {
		return nil, err
	}
	return &fakeImage{h, p, from, size}, os.Truncate(from, int64(size))
}

func (i *fakeImage) Access() backend.DiskAccess {
	return backend.DiskAccess{File: i.from, Size: int64(i.size)}
}

func (i *fakeImage) Commit(context.Context) error {
	return i.h.with("image", func(*fakeState) error { return os.Link(i.from, i.to) })
}

func (i *fakeImage) Close() error { return os.Remove(i.from) }

func (h *fakeHost) ReadFile(_ context.Context, p string, limit int64) ([]byte, error) {
	b, err := os.ReadFile(p)
	if err == nil && int64(len(b)) > limit {
		return nil, backend.ErrInvalid
	}
	return b, err
}

func (h *fakeHost) WriteFile(_ context.Context, p string, content []byte) error {
	return h.with("write", func(*fakeState) error { return os.WriteFile(p, content, 0o600) })
}

func (h *fakeHost) ListFiles(context.Context, string) ([]string, error) { return nil, fs.ErrNotExist }

func (h *fakeHost) RenameFile(_ context.Context, from, to string) error {
	return h.with("rename", func(s *fakeState) error {
		if _, err := os.Stat(to); err == nil {
			return fs.ErrExist
		}
		return os.Rename(from, to)
	})
}

func (h *fakeHost) RemoveFile(_ context.Context, p string) error {
	return h.with("remove", func(*fakeState) error { return os.Remove(p) })
}

func (h *fakeHost) Room(context.Context, string) (uint64, error) {
	free := uint64(100 << 30)
	err := h.with("room", func(*fakeState) error { return nil })
	if errors.Is(err, backend.ErrNoRoom) {
		return 1 << 20, nil
	}
	return free, err
}

type openFake backend.DiskAccess

func (o openFake) Access() backend.DiskAccess { return backend.DiskAccess(o) }
func (o openFake) Close() error               { return nil }
