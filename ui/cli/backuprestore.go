package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
)

// restoreFlags are those of berth backup restore.
type restoreFlags struct {
	repoFlags
	to        string
	pool      string
	disks     []string
	disksOnly bool
	format    string
	start     bool
	host      string
	dryRun    bool
	yes       bool
	detach    bool
	limit     rateValue
	output    string

	files []string
	into  string
}

func (a *app) backupRestoreCommand() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore VM[@TIME]|POINT",
		Short: "Restore a VM, some of its disks, or files out of them",
		Long: "Restore a VM as it was: in place, which is possible only while it is off, and sets\n" +
			"the images that are there aside before; or with --to as a copy beside it, with a\n" +
			"new UUID and new MAC addresses. It shows what it will do and asks before it does\n" +
			"it in place. The engine does it, as with berth backup create.\n\n" +
			"With --disks-only images are written and no VM is defined: those of --disk, or all.\n\n" +
			"With --file single files or folders are taken out of the disks into --into, and\n" +
			"nothing else is done: ext2 to ext4, FAT, ISO 9660 and squashfs are read; for others\n" +
			"berth backup serve lets you mount the disk. berth backup files lists what there is.\n\n" +
			pointHelp + "\n\n" + repoHelp,
		Example: "  berth backup restore web1@yesterday --to web1-old --start\n" +
			"  berth backup restore web1 --dry-run\n" +
			"  berth backup restore db1 --disks-only --disk vdb=/tmp/vdb.raw --format raw\n" +
			"  berth backup restore web1@2026-01-31 --file /etc/nginx --into /tmp/restored",
		Args: withUsage(onePoint),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(f.files) > 0 {
				return a.runRestoreFiles(cmd, &f, args[0])
			}
			return a.runRestore(cmd, &f, args[0])
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.to, "to", "", "as a copy that is called `NEWNAME`")
	fl.StringVar(&f.host, "host", "", "on `HOST` instead of where it was")
	fl.StringVar(&f.pool, "pool", "", "its images go to the storage pool `POOL`")
	fl.StringArrayVar(&f.disks, "disk", nil, "a disk's image goes to a path, as `vda=PATH`; may be given several times")
	fl.BoolVar(&f.disksOnly, "disks-only", false, "write images, and define nothing")
	fl.StringVar(&f.format, "format", "", "images of `FORMAT`: raw or qcow2 (default: as it was)")
	fl.BoolVar(&f.start, "start", false, "start it then")
	fl.Var(&f.limit, "bwlimit", "write at most `RATE` a second, as 50M")
	fl.StringArrayVar(&f.files, "file", nil, "only the file or folder `PATH` of the guest, as /etc/fstab or vda1:/etc/fstab; may be given several times")
	fl.StringVar(&f.into, "into", ".", "with --file: into the folder `DIR`")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only tell what would be done")
	fl.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fl.BoolVar(&f.detach, "detach", false, "do not wait for the end")
	textOrJSON(cmd, &f.output)
	completeFlag(cmd, "format", fixed("raw", "qcow2"))
	completeFlag(cmd, "host", a.completeHosts)
	completeFlag(cmd, "bwlimit", fixed("10M", "50M", "100M"))
	for _, flag := range []string{"to", "pool", "disk", "file"} {
		completeFlag(cmd, flag, fixed())
	}
	cmd.ValidArgsFunction = a.completePoints(1)
	return cmd
}

// completeHosts offers the hosts that are configured.
func (a *app) completeHosts(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	if err := a.load(cmd); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	f, err := a.configuredHosts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, h := range f.hosts {
		names = append(names, backend.Clean(h.Name()))
	}
	if err := f.close(); err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
	return names, noFiles
}

// wrong refuses flags that contradict one another.
func (f *restoreFlags) wrong() error {
	err := checkFormat(f.output, "text", "json")
	if f.format != "" && f.format != "raw" && f.format != "qcow2" {
		err = errors.Join(err, usagef("", "--format %q: use raw or qcow2", backend.Clean(f.format)))
	}
	if f.disksOnly && (f.to != "" || f.start) {
		err = errors.Join(err, usagef("", "--disks-only defines no VM, so --to and --start do not go with it"))
	}
	if f.to != "" && (strings.Contains(f.to, "/") || backend.Clean(f.to) != f.to) {
		err = errors.Join(err, usagef("", "--to %q cannot be a VM's name", backend.Clean(f.to)))
	}
	return err
}

// paths are the disks of --disk.
func (f *restoreFlags) paths(p *backend.Point) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range f.disks {
		target, file, ok := strings.Cut(text, "=")
		if !ok || target == "" || file == "" {
			return nil, usagef("", "--disk %q: write vda=PATH", backend.Clean(text))
		}
		if !slices.ContainsFunc(p.Disks, func(d backend.PointDisk) bool { return d.Target == target }) {
			return nil, fmt.Errorf("--disk %s: %s has no such disk (disks: %s)", backend.Clean(text), pointLabel(p), strings.Join(diskNames(p), " "))
		}
		out[target] = file
	}
	return out, nil
}

func diskNames(p *backend.Point) []string {
	var names []string
	for _, d := range p.Disks {
		names = append(names, backend.Clean(d.Target))
	}
	return names
}

func (a *app) runRestore(cmd *cobra.Command, f *restoreFlags, arg string) (err error) {
	if f.dryRun {
		err = errors.Join(a.load(cmd), f.wrong())
	} else {
		err = a.loadToChange(cmd, f.wrong())
	}
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	return a.overFleet(ctx, func(fl *fleet) error {
		return a.overBackups(ctx, fl, func(b backend.Backups) error {
			r, p, err := a.restorePoint(ctx, b, f, arg)
			if err != nil {
				return ended(ctx, err)
			}
			plan, err := a.planRestore(ctx, fl, f, p)
			if err != nil {
				return ended(ctx, err)
			}
			return a.carryOutRestore(ctx, b, f, r, plan)
		})
	})
}

// restorePoint finds the point, and gives a reference to its repository.
func (a *app) restorePoint(ctx context.Context, b backend.Backups, f *restoreFlags, arg string) (refSource, *backend.Point, error) {
	url, err := a.chosenRepo(&f.repoFlags)
	if err != nil {
		return nil, nil, &usageError{err: err}
	}
	if url == "" && a.flags.demo {
		st, err := b.State(ctx)
		if err != nil {
			return nil, nil, err
		}
		p, err := findPoint(st.Points, arg, time.Now())
		if err != nil {
			return nil, nil, err
		}
		refs, err := a.transferRepo(ctx, b, &f.repoFlags)
		return refs, p, err
	}
	r, err := a.openRepo(ctx, &f.repoFlags)
	if err != nil {
		return nil, nil, err
	}
	points, err := a.points(ctx, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, nil, err
	}
	p, err := findPoint(points, arg, time.Now())
	return func() (backend.RepoRef, func() error, error) { return a.handOver(r) }, p, err
}

// carryOutRestore shows the plan, asks where that is due, and orders it.
func (a *app) carryOutRestore(ctx context.Context, b backend.Backups, f *restoreFlags, refs refSource, plan *restorePlan) error {
	if f.output == "json" && f.dryRun {
		return encodeJSON(a.Stdout, plan.record())
	}
	out := a.Stderr // what follows is a question, or progress
	if f.dryRun {
		out = a.Stdout
	}
	if f.output == "text" {
		if _, err := fmt.Fprint(out, plan.text()); err != nil {
			return err
		}
	}
	if f.dryRun {
		return nil
	}
	if err := a.askRestore(ctx, f, plan); err != nil {
		return err
	}
	if a.flags.demo && f.detach {
		return usagef("", "the demo has its engine within; there is none that could go on")
	}
	w := &follower{app: a, backups: b, refs: refs, queue: []backend.TransferSpec{plan.Spec}, o: followOptions{detach: f.detach, json: f.output == "json"}}
	return w.run(ctx)
}

// askRestore asks before something is replaced.
func (a *app) askRestore(ctx context.Context, f *restoreFlags, p *restorePlan) error {
	if !p.inPlace() || f.yes {
		return nil
	}
	if !isTerminal(a.Stdin) {
		return usagef("", "restoring in place replaces what is there and there is no terminal to ask on; add --yes if you mean it, or --to NEWNAME for a copy")
	}
	return a.confirm(ctx, fmt.Sprintf("Restore %s in place?", backend.Clean(p.Point.Name)))
}
