package backup

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"berth/backend"
)

// A backup holds what disks were at one moment, and of snapshots the descriptions
// alone. One whose content lies in files of its own that are there still is a
// snapshot again once it is described to libvirt; one that was inside an image is
// not in what was written from the backup.

// snapshot is one that the restored domain had.
type snapshot struct {
	*node
	left string // why it is left out; empty: it is redefined
	here bool   // libvirt has it: the VM was not undefined
}

func (s *snapshot) name() string   { return s.find("name").text() }
func (s *snapshot) parent() string { return s.find("parent", "name").text() }

// snapshots redefines the domain's snapshots where that is sound, and says of the
// others why it is not. The restore is done by now: nothing here undoes it.
func (r *mending) snapshots(ctx context.Context) {
	all, err := r.readSnapshots(ctx)
	if err != nil {
		r.said = append(r.said, "its snapshots are left out: "+words(err))
		return
	}
	for len(all) > 0 {
		i := slices.IndexFunc(all, func(s *snapshot) bool { return of(all, s.parent()) == nil }) // parents first
		if i < 0 {
			r.said = append(r.said, fmt.Sprintf("%d snapshots are left out: each is another's parent", len(all)))
			return
		}
		s := all[i]
		if s.left == "" && !s.here {
			s.left = r.redefine(ctx, s)
		}
		all = slices.Delete(all, i, i+1)
		if s.left == "" {
			continue
		}
		what := "is left out"
		if s.here {
			what = "is listed still, but is not to be gone back to"
		}
		r.said = append(r.said, fmt.Sprintf("snapshot %s %s: %s", backend.Clean(s.name()), what, s.left))
		for _, child := range all {
			if child.parent() == s.name() && child.left == "" {
				child.left = "its parent is"
			}
		}
	}
}

// of finds a snapshot by its name.
func of(all []*snapshot, name string) *snapshot {
	i := slices.IndexFunc(all, func(s *snapshot) bool { return s.name() == name })
	if i < 0 || name == "" {
		return nil
	}
	return all[i]
}

// readSnapshots reads what the point has of snapshots.
func (r *mending) readSnapshots(ctx context.Context) (all []*snapshot, err error) {
	if r.x.Spec.Restore.DisksOnly {
		return nil, nil
	}
	here := map[string]bool{}
	for _, f := range r.m.Files {
		if f.Kind != "snapshot" {
			continue
		}
		if len(all) == 0 && r.was != "" {
			d, err := r.host.Detail(ctx, r.vm)
			if err != nil {
				return nil, err
			}
			for _, s := range d.Snapshots {
				here[s.Name] = true
			}
		}
		text, err := r.repo.ReadFile(ctx, &r.m, f)
		if err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", f.Path, err)
		}
		n, err := parseXML(string(text))
		if err != nil {
			r.said = append(r.said, fmt.Sprintf("snapshot %s is left out: %s", f.Path, words(err)))
			continue
		}
		s := &snapshot{node: n}
		s.here = here[s.name()]
		if s.left, err = r.unsound(ctx, s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// unsound says why a snapshot would not be one any more.
func (r *mending) unsound(ctx context.Context, s *snapshot) (why string, err error) {
	if r.x.Spec.Restore.NewName != "" {
		return "it is of the VM that this is a copy of", nil
	}
	switch m := s.find("memory"); m.attr("snapshot") {
	case "", "no":
	case "external":
		if why, err = r.standing(ctx, m.attr("file")); why != "" || err != nil {
			return why, err
		}
	default:
		return "the memory that it saved was inside an image", nil
	}
	disks := s.find("disks").all("disk")
	if len(disks) == 0 {
		return "it does not tell where it is kept", nil
	}
	for _, d := range disks {
		switch d.attr("snapshot") {
		case "no":
		case "external":
			if why, err = r.standing(ctx, s.image(d.attr("name"))); why != "" || err != nil {
				return why, err
			}
		default:
			return "it was inside the image of " + backend.Clean(d.attr("name")), nil
		}
	}
	return "", nil
}

// image is the file that a disk had when the snapshot was made.
func (s *snapshot) image(target string) string {
	for _, d := range s.find("domain", "devices").all("disk") {
		if d.find("target").attr("dev") == target {
			return d.find("source").attr("file")
		}
	}
	return ""
}

// standing says why a file is not what a snapshot kept in it.
func (r *mending) standing(ctx context.Context, file string) (why string, err error) {
	if !strings.HasPrefix(file, "/") {
		return "what it kept lies in no file", nil
	}
	if slices.ContainsFunc(r.disks, func(t target) bool { return t.to == file }) {
		return backend.Clean(file) + ", in which it was kept, was written anew", nil
	}
	there, err := exists(ctx, r.files, file)
	if err == nil && !there {
		why = backend.Clean(file) + ", in which it was kept, is gone"
	}
	return why, err
}

// redefine describes a snapshot to libvirt, and says why that was not to be done.
func (r *mending) redefine(ctx context.Context, s *snapshot) (left string) {
	h, ok := r.host.(backend.SnapshotDefiner)
	if !ok {
		return r.x.Spec.VM.Host + " takes no snapshots"
	}
	err := h.RedefineSnapshot(ctx, r.vm, s.String())
	r.record("snapshot-redefine", s.name(), err)
	return words(err)
}
