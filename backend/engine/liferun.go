package engine

import (
	"errors"
	"time"

	"berth/backend"
	"berth/backend/queue"
)

// running is a job whose domain was let run.
func (t *turn) running() {
	j := &t.m.job
	switch {
	case !t.active():
		t.ended()
		return
	case j.Cancel: // also while it is on two hosts, which can last for ever
		t.stop(stopCancel, "cancelled")
		return
	case t.overLimit():
		t.stop(stopLimit, "its limit of "+short(j.Limit)+" is reached")
		return
	case t.s.away != nil:
		t.twoPlaces()
		return
	case j.State == backend.JobMigrating || !t.m.note.Both.IsZero():
		t.note().Both = time.Time{}
		t.become(backend.JobRunning, "", "")
		return
	}
	t.pausedWords()
	if !t.extend() {
		t.tune()
	}
}

// overLimit reports whether the limit is reached, or has it looked at then.
func (t *turn) overLimit() bool {
	j := &t.m.job
	if j.Limit <= 0 {
		return false
	}
	at := j.LastStart.Add(j.Limit - j.Ran)
	if at.After(t.now) {
		t.wake(at)
		return false
	}
	return true
}

// pausedWords says why a running job's domain stands still.
func (t *turn) pausedWords() {
	words := ""
	if t.s.vm.State == backend.Paused {
		words = "paused"
		if t.s.vm.Reason != "" && t.s.vm.Reason != "user" {
			words += ": " + t.s.vm.Reason
		}
	}
	if t.m.job.Words != words {
		t.job().Words = words
	}
}

// extend believes in a later end of a job that has outlived the one that was
// believed in, by Tsafrir's ladder. Only a limit ends it.
func (t *turn) extend() bool {
	j := &t.m.job
	end := j.Ends()
	if end.IsZero() {
		return false
	}
	if end.After(t.now) {
		t.wake(end)
		return false
	}
	first := queue.Time(end.Unix()) - climbed(j.Extended)
	believed, steps := queue.Extend(first, queue.Time(t.now.Unix()))
	j = t.job()
	j.Expected += time.Unix(int64(believed), 0).Sub(time.Unix(end.Unix(), 0))
	if j.Limit > 0 { // it will have ended by then
		j.Expected = min(j.Expected, j.Limit)
	}
	j.Extended = steps
	t.m.event, t.m.words = "extended", "it outlived its estimate; now believed to run "+short(j.Expected)
	t.wake(j.Ends())
	return true
}

// climbed is how much that many rungs of the ladder are together.
func climbed(rungs int) (sum queue.Time) {
	for range rungs {
		sum, _ = queue.Extend(0, sum)
	}
	return sum
}

// tune sees to it that the domain's shares follow the priority, and reports
// whether something remains to be done before all else.
func (t *turn) tune() bool {
	n, want := &t.m.note, 1+t.m.job.Priority
	if read, err := t.failed(actShares); read && !n.Read {
		n := t.note()
		n.Read, n.Shares = err == nil, t.s.done.shares
		n.Tuneless = err != nil || n.Shares == (backend.Shares{})
	}
	if set, err := t.failed(actTune); set && n.Set != n.Tuned {
		n := t.note()
		if n.Set = n.Tuned; err != nil {
			n.Tuneless = true
			t.m.event, t.m.words = "untuned", err.Error()
		}
	}
	plain := n.Tuned == 0 && t.m.job.Priority == backend.DefaultPriority
	switch {
	case n.Tuneless, plain, n.Set == want:
		return false
	case !n.Read:
		t.m.act = actShares
	default:
		if n.Tuned != want { // noted first, so that what is set is set back
			t.note().Tuned = want
		}
		t.m.act = actTune
	}
	return true
}

// twoPlaces is a domain that is active on two hosts: it is migrating, or two
// of it run, which nobody but a person can put right.
func (t *turn) twoPlaces() {
	moving := t.s.vm.State == backend.Paused || t.s.away.State == backend.Paused
	since := t.m.note.Both
	switch {
	case since.IsZero():
		t.note().Both = t.now
		t.become(backend.JobMigrating, "migrating", "to "+t.s.away.Host)
		t.wake(t.now.Add(t.r.settle))
	case !moving && t.now.Sub(since) >= t.r.settle && t.s.recent:
		t.puzzled("it runs on " + t.s.vm.Host + " and on " + t.s.away.Host + " at once: end one of them now, they write to the same disks or pretend to be the same machine")
		t.m.act = actUntune
	default:
		t.wake(t.now.Add(t.r.settle))
	}
}

// ended is a domain that was let run and is off.
func (t *turn) ended() {
	j := &t.m.job
	how := t.s.last
	if t.s.vm != nil {
		how = t.s.vm.Reason
	}
	crashed := t.s.vm != nil && t.s.vm.State == backend.Crashed
	switch {
	case t.s.away != nil:
		t.follow()
	case t.m.note.Moved && (t.s.vm == nil || t.rebooted()):
		t.puzzled("its host has another address in the config since it started, and is booted anew or another machine: see whether it still runs at the old address, then retry or cancel it")
	case how == "migrated":
		t.leftBehind()
	case t.m.note.Stop == stopLimit:
		t.become(backend.JobTimeout, "timeout", "stopped at its limit of "+short(j.Limit))
	case t.m.note.Stop == stopCancel || j.Cancel:
		t.become(backend.JobCancelled, "cancelled", "")
	case t.rebooted():
		t.become(backend.JobRecovery, "recovery", "its host was booted while it ran")
	case crashed:
		t.fail("its guest crashed")
	case how == "crashed", how == "failed":
		t.fail("its QEMU ended by itself: libvirt says " + how)
	case how == "daemon":
		t.fail("its QEMU was gone when libvirtd came back")
	case t.m.note.Aside == asideSave && how == "shutdown": // it came to its end before it could be saved
		t.become(backend.JobDone, "done", "")
	case t.m.note.Aside != "":
		t.putAside()
	case how == "saved" && !t.m.note.Stays.IsZero(): // by a save of ours that took longer than we waited
		t.putAside()
	case how == "shutdown" && !t.m.note.Urged.IsZero() && t.now.Sub(t.m.note.Urged) < heeds: // so did this guest
		t.putAside()
	case how == "saved":
		t.job().Held = true
		t.rest()
		t.become(backend.JobHeld, "held", "somebody saved it outside the queue: release it to go on")
		t.m.job.Words, t.m.job.Launch = t.m.words, backend.LaunchNone
	case how == "destroyed":
		t.job().Words = "somebody forced it off outside the queue"
		t.become(backend.JobCancelled, "cancelled", j.Words)
	case how == "from snapshot":
		t.job().Words = "somebody reverted it to a snapshot"
		t.become(backend.JobCancelled, "cancelled", j.Words)
	case t.s.vm == nil && how == "":
		t.fail("it vanished from its host")
	case how == "" && (t.m.note.Boot == "" || t.s.boot == ""):
		t.puzzled("it is off, and nobody saw how that came: its guest shut off, or its host was booted, which is not to be told over this connection (ssh or a unix socket would); retry or cancel it")
	default:
		t.become(backend.JobDone, "done", "")
	}
}

// rest counts the time of a run that is over while the job is not.
func (t *turn) rest() {
	j := t.job()
	if !j.LastStart.IsZero() {
		j.Ran += max(t.now.Sub(j.LastStart), 0)
	}
}

// follow goes with a domain to the host it was migrated to.
func (t *turn) follow() {
	j, n := t.job(), t.note()
	from := j.RunsOn
	j.RunsOn = t.s.away.Host
	n.Boot, n.Both, n.Left = t.s.awayBoot, time.Time{}, time.Time{}
	state := backend.JobRunning
	if n.Stop != "" {
		state = backend.JobStopping
	}
	t.become(state, "migrated", "from "+from)
}

// leftBehind waits for a migrated domain to be seen on its new host.
func (t *turn) leftBehind() {
	switch since := t.m.note.Left; {
	case since.IsZero():
		t.note().Left = t.now
		t.become(backend.JobMigrating, "migrating", "")
		t.wake(t.now.Add(t.r.settle))
	case t.now.Sub(since) >= t.r.settle && t.s.others && t.s.recent:
		t.puzzled("it was migrated to a host that the queue does not know: cancel the job, or migrate the VM back and retry it")
	default:
		t.wake(t.now.Add(t.r.settle))
	}
}

// stop begins to end a domain.
func (t *turn) stop(why, words string) {
	t.note().Stop = why
	t.note().StopAt = time.Time{}
	t.become(backend.JobStopping, "stopping", words)
}

// stopping is a domain that is to end: its guest is asked, and at a limit, or
// when a person says so, its power is cut.
func (t *turn) stopping() {
	n := &t.m.note
	if !t.active() {
		t.ended()
		return
	}
	asked, err := t.failed(actShutdown)
	if asked && err != nil && t.m.job.Words != err.Error() {
		t.job().Words = err.Error()
	}
	late := !n.StopAt.IsZero() && t.now.Sub(n.StopAt) >= t.r.stop
	still := t.s.vm.State == backend.Paused || t.s.vm.State == backend.PMSuspended
	switch {
	case t.m.job.Force, t.m.job.Launch != backend.LaunchResumed, n.Stop == stopLimit && (late || still):
		t.cut()
	case n.StopAt.IsZero() || late:
		if late {
			t.job().Words = "its guest does not shut down: cancel it by force, or shut it down from inside"
		}
		t.note().StopAt = t.now
		t.m.act = actShutdown
		t.wake(t.now.Add(t.r.stop))
	default:
		t.wake(n.StopAt.Add(t.r.stop))
	}
}

// cut cuts the power, again and again if libvirt refuses.
func (t *turn) cut() {
	tried, err := t.failed(actDestroy)
	switch {
	case tried && err != nil:
		j := t.job()
		j.Attempts++
		j.Words, j.NextTry = err.Error(), t.now.Add(retryAfter(j.Attempts))
		t.wake(j.NextTry)
	case tried: // it still counts as active: libvirt is at it
		t.wake(t.now.Add(time.Second))
	case t.m.job.NextTry.After(t.now):
		t.wake(t.m.job.NextTry)
	default:
		t.m.act = actDestroy
	}
}

// aside is a domain that makes room for a more important one.
func (t *turn) aside() {
	n := &t.m.note
	switch {
	case !t.active():
		t.ended()
	case t.m.job.Cancel:
		t.stop(stopCancel, "cancelled")
	case n.Aside == asideSave:
		t.saving()
	case n.StopAt.IsZero():
		t.note().StopAt = t.now
		t.m.act = actShutdown
		t.wake(t.now.Add(t.r.stop))
	case t.now.Sub(n.StopAt) >= t.r.stop:
		t.note().Urged = n.StopAt
		t.stays("its guest does not shut down")
	default:
		t.wake(n.StopAt.Add(t.r.stop))
	}
}

// saving is a domain whose memory is being written to disk.
func (t *turn) saving() {
	n := &t.m.note
	tried, err := t.failed(actSave)
	back, _ := t.failed(actUntune)
	late := !n.StopAt.IsZero() && t.now.Sub(n.StopAt) >= t.r.save
	busy := errors.Is(err, backend.ErrBusy) || errors.Is(err, backend.ErrTimeout) || errors.Is(err, backend.ErrUnreachable)
	switch {
	case n.Tuned != 0 && back:
		t.note().Tuned, t.note().Set = 0, 0
	case n.Tuned != 0: // a saved state keeps the shares it was saved with
		t.m.act = actUntune
	case tried && err == nil:
		t.stays("somebody started it again")
	case tried && (!busy || late):
		t.note().Aside, t.note().StopAt = asideShutdown, time.Time{}
		t.job().Words = err.Error()
	case tried:
		t.wake(t.now.Add(retryAfter(1)))
	default:
		if n.StopAt.IsZero() {
			t.note().StopAt = t.now
		}
		t.m.act = actSave
	}
}

// staysFor is how long a job that could not be put aside is left alone.
const staysFor = time.Hour

// stays gives up putting a job aside.
func (t *turn) stays(words string) {
	n := t.note()
	n.Aside, n.StopAt, n.Stays = "", time.Time{}, t.now.Add(staysFor)
	t.job().Words = words
	t.become(backend.JobRunning, "not put aside", words)
}

// heeds is how long after it was asked to make room a guest's end still counts
// as its answer, when it was no longer waited for.
const heeds = 15 * time.Minute

// putAside is a job that has made room: it waits again, as old as it was.
func (t *turn) putAside() {
	t.rest()
	t.job().Preempted++
	t.requeue("put aside", "")
}
