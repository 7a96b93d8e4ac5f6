package cli

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
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
	fl.StringVarP(&f.output, "output", "o", "text", "`FORMAT`: text or json")
	completeFlag(cmd, "output", fixed("text", "json"))
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
		if !path.IsAbs(file) {
			whole, err := filepath.Abs(file)
			if err != nil {
				return nil, fmt.Errorf("--disk %s: %w", backend.Clean(text), err)
			}
			file = whole
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
	fl, err := a.openFleet(ctx)
	if err != nil {
		return err
	}
	defer func() { err = closeAll(err, fl) }()
	if err := a.needHosts(fl); err != nil {
		return err
	}
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

// restorePlan is what a restore would do.
type restorePlan struct {
	Point *backend.Point
	Host  string
	Spec  backend.TransferSpec
	Now   *model.Row // the VM as it is; nil: it is not there
	Disks []restoreDisk
}

// restoreDisk is where one disk goes.
type restoreDisk struct {
	backend.PointDisk
	To     string // empty: into the pool, where the engine finds its folder
	Format string
}

func (a *app) planRestore(ctx context.Context, fl *fleet, f *restoreFlags, p *backend.Point) (*restorePlan, error) {
	paths, err := f.paths(p)
	if err != nil {
		return nil, err
	}
	host, err := restoreHost(fl, f.host, p.Host)
	if err != nil {
		return nil, err
	}
	if host.ReadOnly() {
		return nil, fmt.Errorf("%w: %s was opened without permission to change anything", backend.ErrReadOnly, host.Name())
	}
	rows, err := gatherHost(ctx, host, depthState)
	if err != nil {
		return nil, hostError(gathered{host: host, err: err})
	}
	plan := &restorePlan{Point: p, Host: host.Name(), Spec: backend.TransferSpec{
		Kind: backend.TransferRestore, VM: backend.Key{Host: host.Name(), UUID: p.VM}, Name: p.Name, Limit: int64(f.limit),
		Restore: backend.RestoreSpec{Point: p.ID, NewName: f.to, Pool: f.pool, Disks: paths, DisksOnly: f.disksOnly, Format: f.format, Start: f.start},
	}}
	if f.to != "" {
		plan.Spec.Name = f.to
	}
	for _, r := range rows {
		switch {
		case f.to != "" && r.Name == f.to:
			return nil, &backend.OpError{Op: "restore", Target: backend.Clean(f.to), Err: fmt.Errorf("%w: %s has a VM of that name", backend.ErrBusy, host.Name()), Hint: "choose another name for --to"}
		case r.UUID == p.VM && f.to == "" && !f.disksOnly:
			plan.Now = r
		}
	}
	if plan.Now != nil && plan.Now.State.Active() {
		return nil, &backend.OpError{Op: "restore", Target: backend.Clean(p.Name), Err: fmt.Errorf("%w: it is %s", backend.ErrState, plan.Now.State.Word()),
			Hint: "shut it down first, or restore a copy with --to NEWNAME"}
	}
	plan.disks(f, paths)
	return plan, nil
}

// restoreHost is the host that is named, else the one that the VM was on, else
// the only one.
func restoreHost(fl *fleet, name, was string) (backend.Host, error) {
	var names []string
	for _, h := range fl.hosts {
		names = append(names, h.Name())
		if h.Name() == name || name == "" && h.Name() == was {
			return h, nil
		}
	}
	switch {
	case name != "":
		return nil, usagef("", "there is no host %q (hosts: %s)", backend.Clean(name), strings.Join(names, " "))
	case len(fl.hosts) == 1:
		return fl.hosts[0], nil
	}
	return nil, usagef("", "it was on %s, which is not among the hosts; say where with --host (hosts: %s)", backend.Clean(was), strings.Join(names, " "))
}

// disks says where the engine will put them.
func (p *restorePlan) disks(f *restoreFlags, paths map[string]string) {
	for _, d := range p.Point.Disks {
		to, named := paths[d.Target]
		if f.disksOnly && len(paths) > 0 && !named {
			continue
		}
		format := f.format
		if format == "" {
			format = d.Format
		}
		if !named && f.pool == "" && f.to == "" {
			to = d.Path
		}
		if !named && f.pool == "" && f.to != "" {
			to = path.Dir(d.Path) + "/" + f.to + "-" + d.Target + ".…"
		}
		p.Disks = append(p.Disks, restoreDisk{PointDisk: d, To: to, Format: format})
	}
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

// inPlace reports whether something that is there is replaced.
func (p *restorePlan) inPlace() bool {
	return p.Spec.Restore.NewName == "" && !p.Spec.Restore.DisksOnly
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

// text is the summary.
func (p *restorePlan) text() string {
	var b strings.Builder
	s := &p.Spec.Restore
	at := p.Point.At.Local()
	fmt.Fprintf(&b, "Restore %s as of %s, %s ago, on %s", p.Point.Name, at.Format(time.DateTime), model.Duration(max(0, time.Since(at))), p.Host)
	switch {
	case s.DisksOnly:
		b.WriteString(": images alone, no VM is defined.\n")
	case s.NewName != "":
		fmt.Fprintf(&b, " as %s, a copy with a new UUID and new MAC addresses.\n", s.NewName)
	case p.Now == nil:
		b.WriteString(", where it is not defined any more.\n")
	default:
		b.WriteString(" in place; it is off.\nIts definition is replaced, and its images are set aside before.\n")
	}
	if p.Point.Damaged != "" {
		fmt.Fprintf(&b, "This point is DAMAGED: %s\n", p.Point.Damaged)
	}
	for _, d := range p.Disks {
		to := d.To
		if to == "" {
			to = "pool " + s.Pool
		}
		fmt.Fprintf(&b, "  %s  %s of data in %s, %s  →  %s\n", d.Target, model.Bytes(float64(d.Data)), model.Bytes(float64(d.Size)), d.Format, to)
	}
	if s.Start {
		b.WriteString("Then it is started.\n")
	}
	return backend.CleanLines(b.String())
}

// restoreRecord is the summary in JSON.
type restoreRecord struct {
	Point   string              `json:"point"`
	Name    string              `json:"name"`
	To      string              `json:"to"`
	Host    string              `json:"host"`
	At      *string             `json:"at"`
	InPlace bool                `json:"in_place"`
	Defined bool                `json:"defined"` // the VM is there
	Start   bool                `json:"start"`
	Disks   []restoreDiskRecord `json:"disks"`
}

type restoreDiskRecord struct {
	Disk   string `json:"disk"`
	Path   string `json:"path"`
	Pool   string `json:"pool"`
	Format string `json:"format"`
	Size   int64  `json:"size_bytes"`
	Data   int64  `json:"data_bytes"`
}

func (p *restorePlan) record() restoreRecord {
	s := &p.Spec.Restore
	rec := restoreRecord{Point: p.Point.ID, Name: backend.Clean(p.Point.Name), To: s.NewName, Host: backend.Clean(p.Host), At: stamp(p.Point.At),
		InPlace: p.inPlace(), Defined: p.Now != nil, Start: s.Start, Disks: []restoreDiskRecord{}}
	for _, d := range p.Disks {
		rec.Disks = append(rec.Disks, restoreDiskRecord{backend.Clean(d.Target), backend.Clean(d.To), backend.Clean(s.Pool), backend.Clean(d.Format), d.Size, d.Data})
	}
	return rec
}
