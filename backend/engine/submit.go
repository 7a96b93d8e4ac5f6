package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// Submit puts jobs in the queue, all or none, and sees to it that an engine
// runs. When only that fails, the numbers are returned with an error that wraps
// backend.ErrEngine: the jobs are in the queue.
func (c *Client) Submit(ctx context.Context, specs []backend.JobSpec) ([]backend.JobID, error) {
	jobs, err := c.drafts(ctx, specs)
	if err != nil {
		return nil, err
	}
	var ids []backend.JobID
	err = c.o.Store.Update(ctx, func(tx *store.Tx) error {
		ids = nil
		for i := range jobs {
			id, err := c.add(tx, &jobs[i])
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		j := &jobs[i].job
		c.record(j.Home, "queue-submit", j.Name, j.VM.String(), fmt.Sprintf("job %d, priority %d", id, j.Priority))
	}
	return ids, c.ensure(ctx)
}

// draft is a job that was not added yet.
type draft struct {
	job  backend.Job
	host HostSpec           // where its VM is
	max  *backend.QueueHost // what that host can give; nil: not known
}

// drafts makes jobs of what was asked for, with the sizes of the VMs as their
// hosts tell them.
func (c *Client) drafts(ctx context.Context, specs []backend.JobSpec) ([]draft, error) {
	if len(specs) == 0 {
		return nil, invalid("submit", "no VM is named")
	}
	polls := map[string]map[backend.UUID]*backend.VM{}
	var out []draft
	for i := range specs {
		spec := &specs[i]
		host, err := c.find(spec.VM.Host)
		if err != nil {
			return nil, err
		}
		if polls[spec.VM.Host] == nil {
			if polls[spec.VM.Host], err = vmsOf(ctx, host); err != nil {
				return nil, err
			}
		}
		vm := polls[spec.VM.Host][spec.VM.UUID]
		if vm == nil {
			return nil, &backend.OpError{Op: "submit", Target: named(spec), Err: fmt.Errorf("%w on %s", backend.ErrNoDomain, host.Name())}
		}
		d, err := c.draft(ctx, spec, host, vm)
		if err != nil {
			return nil, err
		}
		for j := range out {
			if out[j].job.VM == d.job.VM {
				return nil, invalid("submit "+vm.Name, "it is named twice")
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// named is the VM of a spec, for messages.
func named(spec *backend.JobSpec) string {
	if spec.Name != "" {
		return backend.Clean(spec.Name)
	}
	return spec.VM.UUID.String()
}

// find is the host of that name at hand.
func (c *Client) find(name string) (backend.Host, error) {
	for _, h := range c.o.Fleet() {
		if h.Name() == name {
			return h, nil
		}
	}
	return nil, &backend.OpError{Op: "submit", Target: name, Err: fmt.Errorf("%w: no such host is connected", backend.ErrInvalid)}
}

// vmsOf reads a host's VMs with their facts, which a first poll leaves out.
func vmsOf(ctx context.Context, h backend.Host) (map[backend.UUID]*backend.VM, error) {
	for tries := 0; ; tries++ {
		p, err := h.Poll(ctx)
		if err != nil {
			return nil, err
		}
		known := !slices.ContainsFunc(p.VMs, func(vm backend.VM) bool { return vm.FactsAt.IsZero() })
		if !known && tries < 2 {
			continue
		}
		vms := make(map[backend.UUID]*backend.VM, len(p.VMs))
		for i := range p.VMs {
			vms[p.VMs[i].UUID] = &p.VMs[i]
		}
		return vms, nil
	}
}

// draft makes one job.
func (c *Client) draft(ctx context.Context, spec *backend.JobSpec, host backend.Host, vm *backend.VM) (d draft, err error) {
	if err := checkSpec(spec, host, vm); err != nil {
		return d, err
	}
	now := c.o.Clock.Now()
	j := backend.Job{
		VM: vm.UUID, Name: backend.Clean(vm.Name), Home: host.Name(), Owner: c.o.Who,
		Size:     backend.Resources{VCPU: vm.VCPUs, Memory: vm.MemoryMax},
		Priority: spec.Priority, Nice: spec.Nice, Estimate: spec.Estimate, Limit: spec.Limit, Host: spec.Host,
		After: slices.Compact(slices.Sorted(slices.Values(spec.After))), Begin: spec.Begin, Held: spec.Hold, Preemptible: spec.Preemptible,
		State: backend.JobQueued, Since: now, Submitted: now,
	}
	if spec.Hold {
		j.State = backend.JobHeld
	}
	for _, t := range []struct {
		to   *[]string
		from []string
	}{{&j.Tags, spec.Tags}, {&j.Near, spec.Near}, {&j.Apart, spec.Apart}} {
		if *t.to, err = cleanTags(t.from); err != nil {
			return d, err
		}
	}
	if j.Size.VCPU == 0 || j.Size.Memory == 0 || vm.Disks > 0 {
		if err := sizeOf(ctx, host, &j); err != nil {
			return d, err
		}
	}
	d = draft{job: j, host: HostSpec{host.Name(), host.URI()}}
	d.max, err = c.capacity(ctx, host)
	return d, err
}

// checkSpec says what is wrong with what was asked for.
func checkSpec(spec *backend.JobSpec, host backend.Host, vm *backend.VM) error {
	op := "submit"
	switch {
	case host.ReadOnly():
		return &backend.OpError{Op: op, Target: vm.Name, Err: fmt.Errorf("%w: %s was opened read-only", backend.ErrReadOnly, host.Name()), Hint: "reconnect with --write"}
	case vm.State.Active():
		return &backend.OpError{Op: op, Target: vm.Name, Err: fmt.Errorf("%w: it is %s already", backend.ErrState, vm.State), Hint: "the queue starts VMs that are off"}
	}
	return checkValues(&spec.Priority, &spec.Nice, &spec.Estimate, &spec.Limit)
}

// sizeOf reads the VM in depth for its disks: what writable images may still
// grow is what they need of their host's storage.
func sizeOf(ctx context.Context, host backend.Host, j *backend.Job) error {
	detail, err := host.Detail(ctx, j.VM)
	if err != nil {
		return err
	}
	if j.Size.VCPU == 0 {
		j.Size.VCPU = detail.VM.VCPUs
	}
	if j.Size.Memory == 0 {
		j.Size.Memory = detail.VM.MemoryMax
	}
	j.Size.Disk = growth(&detail)
	if j.Size.VCPU == 0 || j.Size.Memory == 0 {
		return &backend.OpError{Op: "submit", Target: j.Name, Err: errors.New("its host does not tell its size"), Hint: "try again in a moment"}
	}
	return nil
}

// capacity is what a host can give, from the host itself; nil when it does not
// tell.
func (c *Client) capacity(ctx context.Context, host backend.Host) (*backend.QueueHost, error) {
	teller, ok := host.(backend.Capacitor)
	if !ok {
		return nil, nil
	}
	has, err := teller.Capacity(ctx)
	if errors.Is(err, backend.ErrUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &backend.QueueHost{Total: has.Total, Capacity: c.o.Limits(host.Name()).capacity(has)}, nil
}

// add adds one job, and its host to the queue's.
func (c *Client) add(tx *store.Tx, d *draft) (backend.JobID, error) {
	hosts, err := tx.Hosts()
	if err != nil {
		return 0, err
	}
	if err := c.enter(tx, hosts, d); err != nil {
		return 0, err
	}
	if err := c.mayRun(hosts, d); err != nil {
		return 0, err
	}
	if err := mayFollow(tx, &d.job); err != nil {
		return 0, err
	}
	id, err := tx.AddJob(d.job)
	if err != nil {
		return 0, err
	}
	return id, tx.AddEvent(backend.JobEvent{At: d.job.Submitted, Job: id, Name: d.job.Name, What: "submitted", Host: d.job.Home,
		Who: c.o.Who, Detail: describeJob(&d.job)})
}

// enter makes the VM's host one of the queue's. A host that is known under
// another name, as another console calls it, keeps that.
func (c *Client) enter(tx *store.Tx, hosts []backend.QueueHost, d *draft) error {
	for _, h := range hosts {
		if h.URI == d.host.URI {
			if d.job.Host == d.job.Home {
				d.job.Host = h.Name
			}
			d.job.Home = h.Name
			return nil
		}
	}
	for _, h := range hosts {
		if h.Name == d.host.Name {
			return &backend.OpError{Op: "submit", Target: d.job.Name,
				Err:  fmt.Errorf("%w: the queue knows another host as %s, at %s", backend.ErrInvalid, h.Name, backend.Clean(h.URI)),
				Hint: "give this one another name in the config"}
		}
	}
	return tx.PutHost(backend.QueueHost{Name: d.host.Name, URI: d.host.URI})
}

// mayRun refuses what fits no host even when that is empty, as far as the
// hosts are known.
func (c *Client) mayRun(hosts []backend.QueueHost, d *draft) error {
	j := &d.job
	known, fits := j.Host == "" || j.Host == j.Home, false
	unread := !slices.ContainsFunc(hosts, func(h backend.QueueHost) bool { return h.Name == j.Home })
	if known && (d.max != nil || unread) {
		fits = d.max == nil || everFits(j.Size, d.max)
	}
	for i := range hosts {
		h := &hosts[i]
		known = known || h.Name == j.Host
		if h.Name == j.Home && d.max != nil || j.Host != "" && h.Name != j.Host {
			continue
		}
		fits = fits || h.SeenAt.IsZero() || everFits(j.Size, h)
	}
	switch {
	case !known:
		return invalid("submit "+j.Name, "the queue has no host "+j.Host)
	case fits:
		return nil
	}
	return &backend.OpError{Op: "submit", Target: j.Name, Err: fmt.Errorf("%w even when that is empty: it needs %s", backend.ErrNeverFits, amount(j.Size)),
		Hint: "give the VM less, or the queue more: overcommit and reserves are in the config"}
}

// everFits reports whether a VM would fit a host on which nothing else runs.
// Disk space that is taken now can become free.
func everFits(r backend.Resources, h *backend.QueueHost) bool {
	return r.VCPU <= h.Capacity.VCPU && r.Memory <= h.Capacity.Memory && (h.Total.Disk == 0 || r.Disk <= h.Total.Disk)
}

// amount puts a size in words.
func amount(r backend.Resources) string {
	return fmt.Sprintf("%d vCPU, %.1f GiB of memory and %.1f GiB of disk", r.VCPU, float64(r.Memory)/(1<<30), float64(r.Disk)/(1<<30))
}

// mayFollow checks what a job depends on.
func mayFollow(tx *store.Tx, j *backend.Job) error {
	for _, id := range j.After {
		other, err := tx.Job(id)
		if err != nil {
			return err
		}
		if other.State.Ended() && other.State != backend.JobDone {
			return refuse("submit "+j.Name+" after", &other, "that job has not ended well, so this one would never start")
		}
	}
	return nil
}

// describeJob puts what a person asked for in words.
func describeJob(j *backend.Job) string {
	w := []string{fmt.Sprintf("priority %d", j.Priority)}
	add := func(wanted bool, format string, args ...any) {
		if wanted {
			w = append(w, fmt.Sprintf(format, args...))
		}
	}
	add(j.Estimate > 0, "estimate %s", short(j.Estimate))
	add(j.Limit > 0, "limit %s", short(j.Limit))
	add(j.Host != "", "on %s", j.Host)
	add(len(j.After) > 0, "after %v", j.After)
	add(!j.Begin.IsZero(), "from %s", j.Begin.Format(time.DateTime))
	add(j.Held, "held")
	add(j.Preemptible, "preemptible")
	add(len(j.Tags) > 0, "tags %s", strings.Join(j.Tags, ","))
	return strings.Join(w, ", ")
}
