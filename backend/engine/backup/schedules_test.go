package backup

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/backend"
	"berth/backend/store"
)

func (r *rig) schedule(s backend.Schedule) int64 {
	r.Helper()
	s.Repo.URL = r.url()
	if s.Cron == "" {
		s.Cron = "@daily"
	}
	id, err := r.c.PutSchedule(r.Context(), s)
	if err != nil {
		r.Fatal(err)
	}
	return id
}

// overdue makes a schedule's next run one that was due so long ago.
func (r *rig) overdue(id int64, since time.Duration) {
	r.Helper()
	err := r.store.Update(r.Context(), func(tx *store.Tx) error {
		s, err := tx.Schedule(id)
		if err != nil {
			return err
		}
		s.Next = time.Now().Add(-since)
		_, err = tx.PutSchedule(s)
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
}

// events are what happened, in words.
func (r *rig) events() (list []string) {
	r.Helper()
	err := r.store.View(r.Context(), func(tx *store.Tx) error {
		all, err := tx.Events(backend.LogQuery{})
		for _, e := range all {
			list = append(list, e.What+" "+e.Name+": "+e.Detail)
		}
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	return list
}

func hasEvent(list []string, prefix string) bool {
	for _, e := range list {
		if strings.HasPrefix(e, prefix) {
			return true
		}
	}
	return false
}

// A schedule by tag, missed for some days, runs once, then forgets, verifies and
// tells its command.
func TestAScheduleThatWasMissed(t *testing.T) {
	r := newRig(t)
	r.vm("gold1", true)
	r.vm("gold2", false)
	r.vm("web1", true)
	out := filepath.Join(r.dir, "outcome")
	id := r.schedule(backend.Schedule{Name: "nightly", Tag: "gold", Keep: backend.Retention{Last: 1}, Verify: 100, Command: "cat > " + out + ".new; mv " + out + ".new " + out})
	r.overdue(id, 72*time.Hour)
	r.start()
	st := r.until("the schedule's end", func(s *backend.BackupsState) bool {
		return len(s.Transfers) == 4 && unended(s.Transfers) == 0 && !s.Schedules[0].Last.IsZero()
	})
	kinds := map[backend.TransferKind]int{}
	for _, x := range st.Transfers {
		kinds[x.Spec.Kind]++
		if x.State != backend.TransferDone || x.Spec.Schedule != id {
			t.Errorf("%+v", x)
		}
	}
	if kinds[backend.TransferBackup] != 2 || kinds[backend.TransferForget] != 1 || kinds[backend.TransferVerify] != 1 {
		t.Errorf("transfers %v", kinds)
	}
	var o Outcome
	r.until("the command's end", func(*backend.BackupsState) bool {
		b, err := os.ReadFile(out)
		return err == nil && json.Unmarshal(b, &o) == nil || r.touch()
	})
	if !o.OK || o.Name != "nightly" || len(o.Transfers) != 4 || o.Missed < 2 || o.Transfers[0].VM == "" {
		t.Errorf("the command got %+v", o)
	}
	s := st.Schedules[0]
	if s.Missed < 2 || s.Missed > 3 || !s.Next.After(time.Now()) || s.LastBad != "" {
		t.Errorf("the schedule is %+v", s)
	}
	if e := r.events(); !hasEvent(e, "schedule started nightly: 2 backups; ") || !hasEvent(e, "schedule done nightly: 2 VMs") || !hasEvent(e, "backup done gold1: ") {
		t.Errorf("events %q", e)
	}
	for _, p := range st.Points {
		if p.Verified.IsZero() {
			t.Errorf("not verified: %+v", p)
		}
	}
}

// A schedule forgets what its retention does not keep of its own VMs, and nothing
// of others.
func TestAScheduleForgets(t *testing.T) {
	r := newRig(t)
	r.vm("gold1", true)
	r.vm("web1", true)
	r.start()
	for _, name := range []string{"gold1", "gold1", "web1", "web1"} {
		r.ends(r.backup(name), backend.TransferDone)
	}
	id := r.schedule(backend.Schedule{Name: "nightly", Tag: "gold", Keep: backend.Retention{Last: 2}})
	r.overdue(id, time.Minute)
	r.until("the schedule's end", func(*backend.BackupsState) bool { return hasEvent(r.events(), "schedule done nightly") })
	left := map[string]int{}
	for _, m := range r.manifests() {
		left[m.Name]++
	}
	if left["gold1"] != 2 || left["web1"] != 2 {
		t.Errorf("points left: %v", left)
	}
	if !hasEvent(r.events(), "forget done nightly: ") {
		t.Errorf("events %q", r.events())
	}
}

// touch changes the store, so that whoever waits looks again.
func (r *rig) touch() bool {
	err := r.store.Update(r.Context(), func(tx *store.Tx) error { return tx.SetSetting("touch", time.Now().String()) })
	if err != nil {
		r.Error(err)
	}
	return false
}

// A run that is due while the last one is under way is joined to it; a backup of
// a person's too.
func TestOverlappingRunsAreJoined(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	mine := r.backup("web1", func(s *backend.TransferSpec) { s.Limit = 1 << 20 })
	id := r.schedule(backend.Schedule{Name: "often", VMs: []backend.Key{{Host: "hv1", UUID: uuidOf("web1")}}, Names: []string{"web1"}})
	r.overdue(id, time.Minute)
	r.start()
	r.until("the run", func(s *backend.BackupsState) bool { return !s.Schedules[0].Last.IsZero() })
	r.overdue(id, time.Minute)
	r.until("the joined run", func(s *backend.BackupsState) bool { return s.Schedules[0].Next.After(time.Now()) })
	if _, err := r.c.RunSchedule(t.Context(), id); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("run beside it: %v", err)
	}
	none := int64(0)
	if err := r.c.Change(t.Context(), []backend.TransferID{mine}, backend.TransferChange{Limit: &none}); err != nil {
		t.Fatal(err)
	}
	r.ends(mine, backend.TransferDone)
	r.until("the schedule's end", func(*backend.BackupsState) bool { return hasEvent(r.events(), "schedule done often") })
	if e := r.events(); !hasEvent(e, "schedule started often: 1 backup, 1 already under way") || !hasEvent(e, "schedule joined often") {
		t.Errorf("events %q", e)
	}
	if n := len(r.manifests()); n != 1 {
		t.Errorf("%d points", n)
	}
	ids, err := r.c.RunSchedule(t.Context(), id)
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	r.ends(ids[0], backend.TransferDone)
}

// A schedule's VMs are found on the hosts that the engine knows when none is at
// hand, as with a systemd timer; one that does not answer is told in the end.
func TestAScheduleIsRunFromAfar(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	there := r.beside()
	id := r.schedule(backend.Schedule{Name: "all", All: true})
	r.fleet = nil
	there.hook = func(op string) error {
		if op == "poll" {
			return backend.ErrUnreachable
		}
		return nil
	}
	r.start()
	c := NewClient(ClientOptions{Options: r.opt, Who: "timer", Fleet: func() []backend.Host { return nil }})
	ids, err := c.RunSchedule(t.Context(), id)
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	r.ends(ids[0], backend.TransferDone)
	st := r.until("the run's end", func(s *backend.BackupsState) bool { return s.Schedules[0].LastBad != "" })
	if bad := st.Schedules[0].LastBad; !strings.Contains(bad, "hv2: host unreachable") {
		t.Errorf("it says %q", bad)
	}
	if e := r.events(); !hasEvent(e, "schedule started all: by timer: 1 backup") {
		t.Errorf("events %q", e)
	}
}

func TestAScheduleThatFails(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	r.host.hook = func(op string) error {
		if op == "begin" {
			return backend.ErrNoRoom
		}
		return nil
	}
	id := r.schedule(backend.Schedule{All: true, Keep: backend.Retention{Last: 1}, Command: "cat >/dev/null; echo no mail >&2; exit 3"})
	r.overdue(id, time.Minute)
	r.start()
	st := r.until("what went wrong", func(s *backend.BackupsState) bool { return strings.Contains(s.Schedules[0].LastBad, "no mail") })
	if bad := st.Schedules[0].LastBad; !strings.Contains(bad, backend.ErrNoRoom.Error()) || !strings.Contains(bad, "exit status 3") {
		t.Errorf("it says %q", bad)
	}
	if len(st.Transfers) != 1 {
		t.Error("it forgot old points though no new one came")
	}
	if !hasEvent(r.events(), "schedule failed") || !hasEvent(r.events(), "command failed") {
		t.Errorf("%q", r.events())
	}
}

// A command that was not told when the engine ended is told by the next one, which
// does not wait for one that hangs either.
func TestACommandIsToldByTheNextEngine(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	begun, out := filepath.Join(r.dir, "begun"), filepath.Join(r.dir, "outcome")
	id := r.schedule(backend.Schedule{Name: "once", All: true, Command: "if [ -e " + begun + " ]; then cat > " + out + "; else touch " + begun + "; sleep 1000; fi"})
	r.overdue(id, time.Minute)
	r.start()
	r.until("the command", func(*backend.BackupsState) bool {
		_, err := os.Stat(begun)
		return err == nil || r.touch()
	})
	if _, err := r.c.RunSchedule(t.Context(), id); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("run before its command was told: %v", err)
	}
	r.stop()
	r.start()
	r.until("the run's end", func(*backend.BackupsState) bool {
		var note string
		err := r.store.View(t.Context(), func(tx *store.Tx) (err error) { note, err = tx.ScheduleNote(id); return err })
		return err == nil && note == "" || r.touch()
	})
	var o Outcome
	b, err := os.ReadFile(out)
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil || !o.OK || len(o.Transfers) != 1 || o.Ended.Before(o.Started) {
		t.Errorf("it was told %+v, %v", o, err)
	}
	if hasEvent(r.events(), "command failed") {
		t.Errorf("%q", r.events())
	}
}

func TestACommandThatHangs(t *testing.T) {
	err := runCommand(t.Context(), "sleep 1000 & sleep 1000", Outcome{}, 50*time.Millisecond)
	if !errors.Is(err, backend.ErrTimeout) {
		t.Error(err)
	}
	err = runCommand(t.Context(), "yes | head -c 1000000; exit 1", Outcome{}, time.Minute)
	if err == nil || len(err.Error()) > 2*commandOutput {
		t.Errorf("%d bytes", len(err.Error()))
	}
}

func TestWhatCannotBeOrdered(t *testing.T) {
	r := newRig(t)
	r.vm("web1", true)
	vm := backend.Key{Host: "hv1", UUID: uuidOf("web1")}
	ok := backend.RepoRef{URL: "/b"}
	for name, s := range map[string]backend.TransferSpec{
		"no kind":       {VM: vm, Repo: ok},
		"no repository": {Kind: backend.TransferBackup, VM: vm},
		"relative":      {Kind: backend.TransferBackup, VM: vm, Repo: backend.RepoRef{URL: "b"}},
		"no VM":         {Kind: backend.TransferBackup, Repo: ok},
		"unknown host":  {Kind: backend.TransferBackup, VM: backend.Key{Host: "hv9", UUID: vm.UUID}, Repo: ok},
		"no point":      {Kind: backend.TransferRestore, VM: vm, Repo: ok},
		"path":          {Kind: backend.TransferRestore, VM: vm, Repo: ok, Restore: backend.RestoreSpec{Point: "p", Disks: map[string]string{"vda": "../x"}}},
		"name":          {Kind: backend.TransferRestore, VM: vm, Repo: ok, Restore: backend.RestoreSpec{Point: "p", NewName: "../x"}},
		"format":        {Kind: backend.TransferRestore, VM: vm, Repo: ok, Restore: backend.RestoreSpec{Point: "p", Format: "vmdk"}},
		"keeps all":     {Kind: backend.TransferForget, Repo: ok},
		"sample":        {Kind: backend.TransferVerify, Repo: ok, Verify: backend.VerifySpec{Sample: 101}},
		"limit":         {Kind: backend.TransferBackup, VM: vm, Repo: ok, Limit: -1},
	} {
		if _, err := r.c.Start(t.Context(), []backend.TransferSpec{s}); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.backup("web1")
	spec := backend.TransferSpec{Kind: backend.TransferBackup, VM: vm, Repo: backend.RepoRef{URL: r.url()}}
	if _, err := r.c.Start(t.Context(), []backend.TransferSpec{spec}); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	if err := r.c.Change(t.Context(), []backend.TransferID{99}, backend.TransferChange{Cancel: true}); !errors.Is(err, backend.ErrNoTransfer) {
		t.Error(err)
	}
	for name, s := range map[string]backend.Schedule{
		"cron": {Cron: "x", All: true, Repo: ok}, "nothing": {Cron: "@daily", Repo: ok}, "both": {Cron: "@daily", All: true, Tag: "x", Repo: ok}, "no repository": {Cron: "@daily", All: true},
	} {
		if _, err := r.c.PutSchedule(t.Context(), s); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("schedule, %s: %v", name, err)
		}
	}
}
