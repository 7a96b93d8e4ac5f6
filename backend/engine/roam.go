package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/store"
)

const (
	// reachAgain is how long a host's word that it can run a VM counts.
	reachAgain = 10 * time.Minute
	// reachMost is how many jobs from the head of the queue other hosts are
	// asked about: those behind them have time.
	reachMost = 100
	// reachAtOnce is how many such questions are open at a time: a host has few
	// workers, and each question occupies two of them for a while.
	reachAtOnce   = 8
	reachDeadline = time.Minute
)

// reachKey is a VM on a host where it is not defined.
type reachKey struct {
	vm   backend.UUID
	host string
}

// reached is what such a host said.
type reached struct {
	asked time.Time
	at    time.Time // zero while it is being asked
	yes   bool
}

// reachWait is how long a host's first answer is waited for before others,
// behind the job, may take its room there.
const reachWait = 2 * time.Second

// pending are the positions of the first jobs in the queue whose fate on each
// host is not known yet.
func (e *Engine) pending(b *book) map[string]int {
	first := map[string]int{}
	for i := range b.jobs {
		j := &b.jobs[i]
		if !j.State.Waiting() || j.Position == 0 || j.Position > reachMost {
			continue
		}
		for name := range e.agents {
			r := e.reaches[reachKey{j.VM, name}]
			if r == nil || !r.at.IsZero() || r.yes || b.now.Sub(r.asked) >= reachWait {
				continue
			}
			if at, ok := first[name]; !ok || j.Position < at {
				first[name] = j.Position
			}
		}
	}
	return first
}

// reachable reports whether a host where the job's VM is not defined said that
// it could run it, and asks it if nobody did. The answer comes with a later turn.
func (e *Engine) reachable(j *backend.Job, host string) bool {
	a := e.agents[host]
	key := reachKey{j.VM, host}
	r := e.reaches[key]
	if a == nil || !j.State.Waiting() {
		return r != nil && r.yes
	}
	if r != nil && (r.at.IsZero() || e.o.Clock.Now().Sub(r.at) < reachAgain) {
		return r.yes
	}
	if e.asking >= reachAtOnce { // the next answer brings the next turn
		return r != nil && r.yes
	}
	reacher, ok := a.host.(backend.Reacher)
	_, defines := a.host.(backend.Definer)
	source := e.source(&backend.Job{VM: j.VM, RunsOn: host}, note{Copy: host}, actStart)
	if !ok || !defines || source == nil || a.host.ReadOnly() {
		return false
	}
	e.reaches[key] = &reached{asked: e.o.Clock.Now(), yes: r != nil && r.yes}
	vm := j.VM
	e.asking++
	e.spawn(func() {
		ctx, cancel := context.WithTimeout(e.acts, reachDeadline)
		defer cancel()
		xml, err := source.host.XML(ctx, vm, true)
		if err == nil {
			err = reacher.Reach(ctx, xml)
		}
		e.post(func() {
			e.asking--
			now := e.o.Clock.Now()
			e.reaches[key] = &reached{asked: now, at: now, yes: err == nil}
		})
	})
	return e.reaches[key].yes
}

// copied is a definition that was put on a host for a run only.
type copied struct {
	Job  backend.JobID `json:"job"`
	VM   backend.UUID  `json:"-"`
	UUID string        `json:"vm"`
	Name string        `json:"name"`
	Host string        `json:"host"`
}

func readCopies(tx *store.Tx) (list []copied, err error) {
	text, err := tx.Setting(copyKey)
	if err != nil || text == "" {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("the list of definitions that the engine made cannot be read: %w", err)
	}
	for i := range list {
		if list[i].VM, err = backend.ParseUUID(list[i].UUID); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func putCopies(tx *store.Tx, list []copied) error {
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return tx.SetSetting(copyKey, string(text))
}

// tidyCopies undefines what was defined for a run that is over: the definition
// and nothing else.
func (e *Engine) tidyCopies(s *survey) {
	maps.DeleteFunc(e.chores, func(c copied, seq int64) bool {
		v := s.views[c.Host]
		return seq > 0 && (v == nil || v.seq >= seq)
	})
	for _, c := range e.copies {
		v := s.views[c.Host]
		_, busy := e.busy[c.Job]
		if _, going := e.chores[c]; busy || going || s.uses(c) || !v.up() || v.seq < e.news.acted[c.Job][c.Host] {
			continue
		}
		vm := v.vms[c.VM]
		if vm != nil && (vm.State.Active() || vm.ManagedSave) {
			continue // somebody uses it, or its saved state waits there
		}
		last, sure := s.lastDefinition(c)
		if vm != nil && last && !sure {
			continue
		}
		e.chores[c] = 0
		a := e.agents[c.Host]
		e.spawn(func() {
			err := e.undefine(a, c, vm == nil || last)
			e.post(func() { e.tidied(c, a, err) })
		})
	}
}

// uses reports whether a job may need a copy: its own, or a later one of the
// same VM.
func (s *survey) uses(c copied) bool {
	return slices.ContainsFunc(s.book.jobs, func(j backend.Job) bool {
		return j.VM == c.VM && j.State.Holds() && j.RunsOn == c.Host
	})
}

// lastDefinition reports whether no other host is seen to define the VM of a
// copy, and whether all were asked: then somebody has made the copy's host the
// VM's home, and it stays there.
func (s *survey) lastDefinition(c copied) (last, sure bool) {
	last, sure = true, true
	for name, v := range s.views {
		if name == c.Host {
			continue
		}
		sure = sure && v.up()
		if v.up() && v.vms[c.VM] != nil {
			last = false
		}
	}
	return last, sure
}

// givesBack reports whether a definition of the VM is being taken from the
// host, or was and the host has not been read since.
func (e *Engine) givesBack(vm backend.UUID, host string) bool {
	for c := range e.chores {
		if c.VM == vm && c.Host == host {
			return true
		}
	}
	return false
}

func (e *Engine) undefine(a *agent, c copied, gone bool) error {
	if gone {
		return nil
	}
	ctx, cancel := context.WithTimeout(e.acts, actDeadline)
	defer cancel()
	if err := e.at("undefine/before"); err != nil {
		return err
	}
	err := a.host.Do(ctx, backend.Action{Verb: backend.VerbUndefine, UUID: c.VM, Name: c.Name})
	e.record(a, &backend.Job{ID: c.Job, VM: c.VM, Name: c.Name, Owner: "the engine"}, string(backend.VerbUndefine), err)
	return err
}

// tidied strikes a copy off the list. One that could not be undefined is tried
// again when its host is read the next time.
func (e *Engine) tidied(c copied, a *agent, err error) {
	e.chores[c] = a.look()
	if err != nil {
		return
	}
	left := slices.DeleteFunc(slices.Clone(e.copies), func(o copied) bool { return o == c })
	err = e.o.Store.Update(e.acts, func(tx *store.Tx) error {
		if err := tx.CheckLease(e.epoch); err != nil {
			return err
		}
		return putCopies(tx, left)
	})
	if err == nil {
		e.copies = left
	}
}
