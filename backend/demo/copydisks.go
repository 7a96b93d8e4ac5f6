package demo

import (
	"fmt"
	"slices"

	"berth/backend"
)

// copyDisks copies what the images hold.
func (s *session) copyDisks() error {
	f := s.h.fleet
	since, made := s.sinceTargets(), s.checkpointName()
	for i, img := range s.images {
		name, err := f.newFile("point")
		if err != nil {
			return err
		}
		d := &s.point.Disks[i]
		img.mu.Lock()
		if err = f.bring(img); err == nil {
			err = s.copyDisk(d, img, name, since[d.Target], made)
		}
		img.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// copyDisk copies one, and begins its bitmap. img.mu is held.
func (s *session) copyDisk(d *backend.PointAccess, img *diskImage, name string, since bool, made string) error {
	mark, marked := img.marks[s.r.Since]
	switch {
	case s.r.Since == "":
		d.WhyFull = "a full backup was asked for"
	case d.Format != "qcow2":
		d.WhyFull = "images of format " + d.Format + " keep no bitmap"
	case !since:
		d.WhyFull = "checkpoint " + s.r.Since + " does not have this disk"
	case !marked:
		return fmt.Errorf("%w: checkpoint %s has no bitmap in %s", backend.ErrBitmap, s.r.Since, backend.Clean(img.at.path))
	default:
		d.Incremental = true
	}
	file := img.file
	if s.running {
		if err := copyFile(name, img.file, d.Size); err != nil {
			return diskError(err)
		}
		s.files, file = append(s.files, name), name
	}
	d.Access = backend.DiskAccess{Size: d.Size, File: file}
	if d.Incremental {
		d.Access.Dirty = img.layout.dirty(mark, img.writes)
	}
	if made != "" && d.Format == "qcow2" {
		if img.marks == nil {
			img.marks = map[string]int64{}
		}
		img.marks[made] = img.writes
	}
	return nil
}

// sinceTargets are the disks that the older checkpoint has.
func (s *session) sinceTargets() map[string]bool {
	f := s.h.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	has := map[string]bool{}
	if cp := s.v.checkpoint(s.r.Since); cp != nil {
		for _, t := range cp.Disks {
			has[t] = true
		}
	}
	return has
}

// checkpointName is the new checkpoint's, or empty when none can be made, for
// a reason that it notes.
func (s *session) checkpointName() string {
	qcow2 := slices.ContainsFunc(s.point.Disks, func(d backend.PointAccess) bool { return d.Format == "qcow2" })
	switch {
	case s.r.Checkpoint == "":
		s.point.NoCheckpoint = "none was asked for"
	case !s.running:
		s.point.NoCheckpoint = "the VM is off: only a running QEMU keeps bitmaps"
	case !qcow2:
		s.point.NoCheckpoint = "none of its disks keeps a bitmap: all are raw"
	default:
		s.point.Checkpoint = s.r.Checkpoint
	}
	return s.point.Checkpoint
}
