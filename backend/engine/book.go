package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/queue"
	"berth/backend/store"
)

// book is the whole queue at one moment: what a plan is made from, by the
// engine to act and by a client to explain.
type book struct {
	now    time.Time
	jobs   []backend.Job // that have not ended, by number
	notes  map[backend.JobID]note
	hosts  []backend.QueueHost // by name
	read   []backend.QueueHost // the same as they were read
	policy backend.QueuePolicy
	ends   map[backend.JobID]backend.JobState   // of jobs that others depend on and that have ended; missing: not known
	runs   map[backend.JobID][]time.Duration    // what the estimate of a waiting job is made from, the latest first
	wait   map[backend.JobID]backend.ReasonCode // jobs that must not start now for a reason that only the engine knows
	active map[backend.JobID]bool
}

// Keys of the store's settings.
const (
	noteKey = "engine/job/"   // + number: a job's note, JSON
	offKey  = "engine/off/"   // + host: when it was made sure to be off, RFC 3339
	copyKey = "engine/copies" // what was defined for a run only, JSON
)

// readBook reads what a plan needs. fallback is the policy when nobody has
// chosen one.
func readBook(tx *store.Tx, now time.Time, fallback backend.QueuePolicy, c *cache) (*book, error) {
	b := &book{now: now, notes: map[backend.JobID]note{}, ends: map[backend.JobID]backend.JobState{},
		runs: map[backend.JobID][]time.Duration{}, wait: map[backend.JobID]backend.ReasonCode{}, active: map[backend.JobID]bool{}}
	var err error
	if b.jobs, err = tx.Jobs(store.Filter{Active: true}); err != nil {
		return nil, err
	}
	if b.hosts, err = tx.Hosts(); err != nil {
		return nil, err
	}
	b.read = slices.Clone(b.hosts)
	chosen := false
	if b.policy, chosen, err = tx.Policy(); err != nil {
		return nil, err
	}
	if !chosen {
		b.policy = fallback
	}
	for i := range b.jobs {
		j := &b.jobs[i]
		b.active[j.ID] = true
		if b.notes[j.ID], err = c.note(tx, j.ID); err != nil {
			return nil, err
		}
		if j.State.Waiting() || j.Expected == 0 {
			if b.runs[j.ID], err = c.history(tx, j); err != nil {
				return nil, err
			}
		}
	}
	c.forget(b.active)
	return b, b.readEnds(tx)
}

// readEnds reads how jobs ended that waiting ones depend on.
func (b *book) readEnds(tx *store.Tx) error {
	over := map[backend.JobID]bool{}
	for i := range b.jobs {
		for _, id := range b.jobs[i].After {
			over[id] = !b.active[id]
		}
	}
	maps.DeleteFunc(over, func(_ backend.JobID, yes bool) bool { return !yes })
	if len(over) == 0 {
		return nil
	}
	jobs, err := tx.Jobs(store.Filter{IDs: slices.Collect(maps.Keys(over))})
	for _, j := range jobs {
		b.ends[j.ID] = j.State
	}
	return err
}

// depends says whether what j waits for has ended well; else what has ended
// badly, or what has not ended.
func (b *book) depends(j *backend.Job) (ready bool, on, broken backend.JobID, how backend.JobState) {
	for _, id := range j.After {
		if b.active[id] {
			if on == 0 {
				on = id
			}
			continue
		}
		if state, known := b.ends[id]; !known || state != backend.JobDone {
			return false, id, id, state
		}
	}
	return on == 0, on, 0, ""
}

// cache keeps what seldom changes between two readings of the book.
type cache struct {
	notes map[backend.JobID]note
	runs  map[backend.JobID]past
}

// past is what a job's estimate can be made from.
type past struct {
	owner string
	vm    backend.UUID
	runs  []time.Duration
}

func newCache() *cache {
	return &cache{notes: map[backend.JobID]note{}, runs: map[backend.JobID]past{}}
}

// note is a job's note, from the store the first time.
func (c *cache) note(tx *store.Tx, id backend.JobID) (n note, err error) {
	if n, ok := c.notes[id]; ok {
		return n, nil
	}
	text, err := tx.Setting(noteSetting(id))
	if err != nil {
		return n, err
	}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &n); err != nil {
			return n, fmt.Errorf("what the engine kept of job %d cannot be read: %w", id, err)
		}
	}
	c.notes[id] = n
	return n, nil
}

func noteSetting(id backend.JobID) string { return fmt.Sprint(noteKey, int64(id)) }

// putNote keeps a note.
func putNote(tx *store.Tx, id backend.JobID, n note) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return tx.SetSetting(noteSetting(id), string(text))
}

// history is what the estimate of a job can be made from: the last runs of
// its VM, else of its owner's VMs.
func (c *cache) history(tx *store.Tx, j *backend.Job) ([]time.Duration, error) {
	if p, ok := c.runs[j.ID]; ok {
		return p.runs, nil
	}
	h, err := tx.History(j.Owner, j.VM)
	if err != nil {
		return nil, err
	}
	runs := h.VM
	if len(runs) == 0 {
		runs = h.Owner
	}
	c.runs[j.ID] = past{j.Owner, j.VM, runs}
	return runs, nil
}

// forget drops jobs that have ended, and with them what was believed of others
// of the same VM or owner.
func (c *cache) forget(active map[backend.JobID]bool) {
	owners, vms := map[string]bool{}, map[backend.UUID]bool{}
	for id := range c.notes {
		if active[id] {
			continue
		}
		delete(c.notes, id)
		p, known := c.runs[id]
		if !known { // by an engine before this one
			clear(c.runs)
			continue
		}
		owners[p.owner], vms[p.vm] = true, true
	}
	if len(vms) > 0 {
		maps.DeleteFunc(c.runs, func(_ backend.JobID, p past) bool { return owners[p.owner] || vms[p.vm] })
	}
}

// seconds is t in the scheduler's time.
func seconds(t time.Time) queue.Time {
	if t.IsZero() {
		return 0
	}
	return queue.Time(t.Unix())
}

// span is d in the scheduler's time, rounded up.
func span(d time.Duration) queue.Time { return queue.Time((d + time.Second - 1) / time.Second) }

// moment is the scheduler's time as ours.
func moment(t queue.Time) time.Time {
	if t <= 0 || t >= queue.Never {
		return time.Time{}
	}
	return time.Unix(int64(t), 0)
}

const mib = 1 << 20

// need is a job's size in the scheduler's units, rounded up.
func need(r backend.Resources) queue.Size {
	return queue.Size{VCPU: int64(r.VCPU), Memory: int64((r.Memory + mib - 1) / mib), Disk: int64((r.Disk + mib - 1) / mib)}
}

// boundless stands for the disk space of a host that tells nothing of its storage.
const boundless = int64(1) << 42

// room is a host's capacity in the scheduler's units, rounded down.
func room(h *backend.QueueHost) queue.Size {
	s := queue.Size{VCPU: int64(h.Capacity.VCPU), Memory: int64(h.Capacity.Memory / mib), Disk: int64(h.Capacity.Disk / mib)}
	if h.Total.Disk == 0 {
		s.Disk = boundless
	}
	return s
}
