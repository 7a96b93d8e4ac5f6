package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/backend/image/disk"
	"berth/backend/image/nbd"
	"berth/backend/image/repo"
	"berth/model"
)

// serveFlags are those of berth backup serve.
type serveFlags struct {
	repoFlags
	disk   string
	socket string
}

func (a *app) backupServeCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve POINT",
		Short: "Let others read a point's disks over NBD, as to mount them",
		Long: "Let others read a point's disks over NBD on a unix socket, until ^C: all of them as\n" +
			"exports that are called as the disks, or the one of --disk. Nothing is written and\n" +
			"nothing unpacked; what is read is read from the repository.\n\n" +
			"  nbd-client -unix SOCKET /dev/nbd0 -N vda -readonly; mount -o ro /dev/nbd0p1 /mnt\n" +
			"  qemu-nbd, guestfish, nbdcopy, qemu-img: nbd+unix:///vda?socket=SOCKET\n\n" + pointHelp + "\n\n" + repoHelp,
		Example: "  berth backup serve web1@yesterday --socket /tmp/web1.sock\n" +
			"  guestfish --ro --format=raw -a 'nbd://?socket=/tmp/web1.sock' -i",
		Args: withUsage(onePoint),
		RunE: func(cmd *cobra.Command, args []string) error {
			served := false
			err := a.withPoint(cmd, &f.repoFlags, args[0], func(ctx context.Context, r *openRepo, p *backend.Point, m *repo.Manifest) error {
				err := a.servePoint(ctx, r, p, m, &f)
				served = err == nil
				return err
			})
			if se := interruption(cmd.Context()); served && se != nil && errors.Is(err, se) {
				return nil // that is how it ends
			}
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.disk, "disk", "", "only `DISK`, as vda")
	cmd.Flags().StringVar(&f.socket, "socket", "", "listen on `SOCKET` (default: one in XDG_RUNTIME_DIR)")
	completeFlag(cmd, "disk", fixed())
	cmd.ValidArgsFunction = a.completePoints(1)
	return cmd
}

func (a *app) servePoint(ctx context.Context, r *openRepo, p *backend.Point, m *repo.Manifest, f *serveFlags) (err error) {
	socket, err := a.serveSocket(f, p)
	if err != nil {
		return err
	}
	exports, close, err := openExports(ctx, r.Repo, m, f.disk)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, close()) }()
	if len(exports) == 0 {
		return fmt.Errorf("%s: there is no disk %q", pointLabel(p), backend.Clean(f.disk))
	}
	l, err := listenAt(socket)
	if err != nil {
		return err
	}
	for _, e := range exports {
		if e.Name == "" {
			continue
		}
		if _, err := fmt.Fprintf(a.Stdout, "nbd+unix:///%s?socket=%s  %s\n", backend.Clean(e.Name), socket, model.Bytes(float64(e.Source.Size()))); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	fmt.Fprintln(a.Stderr, "serving, read-only, until ^C")
	s := &nbd.Server{Exports: exports, Complain: a.complain}
	err = s.Serve(ctx, l)
	if interruption(ctx) != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}

// openExports opens the disks of a point; the first is also what clients get
// that name none.
func openExports(ctx context.Context, r *repo.Repo, m *repo.Manifest, only string) (exports []nbd.Export, closeAll func() error, err error) {
	var open []disk.Reader
	closeAll = func() error {
		var errs []error
		for _, d := range open {
			errs = append(errs, d.Close())
		}
		return errors.Join(errs...)
	}
	for i := range m.Disks {
		target := m.Disks[i].Target
		if only != "" && target != only {
			continue
		}
		d, err := r.OpenDisk(ctx, m, target)
		if err != nil {
			return nil, closeAll, errors.Join(err, closeAll())
		}
		open = append(open, d)
		if len(exports) == 0 {
			exports = append(exports, nbd.Export{Source: readOnly{d}})
		}
		exports = append(exports, nbd.Export{Name: target, Description: m.Name + " " + m.At.UTC().Format("2006-01-02T15:04:05Z"), Source: readOnly{d}})
	}
	return exports, closeAll, nil
}

// serveSocket is where to listen.
func (a *app) serveSocket(f *serveFlags, p *backend.Point) (string, error) {
	if f.socket != "" {
		return filepath.Abs(f.socket)
	}
	dir := RuntimeDir(a.Env, a.UID)
	if dir == "" {
		return "", usagef("", "XDG_RUNTIME_DIR is not set, so say where to listen with --socket")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return filepath.Join(dir, fmt.Sprintf("%s-%d.sock", shortID(p.ID), os.Getpid())), nil
}
