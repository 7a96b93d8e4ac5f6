package engine

import (
	"cmp"
	"maps"
	"slices"
	"strings"
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
	ours  map[string]map[backend.UUID]string // by host: the VMs of jobs with a berth there, and the boot they were started in
	found map[backend.UUID][]sighting        // of the VMs of all jobs
	twins map[string]string                  // hosts that are another one under a second address, and that one
}

// sighting is a VM on one host.
type sighting struct {
	host string
	vm   *backend.VM
}

// survey reads the hosts' views and enters them in the book's hosts.
func (e *Engine) survey(b *book, offs map[string]time.Time) *survey {
	s := &survey{e: e, book: b, views: make(map[string]*view, len(e.agents)), offs: offs,
		ours: make(map[string]map[backend.UUID]string, len(e.agents)), found: make(map[backend.UUID][]sighting, len(b.jobs))}
	e.news.join(b, e.agents)
	for i := range b.jobs {
		j := &b.jobs[i]
		s.front = max(s.front, j.Front)
		s.found[j.VM] = nil
		if j.State.Holds() {
			s.own(j)
		}
	}
	for name, v := range e.missing {
		s.views[name] = v
	}
	for name, a := range e.agents {
		a.care(s.ours[name])
		s.views[name] = a.now()
	}
	s.dropTwins()
	for name, v := range s.views {
		for u, vm := range v.vms {
			if list, queued := s.found[u]; queued {
				s.found[u] = append(list, sighting{name, vm})
			}
		}
	}
	for i := range b.hosts {
		s.host(&b.hosts[i])
	}
	return s
}

// own notes that a job has a berth.
func (s *survey) own(j *backend.Job) {
	if s.ours[j.RunsOn] == nil {
		s.ours[j.RunsOn] = map[backend.UUID]string{}
	}
	s.ours[j.RunsOn][j.VM] = s.book.notes[j.ID].Boot
}

// recount finds out anew what runs outside the queue, once rows were changed: a
// VM whose job has given up its berth may run on, and takes its room still.
func (s *survey) recount() {
	clear(s.ours)
	for i := range s.book.jobs {
		if j := &s.book.jobs[i]; j.State.Holds() {
			s.own(j)
		}
	}
	for i := range s.book.hosts {
		h := &s.book.hosts[i]
		if v := s.views[h.Name]; v.up() && s.twins[h.Name] == "" {
			h.Outside = s.outside(h.Name, v)
		}
	}
}

// dropTwins looks for hosts that are one machine under two addresses. Its room
// is there once, and its VMs run once, so one of them is left out: the one
// where no job has a berth, else the later by name.
func (s *survey) dropTwins() {
	s.twins = map[string]string{}
	boots := map[string]string{}
	names := slices.SortedFunc(maps.Keys(s.views), func(a, b string) int {
		return cmp.Or(cmp.Compare(min(len(s.ours[b]), 1), min(len(s.ours[a]), 1)), cmp.Compare(a, b))
	})
	for _, name := range names {
		v := s.views[name]
		if !v.up() || v.has.Boot == "" || strings.HasPrefix(v.has.Boot, bootPrefix) {
			continue
		}
		first, known := boots[v.has.Boot]
		switch {
		case !known:
			boots[v.has.Boot] = name
		case len(s.ours[name]) == 0 && haveCommon(s.views[first].vms, v.vms):
			s.twins[name] = first
			delete(s.views, name)
		}
	}
}

// haveCommon reports whether both have a VM in common: two daemons of one machine,
// such as a person's own and the system's, have none.
func haveCommon(a, b map[backend.UUID]*backend.VM) bool {
	for u := range a {
		if b[u] != nil {
			return true
		}
	}
	return false
}

// host enters what was seen of a host.
func (s *survey) host(h *backend.QueueHost) {
	v := s.views[h.Name]
	if of := s.twins[h.Name]; of != "" {
		h.Down, h.Trouble = true, "it is the same machine as "+of+": take one of them out of the queue"
		return
	}
	if v == nil {
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
	for u, vm := range v.vms {
		taken := vm.State.Active() || vm.State == backend.Crashed && vm.ID >= 0
		if _, ours := s.ours[host][u]; taken && !ours {
			sum = sum.Plus(backend.Resources{VCPU: vm.VCPUs, Memory: vm.MemoryMax})
		}
	}
	return sum
}

// read reports whether a host was read after the job needs it to be.
func (s *survey) read(id backend.JobID, host string) bool {
	v := s.views[host]
	return v.up() && s.e.news.tells(id, host, v.seq)
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
	see.recent = s.since(later(n.Both, n.Left))
	if waits {
		return see, true
	}
	v := s.views[j.RunsOn]
	if v == nil { // its host was taken out of the queue
		v = &view{down: j.Since}
	}
	see.down, see.boot = v.down, v.has.Boot
	_, see.off = s.offs[j.RunsOn]
	see.fence = s.mayFence(j.RunsOn, v)
	see.fresh = s.read(j.ID, j.RunsOn)
	see.vm, see.last = v.vms[j.VM], v.last[j.VM]
	see.roams = j.Host == "" && len(n.Fits) > 1 && slices.ContainsFunc(n.Fits, func(h string) bool { return h != j.RunsOn && !n.Barred[h] })
	return see, true
}

// mayFence reports whether a host that cannot be asked may have its power cut.
// One that turns us away is alive, and at one that a person has drained
// somebody is at work.
func (s *survey) mayFence(host string, v *view) bool {
	drained := slices.ContainsFunc(s.book.hosts, func(h backend.QueueHost) bool { return h.Name == host && h.Drained })
	return v.dead && !drained && s.e.agents[host] != nil && len(s.e.o.Limits(host).Fence) > 0
}

// elsewhere looks for the job's VM on all hosts but its own; on all when it
// has none. It reports whether every host that ever had it, and can be asked,
// was read since: a slow host that never had it is not waited for.
func (s *survey) elsewhere(j *backend.Job, n note, see *sight, waits bool) (all bool) {
	all = true
	for _, name := range related(j, n) {
		v := s.views[name]
		if v != nil && v.down.IsZero() && !s.read(j.ID, name) && (waits || name != j.RunsOn) {
			all = false
		}
	}
	saved := ""
	for _, f := range s.found[j.VM] {
		v := s.views[f.host]
		if !s.read(j.ID, f.host) || !waits && f.host == j.RunsOn {
			continue
		}
		see.seen = append(see.seen, f.host)
		if !f.vm.FactsAt.IsZero() && (see.is == nil || f.host == j.Home) {
			see.is = f.vm
		}
		if f.vm.ManagedSave {
			saved = f.host
		}
		if f.vm.State.Active() && (see.away == nil || see.away.State == backend.Paused) {
			see.away, see.awayBoot = f.vm, v.has.Boot
		}
	}
	slices.Sort(see.seen)
	if v := s.views[n.Saved]; saved == "" && v != nil && !s.read(j.ID, n.Saved) {
		saved = n.Saved // nobody has seen that it is gone
	}
	see.saved = saved
	if waits {
		see.fits = s.fits(j, n, see.seen, saved)
	}
	return all
}

// related are the hosts on which the job's VM was ever known to be, or could be.
func related(j *backend.Job, n note) []string {
	names := append([]string{j.Home, n.Asked, j.RunsOn}, n.Seen...)
	return append(names, n.Fits...)
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

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// since reports whether all hosts that can be asked were read after that time,
// and has those read again that were not.
func (s *survey) since(at time.Time) (all bool) {
	all = true
	if at.IsZero() {
		return all
	}
	for name, v := range s.views {
		if v.down.IsZero() && !v.at.After(at) {
			all = false
			s.e.agents[name].look()
		}
	}
	return all
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
		if v := s.views[name]; v != nil && !s.read(j.ID, name) {
			return false
		}
	}
	return len(s.found[j.VM]) == 0
}

// fits are the hosts that could run the VM, as far as is known: one that holds
// its saved state, else those where it is defined or could be. Of hosts that
// cannot be asked the last word holds.
func (s *survey) fits(j *backend.Job, n note, seen []string, saved string) []string {
	if saved != "" {
		return []string{saved}
	}
	fits := slices.Clone(seen)
	for _, name := range n.Fits {
		if !s.views[name].up() && s.views[name] != nil && !slices.Contains(fits, name) {
			fits = append(fits, name)
		}
	}
	if j.Position <= reachMost {
		for name, v := range s.views {
			if v.up() && !slices.Contains(fits, name) && s.e.reachable(j, name) {
				fits = append(fits, name)
			}
		}
	}
	slices.Sort(fits)
	return fits
}
