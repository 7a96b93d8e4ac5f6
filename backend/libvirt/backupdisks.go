package libvirt

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"

	"berth/backend"
)

// questionWait bounds one question of a backup's.
const questionWait = 15 * time.Second

// subject is a domain that is being looked at for a backup.
type subject struct {
	h    *Host
	dom  libvirt.Domain
	name string
	text string // the definition: live while it runs
	xml  *domainXML
	runs bool
	// The state and reason of virDomainGetState.
	state, reason int32
}

// subject looks at a domain anew.
func (h *Host) subject(ctx context.Context, u backend.UUID) (*subject, error) {
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	s, err := ask(ctx, h.backup, func(lv *libvirt.Libvirt) (*subject, error) {
		d, err := lv.DomainLookupByUUID(libvirt.UUID(u))
		if err != nil {
			return nil, err
		}
		s := &subject{h: h, dom: d, name: d.Name}
		if s.state, s.reason, err = lv.DomainGetState(d, 0); err != nil {
			return nil, err
		}
		s.runs = stateOf(s.state).Active()
		s.text, err = lv.DomainGetXMLDesc(d, 0)
		return s, err
	})
	if err != nil {
		return nil, err
	}
	s.xml, err = parseDomain(s.text)
	return s, err
}

// BackupFacts implements backend.Backuper.
func (h *Host) BackupFacts(ctx context.Context, u backend.UUID) (backend.BackupFacts, error) {
	const op = "look at the disks of"
	var f backend.BackupFacts
	if err := h.know(ctx, u); err != nil {
		return f, failed(op, h.label(u), err)
	}
	s, err := h.subject(ctx, u)
	if err != nil {
		return f, failed(op, h.label(u), err)
	}
	f.VM, _ = h.table.vm(u, h.name)
	_, f.Agent = s.xml.Devices.agent()
	f.Agent = f.Agent && s.runs
	if f.Disks, err = s.disks(ctx); err != nil {
		return f, failed(op, s.name, err)
	}
	list, err := s.checkpoints(ctx)
	if err != nil && !unsupported(err) {
		return f, failed(op, s.name, err)
	}
	for _, c := range list {
		f.Checkpoints = append(f.Checkpoints, backend.Clean(c.Name))
	}
	if s.runs {
		f.Job, err = s.job(ctx)
	}
	return f, failed(op, s.name, err)
}

// disks lists the domain's disks and why some are left out.
func (s *subject) disks(ctx context.Context) ([]backend.BackupDisk, error) {
	out := make([]backend.BackupDisk, 0, len(s.xml.Devices.Disks))
	for i := range s.xml.Devices.Disks {
		d, err := s.disk(ctx, &s.xml.Devices.Disks[i])
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func (s *subject) disk(ctx context.Context, x *diskXML) (backend.BackupDisk, error) {
	d := backend.BackupDisk{Target: backend.Clean(x.Target.Dev), Path: backend.Clean(x.Source.place()), Format: x.Driver.Type}
	if d.Format == "" || !plainWord(d.Format) {
		d.Format = "raw" // libvirt's own default: images are not probed
	}
	d.Skip = x.skip(s.runs)
	if d.Skip == "" && d.Path != x.Source.place() {
		d.Skip = "a path with characters that cannot be shown"
	}
	if d.Skip != "" {
		return d, nil
	}
	var err error
	if d.Path, err = s.place(ctx, x); err == nil {
		d.Size, err = s.size(ctx, x)
	}
	if err != nil {
		return d, fmt.Errorf("disk %s: %w", d.Target, coded(err))
	}
	return d, nil
}

// place is the path of a disk's image, or what else names it.
func (s *subject) place(ctx context.Context, x *diskXML) (string, error) {
	if x.Source.Pool == "" {
		return x.Source.place(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	v, err := s.h.volumeOf(ctx, &x.Source)
	if err != nil {
		return "", err
	}
	return ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) (string, error) { return lv.StorageVolGetPath(v) })
}

// size is how many bytes the guest sees. Of a domain that is off libvirt does
// not follow volumes.
func (s *subject) size(ctx context.Context, x *diskXML) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	if x.Source.Pool != "" && !s.runs {
		v, err := s.h.volumeOf(ctx, &x.Source)
		if err != nil {
			return 0, err
		}
		return ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) (int64, error) {
			_, capacity, _, err := lv.StorageVolGetInfo(v)
			return int64(capacity), err
		})
	}
	return ask(ctx, s.h.backup, func(lv *libvirt.Libvirt) (int64, error) {
		_, capacity, _, err := lv.DomainGetBlockInfo(s.dom, x.Target.Dev, 0)
		return int64(capacity), err
	})
}

// plainWord reports whether s can be the name of a format or a device.
func plainWord(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// skip says why a disk is not backed up, or nothing.
func (x *diskXML) skip(runs bool) string {
	s := &x.Source
	switch {
	case x.Device != "" && x.Device != "disk":
		return x.Device
	case x.ReadOnly != nil:
		return "read-only"
	case s.place() == "" && x.Type != "nvme" && x.Type != "vhostuser" && x.Type != "vhostvdpa":
		return "no media"
	case x.Shareable != nil:
		return "shareable: other VMs may write to it, so it is of no one moment"
	case s.File == "" && s.Dev == "" && s.Pool == "" && s.Protocol == "":
		return "a source of type " + backend.Clean(x.Type) + ", which cannot be read"
	case !plainWord(x.Target.Dev):
		return "a name that cannot be used"
	case runs:
		return ""
	case s.Protocol != "":
		return "on the network: it can be read only while the VM runs"
	case x.Source.Encryption != nil || x.Encryption != nil:
		return "encrypted: it can be read only while the VM runs"
	}
	return ""
}

// operations are virDomainJobOperation, in words.
var operations = []string{"a job", "a start", "a save", "a restore", "an incoming migration", "a migration",
	"a snapshot", "a revert to a snapshot", "a dump", "a backup", "the deletion of a snapshot"}

// job says what is under way on a running domain: libvirt runs one job of the
// domain's at a time, and refuses a backup while a disk has one of its own.
func (s *subject) job(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, questionWait)
	defer cancel()
	if j, err := s.backupJob(ctx); err != nil {
		return "", err
	} else if j != nil {
		return j.words(), nil
	}
	for i := range s.xml.Devices.Disks {
		d := &s.xml.Devices.Disks[i]
		if d.Mirror != nil {
			return "a block " + backend.Clean(d.Mirror.job()) + " of " + backend.Clean(d.Target.Dev), nil
		}
	}
	kind, params, err := s.jobStats(ctx, s.h.backup)
	if err != nil || kind == libvirt.DomainJobNone {
		return "", err
	}
	return word(operations, int32(valueOf(params, libvirt.DomainJobOperationStr))), nil
}

// backupOperation says of a job that it is a backup: all that is known of one
// that is beginning (libvirt's qemuBackupGetJobInfoStats, "backup job data missing").
var backupOperation = libvirt.TypedParam{Field: libvirt.DomainJobOperationStr, Value: *libvirt.NewTypedParamValueInt(int32(libvirt.DomainJobOperationStrBackup))}

// jobStats may wait for whatever holds the domain as long as ctx lasts, and so
// says which lane it is that waits.
func (s *subject) jobStats(ctx context.Context, l *lane) (libvirt.DomainJobType, []libvirt.TypedParam, error) {
	type stats struct {
		kind   int32
		params []libvirt.TypedParam
	}
	st, err := ask(ctx, l, func(lv *libvirt.Libvirt) (st stats, err error) {
		st.kind, st.params, err = lv.DomainGetJobStats(s.dom, 0)
		return st, err
	})
	if err != nil && strings.Contains(coded(err).Error(), "backup job data missing") {
		return libvirt.DomainJobUnbounded, []libvirt.TypedParam{backupOperation}, nil
	}
	if unsupported(err) || hasCode(err, libvirt.ErrOperationInvalid) { // another driver, or it is off
		return libvirt.DomainJobNone, nil, nil
	}
	return libvirt.DomainJobType(st.kind), st.params, err
}

// folder is where a disk's image lies, or "" when it has none.
func folder(x *diskXML, at string) string {
	if x.Source.File == "" && x.Source.Pool == "" || !path.IsAbs(at) || path.Dir(at) == "/dev" {
		return ""
	}
	return path.Dir(at)
}
