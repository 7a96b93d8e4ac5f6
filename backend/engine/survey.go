package engine

import (
	"slices"
	"time"

	"berth/backend"
)

// survey is what a turn goes by: the book and, of each host, the latest view.
type survey struct {
	e     *Engine
	book  *book
	views map[string]*view
	offs  map[string]time.Time
	front int64
}

// survey reads the hosts' views and enters them in the book's hosts.
func (e *Engine) survey(b *book, offs map[string]time.Time) *survey {
	s := &survey{e: e, book: b, views: map[string]*view{}, offs: offs}
	cares := map[string]map[backend.UUID]string{}
	for name, a := range e.agents {
		s.views[name] = a.now()
		cares[name] = map[backend.UUID]string{}
	}
	for i := range b.jobs {
		j := &b.jobs[i]
		s.front = max(s.front, j.Front)
		e.expect(j.ID)
		if j.State.Holds() && cares[j.RunsOn] != nil {
			cares[j.RunsOn][j.VM] = b.notes[j.ID].Boot
		}
	}
	for name, a := range e.agents {
		a.care(cares[name])
	}
	for i := range b.hosts {
		s.host(&b.hosts[i])
	}
	return s
}

// expect has the hosts read for a job that is new here: what was read before
// it came may not tell of it.
func (e *Engine) expect(id backend.JobID) {
	if e.needs[id] == nil {
		e.needs[id] = map[string]int64{}
	}
	for name, a := range e.agents {
		if _, ok := e.needs[id][name]; !ok {
			e.needs[id][name] = a.lookOnce()
		}
	}
}

// host enters what was seen of a host.
func (s *survey) host(h *backend.QueueHost) {
	v := s.views[h.Name]
	if v == nil { // its connection could not be made
		return
	}
	down := !v.down.IsZero()
	if down != h.Down {
		h.Down, h.Since = down, s.book.now
	}
	h.Trouble = v.why
	if !down {
		h.Trouble = ""
	}
	if !v.up() || !v.known {
		return
	}
	h.SeenAt = v.at
	h.Total = v.has.Total
	h.Capacity = s.e.o.Limits(h.Name).capacity(v.has)
	h.Outside = s.outside(h.Name, v)
}

// outside is what VMs outside the queue have taken on a host.
func (s *survey) outside(host string, v *view) (sum backend.Resources) {
	ours := map[backend.UUID]bool{}
	for i := range s.book.jobs {
		if j := &s.book.jobs[i]; j.State.Holds() && j.RunsOn == host {
			ours[j.VM] = true
		}
	}
	for u, vm := range v.vms {
		taken := vm.State.Active() || vm.State == backend.Crashed && vm.ID >= 0
		if taken && !ours[u] {
			sum = sum.Plus(backend.Resources{VCPU: vm.VCPUs, Memory: vm.MemoryMax})
		}
	}
	return sum
}

// read reports whether a host was read after the job needs it to be.
func (s *survey) read(id backend.JobID, host string) bool {
	v := s.views[host]
	return v.up() && v.seq >= s.e.needs[id][host]
}

// sight is what is seen of a job's VM; false when it is too early to tell.
func (s *survey) sight(j *backend.Job, n note) (sight, bool) {
	see := sight{done: s.e.done[j.ID], front: s.front + 1}
	see.ready, _, see.broken, see.how = s.book.depends(j)
	waits := !j.State.Holds()
	if !s.elsewhere(j, n, &see, waits) && waits {
		return see, false
	}
	see.others = s.othersKnown(j, n)
	see.gone = s.isGone(j, n)
	if waits {
		return see, true
	}
	v := s.views[j.RunsOn]
	if v == nil { // its host was taken out of the queue
		v = &view{down: j.Since}
	}
	see.down, see.boot = v.down, v.has.Boot
	_, see.off = s.offs[j.RunsOn]
	see.fence = len(s.e.o.Limits(j.RunsOn).Fence) > 0
	see.fresh = s.read(j.ID, j.RunsOn)
	see.vm, see.last = v.vms[j.VM], v.last[j.VM]
	see.roams = j.Host == "" && len(n.Fits) > 1 && slices.ContainsFunc(n.Fits, func(h string) bool { return h != j.RunsOn && !n.Barred[h] })
	return see, true
}

// elsewhere looks for the job's VM on all hosts but its own; on all when it
// has none. It reports whether every host that can be asked was read since.
func (s *survey) elsewhere(j *backend.Job, n note, see *sight, waits bool) (all bool) {
	all = true
	saved := ""
	for name, v := range s.views {
		if !waits && name == j.RunsOn {
			continue
		}
		if v.down.IsZero() && !s.read(j.ID, name) { // it is being asked for the first time, or again
			if related(j, n, name) { // a slow host that never had it is not waited for
				all = false
			}
			continue
		}
		vm := v.vms[j.VM]
		if !v.up() || vm == nil {
			continue
		}
		see.seen = append(see.seen, name)
		if vm.ManagedSave {
			saved = name
		}
		if vm.State.Active() && (see.away == nil || see.away.State == backend.Paused) {
			see.away, see.awayBoot = vm, v.has.Boot
		}
	}
	slices.Sort(see.seen)
	see.fits = s.fits(j, n, see.seen, saved)
	return all
}

// related reports whether the job's VM was ever known to be on a host.
func related(j *backend.Job, n note, host string) bool {
	return host == j.Home || host == n.Asked || host == j.RunsOn || slices.Contains(n.Seen, host) || slices.Contains(n.Fits, host)
}

// othersKnown reports whether every other host on which the VM was ever seen
// was read, or is off for sure: what is not seen there does not run there.
func (s *survey) othersKnown(j *backend.Job, n note) bool {
	for _, name := range append([]string{j.Home}, n.Seen...) {
		if j.State.Holds() && name == j.RunsOn {
			continue
		}
		v := s.views[name]
		if v == nil { // it was taken out of the queue
			continue
		}
		if _, off := s.offs[name]; off && !v.down.IsZero() {
			continue
		}
		if !s.read(j.ID, name) {
			return false
		}
	}
	return true
}

// outOfSight reports whether a host on which the VM was seen cannot be asked.
func (s *survey) outOfSight(j *backend.Job, n note) bool {
	return slices.ContainsFunc(append([]string{j.Home}, n.Seen...), func(name string) bool {
		_, off := s.offs[name]
		v := s.views[name]
		return v != nil && !v.down.IsZero() && !off
	})
}

// isGone reports whether the VM is defined nowhere any more.
func (s *survey) isGone(j *backend.Job, n note) bool {
	for _, name := range append([]string{j.Home}, n.Seen...) {
		if v := s.views[name]; v != nil && (!s.read(j.ID, name) || v.vms[j.VM] != nil) {
			return false
		}
	}
	for _, v := range s.views {
		if v.up() && v.vms[j.VM] != nil {
			return false
		}
	}
	return true
}

// fits are the hosts that could run the VM, as far as is known: one that holds
// its saved state, else those where it is defined or could be. Of hosts that
// cannot be asked the last word holds.
func (s *survey) fits(j *backend.Job, n note, seen []string, saved string) []string {
	if saved != "" {
		return []string{saved}
	}
	fits := slices.Clone(seen)
	for name, v := range s.views {
		could := false
		if v.up() {
			could = s.e.reachable(j, name)
		} else {
			could = slices.Contains(n.Fits, name)
		}
		if could && !slices.Contains(fits, name) {
			fits = append(fits, name)
		}
	}
	slices.Sort(fits)
	return fits
}
