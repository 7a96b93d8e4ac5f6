package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"berth/backend"
)

// choosePaths decides where each disk goes.
func (r *mending) choosePaths(ctx context.Context) error {
	s := &r.x.Spec.Restore
	dir, err := r.poolDir(ctx)
	if err != nil {
		return err
	}
	for t := range s.Disks {
		if !slices.ContainsFunc(r.m.Disks, func(d diskOf) bool { return d.Target == t }) {
			return fmt.Errorf("%w: the backup has no disk %s", backend.ErrInvalid, backend.Clean(t))
		}
	}
	for _, d := range r.m.Disks {
		if _, named := s.Disks[d.Target]; s.DisksOnly && len(s.Disks) > 0 && !named {
			continue
		}
		t := target{Disk: d, format: RestoredFormat(s, d.Format)}
		t.to = RestoredPath(s, &backend.PointDisk{Target: d.Target, Path: d.Path, Format: d.Format}, dir)
		if err := r.choose(ctx, &t); err != nil {
			return err
		}
	}
	return r.checkUsers(ctx)
}

// choose settles one disk's path: what is there already is set aside when it is
// the VM's own, and in the way else.
func (r *mending) choose(ctx context.Context, t *target) error {
	if !path.IsAbs(t.to) {
		return fmt.Errorf("%w: %s of %s is no absolute path", backend.ErrInvalid, backend.Clean(t.to), t.Target)
	}
	for _, other := range r.disks {
		if other.to == t.to {
			return fmt.Errorf("%w: %s and %s would both go to %s", backend.ErrInvalid, other.Target, t.Target, backend.Clean(t.to))
		}
	}
	there, err := exists(ctx, r.files, t.to)
	if err != nil {
		return err
	}
	t.draft = t.to
	if there {
		if r.x.Spec.Restore.NewName != "" {
			return &backend.OpError{Op: "restore", Target: backend.Clean(t.to), Err: fmt.Errorf("%w: there is an image already", fs.ErrExist),
				Hint: "choose another path, pool or name"}
		}
		t.draft = fmt.Sprintf("%s.berth-restore-%d", t.to, r.x.ID)
	}
	r.disks = append(r.disks, *t)
	if !r.x.Spec.Restore.DisksOnly {
		return r.def.setDisk(t.Target, t.to, t.format)
	}
	return nil
}

// exists reports whether a file is there. Nothing of it is read.
func exists(ctx context.Context, files backend.HostFiles, p string) (bool, error) {
	_, err := files.ReadFile(ctx, p, 0)
	switch {
	case err == nil, errors.Is(err, backend.ErrInvalid): // it has more than 0 bytes
		return true, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, backend.ErrNoStorage):
		return false, nil
	}
	return false, err
}

// poolDir is the folder of the pool that was chosen; empty: none was.
func (r *mending) poolDir(ctx context.Context) (string, error) {
	name := r.x.Spec.Restore.Pool
	if name == "" {
		return "", nil
	}
	s, ok := r.host.(backend.Storage)
	if !ok {
		return "", fmt.Errorf("%w: the pools of %s are not known", backend.ErrUnsupported, r.x.Spec.VM.Host)
	}
	pools, err := s.Pools(ctx)
	if err != nil {
		return "", err
	}
	for _, p := range pools {
		if p.Name != name {
			continue
		}
		if !path.IsAbs(p.Path) || p.Type != "dir" && p.Type != "fs" && p.Type != "netfs" {
			return "", fmt.Errorf("%w: pool %s (%s) does not hold files", backend.ErrUnsupported, backend.Clean(name), p.Type)
		}
		if !p.Active {
			return "", fmt.Errorf("%w: pool %s does not run; start it first", backend.ErrState, backend.Clean(name))
		}
		return p.Path, nil
	}
	return "", fmt.Errorf("%w: %s has no pool %s", backend.ErrNoStorage, r.x.Spec.VM.Host, backend.Clean(name))
}

// RestoredFormat is the format that a disk's image will have; was is that of the
// disk.
func RestoredFormat(s *backend.RestoreSpec, was string) string {
	f := s.Format
	if f == "" {
		f = was
	}
	if f != "raw" {
		return "qcow2" // what was in a format that is not written becomes this
	}
	return f
}

// RestoredPath is where a disk's image goes. dir is the folder of the pool that
// was chosen; empty: none was.
func RestoredPath(s *backend.RestoreSpec, d *backend.PointDisk, dir string) string {
	if p := s.Disks[d.Target]; p != "" {
		return p
	}
	if dir == "" {
		dir = path.Dir(d.Path)
	}
	if s.NewName == "" {
		return path.Join(dir, path.Base(d.Path))
	}
	ext, format := path.Ext(d.Path), RestoredFormat(s, d.Format)
	if ext == "" || len(ext) > 6 || format != d.Format {
		ext = "." + format
	}
	return path.Join(dir, strings.ReplaceAll(s.NewName, "/", "-")+"-"+d.Target+ext)
}

// checkUsers refuses to replace an image that a running domain has.
func (r *mending) checkUsers(ctx context.Context) error {
	s, ok := r.host.(backend.Storage)
	if !ok || !slices.ContainsFunc(r.disks, func(t target) bool { return t.draft != t.to }) {
		return nil
	}
	images, err := s.Images(ctx)
	if err != nil {
		return err
	}
	for i := range images {
		img := &images[i]
		if !slices.ContainsFunc(r.disks, func(t target) bool { return t.draft != t.to && t.to == img.Path }) {
			continue
		}
		if len(img.BackedBy) > 0 {
			return &backend.OpError{Op: "restore", Target: img.Path, Err: fmt.Errorf("%w: %s has it as its backing file", backend.ErrBusy, img.BackedBy[0]),
				Hint: "restore to another path"}
		}
		for _, u := range img.Users {
			if u.VM != r.vm {
				return &backend.OpError{Op: "restore", Target: img.Path, Err: fmt.Errorf("%w: %s has it as %s", backend.ErrBusy, u.Name, u.Target), Hint: "restore to another path"}
			}
		}
	}
	return nil
}

// checkRoom refuses a restore that would not fit.
func (r *mending) checkRoom(ctx context.Context) (err error) {
	room := rooms{files: r.files}
	for _, d := range r.disks {
		e := room.take(ctx, d.draft, d.Data)
		if e != nil && !errors.Is(e, backend.ErrNoRoom) {
			return e
		}
		if e != nil { // the last one says how much all of them need
			err = &backend.OpError{Op: "restore", Target: r.name, Err: e, Hint: "choose another pool, or make room"}
		}
	}
	return err
}
