package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/store"
)

// round is one run of a schedule that has not come to its end: its backups, then
// what follows from them. It is the schedule's note in the store.
type round struct {
	At     time.Time            `json:"at,omitzero"` // zero: none is under way
	Stage  stage                `json:"stage,omitempty"`
	IDs    []backend.TransferID `json:"ids,omitempty"` // of the stage
	All    []backend.TransferID `json:"all,omitempty"` // of every stage
	Joined []string             `json:"joined,omitempty"`
	Bad    []string             `json:"bad,omitempty"`
	VMs    []backend.UUID       `json:"vms,omitempty"`
	Missed int                  `json:"missed,omitempty"`
	Ended  time.Time            `json:"ended,omitzero"` // only its command is to be told still
}

type stage string

const (
	stageBackup  stage = "backup"
	stageForget  stage = "forget"
	stageVerify  stage = "verify"
	stageCommand stage = "command"
)

func (r round) open() bool { return !r.At.IsZero() }

func parseRound(text string) (r round, err error) {
	if text == "" {
		return r, nil
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("%w: a schedule's note: %w", store.ErrCorrupt, err)
	}
	return r, nil
}

func putRound(tx *store.Tx, id int64, r round) error {
	if !r.open() {
		return tx.SetScheduleNote(id, "")
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.SetScheduleNote(id, string(b))
}

// plan runs what schedules are due, and brings their runs further.
func (m *Manager) plan(ctx context.Context, b *books) (changed bool, wake time.Time, err error) {
	for i := range b.schedules {
		s := &b.schedules[i]
		r := b.rounds[s.ID]
		if r.open() {
			moved, err := m.further(ctx, s, r)
			if err != nil {
				return changed, wake, err
			}
			changed = changed || moved
		}
		if s.Disabled {
			continue
		}
		t, err := parseCron(s.Cron, m.o.Zone)
		if err != nil { // an earlier berth took it
			continue
		}
		switch {
		case s.Next.IsZero():
			s.Next = t.next(b.now)
			if err := m.putSchedule(ctx, s, nil); err != nil {
				return changed, wake, err
			}
		case !s.Next.After(b.now):
			if err := m.due(ctx, b, s, r, t); err != nil {
				return changed, wake, err
			}
			changed = true
		}
		wake = earlier(wake, s.Next)
	}
	return changed, wake, nil
}

// due begins a run of a schedule, once however many were missed. One whose last
// run is not over yet is joined to it.
func (m *Manager) due(ctx context.Context, b *books, s *backend.Schedule, r round, t timetable) error {
	s.Missed = t.missed(s.Next, b.now)
	s.Next = t.next(b.now)
	if r.open() {
		return m.putSchedule(ctx, s, func(tx *store.Tx) error {
			return tx.AddEvent(scheduleEvent(s, b.now, "schedule joined", "its last run is still under way"))
		})
	}
	s.Last, s.LastBad = b.now, ""
	_, err := m.order(ctx, b, s)
	return err
}

// putSchedule writes what the engine keeps of a schedule, if it is there still.
func (m *Manager) putSchedule(ctx context.Context, s *backend.Schedule, more func(*store.Tx) error) error {
	return m.update(ctx, func(tx *store.Tx) error {
		now, err := tx.Schedule(s.ID)
		if errors.Is(err, backend.ErrInvalid) {
			return nil // it was removed meanwhile
		}
		if err != nil {
			return err
		}
		now.Last, now.LastBad, now.Next, now.Missed = s.Last, s.LastBad, s.Next, s.Missed
		if _, err := tx.PutSchedule(now); err != nil || more == nil {
			return err
		}
		return more(tx)
	})
}

func scheduleEvent(s *backend.Schedule, at time.Time, what, detail string) backend.JobEvent {
	name := s.Name
	if name == "" {
		name = fmt.Sprintf("schedule %d", s.ID)
	}
	return backend.JobEvent{At: at, Name: backend.Clean(name), What: what, Who: "engine", Detail: backend.Clean(detail)}
}

// order has a schedule's VMs backed up.
func (m *Manager) order(ctx context.Context, b *books, s *backend.Schedule) (ids []backend.TransferID, err error) {
	vms, trouble := m.choose(ctx, s)
	r := round{At: b.now, Stage: stageBackup, Missed: s.Missed}
	for _, t := range trouble {
		r.Bad = append(r.Bad, words(t))
	}
	err = m.putSchedule(ctx, s, func(tx *store.Tx) error {
		if ids, err = orderBackups(tx, s, vms, b.now, &r); err != nil {
			return err
		}
		r.IDs, r.All = ids, ids
		if err := putRound(tx, s.ID, r); err != nil {
			return err
		}
		return tx.AddEvent(scheduleEvent(s, b.now, "schedule started", startedWords(&r)))
	})
	return ids, err
}

func startedWords(r *round) string {
	text := count(len(r.IDs), "backup")
	if len(r.Joined) > 0 {
		text += fmt.Sprintf(", %d already under way", len(r.Joined))
	}
	if r.Missed > 0 {
		text += "; " + count(r.Missed, "missed run") + " caught up with this one"
	}
	return text
}

// orderBackups enters a backup for each VM; one that is under way already is
// joined.
func orderBackups(tx *store.Tx, s *backend.Schedule, vms []chosen, now time.Time, r *round) (ids []backend.TransferID, err error) {
	for _, vm := range vms {
		id, err := tx.AddTransfer(backend.Transfer{
			Owner: s.Owner, State: backend.TransferQueued, Since: now, Ordered: now,
			Spec: backend.TransferSpec{
				Kind: backend.TransferBackup, VM: vm.key, Name: vm.name, Repo: s.Repo, Limit: s.Limit, Schedule: s.ID, Backup: s.Backup,
			},
		})
		switch {
		case errors.Is(err, backend.ErrBusy):
			r.Joined = append(r.Joined, vm.name)
			if id, err := activeBackup(tx, vm.key, s.Repo.URL); err != nil {
				return nil, err
			} else if id != 0 {
				ids = append(ids, id)
			}
		case err != nil:
			return nil, err
		default:
			ids = append(ids, id)
		}
		r.VMs = append(r.VMs, vm.key.UUID)
	}
	return ids, nil
}

// activeBackup finds the backup of a VM to a repository that is under way.
func activeBackup(tx *store.Tx, vm backend.Key, url string) (backend.TransferID, error) {
	all, err := tx.Transfers(store.TransferFilter{Active: true})
	for _, x := range all {
		if x.Spec.Kind == backend.TransferBackup && x.Spec.VM == vm && x.Spec.Repo.URL == url {
			return x.ID, err
		}
	}
	return 0, err
}

// chosen is a VM that a schedule backs up.
type chosen struct {
	key  backend.Key
	name string
}

// chooseDeadline is how long a host is waited for when VMs are chosen.
const chooseDeadline = 30 * time.Second

// choose finds the VMs of a schedule. Hosts that do not answer are trouble; the
// others' VMs are backed up all the same.
func (m *Manager) choose(ctx context.Context, s *backend.Schedule) (vms []chosen, trouble []error) {
	if len(s.VMs) > 0 {
		for i, k := range s.VMs {
			c := chosen{key: k}
			if i < len(s.Names) {
				c.name = s.Names[i]
			}
			vms = append(vms, c)
		}
		return vms, nil
	}
	names := s.Hosts
	if len(names) == 0 {
		names = m.hosts.names()
	}
	lists, errs := make([][]backend.VM, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names { // one that does not answer keeps no other waiting
		all.Go(func() { lists[i], errs[i] = m.poll(ctx, name) })
	}
	all.Wait()
	for i, name := range names {
		if errs[i] != nil {
			trouble = append(trouble, fmt.Errorf("%s: %w", name, errs[i]))
			continue
		}
		for _, vm := range lists[i] {
			if !vm.Persistent || !s.All && !slices.Contains(vm.Tags, s.Tag) {
				continue
			}
			vms = append(vms, chosen{vm.Key(), vm.Name})
		}
	}
	if len(vms) == 0 && len(trouble) == 0 {
		trouble = append(trouble, fmt.Errorf("%w: no VM is chosen by it", backend.ErrNoDomain))
	}
	return vms, trouble
}

// poll reads a host's VMs with their facts, which the first answer may lack.
func (m *Manager) poll(ctx context.Context, name string) ([]backend.VM, error) {
	ctx, cancel := context.WithTimeout(ctx, chooseDeadline)
	defer cancel()
	h, err := m.hosts.get(ctx, name)
	if err != nil {
		return nil, err
	}
	for {
		p, err := h.Poll(ctx)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(p.VMs, func(vm backend.VM) bool { return vm.FactsAt.IsZero() }) {
			return p.VMs, nil
		}
		if m.o.pause(ctx, 200*time.Millisecond) != nil {
			return p.VMs, nil // those whose facts are not known are judged by what there is
		}
	}
}
