package image

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"strings"

	"berth/backend"
	"berth/backend/image/disk"
)

// section is a part of a Reader.
type section struct {
	r       disk.Reader
	from, n int64
}

func (s *section) Size() int64  { return s.n }
func (s *section) Close() error { return nil }

// ReadAt implements disk.Reader.
func (s *section) ReadAt(ctx context.Context, p []byte, offset int64) error {
	return s.r.ReadAt(ctx, p, s.from+offset)
}

// Extents implements disk.Reader.
func (s *section) Extents(ctx context.Context, offset, length int64) ([]backend.Extent, error) {
	list, err := s.r.Extents(ctx, s.from+offset, length)
	for i := range list {
		list[i].Offset -= s.from
	}
	return list, err
}

// joined is Readers one after the other.
type joined struct {
	parts  []disk.Reader
	starts []int64
	size   int64
}

func join(parts []disk.Reader) *joined {
	j := &joined{parts: parts}
	for _, p := range parts {
		j.starts = append(j.starts, j.size)
		j.size += p.Size()
	}
	return j
}

func (j *joined) Size() int64 { return j.size }

// Close closes all of them.
func (j *joined) Close() error {
	var errs []error
	for _, p := range j.parts {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// at is the part that holds a byte.
func (j *joined) at(offset int64) int {
	return sort.Search(len(j.starts), func(i int) bool { return j.starts[i] > offset }) - 1
}

// ReadAt implements disk.Reader.
func (j *joined) ReadAt(ctx context.Context, p []byte, offset int64) error {
	for len(p) > 0 {
		i := j.at(offset)
		at := offset - j.starts[i]
		n := min(int64(len(p)), j.parts[i].Size()-at)
		if err := j.parts[i].ReadAt(ctx, p[:n], at); err != nil {
			return err
		}
		p, offset = p[n:], offset+n
	}
	return nil
}

// Extents implements disk.Reader.
func (j *joined) Extents(ctx context.Context, offset, length int64) ([]backend.Extent, error) {
	i := j.at(offset)
	at := offset - j.starts[i]
	list, err := j.parts[i].Extents(ctx, at, min(length, j.parts[i].Size()-at))
	for k := range list {
		list[k].Offset += j.starts[i]
	}
	return list, err
}

// Manifest describes the parts of an image that was split. It lies beside them
// as NAME.parts.json.
type Manifest struct {
	Version int            `json:"version"` // 1
	Name    string         `json:"name"`    // of the image
	Size    int64          `json:"size"`
	SHA256  string         `json:"sha256"` // of the whole
	Parts   []ManifestPart `json:"parts"`
}

// ManifestPart is one part; its name has no folder.
type ManifestPart struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

const (
	manifestSuffix  = ".parts.json"
	sumsSuffix      = ".sha256"
	manifestVersion = 1
	maxManifest     = 64 << 20
	maxParts        = 99999
	minPart         = 1 << 20
)

// check refuses what cannot be, as a manifest made to do harm.
func (m *Manifest) check() error {
	if m.Version != manifestVersion {
		return fmt.Errorf("%w: it is of version %d, and this berth knows %d", backend.ErrUnsupported, m.Version, manifestVersion)
	}
	sum, seen := int64(0), map[string]bool{}
	for _, p := range m.Parts {
		if p.Name == "" || p.Name != filepath.Base(p.Name) || strings.HasPrefix(p.Name, ".") || seen[p.Name] || p.Size <= 0 || p.Size > 1<<62-sum || len(p.SHA256) != 64 {
			return fmt.Errorf("%w: its entry for part %q makes no sense", backend.ErrInvalid, backend.Clean(p.Name))
		}
		seen[p.Name] = true
		sum += p.Size
	}
	if sum != m.Size || len(m.Parts) == 0 || len(m.Parts) > maxParts || len(m.SHA256) != 64 {
		return fmt.Errorf("%w: its parts make %d bytes, and the image has %d", backend.ErrInvalid, sum, m.Size)
	}
	return nil
}
