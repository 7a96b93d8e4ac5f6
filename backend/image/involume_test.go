package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/backend"
)

// fakePool is a host with one pool, of which only streams are known.
type fakePool struct {
	backend.Storage
	free  uint64
	spoil bool // what is uploaded is not what is kept

	mu      sync.Mutex
	volumes map[string][]byte
	read    []string // under which names they were read back
}

func newPool() *fakePool { return &fakePool{free: 1 << 40, volumes: map[string][]byte{}} }

func (p *fakePool) Pools(context.Context) ([]backend.Pool, error) {
	return []backend.Pool{{Name: "default", Active: true, Available: p.free}}, nil
}

func (p *fakePool) Images(context.Context) (list []backend.Image, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.volumes {
		list = append(list, backend.Image{Pool: "default", Name: name, Path: "/" + name})
	}
	return list, nil
}

func (p *fakePool) DeleteImage(_ context.Context, path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.volumes, path[1:])
	return nil
}

func (p *fakePool) Upload(_ context.Context, _, volume, _ string, r io.Reader, _ int64) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.volumes[volume] != nil {
		return fs.ErrExist
	}
	if p.spoil {
		b[0]++
	}
	p.volumes[volume] = b
	return nil
}

func (p *fakePool) Download(_ context.Context, _, volume string, w io.Writer) error {
	p.mu.Lock()
	p.read = append(p.read, volume)
	b := p.volumes[volume]
	p.mu.Unlock()
	_, err := w.Write(b)
	return err
}

// renamingPool can rename its volumes, too.
type renamingPool struct{ *fakePool }

func (p renamingPool) DraftVolume(_ context.Context, _, volume string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.volumes[volume] != nil {
		return "", fs.ErrExist
	}
	return "draft-" + volume, nil
}

func (p renamingPool) NameVolume(_ context.Context, _, draft, volume string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.volumes[volume] = p.volumes[draft]
	delete(p.volumes, draft)
	return nil
}

// TestCopyIntoAPool: a volume has its name when it was read back, where it can be
// renamed; in any case one that is wrong is not there in the end.
func TestCopyIntoAPool(t *testing.T) {
	src, content := sample(t)
	for name, c := range map[string]struct {
		streamer func(*fakePool) backend.VolumeStreamer
		read     string
	}{
		"renaming": {func(p *fakePool) backend.VolumeStreamer { return renamingPool{p} }, "draft-v"},
		"plain":    {func(p *fakePool) backend.VolumeStreamer { return p }, "v"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool()
			into := func() (*CopyResult, error) {
				return Copy(t.Context(), src, []Target{InVolume(Volume{Streamer: c.streamer(p), Storage: p, Host: "hv1", Pool: "default", Volume: "v", Format: "raw"})}, CopyOptions{})
			}
			p.spoil = true
			res, err := into()
			if err != nil || !errors.Is(res.Err(), backend.ErrDamaged) || len(p.volumes) > 0 {
				t.Errorf("one that is wrong: %v, %v; there are %q", err, res.Err(), slices.Collect(maps.Keys(p.volumes)))
			}
			p.spoil = false
			res, err = into()
			if err != nil || res.Err() != nil || !res.Targets[0].Verified || !bytes.Equal(p.volumes["v"], content) || len(p.volumes) != 1 {
				t.Errorf("%v, %v; there are %q", err, res.Err(), slices.Collect(maps.Keys(p.volumes)))
			}
			if !slices.Equal(p.read, []string{c.read, c.read}) {
				t.Errorf("read back as %q", p.read)
			}
			if res, _ := into(); !errors.Is(res.Err(), fs.ErrExist) || !bytes.Equal(p.volumes["v"], content) {
				t.Errorf("over one that is there: %v", res.Err())
			}
			p.volumes, p.free = map[string][]byte{}, 20<<20
			if res, err := into(); !errors.Is(err, backend.ErrNoRoom) || res.Data > 0 || !strings.Contains(err.Error(), "20.0 MiB are free in the pool") {
				t.Errorf("without room: %v", err)
			}
		})
	}
}
