package engine

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"berth/backend"
)

var (
	noon      = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	testRules = rules{stop: 2 * time.Minute, save: 15 * time.Minute, lost: 2 * time.Minute, settle: 10 * time.Second}
)

// at is a VM in a state, on hv1.
func at(state backend.State, reason string) *backend.VM {
	return &backend.VM{Host: "hv1", Name: "vm", State: state, Reason: reason, ID: 1}
}

// elsewhere is one on hv2.
func elsewhere(state backend.State) *backend.VM {
	return &backend.VM{Host: "hv2", Name: "vm", State: state, ID: 1}
}

// seen is what is seen of a VM on a host that is up and was read just now.
func seen(vm *backend.VM, more ...func(*sight)) sight {
	s := sight{fresh: true, vm: vm, others: true, ready: true, recent: true, front: 7, boot: "b1", gone: vm == nil}
	for _, f := range more {
		f(&s)
	}
	return s
}

func after(a act, err error) func(*sight) {
	return func(s *sight) { s.done = &outcome{act: a, err: err} }
}

func downSince(d time.Duration) func(*sight) {
	return func(s *sight) { s.fresh, s.down = false, noon.Add(-d) }
}

// TestLife is what follows in every state from everything that can be seen.
func TestLife(t *testing.T) {
	const (
		held, queued, starting, running  = backend.JobHeld, backend.JobQueued, backend.JobStarting, backend.JobRunning
		stopping, preempted, unknown     = backend.JobStopping, backend.JobPreempted, backend.JobUnknown
		fencing, recovery, migrating     = backend.JobFencing, backend.JobRecovery, backend.JobMigrating
		done, timeout, failed, cancelled = backend.JobDone, backend.JobTimeout, backend.JobFailed, backend.JobCancelled
		puzzled                          = backend.JobError
		none, asked, paused, resumed     = backend.LaunchNone, backend.LaunchAsked, backend.LaunchPaused, backend.LaunchResumed
	)
	off, runs, stands := at(backend.Shutoff, "shutdown"), at(backend.Running, "booted"), at(backend.Paused, "user")
	boot2 := func(s *sight) { s.boot = "b2" }
	cancel := func(j *backend.Job, _ *note) { j.Cancel = true }
	broken := errors.New("internal error")
	for _, c := range []struct {
		name   string
		state  backend.JobState
		launch backend.Launch
		prep   func(*backend.Job, *note)
		see    sight
		want   backend.JobState
		then   backend.Launch
		act    act
	}{
		{"waits", queued, none, nil, seen(off), queued, none, ""},
		{"waits, cancelled", queued, none, cancel, seen(off), cancelled, none, ""},
		{"waits, held", queued, none, func(j *backend.Job, _ *note) { j.Held = true }, seen(off), held, none, ""},
		{"held, released", held, none, nil, seen(off), queued, none, ""},
		{"waits, deleted", queued, none, nil, seen(nil), failed, none, ""},
		{"waits, not known whether deleted", queued, none, nil, seen(nil, func(s *sight) { s.gone = false }), queued, none, ""},
		{"waits, started by hand", queued, none, nil, seen(off, func(s *sight) { s.away = elsewhere(backend.Running) }), running, resumed, ""},
		{"held, started by hand", held, none, func(j *backend.Job, _ *note) { j.Held = true }, seen(off, func(s *sight) { s.away = elsewhere(backend.Running) }), running, resumed, ""},
		{"waits, an old start came late", queued, none, func(_ *backend.Job, n *note) { n.Asked = "hv2" }, seen(off, func(s *sight) { s.away = elsewhere(backend.Paused) }), starting, paused, ""},
		{"waits, a dependency failed", queued, none, nil, seen(off, func(s *sight) { s.ready, s.broken, s.how = false, 3, failed }), held, none, ""},

		{"asked, off, new engine", starting, asked, nil, seen(off), starting, asked, actStart},
		{"asked, off, others out of sight", starting, asked, nil, seen(off, func(s *sight) { s.others = false }), queued, none, ""},
		{"asked, off, runs elsewhere", starting, asked, nil, seen(off, func(s *sight) { s.away = elsewhere(backend.Running) }), running, resumed, ""},
		{"asked, off, refused for now", starting, asked, nil, seen(off, after(actStart, backend.ErrLocked)), queued, none, ""},
		{"asked, off, refused", starting, asked, nil, seen(off, after(actStart, broken)), failed, asked, ""},
		{"asked, off, refused here", starting, asked, nil, seen(off, after(actStart, broken), func(s *sight) { s.roams = true }), queued, none, ""},
		{"asked, off, no answer", starting, asked, nil, seen(off, after(actStart, backend.ErrTimeout)), queued, none, ""},
		{"asked, off, accepted", starting, asked, nil, seen(off, after(actStart, nil)), queued, none, ""},
		{"asked, paused", starting, asked, nil, seen(stands), starting, paused, ""},
		{"asked, paused, error", starting, asked, nil, seen(stands, after(actStart, backend.ErrTimeout)), starting, paused, ""},
		{"asked, runs", starting, asked, nil, seen(runs), running, resumed, ""},
		{"asked, not read yet", starting, asked, nil, seen(off, func(s *sight) { s.fresh = false }), starting, asked, ""},
		{"asked, cancelled", starting, asked, cancel, seen(off), cancelled, asked, ""},
		{"asked, booted", starting, asked, nil, seen(off, boot2), recovery, asked, ""},
		{"asked, deleted", starting, asked, nil, seen(nil), failed, asked, ""},
		{"paused, paused", starting, paused, nil, seen(stands), starting, resumed, actResume},
		{"paused, tuned first", starting, paused, func(j *backend.Job, _ *note) { j.Priority = 80 }, seen(stands), starting, paused, actShares},
		{"paused, off", starting, paused, nil, seen(off), queued, none, ""},
		{"paused, cancelled", starting, paused, cancel, seen(stands), stopping, paused, ""},
		{"resumed, paused, new engine", starting, resumed, nil, seen(stands), starting, resumed, actResume},
		{"resumed, paused, let run", starting, resumed, nil, seen(stands, after(actResume, nil)), running, resumed, ""},
		{"resumed, paused, refused", starting, resumed, nil, seen(stands, after(actResume, broken)), starting, paused, actDestroy},
		{"resumed, paused, no answer", starting, resumed, nil, seen(stands, after(actResume, backend.ErrTimeout)), starting, resumed, ""},
		{"resumed, runs", starting, resumed, nil, seen(runs), running, resumed, ""},
		{"resumed, off", starting, resumed, nil, seen(off), done, resumed, ""},
		{"resumed, off, booted", starting, resumed, nil, seen(off, boot2), recovery, resumed, ""},
		{"undone, paused", starting, paused, func(_ *backend.Job, n *note) { n.Abort = "no" }, seen(stands), starting, paused, actDestroy},
		{"undone, off", starting, paused, func(_ *backend.Job, n *note) { n.Abort = "no" }, seen(off), failed, paused, ""},
		{"undone, off, heals", starting, paused, func(_ *backend.Job, n *note) { n.Abort, n.Heals = "no", true }, seen(off), queued, none, ""},

		{"runs", running, resumed, nil, seen(runs), running, resumed, ""},
		{"runs, paused by a person", running, resumed, nil, seen(stands), running, resumed, ""},
		{"runs, cancelled", running, resumed, cancel, seen(runs), stopping, resumed, ""},
		{"runs, over its limit", running, resumed, func(j *backend.Job, _ *note) { j.Limit = time.Minute }, seen(runs), stopping, resumed, ""},
		{"runs, over its estimate", running, resumed, func(j *backend.Job, _ *note) { j.Expected = time.Minute }, seen(runs), running, resumed, ""},
		{"ended", running, resumed, nil, seen(off), done, resumed, ""},
		{"ended, nobody saw how", running, resumed, nil, seen(at(backend.Shutoff, "")), done, resumed, ""},
		{"ended, booted", running, resumed, nil, seen(at(backend.Shutoff, ""), boot2), recovery, resumed, ""},
		{"crashed", running, resumed, nil, seen(at(backend.Shutoff, "crashed")), failed, resumed, ""},
		{"crashed and kept", running, resumed, nil, seen(at(backend.Crashed, "panicked")), failed, resumed, ""},
		{"QEMU gone", running, resumed, nil, seen(at(backend.Shutoff, "daemon")), failed, resumed, ""},
		{"forced off", running, resumed, nil, seen(at(backend.Shutoff, "destroyed")), cancelled, resumed, ""},
		{"saved", running, resumed, nil, seen(at(backend.Shutoff, "saved")), held, none, ""},
		{"reverted", running, resumed, nil, seen(at(backend.Shutoff, "from snapshot")), cancelled, resumed, ""},
		{"vanished", running, resumed, nil, seen(nil), failed, resumed, ""},
		{"vanished after a shutdown", running, resumed, nil, seen(nil, func(s *sight) { s.last = "shutdown" }), done, resumed, ""},
		{"being migrated", running, resumed, nil, seen(runs, func(s *sight) { s.away = elsewhere(backend.Paused) }), migrating, resumed, ""},
		{"migrated", running, resumed, nil, seen(at(backend.Shutoff, "migrated"), func(s *sight) { s.away = elsewhere(backend.Running) }), running, resumed, ""},
		{"migrated out of sight", running, resumed, nil, seen(at(backend.Shutoff, "migrated")), migrating, resumed, ""},
		{"migrated away for good", migrating, resumed, func(_ *backend.Job, n *note) { n.Left = noon.Add(-time.Minute) }, seen(at(backend.Shutoff, "migrated")), puzzled, resumed, ""},
		{"migration given up", migrating, resumed, func(_ *backend.Job, n *note) { n.Both = noon.Add(-time.Minute) }, seen(runs), running, resumed, ""},
		{"runs twice", migrating, resumed, func(_ *backend.Job, n *note) { n.Both = noon.Add(-time.Minute) }, seen(runs, func(s *sight) { s.away = elsewhere(backend.Running) }), puzzled, resumed, actUntune},

		{"stops", stopping, resumed, stop(stopCancel, 0), seen(runs), stopping, resumed, actShutdown},
		{"stops, asked", stopping, resumed, stop(stopCancel, time.Second), seen(runs), stopping, resumed, ""},
		{"stops, deaf", stopping, resumed, stop(stopCancel, 3*time.Minute), seen(runs), stopping, resumed, actShutdown},
		{"stops, by force", stopping, resumed, func(j *backend.Job, n *note) { n.Stop, j.Force = stopCancel, true }, seen(runs), stopping, resumed, actDestroy},
		{"stops, never ran", stopping, paused, stop(stopCancel, 0), seen(stands), stopping, paused, actDestroy},
		{"limit, asked", stopping, resumed, stop(stopLimit, time.Second), seen(runs), stopping, resumed, ""},
		{"limit, deaf", stopping, resumed, stop(stopLimit, 3*time.Minute), seen(runs), stopping, resumed, actDestroy},
		{"limit, paused", stopping, resumed, stop(stopLimit, 0), seen(stands), stopping, resumed, actDestroy},
		{"stopped", stopping, resumed, stop(stopCancel, 0), seen(off), cancelled, resumed, ""},
		{"stopped at its limit", stopping, resumed, stop(stopLimit, 0), seen(at(backend.Shutoff, "destroyed")), timeout, resumed, ""},
		{"stopped by its host's end", stopping, resumed, stop(stopLimit, 0), seen(at(backend.Shutoff, ""), boot2), timeout, resumed, ""},

		{"put aside", preempted, resumed, aside(asideSave, 0), seen(runs), preempted, resumed, actSave},
		{"put aside, tuned", preempted, resumed, func(_ *backend.Job, n *note) { n.Aside, n.Tuned = asideSave, 81 }, seen(runs), preempted, resumed, actUntune},
		{"put aside, saved", preempted, resumed, aside(asideSave, time.Second), seen(at(backend.Shutoff, "saved")), queued, none, ""},
		{"put aside, cannot be saved", preempted, resumed, aside(asideSave, time.Second), seen(runs, after(actSave, backend.ErrUnsupported)), preempted, resumed, ""},
		{"put aside by a shutdown", preempted, resumed, aside(asideShutdown, 0), seen(runs), preempted, resumed, actShutdown},
		{"put aside, shut down", preempted, resumed, aside(asideShutdown, time.Second), seen(off), queued, none, ""},
		{"put aside, deaf", preempted, resumed, aside(asideShutdown, 3*time.Minute), seen(runs), running, resumed, ""},
		{"put aside, crashed", preempted, resumed, aside(asideSave, time.Second), seen(at(backend.Shutoff, "crashed")), failed, resumed, ""},
		{"put aside, cancelled", preempted, resumed, func(j *backend.Job, n *note) { n.Aside, j.Cancel = asideSave, true }, seen(runs), stopping, resumed, ""},

		{"host away for a moment", running, resumed, nil, seen(nil, downSince(time.Minute)), running, resumed, ""},
		{"host lost", running, resumed, nil, seen(nil, downSince(3*time.Minute)), unknown, resumed, ""},
		{"host lost while it starts", starting, asked, nil, seen(nil, downSince(3*time.Minute)), unknown, asked, ""},
		{"lost", unknown, resumed, nil, seen(nil, downSince(time.Hour)), unknown, resumed, ""},
		{"lost, can be fenced", unknown, resumed, nil, seen(nil, downSince(time.Hour), func(s *sight) { s.fence = true }), fencing, resumed, actFence},
		{"being fenced, new engine", fencing, resumed, nil, seen(nil, downSince(time.Hour), func(s *sight) { s.fence = true }), fencing, resumed, actFence},
		{"fencing failed", fencing, resumed, nil, seen(nil, downSince(time.Hour), after(actFence, broken)), unknown, resumed, ""},
		{"lost, off for sure", unknown, resumed, nil, seen(nil, downSince(time.Hour), func(s *sight) { s.off = true }), recovery, resumed, ""},
		{"fenced", fencing, resumed, nil, seen(nil, downSince(time.Hour), func(s *sight) { s.off = true }), recovery, resumed, ""},
		{"back, runs", unknown, resumed, nil, seen(runs), running, resumed, ""},
		{"back, stands paused before it ran", unknown, paused, nil, seen(stands), starting, paused, ""},
		{"back, off before it ran", unknown, asked, nil, seen(off), starting, asked, ""},
		{"back, was to be stopped", unknown, resumed, stop(stopCancel, 0), seen(runs), stopping, resumed, ""},
		{"back, was to be put aside", unknown, resumed, aside(asideSave, 0), seen(runs), preempted, resumed, ""},
		{"back, ended meanwhile", unknown, resumed, nil, seen(off), done, resumed, ""},
		{"back, booted", unknown, resumed, nil, seen(at(backend.Shutoff, ""), boot2), recovery, resumed, ""},
		{"back, booted, started by somebody", unknown, resumed, nil, seen(runs, boot2), running, resumed, ""},
		{"recovered", recovery, resumed, nil, seen(off), queued, none, ""},
		{"recovered, cancelled", recovery, resumed, cancel, seen(off), cancelled, resumed, ""},
		{"puzzled", puzzled, resumed, nil, seen(off), puzzled, resumed, ""},
		{"over", done, resumed, nil, seen(runs), done, resumed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, n := sample(c.state, c.launch)
			if c.prep != nil {
				c.prep(&j, &n)
			}
			m := next(j, n, c.see, testRules, noon)
			if m.job.State != c.want || m.job.Launch != c.then || m.act != c.act {
				t.Errorf("it becomes %s %q and %q follows (%s); want %s %q and %q", m.job.State, m.job.Launch, m.act, m.words, c.want, c.then, c.act)
			}
			if m.job.State != j.State && !m.job.Since.Equal(noon) {
				t.Error("the time of the change is not noted")
			}
			if m.job.State.Ended() && m.job.State != j.State && m.job.Ended.IsZero() {
				t.Error("its end is not noted")
			}
		})
	}
}

func stop(why string, ago time.Duration) func(*backend.Job, *note) {
	return func(_ *backend.Job, n *note) {
		if n.Stop = why; ago > 0 {
			n.StopAt = noon.Add(-ago)
		}
	}
}

func aside(how string, ago time.Duration) func(*backend.Job, *note) {
	return func(_ *backend.Job, n *note) {
		if n.Aside = how; ago > 0 {
			n.StopAt = noon.Add(-ago)
		}
	}
}

// sample is a job of that state that has been going for a while.
func sample(state backend.JobState, launch backend.Launch) (backend.Job, note) {
	j := backend.Job{ID: 1, Name: "vm", Home: "hv1", RunsOn: "hv1", State: state, Launch: launch, Priority: 50,
		Submitted: noon.Add(-3 * time.Hour), Since: noon.Add(-time.Hour), LastStart: noon.Add(-time.Hour)}
	return j, note{Boot: "b1", Asked: "hv1"}
}

// TestLifeNeverDoesHarm goes through every combination of what a row can say
// and what can be seen, and looks for what must never follow.
func TestLifeNeverDoesHarm(t *testing.T) {
	vms := []*backend.VM{nil}
	for _, s := range []backend.State{backend.Running, backend.Paused, backend.ShuttingDown, backend.PMSuspended, backend.Crashed} {
		vms = append(vms, at(s, "user"))
	}
	for _, reason := range []string{"", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot", "daemon"} {
		vms = append(vms, at(backend.Shutoff, reason))
	}
	outcomes := []*outcome{nil, {act: actShares}, {act: actStart}, {act: actResume}, {act: actSave}}
	for _, a := range []act{actStart, actResume, actDestroy, actSave} {
		outcomes = append(outcomes, &outcome{act: a, err: backend.ErrTimeout}, &outcome{act: a, err: errors.New("no")})
	}
	count := 0
	for _, state := range backend.JobStates() {
		for _, launch := range []backend.Launch{backend.LaunchNone, backend.LaunchAsked, backend.LaunchPaused, backend.LaunchResumed} {
			for _, vm := range vms {
				for _, done := range outcomes {
					for bits := range 1 << 9 {
						if state.Ended() && bits > 1 {
							break
						}
						j, n := sample(state, launch)
						bit := func(i int) bool { return bits>>i&1 == 1 }
						s := sight{fresh: bit(0), vm: vm, boot: "b1", others: bit(1), ready: true, fence: true, done: done, front: 5}
						if bit(2) {
							s.boot = "b2"
						}
						if bit(3) {
							s.down = noon.Add(-time.Hour)
						}
						if bit(4) {
							s.away = elsewhere(backend.Running)
						}
						j.Cancel, j.Force = bit(5), bit(5) && bit(6)
						if bit(7) {
							n.Stop = stopLimit
						}
						if bit(8) {
							n.Aside = asideSave
						}
						count++
						if count%64 == 0 && !reflect.DeepEqual(next(j, n, s, testRules, noon), next(j, n, s, testRules, noon)) {
							t.Fatal("the same question has two answers")
						}
						if fault := harm(j, n, s); fault != "" {
							t.Fatalf("%s: %s %q with VM %+v, done %+v, sight %+v, note %+v", fault, state, launch, vm, done, s, n)
						}
					}
				}
			}
		}
	}
	if count < 100_000 {
		t.Errorf("only %d combinations", count)
	}
}

// harm says what is wrong with what follows, or "".
func harm(j backend.Job, n note, s sight) string {
	m := next(j, n, s, testRules, noon)
	active := s.vm != nil && s.vm.State.Active()
	switch {
	case j.State.Ended() && (m.wrote || m.act != actNone):
		return "a job that is over goes on"
	case m.act == actStart && (m.job.State != backend.JobStarting || m.job.Launch != backend.LaunchAsked || active || !s.fresh || !s.others || s.away != nil):
		return "a start that could be a second one"
	case m.act == actResume && (m.job.Launch != backend.LaunchResumed || !active || !s.fresh):
		return "let run without a note of it"
	case m.act == actDestroy && !(j.Force || n.Stop == stopLimit || j.Launch != backend.LaunchResumed || m.note.Abort != ""):
		return "the power of a running guest is cut though nobody wants it"
	case !s.fresh && s.down.IsZero() && j.State.Holds() && (m.wrote || m.act != actNone):
		return "judged by old news"
	case !j.State.Ended() && m.job.State.Ended() && active && s.fresh && s.down.IsZero() && j.State.Holds():
		return "a job ends while its VM is active"
	}
	return settles(m, s)
}

// settles sees that rows do not go round in circles while nothing changes.
func settles(m move, s sight) string {
	s.done = nil
	for range 12 {
		if !m.wrote || m.act != actNone || m.job.State.Ended() || m.job.RunsOn != "hv1" { // then other things are seen
			return ""
		}
		m = next(m.job, m.note, s, testRules, noon)
	}
	return fmt.Sprintf("it goes round in circles at %s", m.job.State)
}
