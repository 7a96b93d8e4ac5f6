package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/guestfs"
	"berth/backend/image/repo"
	"berth/model"
)

// guestVolume is a volume of one of a point's disks.
type guestVolume struct {
	guestfs.Volume
	name string // "vda1", "vdb"
	fs   guestfs.FS
	err  error // why it cannot be read
}

// guestDisks are the volumes of a point's disks, held open.
type guestDisks struct {
	volumes []guestVolume
	open    []disk.Reader
}

func (g *guestDisks) close() error {
	var errs []error
	for _, d := range g.open {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// openGuest finds what is on a point's disks.
func openGuest(ctx context.Context, r *openRepo, m *repo.Manifest) (_ *guestDisks, err error) {
	g := &guestDisks{}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	for i := range m.Disks {
		target := m.Disks[i].Target
		d, err := r.OpenDisk(ctx, m, target)
		if err != nil {
			return nil, err
		}
		g.open = append(g.open, d)
		vs, err := guestfs.Volumes(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", backend.Clean(target), err)
		}
		for _, v := range vs {
			gv := guestVolume{Volume: v, name: target}
			if v.Partition > 0 {
				gv.name += strconv.Itoa(v.Partition)
			}
			gv.fs, gv.err = v.Open()
			g.volumes = append(g.volumes, gv)
		}
	}
	return g, nil
}

// guestPath is a file of a guest: on one volume, or on whichever has it.
type guestPath struct {
	volume string
	name   string // as package fs has it
}

// parseGuestPath reads "/etc/fstab" or "vda1:/etc/fstab".
func parseGuestPath(s string) guestPath {
	volume, file, ok := strings.Cut(s, ":/")
	if !ok || strings.Contains(volume, "/") {
		volume, file = "", s
	}
	return guestPath{volume, cmp.Or(strings.TrimPrefix(path.Clean("/"+file), "/"), ".")}
}

// find is the volume that holds a file.
func (g *guestDisks) find(p guestPath) (*guestVolume, error) {
	var found []*guestVolume
	var unread []string
	for i := range g.volumes {
		v := &g.volumes[i]
		switch {
		case p.volume != "" && v.name != p.volume:
		case v.err != nil && p.volume != "":
			return nil, unreadable(v)
		case v.err != nil:
			unread = append(unread, fmt.Sprintf("%s (%s)", v.name, cmp.Or(v.Kind, "not known")))
		default:
			_, err := v.fs.Stat(p.name)
			if err == nil {
				found = append(found, v)
			} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) && p.volume != "" {
				return nil, err
			}
		}
	}
	text := "/" + strings.TrimPrefix(p.name, ".")
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		var names []string
		for _, v := range found {
			names = append(names, v.name+":"+text)
		}
		return nil, fmt.Errorf("%s: %w: say which of %s", backend.Clean(text), backend.ErrAmbiguous, strings.Join(names, ", "))
	case len(unread) > 0:
		return nil, &backend.OpError{Op: "find", Target: backend.Clean(text), Err: fmt.Errorf("%w on the file systems that can be read here; %s cannot", fs.ErrNotExist, strings.Join(unread, ", ")),
			Hint: serveHint}
	}
	return nil, &backend.OpError{Op: "find", Target: backend.Clean(text), Err: fs.ErrNotExist, Hint: "berth backup files POINT / lists what there is"}
}

const serveHint = "berth backup serve lets you mount the disk"

func unreadable(v *guestVolume) error {
	return &backend.OpError{Op: "read", Target: v.name, Err: v.err, Hint: serveHint}
}

func (a *app) backupFilesCommand() *cobra.Command {
	var f repoFlags
	output := "text"
	cmd := &cobra.Command{
		Use:   "files POINT [PATH]",
		Short: "List a point's file systems, or the files in one of its folders",
		Long: "List a point's file systems, or with PATH a folder of the guest, as /etc or\n" +
			"vda1:/etc. Nothing is unpacked: what is looked at is read from the repository.\n" +
			"berth backup restore POINT --file PATH takes files out.\n\n" + pointHelp + "\n\n" + repoHelp + "\n\n" +
			"JSON is a list of objects: volume kind label size_bytes dirty readable error; with\n" +
			"PATH name type (file dir link other) mode size_bytes modified_at link.",
		Args: withUsage(func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return onePoint(cmd, args)
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(output, "text", "json"); err != nil {
				return err
			}
			return a.withPoint(cmd, &f, args[0], func(ctx context.Context, r *openRepo, _ *backend.Point, m *repo.Manifest) (err error) {
				g, err := openGuest(ctx, r, m)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, g.close()) }()
				if len(args) == 1 {
					return a.listVolumes(output, g.volumes)
				}
				return a.listFiles(output, g, parseGuestPath(args[1]))
			})
		},
	}
	f.add(cmd)
	textOrJSON(cmd, &output)
	cmd.ValidArgsFunction = a.completePoints(1)
	return cmd
}

var volumeColumns = []cellColumn[guestVolume]{
	{"VOLUME", 0, false, func(v *guestVolume, _ time.Time) string { return backend.Clean(v.name) }},
	{"KIND", 0, false, func(v *guestVolume, _ time.Time) string { return v.Kind }},
	{"LABEL", 2, false, func(v *guestVolume, _ time.Time) string { return v.Label }},
	{"SIZE", 1, true, func(v *guestVolume, _ time.Time) string { return model.Bytes(float64(v.Size)) }},
	{"NOTE", 0, false, func(v *guestVolume, _ time.Time) string { return volumeNote(v) }},
}

func volumeNote(v *guestVolume) string {
	switch {
	case v.err != nil:
		return "mount it with berth backup serve"
	case v.Dirty:
		return dirtyNote
	}
	return ""
}

const dirtyNote = "it was in use: its latest changes lie in its journal, which is not read here"

// volumeRecord is one volume in JSON.
type volumeRecord struct {
	Volume   string `json:"volume"`
	Kind     string `json:"kind"`
	Label    string `json:"label"`
	Size     int64  `json:"size_bytes"`
	Dirty    bool   `json:"dirty"`
	Readable bool   `json:"readable"`
	Error    string `json:"error"`
}

func (a *app) listVolumes(format string, volumes []guestVolume) error {
	if format != "json" {
		return printCells(a, a.Stdout, volumeColumns, volumes, time.Now())
	}
	list := make([]volumeRecord, len(volumes))
	for i := range volumes {
		v := &volumes[i]
		list[i] = volumeRecord{Volume: backend.Clean(v.name), Kind: v.Kind, Label: v.Label, Size: v.Size, Dirty: v.Dirty, Readable: v.err == nil}
		if v.err != nil {
			list[i].Error = backend.Clean(v.err.Error())
		}
	}
	return encodeJSON(a.Stdout, list)
}

// fileInfoRecord is one file of a guest in JSON.
type fileInfoRecord struct {
	Name     string  `json:"name"`
	Type     string  `json:"type"`
	Mode     string  `json:"mode"`
	Size     int64   `json:"size_bytes"`
	Modified *string `json:"modified_at"`
	Link     string  `json:"link"`
}

func (a *app) listFiles(format string, g *guestDisks, p guestPath) error {
	v, err := g.find(p)
	if err != nil {
		return err
	}
	a.noteDirty(v)
	files, err := filesIn(v.fs, p.name)
	if err != nil {
		return err
	}
	if format == "json" {
		return encodeJSON(a.Stdout, files)
	}
	return printCells(a, a.Stdout, fileColumns, files, time.Now())
}

// noteDirty warns of a file system that may be read as it was a little before.
func (a *app) noteDirty(v *guestVolume) {
	if v.Dirty {
		a.complain(fmt.Errorf("%s: %s; files that were just written may be missing or old", v.name, dirtyNote))
	}
}

var fileColumns = []cellColumn[fileInfoRecord]{
	{"MODE", 1, false, func(f *fileInfoRecord, _ time.Time) string { return f.Mode }},
	{"SIZE", 0, true, func(f *fileInfoRecord, _ time.Time) string { return model.Bytes(float64(f.Size)) }},
	{"MODIFIED", 2, false, func(f *fileInfoRecord, _ time.Time) string {
		if f.Modified == nil {
			return ""
		}
		return *f.Modified
	}},
	{"NAME", 0, false, func(f *fileInfoRecord, _ time.Time) string {
		switch {
		case f.Link != "":
			return f.Name + " -> " + f.Link
		case f.Type == "dir":
			return f.Name + "/"
		}
		return f.Name
	}},
}

// filesIn lists a folder, or the one file that name is.
func filesIn(f guestfs.FS, name string) ([]fileInfoRecord, error) {
	info, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if list, err := f.ReadDir(name); err == nil {
			return newFileRecords(f, name, list)
		}
	}
	if !info.IsDir() {
		return []fileInfoRecord{newFileInfoRecord(f, name, info)}, nil
	}
	list, err := f.ReadDir(name)
	if err != nil {
		return nil, err
	}
	return newFileRecords(f, name, list)
}

func newFileRecords(f guestfs.FS, dir string, list []fs.DirEntry) ([]fileInfoRecord, error) {
	out := []fileInfoRecord{}
	for _, e := range list {
		info, err := e.Info()
		if err != nil {
			return out, err
		}
		out = append(out, newFileInfoRecord(f, path.Join(dir, e.Name()), info))
	}
	slices.SortFunc(out, func(a, b fileInfoRecord) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func newFileInfoRecord(f guestfs.FS, name string, info fs.FileInfo) fileInfoRecord {
	rec := fileInfoRecord{Name: backend.Clean(path.Base(name)), Type: "other", Mode: info.Mode().String(), Size: info.Size(), Modified: stamp(info.ModTime())}
	switch {
	case info.IsDir():
		rec.Type = "dir"
	case info.Mode().IsRegular():
		rec.Type = "file"
	case info.Mode()&fs.ModeSymlink != 0:
		rec.Type = "link"
		if to, err := f.ReadLink(name); err == nil {
			rec.Link = backend.Clean(to)
		}
	}
	return rec
}
