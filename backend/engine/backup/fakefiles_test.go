package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	b, err := os.ReadFile(h.real(p))
	if err == nil && int64(len(b)) > limit {
		return nil, backend.ErrInvalid
	}
	return b, err
}

func (h *fakeHost) WriteFile(_ context.Context, p string, content []byte) error {
	return h.with("write", func(*fakeState) error { return os.WriteFile(h.real(p), content, 0o600) })
}

func (h *fakeHost) ListFiles(_ context.Context, dir string) (list []string, err error) {
	entries, err := os.ReadDir(h.real(dir))
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list, err
}

func (h *fakeHost) MakeFolder(_ context.Context, p string) error {
	return h.with("folder", func(*fakeState) error { return os.Mkdir(h.real(p), 0o700) })
}

func (h *fakeHost) RedefineSnapshot(_ context.Context, u backend.UUID, text string) error {
	return h.with("snapshot", func(s *fakeState) error {
		n, err := parseXML(text)
		if err == nil {
			vm := s.byUUID(u)
			vm.Snapshots = append(vm.Snapshots, n.find("name").text())
		}
		return err
	})
}

func (h *fakeHost) Detail(_ context.Context, u backend.UUID) (d backend.Detail, err error) {
	err = h.with("detail", func(s *fakeState) error {
		for _, name := range s.byUUID(u).Snapshots {
			d.Snapshots = append(d.Snapshots, backend.Snapshot{Name: name})
		}
		return nil
	})
	return d, err
}

// real is where a file lies that has its place with libvirt.
func (h *fakeHost) real(p string) string {
	if rest, ok := strings.CutPrefix(p, swtpmDir); ok {
		return filepath.Join(h.dir, "swtpm", rest)
	}
	return p
}

func (h *fakeHost) RenameFile(_ context.Context, from, to string) error {
	return h.with("rename", func(s *fakeState) error {
		if _, err := os.Stat(h.real(to)); err == nil {
			return fs.ErrExist
		}
		return os.Rename(h.real(from), h.real(to))
	})
}

func (h *fakeHost) RemoveFile(_ context.Context, p string) error {
	return h.with("remove", func(*fakeState) error { return os.Remove(h.real(p)) })
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
