package libvirt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"
	"golang.org/x/sync/errgroup"

	"berth/backend"
)

var _ backend.JobWatcher = (*Host)(nil)

const (
	// jobLook bounds what is asked of one domain, and jobsLook of all, once it
	// is the caller's turn and the daemon has listed them.
	jobLook  = 2 * time.Second
	jobsLook = 8 * time.Second
)

// jobKinds are virDomainJobOperation in the words of DomainJob.
var jobKinds = []string{"", "", "save", "restore", "migration", "migration", "snapshot", "snapshot", "dump", "backup", "snapshot"}

// blockKinds are virDomainBlockJobType in the words of DomainJob. A backup's
// belong to the domain's job.
var blockKinds = []string{"", "block-pull", "block-copy", "block-commit", "block-commit"}

// DomainJobs implements backend.JobWatcher. Of a domain without a job nothing
// reaches the QEMU but where its disks have a backing chain, on which a block
// job could run that libvirt tells of in no other way. One that does not answer
// is left out. Callers take turns, so that those domains cost each of them no
// more than one caller alone.
func (h *Host) DomainJobs(ctx context.Context) ([]backend.DomainJob, error) {
	const op = "look for jobs on"
	if err := h.take(ctx, h.looking); err != nil {
		return nil, h.broken(op, err)
	}
	defer func() { <-h.looking }()
	doms, err := ask(ctx, h.cheap, func(lv *libvirt.Libvirt) ([]libvirt.Domain, error) {
		list, _, err := lv.ConnectListAllDomains(1, libvirt.ConnectListDomainsActive)
		return list, err
	})
	if err != nil {
		return nil, h.broken(op, err)
	}
	ctx, cancel := context.WithTimeout(ctx, jobsLook)
	defer cancel()
	var mu sync.Mutex
	var out []backend.DomainJob
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(pipeline)
	for _, d := range doms {
		u := backend.UUID(d.UUID)
		if held, due := h.stuck.holds(u, d.ID, h.now()); held && !due {
			continue
		}
		g.Go(func() error {
			jobs, err := h.jobsOf(gctx, d)
			mu.Lock()
			defer mu.Unlock()
			out = append(out, jobs...)
			if errors.Is(err, backend.ErrTimeout) || isDaemons(err) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, h.broken(op, err)
	}
	slices.SortFunc(out, func(a, b backend.DomainJob) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Disk, b.Disk))
	})
	return out, nil
}

// jobsOf asks one domain.
func (h *Host) jobsOf(ctx context.Context, d libvirt.Domain) ([]backend.DomainJob, error) {
	ctx, cancel := context.WithTimeout(ctx, jobLook)
	defer cancel()
	s := &subject{h: h, dom: d, name: d.Name, runs: true}
	job, err := s.domainJob(ctx)
	if err != nil {
		return nil, err
	}
	var out []backend.DomainJob
	if job != nil {
		out = append(out, *job)
	}
	text, err := ask(ctx, h.jobs, func(lv *libvirt.Libvirt) (string, error) { return lv.DomainGetXMLDesc(d, 0) })
	if err != nil {
		return out, err
	}
	if s.xml, err = parseDomain(text); err != nil {
		return out, nil // what cannot be read has no jobs that could be told
	}
	for i := range s.xml.Devices.Disks {
		x := &s.xml.Devices.Disks[i]
		if x.Mirror == nil && len(x.chain()) == 0 {
			continue
		}
		b, err := s.blockJob(ctx, x)
		if err != nil {
			return out, err
		}
		if b != nil {
			out = append(out, *b)
		}
	}
	return out, nil
}

// startJob is a job of the domain's as far as it is known without asking.
func (s *subject) startJob() backend.DomainJob {
	return backend.DomainJob{Host: s.h.name, VM: s.uuid(), Name: backend.Clean(s.name), At: s.h.now()}
}

// domainJob is the domain's one job, or nil.
func (s *subject) domainJob(ctx context.Context) (*backend.DomainJob, error) {
	kind, params, err := s.jobStats(ctx, s.h.jobs)
	if err != nil || kind != libvirt.DomainJobBounded && kind != libvirt.DomainJobUnbounded {
		return nil, err
	}
	j := s.startJob()
	j.Kind = word(jobKinds, int32(valueOf(params, libvirt.DomainJobOperationStr)))
	if j.Kind == "" {
		return nil, nil // a start, or what this libvirt has no word for
	}
	if ms := valueOf(params, libvirt.DomainJobTimeElapsed); ms > 0 {
		j.Since = j.At.Add(-time.Duration(ms) * time.Millisecond)
	}
	j.Total = valueOf(params, libvirt.DomainJobDataTotal) + valueOf(params, "disk_total")
	j.Done = valueOf(params, libvirt.DomainJobDataProcessed) + valueOf(params, "disk_processed")
	if d := valueOf(params, libvirt.DomainJobDataTotal); d > 0 { // which has memory and disks in it
		j.Total, j.Done = d, valueOf(params, libvirt.DomainJobDataProcessed)
	}
	j.Rate = valueOf(params, libvirt.DomainJobMemoryBps) + valueOf(params, libvirt.DomainJobDiskBps)
	if j.Kind != "backup" {
		return &j, nil
	}
	b, err := s.backupJob(ctx)
	if err != nil || b == nil { // it has just ended
		return nil, err
	}
	j.Mine = b.mine()
	if b.Mode == "pull" { // what libvirt counts then is scratch space
		j.Done, j.Total = 0, 0
	}
	return &j, nil
}

// blockJob is the job of one disk, or nil.
func (s *subject) blockJob(ctx context.Context, x *diskXML) (*backend.DomainJob, error) {
	type info struct {
		found, kind int32
		cur, end    uint64
	}
	b, err := ask(ctx, s.h.jobs, func(lv *libvirt.Libvirt) (b info, err error) {
		b.found, b.kind, _, b.cur, b.end, err = lv.DomainGetBlockJobInfo(s.dom, x.Target.Dev, 0)
		return b, err
	})
	if isDaemons(err) || err == nil && b.found == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j := s.startJob()
	if j.Kind = word(blockKinds, b.kind); j.Kind == "" {
		return nil, nil
	}
	j.Disk, j.Done, j.Total = backend.Clean(x.Target.Dev), b.cur, b.end
	j.Ready = x.Mirror != nil && x.Mirror.Ready == "yes"
	return &j, nil
}

// AbortDomainJob implements backend.JobWatcher. A block copy that is ready is
// given up as well: the domain stays on its old image.
func (h *Host) AbortDomainJob(ctx context.Context, j backend.DomainJob) error {
	op := "end the " + j.Kind + " of"
	if err := h.writable(op, j.Name); err != nil {
		return err
	}
	d, err := h.find(ctx, j.VM)
	if err != nil {
		return failed(op, h.label(j.VM), err)
	}
	ctx, cancel := context.WithTimeout(ctx, jobWait)
	defer cancel()
	_, err = tell(ctx, h.action, func(lv *libvirt.Libvirt) (struct{}, error) {
		if j.Disk != "" {
			return struct{}{}, lv.DomainBlockJobAbort(d, j.Disk, 0)
		}
		return struct{}{}, lv.DomainAbortJob(d)
	})
	if err != nil && !hasCode(err, libvirt.ErrOperationInvalid) {
		return failed(op, j.Name, err)
	}
	if err != nil { // there is none, or it cannot be ended
		err = fmt.Errorf("%w: %w", backend.ErrState, coded(err))
	}
	return failed(op, j.Name, err)
}
