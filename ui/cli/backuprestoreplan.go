package cli

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/engine/backup"
	"berth/model"
)

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
	for target, file := range paths {
		if !path.IsAbs(file) {
			return nil, usagef("", "--disk %s: write an absolute path, for it is the host's", backend.Clean(target+"="+file))
		}
		paths[target] = path.Clean(file)
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
		if !named && f.pool == "" {
			to = backup.RestoredPath(&p.Spec.Restore, &d, "")
		}
		p.Disks = append(p.Disks, restoreDisk{PointDisk: d, To: to, Format: backup.RestoredFormat(&p.Spec.Restore, d.Format)})
	}
}

// inPlace reports whether something that is there is replaced.
func (p *restorePlan) inPlace() bool {
	return p.Spec.Restore.NewName == "" && !p.Spec.Restore.DisksOnly
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
