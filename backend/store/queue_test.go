package store

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"berth/backend"
)

func contextSoon(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), 20*time.Millisecond)
}

// changes tells whether an update was something that others are told of.
func changes(t *testing.T, s *Store, f func(*Tx) error) bool {
	t.Helper()
	before := revision(t, s)
	update(t, s, f)
	after := revision(t, s)
	if after != before && after != before+1 {
		t.Errorf("revision %d after %d", after, before)
	}
	return after != before
}

func TestPutPlanWritesThePlanOnly(t *testing.T) {
	s := opened(t, "")
	was := filled[backend.Job](t, 0)
	was.ID = add(t, s, was)
	said := filled[backend.Job](t, 500)
	said.ID = was.ID
	gone := backend.Job{ID: 99, Position: 4}
	if !changes(t, s, func(tx *Tx) error { return tx.PutPlan([]backend.Job{said, gone}) }) {
		t.Error("a new plan is no change")
	}
	if changes(t, s, func(tx *Tx) error { return tx.PutPlan([]backend.Job{said, gone}) }) {
		t.Error("the same plan is a change")
	}
	want := was
	want.Expected, want.Why, want.ETA, want.ETAHost = said.Expected, said.Why, said.ETA, said.ETAHost
	want.Promised, want.Position, want.Score = said.Promised, said.Position, said.Score
	view(t, s, func(tx *Tx) error {
		got, err := tx.Job(was.ID)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("kept\n%+v, want\n%+v", got, want)
		}
		return err
	})
}

// Figures that are as before are no news, but when they were read is kept.
func TestPutHostIsNoNews(t *testing.T) {
	s := opened(t, "")
	h := filled[backend.QueueHost](t, 0)
	if !changes(t, s, func(tx *Tx) error { return tx.PutHost(h) }) {
		t.Error("a new host is no change")
	}
	h.SeenAt = h.SeenAt.Add(time.Minute)
	if changes(t, s, func(tx *Tx) error { return tx.PutHost(h) }) {
		t.Error("the same figures are a change")
	}
	view(t, s, func(tx *Tx) error {
		hosts, err := tx.Hosts()
		if len(hosts) != 1 || !hosts[0].SeenAt.Equal(h.SeenAt) {
			t.Errorf("%+v", hosts)
		}
		return err
	})
	h.Used.VCPU++
	if !changes(t, s, func(tx *Tx) error { return tx.PutHost(h) }) {
		t.Error("other figures are no change")
	}
}

func TestEvents(t *testing.T) {
	s := opened(t, "")
	at := time.Unix(1000, 7)
	want := make([]backend.JobEvent, 6)
	update(t, s, func(tx *Tx) error {
		for i := range want {
			want[i] = filled[backend.JobEvent](t, int64(i*20))
			want[i].ID, want[i].Job, want[i].At = int64(i+1), backend.JobID(i%2), at.Add(time.Duration(i)*time.Second)
			if err := tx.AddEvent(want[i]); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []struct {
		name string
		q    backend.LogQuery
		want []backend.JobEvent
	}{
		{"all", backend.LogQuery{}, want},
		{"of a job", backend.LogQuery{Job: 1}, []backend.JobEvent{want[1], want[3], want[5]}},
		{"the latest of a job", backend.LogQuery{Job: 1, Limit: 2}, []backend.JobEvent{want[3], want[5]}},
		{"since", backend.LogQuery{Since: at.Add(4 * time.Second)}, want[4:]},
		{"after", backend.LogQuery{After: 2}, want[2:]},
		{"all at once", backend.LogQuery{After: 1, Job: 1, Since: at.Add(2 * time.Second), Limit: 1}, want[5:]},
		{"none", backend.LogQuery{Job: 9}, nil},
	} {
		view(t, s, func(tx *Tx) error {
			got, err := tx.Events(c.q)
			if !slices.EqualFunc(got, c.want, func(a, b backend.JobEvent) bool { return reflect.DeepEqual(a, b) }) {
				t.Errorf("%s: got\n%+v, want\n%+v", c.name, got, c.want)
			}
			return err
		})
	}
}

func TestPolicyAndSettings(t *testing.T) {
	s := opened(t, "")
	want := backend.QueuePolicy{Order: "hrrn", Backfill: "easy", Placement: "dot", Preempt: true, NPlus1: true}
	view(t, s, func(tx *Tx) error {
		_, chosen, err := tx.Policy()
		value, e := tx.Setting("nothing")
		if chosen || value != "" {
			t.Errorf("a new store has policy %v, setting %q", chosen, value)
		}
		return errors.Join(err, e)
	})
	if !changes(t, s, func(tx *Tx) error { return tx.SetPolicy(want) }) {
		t.Error("a new policy is no change")
	}
	if changes(t, s, func(tx *Tx) error { return tx.SetPolicy(want) }) {
		t.Error("the same policy is a change")
	}
	view(t, s, func(tx *Tx) error {
		got, chosen, err := tx.Policy()
		if !chosen || got != want {
			t.Errorf("%+v, %v", got, chosen)
		}
		return err
	})
	set := func(value string) bool {
		return changes(t, s, func(tx *Tx) error { return tx.SetSetting("engine/job/1", value) })
	}
	if !set("x") || !set("") || set("") {
		t.Error("a setting that is emptied is not gone")
	}
	view(t, s, func(tx *Tx) error {
		var rows int
		err := tx.row("SELECT count(*) FROM setting WHERE key = 'engine/job/1'").Scan(&rows)
		if rows != 0 {
			t.Error("an empty setting is kept")
		}
		return err
	})
}

func TestLease(t *testing.T) {
	s := opened(t, "")
	at := time.Unix(5000, 0)
	var first, second int64
	update(t, s, func(tx *Tx) (err error) {
		first, err = tx.TakeLease(Lease{PID: 7, Host: "here", Since: at, Beat: at})
		return err
	})
	if changes(t, s, func(tx *Tx) error { return tx.Beat(first, at.Add(time.Second), "") }) {
		t.Error("a beat is news")
	}
	if !changes(t, s, func(tx *Tx) error { return tx.Beat(first, at.Add(2*time.Second), "no host answers") }) {
		t.Error("trouble is no news")
	}
	view(t, s, func(tx *Tx) error {
		got, err := tx.Lease()
		want := Lease{Epoch: first, Held: true, PID: 7, Host: "here", Since: at, Beat: at.Add(2 * time.Second), Trouble: "no host answers"}
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		return errors.Join(err, tx.CheckLease(first))
	})
	update(t, s, func(tx *Tx) (err error) {
		second, err = tx.TakeLease(Lease{PID: 8})
		return err
	})
	for what, f := range map[string]func(tx *Tx) error{
		"check": func(tx *Tx) error { return tx.CheckLease(first) },
		"beat":  func(tx *Tx) error { return tx.Beat(first, at, "x") },
		"drop":  func(tx *Tx) error { return tx.DropLease(first) },
	} {
		if err := s.Update(t.Context(), f); !errors.Is(err, ErrLeaseLost) || backend.Hint(err) == "" {
			t.Errorf("%s by the old one: %v", what, err)
		}
	}
	update(t, s, func(tx *Tx) error { return tx.DropLease(second) })
	err := s.View(t.Context(), func(tx *Tx) error { return tx.CheckLease(second) })
	if !errors.Is(err, ErrLeaseLost) {
		t.Errorf("given back, yet %v", err)
	}
	update(t, s, func(tx *Tx) error {
		third, err := tx.TakeLease(Lease{})
		if third != second+1 {
			t.Errorf("epoch %d after %d", third, second)
		}
		return err
	})
}

func TestHistory(t *testing.T) {
	s := opened(t, "")
	at := time.Unix(100000, 0)
	run := func(n int, owner string, state backend.JobState, ended, took, before time.Duration) {
		add(t, s, backend.Job{
			VM: vm(n), Owner: owner, State: state, Ran: before,
			LastStart: at.Add(ended - took), Ended: at.Add(ended),
		})
	}
	run(1, "ann", backend.JobDone, 10*time.Hour, time.Hour, 0)
	run(1, "ann", backend.JobDone, 20*time.Hour, 2*time.Hour, 0)
	run(1, "ann", backend.JobTimeout, 30*time.Hour, 3*time.Hour, time.Hour) // put aside before
	run(2, "ann", backend.JobDone, 40*time.Hour, 5*time.Hour, 0)
	run(1, "ann", backend.JobFailed, 50*time.Hour, time.Minute, 0)  // tells nothing of how long it runs
	run(1, "bob", backend.JobCancelled, 60*time.Hour, time.Hour, 0) // nor does this
	add(t, s, backend.Job{VM: vm(1), Owner: "ann", State: backend.JobRunning, LastStart: at})
	for _, c := range []struct {
		owner string
		vm    int
		want  History
	}{
		{"ann", 1, History{VM: []time.Duration{4 * time.Hour, 2 * time.Hour}, Owner: []time.Duration{5 * time.Hour, 4 * time.Hour}}},
		{"ann", 3, History{Owner: []time.Duration{5 * time.Hour, 4 * time.Hour}}},
		{"bob", 2, History{VM: []time.Duration{5 * time.Hour}}},
	} {
		view(t, s, func(tx *Tx) error {
			got, err := tx.History(c.owner, vm(c.vm))
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s, VM %d: %v, want %v", c.owner, c.vm, got, c.want)
			}
			return err
		})
	}
}

func TestPrune(t *testing.T) {
	s := opened(t, "")
	at := time.Unix(100000, 0)
	old := add(t, s, backend.Job{VM: vm(1), State: backend.JobDone, Ended: at.Add(-time.Second)})
	needed := add(t, s, backend.Job{VM: vm(2), State: backend.JobDone, Ended: at.Add(-time.Second)})
	young := add(t, s, backend.Job{VM: vm(3), State: backend.JobDone, Ended: at})
	waits := add(t, s, backend.Job{VM: vm(4), State: backend.JobQueued, After: []backend.JobID{needed}})
	add(t, s, backend.Job{VM: vm(5), State: backend.JobDone, Ended: at.Add(-time.Hour), After: []backend.JobID{old}})
	update(t, s, func(tx *Tx) error {
		return errors.Join(
			tx.AddEvent(backend.JobEvent{At: at.Add(-time.Second), What: "old"}),
			tx.AddEvent(backend.JobEvent{At: at, What: "young"}),
			tx.Prune(at),
		)
	})
	view(t, s, func(tx *Tx) error {
		jobs, err := tx.Jobs(Filter{})
		var left []backend.JobID
		for _, j := range jobs {
			left = append(left, j.ID)
		}
		if !slices.Equal(left, []backend.JobID{needed, young, waits}) {
			t.Errorf("left %v", left)
		}
		events, e := tx.Events(backend.LogQuery{})
		if len(events) != 1 || events[0].What != "young" {
			t.Errorf("left %+v", events)
		}
		return errors.Join(err, e)
	})
	if changes(t, s, func(tx *Tx) error { return tx.Prune(at) }) {
		t.Error("nothing to drop is a change")
	}
}

// What the same process changes wakes Wait at once, without looking again.
func TestWaitWakesOnOnesOwnChange(t *testing.T) {
	s := opened(t, "")
	s.poll = time.Hour
	now := revision(t, s)
	waited := make(chan error, 1)
	go func() { waited <- s.Wait(t.Context(), now) }()
	update(t, s, func(tx *Tx) error { return tx.SetSetting("a", "b") })
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if err := s.Wait(t.Context(), now); err != nil {
		t.Errorf("of a revision that is past: %v", err)
	}
	ctx, cancel := contextSoon(t)
	defer cancel()
	if err := s.Wait(ctx, revision(t, s)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
