package libvirt

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

const (
	// checkpointPrefix begins the names of berth's checkpoints.
	checkpointPrefix = "berth-"
	// begunWords begin the description of a checkpoint whose backup is not safe yet, and
	// safeWords one whose backup is: a process that dies between leaves the
	// first, by which the checkpoint is known to be left over.
	begunWords = "berth: begun, its backup is not finished"
	safeWords  = "berth: its backup is finished"
)

// checkpoint is one of a domain's checkpoints.
type checkpoint struct {
	Name        string `xml:"name"`
	Description string `xml:"description"`
	Created     int64  `xml:"creationTime"`
	Disks       []struct {
		Name       string `xml:"name,attr"`
		Checkpoint string `xml:"checkpoint,attr"`
	} `xml:"disks>disk"`

	handle libvirt.DomainCheckpoint
	text   string
}

// records reports whether a disk has a bitmap of the checkpoint.
func (c *checkpoint) records(target string) bool {
	for _, d := range c.Disks {
		if d.Name == target {
			return d.Checkpoint == "bitmap"
		}
	}
	return false
}

// checkpoints reads the domain's checkpoints, oldest first.
func (s *subject) checkpoints(ctx context.Context) ([]checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	list, err := ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) ([]libvirt.DomainCheckpoint, error) {
		list, _, err := lv.DomainListAllCheckpoints(s.dom, 1, 0)
		return list, err
	})
	if err != nil {
		return nil, err
	}
	var out []checkpoint
	for _, handle := range list {
		c, err := s.h.describeCheckpoint(ctx, handle)
		switch {
		case hasCode(err, libvirt.ErrNoDomainCheckpoint): // it was deleted meanwhile
		case err != nil:
			return nil, err
		default:
			out = append(out, *c)
		}
	}
	slices.SortStableFunc(out, func(a, b checkpoint) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

func (h *Host) describeCheckpoint(ctx context.Context, handle libvirt.DomainCheckpoint) (*checkpoint, error) {
	text, err := ask(ctx, h.backup, func(lv *libvirt.Libvirt) (string, error) {
		return lv.DomainCheckpointGetXMLDesc(handle, checkpointNoDomain)
	})
	if err != nil {
		return nil, err
	}
	c := &checkpoint{handle: handle, text: text}
	if err := xml.Unmarshal([]byte(text), c); err != nil {
		return nil, fmt.Errorf("%w: a checkpoint's XML cannot be read: %w", backend.ErrInvalid, err)
	}
	return c, nil
}

// checkpoint finds one; nil when there is none of that name.
func (s *subject) checkpoint(ctx context.Context, name string) (*checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	handle, err := ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) (libvirt.DomainCheckpoint, error) {
		return lv.DomainCheckpointLookupByName(s.dom, name, 0)
	})
	if hasCode(err, libvirt.ErrNoDomainCheckpoint) || err == nil && handle.Name == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.h.describeCheckpoint(ctx, handle)
}

// deleteCheckpoint deletes one with its bitmaps: by libvirt while the domain
// runs, else out of its images, lest they record for ever. Where neither is
// possible libvirt forgets the checkpoint at least.
func (s *subject) deleteCheckpoint(ctx context.Context, name string) error {
	c, err := s.checkpoint(ctx, name)
	if err != nil {
		return err
	}
	state, _, err := s.stateNow(ctx)
	if err != nil {
		return err
	}
	active := stateOf(state).Active()
	if c == nil && active { // its bitmaps may be there all the same
		if c, err = s.regain(ctx, name); isDaemons(err) || errors.Is(err, backend.ErrUnsupported) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if active {
		err = s.forgetCheckpoint(ctx, c, 0)
		if err == nil || !isDaemons(err) {
			return err
		}
	} else if err = s.removeBitmaps(ctx, name); err != nil && !errors.Is(err, backend.ErrUnsupported) {
		return fmt.Errorf("checkpoint %s: %w", backend.Clean(name), err)
	}
	if c == nil {
		return nil
	}
	if e := s.forgetCheckpoint(ctx, c, libvirt.DomainCheckpointDeleteMetadataOnly); e != nil {
		return errors.Join(fmt.Errorf("checkpoint %s: %w", backend.Clean(name), coded(e)), coded(err))
	}
	return nil
}

// dropBegun deletes the checkpoint that a session began. One of the same name
// that another began meanwhile stays.
func (s *subject) dropBegun(ctx context.Context, t *token) error {
	c, err := s.checkpoint(ctx, t.Checkpoint)
	if err != nil || c == nil || c.Description != t.begun() {
		return err
	}
	return s.deleteCheckpoint(ctx, t.Checkpoint)
}

// forgetCheckpoint is libvirt's part; one that is gone is forgotten.
func (s *subject) forgetCheckpoint(ctx context.Context, c *checkpoint, flags libvirt.DomainCheckpointDeleteFlags) error {
	ctx, cancel := context.WithTimeout(ctx, jobWait)
	defer cancel()
	_, err := ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) (struct{}, error) {
		return struct{}{}, lv.DomainCheckpointDelete(c.handle, flags)
	})
	if hasCode(err, libvirt.ErrNoDomainCheckpoint) {
		return nil
	}
	return err
}

// markSafe writes down with a checkpoint that its backup is finished.
func (s *subject) markSafe(ctx context.Context, name string) error {
	c, err := s.checkpoint(ctx, name)
	if err != nil || c == nil || !strings.HasPrefix(c.Description, begunWords) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	text := strings.Replace(c.text, c.Description, safeWords, 1)
	_, err = ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) (libvirt.DomainCheckpoint, error) {
		return lv.DomainCheckpointCreateXML(s.dom, text, uint32(libvirt.DomainCheckpointCreateRedefine))
	})
	return err
}
