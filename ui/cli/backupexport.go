package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image"
	"berth/backend/image/disk"
	"berth/backend/image/nbd"
	"berth/backend/image/repo"
	"berth/model"
)

// exportFlags are those of berth backup export.
type exportFlags struct {
	repoFlags
	disks  []string
	into   string
	format string
	output string
}

func (a *app) backupExportCommand() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export POINT",
		Short: "Write a point's disks as plain images",
		Long: "Write a point's disks as plain images, which need no berth to be read: those of\n" +
			"--disk, or all of them into --into as VM-DISK.FORMAT. Each appears whole or not at\n" +
			"all, holes stay holes, and nothing is overwritten. qcow2 needs qemu-img.\n\n" + pointHelp + "\n\n" + repoHelp + "\n\n" +
			"JSON is a list of objects: disk path format size_bytes.",
		Example: "  berth backup export web1@yesterday --into /tmp\n" +
			"  berth backup export 3fa21b0c9d12 --disk vda=/tmp/vda.raw --format raw",
		Args: withUsage(onePoint),
		RunE: func(cmd *cobra.Command, args []string) error {
			wrong := checkFormat(f.output, "text", "json")
			if f.format != "raw" && f.format != "qcow2" {
				wrong = errors.Join(wrong, usagef("", "--format %q: use raw or qcow2", backend.Clean(f.format)))
			}
			if wrong != nil {
				return wrong
			}
			return a.withPoint(cmd, &f.repoFlags, args[0], func(ctx context.Context, r *openRepo, p *backend.Point, m *repo.Manifest) error {
				return a.exportPoint(ctx, r, p, m, &f)
			})
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringArrayVar(&f.disks, "disk", nil, "this disk alone, to a path, as `vda=PATH`; may be given several times")
	fl.StringVar(&f.into, "into", ".", "into the folder `DIR`")
	fl.StringVar(&f.format, "format", "qcow2", "`FORMAT`: qcow2 or raw")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "format", fixed("qcow2", "raw"))
	completeFlag(cmd, "disk", fixed())
	cmd.ValidArgsFunction = a.completePoints(1)
	return cmd
}

// exported is one disk and the image that it becomes.
type exported struct {
	disk *repo.Disk
	to   string
}

// targets are the images to write; none of them may be there.
func (f *exportFlags) targets(p *backend.Point, m *repo.Manifest) (list []exported, err error) {
	paths, err := (&restoreFlags{disks: f.disks}).paths(p)
	if err != nil {
		return nil, err
	}
	for i := range m.Disks {
		d := &m.Disks[i]
		to, named := paths[d.Target]
		if len(paths) > 0 && !named {
			continue
		}
		if !named {
			name := strings.ReplaceAll(fmt.Sprintf("%s-%s.%s", m.Name, d.Target, f.format), "/", "-")
			to = filepath.Join(f.into, strings.TrimLeft(name, "."))
		}
		if _, err := os.Lstat(to); err == nil {
			return nil, &backend.OpError{Op: "export to", Target: backend.Clean(to), Err: fs.ErrExist, Hint: "berth overwrites no image: give another path, or delete it first"}
		}
		if slices.ContainsFunc(list, func(e exported) bool { return e.to == to }) {
			return nil, usagef("", "two disks would both go to %s", backend.Clean(to))
		}
		list = append(list, exported{d, to})
	}
	return list, nil
}

func (a *app) exportPoint(ctx context.Context, r *openRepo, p *backend.Point, m *repo.Manifest, f *exportFlags) error {
	list, err := f.targets(p, m)
	if err != nil {
		return err
	}
	if err := roomFor(list); err != nil {
		return err
	}
	records := []restoreDiskRecord{}
	for _, e := range list {
		if err := a.exportDisk(ctx, r, m, e, f.format); err != nil {
			return err
		}
		records = append(records, restoreDiskRecord{Disk: backend.Clean(e.disk.Target), Path: backend.Clean(e.to), Format: f.format, Size: e.disk.Size, Data: e.disk.Data})
		if f.output == "json" {
			continue
		}
		if _, err := fmt.Fprintf(a.Stdout, "%s: %s, %s of data in %s\n", backend.Clean(e.to), f.format, model.Bytes(float64(e.disk.Data)), model.Bytes(float64(e.disk.Size))); err != nil {
			return err
		}
	}
	if f.output == "json" {
		return encodeJSON(a.Stdout, records)
	}
	return nil
}

// roomFor refuses before the first byte what would not fit.
func roomFor(list []exported) error {
	need := map[string]int64{} // by folder: those of one file system are not added up
	for _, e := range list {
		need[filepath.Dir(e.to)] += e.disk.Data
	}
	for dir, n := range need {
		free, err := image.Room(dir)
		if err != nil {
			return err
		}
		if free < n {
			return &backend.OpError{Op: "export to", Target: backend.Clean(dir), Err: fmt.Errorf("%w: %s needed, %s free", backend.ErrNoRoom, model.Bytes(float64(n)), model.Bytes(float64(free))),
				Hint: "choose another folder with --into, or fewer disks with --disk"}
		}
	}
	return nil
}

// exportDisk writes one image beside its name, and gives it the name when it
// is whole and durable.
func (a *app) exportDisk(ctx context.Context, r *openRepo, m *repo.Manifest, e exported, format string) (err error) {
	fault := func(err error) error {
		var op *backend.OpError
		if err == nil || errors.As(err, &op) {
			return err
		}
		return &backend.OpError{Op: "export to", Target: backend.Clean(e.to), Err: err}
	}
	d, err := newExportDraft(filepath.Dir(e.to))
	if err != nil {
		return fault(pathReason(err))
	}
	defer func() { err = errors.Join(err, d.close()) }()
	draft := filepath.Join(d.path, "image")
	meter := a.meter("exporting " + backend.Clean(e.disk.Target))
	defer meter.end()
	if format == "raw" {
		err = exportRaw(ctx, r, m, e, draft, meter)
	} else {
		err = exportQcow2(ctx, r, m, e, draft)
	}
	if err != nil {
		return fault(err)
	}
	return fault(settle(draft, e.to))
}

// settle makes a file durable and gives it its name, which nobody else has. It
// is for its owner's eyes alone, as what a guest keeps on its disk is.
func settle(draft, to string) error {
	if err := os.Chmod(draft, 0o600); err != nil { // qemu-img goes by the umask
		return pathReason(err)
	}
	if err := syncFile(draft); err != nil {
		return err
	}
	if err := os.Link(draft, to); err != nil { // which never overwrites
		if errors.Is(err, fs.ErrExist) {
			return fs.ErrExist
		}
		if _, serr := os.Lstat(to); serr == nil {
			return fs.ErrExist
		}
		if err := os.Rename(draft, to); err != nil { // a file system without links
			return pathReason(err)
		}
	}
	return syncFile(filepath.Dir(to))
}

func syncFile(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}

func exportRaw(ctx context.Context, r *openRepo, m *repo.Manifest, e exported, draft string, meter *meter) (err error) {
	w, err := disk.OpenWriter(ctx, backend.DiskAccess{File: draft, Size: e.disk.Size})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	o := repo.RestoreOptions{Progress: func(p repo.RestoreProgress) { meter.show(p.Done, p.Total, "") }}
	if err := r.Restore(ctx, m, e.disk.Target, w, o); err != nil {
		return err
	}
	return w.Flush(ctx)
}

// exportQcow2 has qemu-img read the disk over NBD.
func exportQcow2(ctx context.Context, r *openRepo, m *repo.Manifest, e exported, draft string) error {
	program, err := exec.LookPath("qemu-img")
	if err != nil {
		return &backend.OpError{Op: "export to qcow2", Err: errors.New("qemu-img is not installed"), Hint: "install qemu-utils (Debian) or qemu-img (Fedora), or give --format raw"}
	}
	socket := filepath.Join(filepath.Dir(draft), "nbd")
	return overNBD(ctx, r, m, e.disk.Target, socket, func(ctx context.Context) error {
		uri := "nbd+unix:///?socket=" + strings.NewReplacer("%", "%25", "&", "%26", "?", "%3F", "#", "%23", "+", "%2B", " ", "%20").Replace(socket)
		cmd := exec.CommandContext(ctx, program, "convert", "-f", "raw", "-O", "qcow2", "-o", "lazy_refcounts=off", uri, draft)
		out, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("qemu-img: %s", backend.Clean(strings.TrimSpace(string(out))))
		}
		return nil
	})
}

// maxSocket is how long a unix socket's path may be, with its final zero.
const maxSocket = 108

// overNBD serves a disk of a point on a socket while do runs.
func overNBD(ctx context.Context, r *openRepo, m *repo.Manifest, target, socket string, do func(context.Context) error) (err error) {
	d, err := r.OpenDisk(ctx, m, target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	l, err := listenAt(socket)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	faults := make(chan error, 1) // the first: the client tells less of it
	s := &nbd.Server{Exports: []nbd.Export{{Source: readOnly{d}}}, Complain: func(err error) {
		select {
		case faults <- err:
		default:
		}
	}}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	err = do(ctx)
	cancel()
	err = errors.Join(err, <-served)
	if err != nil && len(faults) > 0 {
		err = errors.Join(err, <-faults)
	}
	return err
}

// readOnly hides what else a reader may be able to do.
type readOnly struct{ nbd.Source }

// listenAt listens on a unix socket that this user alone can connect to.
func listenAt(socket string) (net.Listener, error) {
	if len(socket) >= maxSocket {
		return nil, &backend.OpError{Op: "listen on", Target: backend.Clean(socket), Err: fmt.Errorf("%w: the path of a unix socket has at most %d bytes", backend.ErrInvalid, maxSocket-1), Hint: "choose a shorter one"}
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, &backend.OpError{Op: "listen on", Target: backend.Clean(socket), Err: err}
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
