package libvirt

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

const (
	// snapshotsMost is how many snapshots or checkpoints of one domain are read.
	snapshotsMost = 256
	// checkpointNoDomain is VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN.
	checkpointNoDomain = 2
)

// snapshotXML is a snapshot's description (docs/formatsnapshot.rst).
type snapshotXML struct {
	Name        string `xml:"name"`
	Description string `xml:"description"`
	State       string `xml:"state"`
	Created     string `xml:"creationTime"`
	Parent      string `xml:"parent>name"`
	Memory      struct {
		Snapshot string `xml:"snapshot,attr"`
	} `xml:"memory"`
	Disks []struct {
		Snapshot string `xml:"snapshot,attr"`
	} `xml:"disks>disk"`
}

// checkpointXML is a checkpoint's description (docs/formatcheckpoint.rst).
type checkpointXML struct {
	Name    string `xml:"name"`
	Created string `xml:"creationTime"`
	Parent  string `xml:"parent>name"`
	Disks   []struct {
		Name       string `xml:"name,attr"`
		Checkpoint string `xml:"checkpoint,attr"`
	} `xml:"disks>disk"`
}

// snapshots reads the domain's snapshots, oldest first.
func (q *inquiry) snapshots(ctx context.Context) error {
	list, err := ask(ctx, q.h.single, func(lv *libvirt.Libvirt) ([]libvirt.DomainSnapshot, error) {
		list, _, err := lv.DomainListAllSnapshots(q.dom, 1, 0)
		return list, err
	})
	if err != nil || len(list) == 0 {
		return err
	}
	current := ""
	if c, err := ask(ctx, q.h.single, func(lv *libvirt.Libvirt) (libvirt.DomainSnapshot, error) {
		return lv.DomainSnapshotCurrent(q.dom, 0)
	}); err == nil { // libvirt reports it as an error that there is none
		current = c.Name
	}
	out := make([]backend.Snapshot, 0, len(list))
	for _, s := range list[:min(len(list), snapshotsMost)] {
		text, err := ask(ctx, q.h.single, func(lv *libvirt.Libvirt) (string, error) { return lv.DomainSnapshotGetXMLDesc(s, 0) })
		if err != nil {
			return err
		}
		snap, err := parseSnapshot(text)
		if err != nil {
			return err
		}
		snap.Current = s.Name == current
		out = append(out, snap)
	}
	slices.SortStableFunc(out, func(a, b backend.Snapshot) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	q.d.Snapshots = out
	return tooMany(len(list))
}

// checkpoints reads the domain's checkpoints, oldest first.
func (q *inquiry) checkpoints(ctx context.Context) error {
	list, err := ask(ctx, q.h.single, func(lv *libvirt.Libvirt) ([]libvirt.DomainCheckpoint, error) {
		list, _, err := lv.DomainListAllCheckpoints(q.dom, 1, 0)
		return list, err
	})
	if err != nil || len(list) == 0 {
		return err
	}
	out := make([]backend.Checkpoint, 0, len(list))
	for _, c := range list[:min(len(list), snapshotsMost)] {
		text, err := ask(ctx, q.h.single, func(lv *libvirt.Libvirt) (string, error) {
			return lv.DomainCheckpointGetXMLDesc(c, checkpointNoDomain)
		})
		if err != nil {
			return err
		}
		cp, err := parseCheckpoint(text)
		if err != nil {
			return err
		}
		out = append(out, cp)
	}
	slices.SortStableFunc(out, func(a, b backend.Checkpoint) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	q.d.Checkpoints = out
	return tooMany(len(list))
}

func tooMany(n int) error {
	if n <= snapshotsMost {
		return nil
	}
	return fmt.Errorf("%d there are, the first %d were read", n, snapshotsMost)
}

func parseSnapshot(text string) (s backend.Snapshot, err error) {
	var x snapshotXML
	if err := xml.Unmarshal([]byte(text), &x); err != nil {
		return s, fmt.Errorf("%w: a snapshot's XML cannot be read: %w", backend.ErrInvalid, err)
	}
	s = backend.Snapshot{
		Name: backend.Clean(x.Name), Parent: backend.Clean(x.Parent), Created: seconds(x.Created),
		State: backend.Clean(x.State), Description: backend.Clean(x.Description), External: x.Memory.Snapshot == "external",
	}
	for _, d := range x.Disks {
		s.External = s.External || d.Snapshot == "external"
	}
	return s, nil
}

func parseCheckpoint(text string) (c backend.Checkpoint, err error) {
	var x checkpointXML
	if err := xml.Unmarshal([]byte(text), &x); err != nil {
		return c, fmt.Errorf("%w: a checkpoint's XML cannot be read: %w", backend.ErrInvalid, err)
	}
	c = backend.Checkpoint{Name: backend.Clean(x.Name), Parent: backend.Clean(x.Parent), Created: seconds(x.Created)}
	for _, d := range x.Disks {
		if d.Checkpoint != "no" {
			c.Disks = append(c.Disks, backend.Clean(d.Name))
		}
	}
	return c, nil
}

// seconds reads a Unix time; zero when it is none.
func seconds(s string) time.Time {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}
