package engine

import (
	"fmt"
	"slices"
	"time"

	"berth/backend"
	"berth/backend/queue"
)

// act is something to do to a job's VM or host once a move is durable.
type act string

const (
	actNone     act = ""
	actStart    act = "start"    // start it paused, defined there first where it is not
	actShares   act = "shares"   // read its shares
	actTune     act = "tune"     // set its shares by the job's priority
	actUntune   act = "untune"   // set its shares back
	actResume   act = "resume"   // let it run
	actShutdown act = "shutdown" // ask its guest to power off
	actDestroy  act = "destroy"  // cut its power
	actSave     act = "save"     // write its memory to disk
	actFence    act = "fence"    // make sure that its host is off
)

// note is what the engine keeps of an active job beside its row.
type note struct {
	Boot    string          `json:"boot,omitempty"`  // of its host, when the latest start was asked
	Asked   string          `json:"asked,omitempty"` // the host that was last asked to start it
	Copy    string          `json:"copy,omitempty"`  // a host on which berth has defined it for a run
	Seen    []string        `json:"seen,omitempty"`  // hosts on which it was ever defined
	Fits    []string        `json:"fits,omitempty"`  // hosts that could run it, as far as is known
	Saved   string          `json:"saved,omitempty"` // the host that holds its saved state
	Stop    string          `json:"stop,omitempty"`  // why it is being stopped: stopLimit, stopCancel
	StopAt  time.Time       `json:"stop_at,omitzero"`
	Aside   string          `json:"aside,omitempty"` // how it is being put aside: asideSave, asideShutdown
	Abort   string          `json:"abort,omitempty"` // why its start is being undone, in libvirt's words
	Heals   bool            `json:"heals,omitempty"` // Abort can heal
	Why     backend.Reason  `json:"why,omitzero"`    // of the last refusal
	Refused map[string]int  `json:"refused,omitempty"`
	Barred  map[string]bool `json:"barred,omitempty"` // hosts that refused for good
	Stays   time.Time       `json:"stays,omitzero"`   // not to be put aside before
	Urged   time.Time       `json:"urged,omitzero"`   // when it was asked to shut down to make room, in vain as it seemed

	Shares   backend.Shares `json:"shares,omitzero"` // as they were before they were changed
	Read     bool           `json:"read,omitempty"`  // Shares were read
	Tuned    int            `json:"tuned,omitempty"` // 1 + the priority by which they are being set; 0: they were not touched
	Set      int            `json:"set,omitempty"`   // the same, once that was seen to be done
	Tuneless bool           `json:"tuneless,omitempty"`

	Both time.Time `json:"both,omitzero"` // since when it is seen active on two hosts
	Left time.Time `json:"left,omitzero"` // since when it has left its host by migration, and was not found
	Tail time.Time `json:"tail,omitzero"` // of the last fencing that failed

	Moved bool `json:"moved,omitempty"` // its host's address was changed since it started: it may be another machine
}

// Why a job is stopped, and how it is put aside.
const (
	stopLimit     = "limit"
	stopCancel    = "cancel"
	asideSave     = "save"
	asideShutdown = "shutdown"
)

// outcome is how an act of this process ended.
type outcome struct {
	act    act
	err    error
	shares backend.Shares
}

// sight is all that is known now of a job's VM.
type sight struct {
	// fresh is true when the job's host was read after the last act on the job
	// returned. Without it vm says nothing.
	fresh bool
	vm    *backend.VM // on the host whose berth it holds; nil: not defined there
	last  string      // why it stopped last, if an event told: for domains that vanished
	boot  string      // of that host, read together with vm; empty: not known
	down  time.Time   // that host cannot be asked since then
	off   bool        // that host was made sure to be off since then
	fence bool        // there is a way to make sure

	away     *backend.VM // active on another host
	awayBoot string
	others   bool // every other host on which it was ever seen was read, or is off
	recent   bool // all hosts that can be asked were read since the VM was seen moving
	gone     bool // every host on which it was ever seen was read, and none has it
	roams    bool // another host would take it

	is *backend.VM // of a job that waits: its VM, with its facts, as a host defines it; nil: not known

	ready  bool          // what it depends on has ended well
	broken backend.JobID // what has not
	how    backend.JobState
	front  int64    // above every other job's Front
	seen   []string // hosts on which it is defined now
	fits   []string // hosts that could run it, as far as is known
	saved  string   // the host that holds its saved state
	done   *outcome
}

// rules are the engine's patience.
type rules struct {
	stop, save, lost time.Duration
	settle           time.Duration // how long a migration may look like two running VMs
}

// move is what follows for a job: its new row and note, and what to do then.
type move struct {
	job   backend.Job
	note  note
	wrote bool // job or note differ from what they were
	act   act
	event string // for the log; empty: not worth a word
	words string
	at    time.Time // of the event
	wake  time.Time // look again then at the latest; zero: when something happens
}

// next says what follows from a job's row and what is seen of its VM. It is
// the whole life of a job, and pure: the same question has the same answer.
func next(j backend.Job, n note, s sight, r rules, now time.Time) move {
	t := &turn{s: s, r: r, now: now, m: move{job: j, note: n, at: now}}
	t.clock()
	switch {
	case j.State.Waiting():
		t.waiting()
	case j.State == backend.JobRecovery:
		t.recovered()
	case j.State.Holds() && !s.down.IsZero():
		t.lost()
	case j.State.Holds() && s.fresh:
		t.held()
	}
	return t.m
}

// clock corrects what was noted by a clock that was ahead: it would be waited
// for as long as the clock was wrong.
func (t *turn) clock() {
	j, n := &t.m.job, &t.m.note
	if j.State.Ended() || j.State == backend.JobError {
		return
	}
	back := func(at time.Time, most time.Duration) bool { return at.After(t.now.Add(most + time.Minute)) }
	if back(j.NextTry, retries[len(retries)-1]) {
		t.job().NextTry = time.Time{}
	}
	for _, at := range []*time.Time{&j.LastStart, &j.AgedAt, &n.StopAt, &n.Both, &n.Left, &n.Tail, &n.Urged} {
		if back(*at, 0) {
			t.m.wrote = true
			*at = t.now
		}
	}
	if back(n.Stays, staysFor) {
		t.note().Stays = time.Time{}
	}
}

// turn is one call of next.
type turn struct {
	m   move
	s   sight
	r   rules
	now time.Time
}

func (t *turn) job() *backend.Job { t.m.wrote = true; return &t.m.job }
func (t *turn) note() *note       { t.m.wrote = true; return &t.m.note }

// become changes the job's state and tells it.
func (t *turn) become(state backend.JobState, event, words string) {
	j := t.job()
	j.State, j.Since = state, t.now
	t.m.event, t.m.words = event, words
	if state.Ended() {
		t.end(j)
	}
}

// end fills in what every end has in common.
func (t *turn) end(j *backend.Job) {
	j.Ended = t.now
	j.Why, j.ETA, j.ETAHost, j.Position, j.NextTry = backend.Reason{}, time.Time{}, "", 0, time.Time{}
	t.age(false)
}

// wake asks for another look at that time.
func (t *turn) wake(at time.Time) {
	if t.m.wake.IsZero() || at.Before(t.m.wake) {
		t.m.wake = at
	}
}

// age lets the job's age grow, or stand still.
func (t *turn) age(grows bool) {
	j := &t.m.job
	switch {
	case grows && j.AgedAt.IsZero():
		t.job().AgedAt = t.now
	case !grows && !j.AgedAt.IsZero():
		t.job().Aged += max(t.now.Sub(j.AgedAt), 0)
		j.AgedAt = time.Time{}
	}
}

// waiting is a job without a berth.
func (t *turn) waiting() {
	j := &t.m.job
	switch {
	case j.Cancel:
		t.become(backend.JobCancelled, "cancelled", "")
		return
	case t.s.away != nil:
		t.foundRunning()
		return
	case t.s.gone:
		t.fail("it is defined on no host any more")
		return
	}
	t.tidy()
	t.facts()
	if t.s.broken != 0 && !j.Held {
		t.job().Held = true
		t.become(backend.JobHeld, "held", fmt.Sprintf("job %d, which it waits for, %s: release or cancel it", t.s.broken, howEnded(t.s.how)))
		t.m.job.Words = t.m.words
	}
	switch {
	case j.Held && j.State != backend.JobHeld:
		t.become(backend.JobHeld, "", "")
	case !j.Held && j.State == backend.JobHeld:
		t.become(backend.JobQueued, "", "")
	}
	t.age(!j.Held && t.s.ready && !j.Begin.After(t.now))
	if j.Begin.After(t.now) {
		t.wake(j.Begin)
	}
	if j.NextTry.After(t.now) {
		t.wake(j.NextTry)
	}
}

// facts takes in what became of the VM's definition while the job waits: it is
// started as what it is by then.
func (t *turn) facts() {
	vm := t.s.is
	if vm == nil {
		return
	}
	j := &t.m.job
	if vm.Name != "" && vm.Name != j.Name {
		t.job().Name = vm.Name
	}
	if vm.VCPUs > 0 && vm.VCPUs != j.Size.VCPU {
		t.job().Size.VCPU = vm.VCPUs
	}
	if vm.MemoryMax > 0 && vm.MemoryMax != j.Size.Memory {
		t.job().Size.Memory = vm.MemoryMax
	}
}

// tidy keeps of the note only what matters to a job that waits.
func (t *turn) tidy() {
	n := &t.m.note
	for _, host := range t.s.seen {
		if !slices.Contains(n.Seen, host) {
			note := t.note()
			note.Seen = append(slices.Clone(note.Seen), host)
		}
	}
	if t.s.saved != n.Saved {
		t.note().Saved = t.s.saved
	}
	if !slices.Equal(t.s.fits, n.Fits) {
		t.note().Fits = t.s.fits
	}
	if t.m.job.Attempts == 0 && (n.Refused != nil || n.Barred != nil || n.Why != (backend.Reason{})) {
		note := t.note()
		note.Refused, note.Barred, note.Why = nil, nil, backend.Reason{}
	}
	if n.Stop != "" || n.Aside != "" || n.Abort != "" || !n.Both.IsZero() || !n.Left.IsZero() { // a person had it tried again
		*t.note() = t.m.note.resting()
	}
}

// resting is what remains of a note while its job waits. Shares that were not
// set back are in the saved state that somebody made, and still to be set.
func (n note) resting() note {
	r := note{Asked: n.Asked, Copy: n.Copy, Seen: n.Seen, Fits: n.Fits, Saved: n.Saved, Refused: n.Refused, Barred: n.Barred, Why: n.Why}
	if n.Tuned != 0 {
		r.Shares, r.Read, r.Tuned = n.Shares, n.Read, n.Tuned
	}
	return r
}

// howEnded says how another job ended.
func howEnded(s backend.JobState) string {
	switch s {
	case "":
		return "is not known any more"
	case backend.JobFailed:
		return "failed"
	case backend.JobTimeout:
		return "was stopped at its limit"
	case backend.JobCancelled:
		return "was cancelled"
	case backend.JobRejected:
		return "was rejected"
	}
	return "is " + string(s)
}

// foundRunning takes over a VM that somebody else started, or a start of our
// own that libvirt carried out later than we believed.
func (t *turn) foundRunning() {
	j, n := t.job(), t.note()
	vm := t.s.away
	t.age(false)
	j.RunsOn, j.Held, j.NextTry, j.Attempts, j.Extended = vm.Host, false, time.Time{}, 0, 0
	n.Boot = t.s.awayBoot
	if vm.State == backend.Paused && n.Asked == vm.Host {
		j.Launch = backend.LaunchPaused
		t.become(backend.JobStarting, "starting", "libvirt carried out the start after all")
		return
	}
	j.Launch, j.LastStart = backend.LaunchResumed, t.now
	if !vm.StartedAt.IsZero() && vm.StartedAt.Before(t.now) {
		j.LastStart = vm.StartedAt
	}
	if j.Started.IsZero() {
		j.Started = j.LastStart
	}
	if e := queue.Estimate(span(j.Estimate), span(j.Limit), nil); j.Expected == 0 && e < queue.Never {
		j.Expected = time.Duration(e) * time.Second
	}
	how := "somebody started it outside the queue"
	if n.Asked == vm.Host && !j.Started.IsZero() {
		how = "it runs still" // where the engine had started it
	}
	t.become(backend.JobRunning, "adopted", how)
}

// held is a job with a berth on a host that was read just now.
func (t *turn) held() {
	if vm := t.s.vm; vm != nil && vm.Name != "" && vm.Name != t.m.job.Name {
		t.m.event, t.m.words = "renamed", "it was "+t.m.job.Name
		t.job().Name = vm.Name
		return
	}
	switch t.m.job.State {
	case backend.JobStarting:
		t.starting()
	case backend.JobRunning, backend.JobMigrating:
		t.running()
	case backend.JobStopping:
		t.stopping()
	case backend.JobPreempted:
		t.aside()
	case backend.JobUnknown, backend.JobFencing:
		t.returned()
	}
}

// active reports whether the VM has a process.
func (t *turn) active() bool { return t.s.vm != nil && t.s.vm.State.Active() }

// rebooted reports whether its host was booted since its start was asked.
func (t *turn) rebooted() bool {
	return !sameBoot(t.m.note.Boot, t.s.boot)
}

// failed reports whether the last act was a and, if so, its error.
func (t *turn) failed(a act) (bool, error) {
	if t.s.done == nil || t.s.done.act != a {
		return false, nil
	}
	return true, t.s.done.err
}

// fail ends the job for good.
func (t *turn) fail(words string) {
	t.job().Words = words
	t.become(backend.JobFailed, "failed", words)
}

// puzzled leaves the job to a person.
func (t *turn) puzzled(words string) {
	t.job().Words = words
	t.become(backend.JobError, "error", words)
}

// requeue puts the job back among those that wait, to start anew.
func (t *turn) requeue(event, words string) {
	j, n := t.job(), t.note()
	j.Launch, j.Words = backend.LaunchNone, words
	*n = n.resting()
	t.become(backend.JobQueued, event, words)
	t.age(t.s.ready && !j.Held)
}
