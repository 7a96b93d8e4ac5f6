package backup

import (
	"cmp"
	"context"
	"slices"
	"time"

	"berth/backend"
)

// load is what runs where.
type load struct {
	hosts   map[string]int // transfers at work on a host
	writers map[string]int // in a repository
	alone   map[string]bool
	vms     map[backend.Key]bool
}

// vmOf is the VM that a transfer must have for itself; zero when it needs none.
func vmOf(s *backend.TransferSpec) backend.Key {
	switch s.Kind {
	case backend.TransferBackup, backend.TransferRestore:
		return s.VM
	}
	return backend.Key{}
}

// add counts a transfer. One that is paused holds its VM and nothing else.
func (l *load) add(s *backend.TransferSpec, paused bool) {
	if vm := vmOf(s); !vm.UUID.IsZero() {
		l.vms[vm] = true
	}
	if s.Kind == backend.TransferForget {
		l.alone[s.Repo.URL] = true
	}
	if paused {
		return
	}
	if usesHost(s.Kind) {
		l.hosts[s.VM.Host]++
	}
	if s.Kind == backend.TransferBackup {
		l.writers[s.Repo.URL]++
	}
}

// usesHost reports whether a transfer puts load on a host.
func usesHost(k backend.TransferKind) bool {
	switch k {
	case backend.TransferVerify, backend.TransferForget:
		return false
	}
	return true
}

// fits reports whether a transfer may begin beside what runs.
func (m *Manager) fits(l *load, s *backend.TransferSpec) bool {
	if vm := vmOf(s); !vm.UUID.IsZero() && l.vms[vm] {
		return false
	}
	if usesHost(s.Kind) && l.hosts[s.VM.Host] >= m.o.PerHost {
		return false
	}
	switch s.Kind {
	case backend.TransferBackup:
		return l.writers[s.Repo.URL] < m.o.PerRepo && !l.alone[s.Repo.URL]
	case backend.TransferForget: // pruning needs the repository for itself
		return l.writers[s.Repo.URL] == 0 && !l.alone[s.Repo.URL]
	}
	return true
}

// admit starts what may run now, and says when to look again for what waits.
func (m *Manager) admit(ctx context.Context, b *books) (wake time.Time, err error) {
	running := m.active()
	l := load{hosts: map[string]int{}, writers: map[string]int{}, alone: map[string]bool{}, vms: map[backend.Key]bool{}}
	var waiting []backend.Transfer
	for _, x := range b.transfers {
		switch r := running[x.ID]; {
		case r != nil:
			l.add(&x.Spec, r.paused)
		case b.notes[x.ID].End == "" && (x.Pause || x.Cancel):
		case x.NextTry.After(b.now):
			wake = earlier(wake, x.NextTry)
			if n := b.notes[x.ID]; n.began() { // its session may live on: the VM is not free
				l.vms[vmOf(&x.Spec)] = true
			}
		default:
			waiting = append(waiting, x)
		}
	}
	blocked := map[string]bool{} // repositories that a forget waits for
	for _, x := range m.inTurn(waiting, &l) {
		s := &x.Spec
		if s.Kind == backend.TransferBackup && blocked[s.Repo.URL] {
			continue
		}
		if !m.fits(&l, s) {
			// Those behind it do not overtake one that needs the repository for
			// itself, or it would never come to that.
			blocked[s.Repo.URL] = blocked[s.Repo.URL] || s.Kind == backend.TransferForget
			continue
		}
		l.add(s, false)
		if err := m.start(ctx, x, b.notes[x.ID]); err != nil {
			return wake, err
		}
	}
	return wake, m.refuse(ctx, b, running)
}

// inTurn puts those that wait in the order in which they may begin: what was
// under way already, then what people ordered, then what schedules did; among
// these hosts that have less to do come first, so that a host with many VMs does
// not keep the others waiting.
func (m *Manager) inTurn(waiting []backend.Transfer, l *load) []backend.Transfer {
	rank := func(x *backend.Transfer) int {
		switch {
		case x.Attempts > 0:
			return 0
		case x.Spec.Schedule == 0:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(waiting, func(a, b backend.Transfer) int {
		return cmp.Or(cmp.Compare(rank(&a), rank(&b)), cmp.Compare(l.hosts[a.Spec.VM.Host], l.hosts[b.Spec.VM.Host]), a.Ordered.Compare(b.Ordered), cmp.Compare(a.ID, b.ID))
	})
	return waiting
}

// refuse ends those that were cancelled while they waited.
func (m *Manager) refuse(ctx context.Context, b *books, running map[backend.TransferID]*run) error {
	for _, x := range b.transfers {
		n := b.notes[x.ID]
		if running[x.ID] != nil || !x.Cancel || n.End != "" {
			continue
		}
		if err := m.conclude(ctx, x, n, backend.TransferCancelled, "", nil); err != nil {
			return err
		}
	}
	return nil
}
