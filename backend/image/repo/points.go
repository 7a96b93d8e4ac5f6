package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"berth/backend"
	"berth/backend/image/place"
)

const pointsDir = "points"

// manifestFields is Manifest without its methods.
type manifestFields Manifest

// MarshalJSON adds the VM in libvirt's writing.
func (m Manifest) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		VM string `json:"vm"`
		manifestFields
	}{m.VM.String(), manifestFields(m)})
}

// UnmarshalJSON reads what MarshalJSON made.
func (m *Manifest) UnmarshalJSON(b []byte) (err error) {
	var v struct {
		VM string `json:"vm"`
		manifestFields
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*m = Manifest(v.manifestFields)
	m.VM, err = backend.ParseUUID(v.VM)
	return err
}

// check bounds what a manifest says; what it says may be anybody's.
func (m *Manifest) check() error {
	seen := map[string]bool{}
	for i := range m.Disks {
		d := &m.Disks[i]
		if d.Target == "" || seen[d.Target] {
			return damaged("disk %q is there twice", d.Target)
		}
		if seen[d.Target] = true; d.Size < 0 || d.Map.Depth != mapDepth(d.Size) {
			return damaged("disk %s: %d bytes with a map %d deep", d.Target, d.Size, d.Map.Depth)
		}
	}
	for _, f := range m.Files {
		if f.Size < 0 || f.Size > maxFile || int64(len(f.Chunks)) != (f.Size+ChunkSize-1)/ChunkSize {
			return damaged("file %q: %d bytes in %d chunks", f.Path, f.Size, len(f.Chunks))
		}
	}
	return nil
}

// clean makes what a guest's definition or another machine said safe to show.
func (m *Manifest) clean() {
	for _, s := range []*string{&m.Name, &m.Host, &m.Owner, &m.Why, &m.Checkpoint, &m.Base} {
		*s = backend.Clean(*s)
	}
	for i := range m.Tags {
		m.Tags[i] = backend.Clean(m.Tags[i])
	}
	for i := range m.Disks {
		d := &m.Disks[i]
		for _, s := range []*string{&d.Target, &d.Path, &d.Format, &d.Why} {
			*s = backend.Clean(*s)
		}
	}
	for i := range m.Files {
		m.Files[i].Kind, m.Files[i].Path = backend.Clean(m.Files[i].Kind), backend.Clean(m.Files[i].Path)
	}
}

// Disk returns a disk by its target.
func (m *Manifest) Disk(target string) (*Disk, error) {
	for i := range m.Disks {
		if m.Disks[i].Target == target {
			return &m.Disks[i], nil
		}
	}
	return nil, &backend.OpError{Op: "find disk", Target: target, Err: fmt.Errorf("the backup of %s of %s has none: %w", m.Name, m.At.Format("2006-01-02 15:04:05"), fs.ErrNotExist)}
}

// pointName is the file of a point.
func pointName(id string) string { return path.Join(pointsDir, id) }

// Points returns every point, the newest first, and what is wrong with those
// that cannot be read.
func (r *Repo) Points(ctx context.Context) ([]Manifest, error) {
	entries, err := r.place.List(ctx, pointsDir)
	if err != nil {
		return nil, err
	}
	var points []Manifest
	var faults []error
	for _, e := range entries {
		m, err := r.readPoint(ctx, path.Base(e.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist): // forgotten meanwhile
		case err != nil:
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			faults = append(faults, err)
		default:
			points = append(points, m)
		}
	}
	slices.SortFunc(points, func(a, b Manifest) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return points, errors.Join(faults...)
}

// Point finds one by its ID or the beginning of it. It wraps fs.ErrNotExist
// and, when several begin so, backend.ErrAmbiguous.
func (r *Repo) Point(ctx context.Context, id string) (Manifest, error) {
	entries, err := r.place.List(ctx, pointsDir)
	if err != nil {
		return Manifest{}, err
	}
	var found []string
	for _, e := range entries {
		if base := path.Base(e.Name); id != "" && strings.HasPrefix(base, strings.ToLower(id)) {
			found = append(found, base)
		}
	}
	switch len(found) {
	case 0:
		return Manifest{}, &backend.OpError{Op: "find backup", Target: id, Err: fs.ErrNotExist, Hint: "berth backup list shows what there is"}
	case 1:
		return r.readPoint(ctx, found[0])
	default:
		return Manifest{}, &backend.OpError{Op: "find backup", Target: id, Err: fmt.Errorf("%w: %s", backend.ErrAmbiguous, strings.Join(found, ", "))}
	}
}

func (r *Repo) readPoint(ctx context.Context, id string) (m Manifest, err error) {
	b, err := readBox(ctx, r.place, r.crypt, boxPoint, pointName(id), &m)
	if err != nil {
		return m, err
	}
	if boxID(b) != id {
		return m, fmt.Errorf("%s: %w", pointName(id), damaged("its content does not have that checksum"))
	}
	if err := m.check(); err != nil {
		return m, fmt.Errorf("%s: %w", pointName(id), err)
	}
	m.clean()
	m.ID = id
	return m, nil
}

// writePoint makes a point durable, and says what it is called.
func (r *Repo) writePoint(ctx context.Context, m *Manifest) error {
	if err := m.check(); err != nil {
		return err
	}
	b, err := r.crypt.sealBox(boxPoint, m)
	if err != nil {
		return err
	}
	m.ID = boxID(b)
	return place.Write(ctx, r.place, pointName(m.ID), b)
}
