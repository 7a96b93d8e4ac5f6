package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"berth/backend"
)

// BackupDir is a folder for the demo's repository, beside the images and
// removed with them. Nothing is in it.
func (h *host) BackupDir(ctx context.Context) (string, error) {
	const op = "make a folder for backups of"
	if err := h.ended(ctx); err != nil {
		return "", failed(op, h.name, err, "")
	}
	dir, err := h.fleet.folder()
	if err == nil {
		dir = filepath.Join(dir, "backups")
		if err = os.Mkdir(dir, 0o700); errors.Is(err, os.ErrExist) {
			err = nil
		}
	}
	if err != nil {
		return "", failed(op, h.name, diskError(err), "")
	}
	return dir, nil
}

// habits are how machines of a role are backed up: how many days ago each time
// was.
type habit struct {
	days     []float64
	verified float64 // days ago was the first of them last verified; 0: never
	damaged  int     // which of them is damaged, from 1; 0: none
}

// habits of people in the past, by role. What is not here was never backed up.
var habits = map[string]habit{
	"db":      {days: []float64{21, 14, 7, 2, 1, 0.36}, verified: 6},
	"web":     {days: []float64{14, 7, 1, 0.35}, verified: 13},
	"lb":      {days: []float64{14, 1.3, 0.35}},
	"app":     {days: []float64{7, 1, 0.34}},
	"git":     {days: []float64{21, 7, 1, 0.34}, damaged: 2},
	"mail":    {days: []float64{16, 9.1}}, // and then the power went
	"dns":     {days: []float64{26}},      // and nobody noticed
	"dc":      {days: []float64{7, 1, 0.33}},
	"monitor": {days: []float64{12, 5}},
	"desk":    {days: []float64{3}},
}

// pastMachines is how many machines have a past at most.
const pastMachines = 24

// PastBackups are the backups that people made of the host's machines before
// the story began, machine by machine and the oldest first: what is known
// before they are made. One with words in Damaged is to be damaged once it
// is made, and one with a time in Verified was found right then.
func (h *host) PastBackups(ctx context.Context) ([]backend.Point, error) {
	if err := h.enter(ctx, "read the past of"); err != nil {
		return nil, err
	}
	defer h.leave()
	f := h.fleet
	var list []backend.Point
	for i, v := range h.byName() {
		k, ok := habits[v.role.key]
		if !ok || v.stored == nil || i >= pastMachines {
			continue
		}
		c := newChance(f.opts.Seed, streamImages, hash(v.row.UUID.String()))
		late := c.between(0, 0.02)
		for n, days := range k.days {
			p := backend.Point{VM: v.row.UUID, Name: v.row.Name, Host: h.name, Quiesced: v.stored.agent && v.role.key != "dc", Running: true,
				At: f.base.Add(-time.Duration((days + late) * 24 * float64(time.Hour))).Truncate(time.Second), Owner: "nightly"}
			if n == 0 && k.verified > 0 {
				p.Verified = f.base.Add(-time.Duration(k.verified * 24 * float64(time.Hour))).Truncate(time.Second)
			}
			if k.damaged == n+1 && v.first() {
				p.Damaged = "a bit flipped in a pack"
			}
			list = append(list, p)
		}
	}
	return list, nil
}

// BeginPast opens a machine's disks as they were at the time of one of
// PastBackups: a function of the machine and of the time, so that they go
// with the images of today. Its checkpoint appears when it is committed.
// One of a machine is open at a time.
func (h *host) BeginPast(ctx context.Context, p backend.Point, r backend.BackupRequest) (backend.BackupSession, error) {
	const op = "make the past backup of"
	v, err := h.find(ctx, op, p.VM)
	if err != nil {
		return nil, err
	}
	s, err := v.newPast(p, r)
	h.leave()
	if err == nil {
		if err = s.makePast(v.fleet().base.Sub(p.At)); err != nil {
			err = errors.Join(err, s.discard())
		}
	}
	if err != nil {
		return nil, failed(op, p.Name, err, "")
	}
	return s, nil
}

func (v *vm) newPast(p backend.Point, r backend.BackupRequest) (*session, error) {
	f := v.fleet()
	f.allImages()
	switch {
	case v.past != nil:
		return nil, fmt.Errorf("%w: %s", backend.ErrBusy, "another backup of its past is being made")
	case v.stored == nil:
		return nil, fmt.Errorf("%w: a transient machine has no past", backend.ErrUnsupported)
	case r.Since != "" && v.checkpoint(r.Since) == nil:
		return nil, fmt.Errorf("%w: there is no checkpoint %s", backend.ErrBitmap, backend.Clean(r.Since))
	}
	f.stock.tokens++
	s := &session{h: v.host, v: v, r: r, began: f.now, past: true, running: true, starts: v.starts,
		token: fmt.Sprintf("demo-past-%d-%s", f.stock.tokens, v.row.UUID)}
	s.point = backend.BackupPoint{At: p.At, Running: true, Quiesced: p.Quiesced, Frozen: 400 * time.Millisecond, XML: v.stored.xml(nil), Stored: v.stored.xml(nil)}
	for _, k := range v.writableDisks(v.stored) {
		img := f.imageOf(v, v.stored, k)
		if img == nil || img.born == 0 || v.host.openable(img) != nil {
			continue
		}
		s.images = append(s.images, img)
		s.point.Disks = append(s.point.Disks, backend.PointAccess{BackupDisk: backend.BackupDisk{
			Target: backend.Clean(k.target), Path: k.source, Format: k.format, Size: img.size}})
	}
	if len(s.images) == 0 {
		return nil, fmt.Errorf("%w: it has no disk to back up", backend.ErrUnsupported)
	}
	v.past = s
	f.stock.sessions[s.token] = s
	return s, nil
}

// pastWrites is how many writes an image had so long before the story.
func (img *diskImage) pastWrites(before time.Duration) int64 {
	return int64(img.born * max(pastDays-before.Hours()/24, 0) / pastDays)
}

// makePast makes the disks as they were.
func (s *session) makePast(before time.Duration) error {
	f := s.h.fleet
	since, made := s.sinceTargets(), s.checkpointName()
	for i, img := range s.images {
		d := &s.point.Disks[i]
		name, err := f.newFile("past")
		if err != nil {
			return err
		}
		img.mu.Lock()
		writes := img.pastWrites(before)
		if err = f.makeAt(name, img.layout, writes); err == nil {
			s.files = append(s.files, name)
			s.pastAccess(d, img, name, writes, since[d.Target], made)
		}
		img.mu.Unlock()
		if err != nil {
			return diskError(err)
		}
	}
	return nil
}

// pastAccess says how a disk of the past is read. img.mu is held.
func (s *session) pastAccess(d *backend.PointAccess, img *diskImage, name string, writes int64, since bool, made string) {
	mark, marked := img.marks[s.r.Since]
	d.Access = backend.DiskAccess{Size: d.Size, File: name}
	switch {
	case s.r.Since == "":
		d.WhyFull = "the first of this VM"
	case d.Format != "qcow2":
		d.WhyFull = "images of format " + d.Format + " keep no bitmap"
	case !since || !marked:
		d.WhyFull = "checkpoint " + s.r.Since + " does not have this disk"
	default:
		d.Incremental = true
		d.Access.Dirty = img.layout.dirty(mark, writes)
	}
	if made != "" && d.Format == "qcow2" {
		if img.marks == nil {
			img.marks = map[string]int64{}
		}
		img.marks[made] = writes
	}
}
