package model

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend"
)

// TaskState is how far a task is.
type TaskState uint8

// The states of a task, in order.
const (
	TaskQueued   TaskState = iota // waits for its turn on the host
	TaskCalling                   // the hypervisor has been asked
	TaskSettling                  // accepted; the guest has not followed yet
	TaskDone
	TaskFailed
)

// Task is one verb on one VM, from the confirmation to the state it is to
// bring about.
type Task struct {
	ID      int
	Key     backend.Key
	Name    string
	Action  backend.Action
	State   TaskState
	Started time.Time
	Ended   time.Time
	Err     error
	Next    string // what a person can do about Err; may be empty

	runID    int32 // the domain's number when the verb was called
	settleBy time.Time
	cancel   context.CancelFunc
}

// perHost is how many verbs berth has under way on one host: libvirtd serves
// five requests of one client at a time.
const perHost = 4

// keptTasks is how many ended tasks are remembered.
const keptTasks = 500

// Tasks registers what berth is doing. A VM has one task at a time.
type Tasks struct {
	ctx     context.Context
	clock   Clock
	fleet   *Fleet
	trails  *trails
	all     []*Task
	byKey   map[backend.Key]*Task // tasks that have not ended
	nextID  int
	version int // counts changes of what is under way
}

// taskMsg is the hypervisor's answer to one task.
type taskMsg struct {
	id       int
	err      error
	auditErr error
}

// taskTick looks after a task that settles, whether or not polls come.
type taskTick struct{ id int }

// NewTasks makes an empty registry whose tasks act on fleet's hosts.
func NewTasks(ctx context.Context, clock Clock, fleet *Fleet, trails *trails) *Tasks {
	return &Tasks{ctx: ctx, clock: clock, fleet: fleet, trails: trails, byKey: map[backend.Key]*Task{}}
}

// Active returns the tasks that have not ended, oldest first.
func (t *Tasks) Active() []*Task {
	var out []*Task
	for _, k := range t.all {
		if k.State < TaskDone {
			out = append(out, k)
		}
	}
	return out
}

// All returns every remembered task, oldest first.
func (t *Tasks) All() []*Task { return t.all }

// Of returns the task under way on a VM, or nil.
func (t *Tasks) Of(k backend.Key) *Task { return t.byKey[k] }

// overrides reports whether a verb may be used while another is under way on
// the VM: pulling the cord and the reset button are for just then.
func overrides(v, underWay backend.Verb) bool {
	return (v == backend.VerbDestroy || v == backend.VerbReset) && underWay != backend.VerbDestroy
}

var errReplaced = errors.New("replaced by another action")

// Start registers an action on a VM and begins it when its turn comes. It
// refuses a second verb on a VM that has one under way, unless it overrides
// that one, which then is no longer waited for.
func (t *Tasks) Start(k backend.Key, a backend.Action) (tea.Cmd, error) {
	if busy := t.byKey[k]; busy != nil {
		if !overrides(a.Verb, busy.Action.Verb) {
			return nil, fmt.Errorf("%s: still %s", busy.Name, busy.Action.Verb.Info().Doing)
		}
		t.giveUp(busy, errReplaced)
	}
	t.nextID++
	task := &Task{ID: t.nextID, Key: k, Name: a.Name, Action: a, Started: t.clock.Now()}
	t.all = append(t.all, task)
	if drop := len(t.all) - keptTasks; drop > 0 && t.all[0].State >= TaskDone {
		t.all = t.all[1:]
	}
	t.byKey[k] = task
	t.mark(k, a.Verb)
	return t.next(k.Host), nil
}

// Cancel gives up on a task: a queued one never runs, one under way is no
// longer waited for. What the hypervisor has accepted is not undone.
func (t *Tasks) Cancel(task *Task) tea.Cmd {
	t.giveUp(task, context.Canceled)
	return t.next(task.Key.Host)
}

func (t *Tasks) giveUp(task *Task, why error) {
	if task.cancel != nil {
		task.cancel()
	}
	t.end(task, why, "")
}

func (t *Tasks) mark(k backend.Key, v backend.Verb) {
	t.version++
	if r := t.fleet.Row(k); r != nil {
		r.Pending = v
	}
}

// next begins queued tasks of a host while it has room.
func (t *Tasks) next(host string) tea.Cmd {
	calling := 0
	for _, k := range t.all {
		if k.Key.Host == host && k.State == TaskCalling {
			calling++
		}
	}
	var cmds []tea.Cmd
	for _, k := range t.all {
		if calling >= perHost {
			break
		}
		if k.Key.Host == host && k.State == TaskQueued {
			calling++
			cmds = append(cmds, t.call(k))
		}
	}
	return tea.Batch(cmds...)
}

func (t *Tasks) call(k *Task) tea.Cmd {
	s := t.fleet.HostState(k.Key.Host)
	k.State, k.Started = TaskCalling, t.clock.Now()
	ctx, cancel := context.WithTimeout(t.ctx, callDeadline(k.Action.Verb))
	k.cancel = cancel
	if r := t.fleet.Row(k.Key); r != nil {
		k.runID = r.ID
	}
	id, a, host := k.ID, k.Action, s.Host
	record := t.trails.recorder(k.Key, a.Name, string(a.Verb), actionDetail(a))
	return func() tea.Msg {
		defer cancel()
		err := host.Do(ctx, a)
		return taskMsg{id: id, err: err, auditErr: record(err)}
	}
}

// callDeadline is how long the hypervisor may take to accept a verb. Saving
// and restoring move the guest's whole memory before they answer.
func callDeadline(v backend.Verb) time.Duration {
	switch v {
	case backend.VerbSave, backend.VerbRestore, backend.VerbStart, backend.VerbUndefine:
		return 30 * time.Minute
	}
	return 40 * time.Second // libvirt itself waits up to 30 s for a busy domain
}

func actionDetail(a backend.Action) string {
	switch a.Verb {
	case backend.VerbRename:
		return "to " + a.New
	case backend.VerbUndefine:
		o := a.Delete
		return fmt.Sprintf("storage=%t snapshots=%t nvram=%t managedsave=%t", o.Storage, o.Snapshots, o.NVRAM, o.ManagedSave)
	}
	return ""
}

// Update takes the registry's own messages. ended lists tasks that ended with
// this message; the error is a trail that could not be written.
func (t *Tasks) Update(msg tea.Msg) (ended []*Task, cmd tea.Cmd, warn error) {
	switch m := msg.(type) {
	case taskMsg:
		return t.onAnswer(m)
	case taskTick:
		if k := t.find(m.id); k != nil && k.State == TaskSettling {
			if t.settle(k) {
				return []*Task{k}, t.next(k.Key.Host), nil
			}
			return nil, t.tick(k), nil
		}
	}
	return nil, nil, nil
}

func (t *Tasks) onAnswer(m taskMsg) ([]*Task, tea.Cmd, error) {
	k := t.find(m.id)
	if k == nil || k.State != TaskCalling {
		return nil, nil, m.auditErr // cancelled meanwhile
	}
	poll := t.fleet.PollHost(k.Key.Host)
	if m.err != nil {
		t.end(k, m.err, backend.Hint(m.err))
		return []*Task{k}, tea.Batch(poll, t.next(k.Key.Host)), m.auditErr
	}
	k.State = TaskSettling
	k.settleBy = t.clock.Now().Add(settleTime(k.Action.Verb))
	if t.settle(k) {
		return []*Task{k}, tea.Batch(poll, t.next(k.Key.Host)), m.auditErr
	}
	return nil, tea.Batch(poll, t.tick(k), t.next(k.Key.Host)), m.auditErr
}

func (t *Tasks) tick(k *Task) tea.Cmd {
	return t.clock.After(500*time.Millisecond, taskTick{k.ID})
}

// Polled looks whether new rows show what the settling tasks wait for.
func (t *Tasks) Polled() (ended []*Task, cmd tea.Cmd) {
	var cmds []tea.Cmd
	for k, task := range t.byKey {
		if r := t.fleet.Row(k); r != nil {
			r.Pending = task.Action.Verb
		}
		if task.State == TaskSettling && t.settle(task) {
			ended = append(ended, task)
			cmds = append(cmds, t.next(k.Host))
		}
	}
	return ended, tea.Batch(cmds...)
}

// settle ends the task when its VM is as the verb wanted it, or when its time
// is over; it reports whether the task ended. Time alone ends nothing: what
// the VM did meanwhile must have been seen, or there is nothing to say about it.
func (t *Tasks) settle(k *Task) bool {
	r := t.fleet.Row(k.Key)
	if reached(k.Action.Verb, r, k.runID) {
		t.end(k, nil, "")
		return true
	}
	seen := r == nil || (!r.HostDown && r.PolledAt.After(k.settleBy))
	if t.clock.Now().After(k.settleBy) && seen {
		next, err := ignored(k)
		t.end(k, err, next)
		return true
	}
	return false
}

// reached reports whether the row shows what the verb was to bring about.
// Verbs that leave no trace in a row are done once they are accepted. A domain
// that was to stop and runs under another number has stopped and was started
// again.
func reached(v backend.Verb, r *Row, runID int32) bool {
	switch v {
	case backend.VerbStart, backend.VerbStartFresh, backend.VerbRestore:
		return r != nil && r.State.Active()
	case backend.VerbStartPaused, backend.VerbSuspend:
		return r != nil && r.State == backend.Paused
	case backend.VerbResume:
		return r != nil && (r.State == backend.Running || r.State == backend.Blocked)
	case backend.VerbShutdown, backend.VerbShutdownACPI, backend.VerbShutdownAgent, backend.VerbDestroy, backend.VerbSave:
		return r == nil || !r.State.Active() || r.ID != runID
	case backend.VerbUndefine:
		return r == nil
	}
	return true
}

func settleTime(v backend.Verb) time.Duration {
	switch v {
	case backend.VerbShutdown, backend.VerbShutdownACPI, backend.VerbShutdownAgent:
		return 60 * time.Second
	}
	return 15 * time.Second
}

var errIgnored = errors.New("the guest did not follow")

func ignored(k *Task) (next string, err error) {
	switch k.Action.Verb {
	case backend.VerbShutdown, backend.VerbShutdownACPI, backend.VerbShutdownAgent:
		return "force it off?", fmt.Errorf("%s %s: %w within %s", k.Action.Verb, k.Name, errIgnored, settleTime(k.Action.Verb))
	}
	return "", fmt.Errorf("%s %s: accepted, but not seen to happen within %s", k.Action.Verb, k.Name, settleTime(k.Action.Verb))
}

func (t *Tasks) end(k *Task, err error, next string) {
	k.State, k.Err, k.Next, k.Ended = TaskDone, err, next, t.clock.Now()
	if err != nil {
		k.State = TaskFailed
	}
	delete(t.byKey, k.Key)
	t.mark(k.Key, "")
}

func (t *Tasks) find(id int) *Task {
	for i := len(t.all) - 1; i >= 0; i-- {
		if t.all[i].ID == id {
			return t.all[i]
		}
	}
	return nil
}
