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

func addTransfer(t testing.TB, s *Store, x backend.Transfer) (id backend.TransferID) {
	t.Helper()
	update(t, s, func(tx *Tx) (err error) {
		id, err = tx.AddTransfer(x)
		return err
	})
	return id
}

// whole is filled, with the map that filled cannot make.
func whole(t testing.TB, seed int64) backend.Transfer {
	type flat struct { // a Transfer but for what filled cannot fill
		Owner               string
		Since, Ordered      time.Time
		Started, Ended      time.Time
		Attempts            int
		NextTry             time.Time
		Words, Point        string
		Progress            backend.Progress
		VM                  backend.Key
		Name                string
		Repo                backend.RepoRef
		Limit, Schedule     int64
		Backup              backend.BackupSpec
		Verify              backend.VerifySpec
		Keep                backend.Retention
		Image               backend.CopySpec
		Pause, Cancel, Full bool
	}
	f := filled[flat](t, seed)
	return backend.Transfer{
		Owner: f.Owner, Since: f.Since, Ordered: f.Ordered, Started: f.Started, Ended: f.Ended, Attempts: f.Attempts, NextTry: f.NextTry,
		Words: f.Words, Point: f.Point, Progress: f.Progress, Pause: f.Pause, Cancel: f.Cancel, State: backend.TransferPaused,
		Spec: backend.TransferSpec{
			Kind: backend.TransferBackup, VM: f.VM, Name: f.Name, Repo: f.Repo, Limit: f.Limit, Schedule: f.Schedule, Backup: f.Backup,
			Restore: backend.RestoreSpec{Point: "p", NewName: "n", Disks: map[string]string{"vda": "/x"}, Start: true},
			Verify:  f.Verify, Keep: f.Keep, Image: f.Image,
		},
	}
}

func TestEveryFieldOfATransferIsKept(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		want := whole(t, 0)
		want.ID = addTransfer(t, s, want)
		check := func() {
			t.Helper()
			view(t, s, func(tx *Tx) error {
				got, err := tx.Transfer(want.ID)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("kept\n%+v, want\n%+v", got, want)
				}
				return err
			})
		}
		check()
		id := want.ID
		want = whole(t, 500)
		want.ID = id
		update(t, s, func(tx *Tx) error {
			return errors.Join(tx.PutTransfer(want), tx.PutProgress(map[backend.TransferID]backend.Progress{id: want.Progress, 99: {}}))
		})
		check()
	})
}

func TestTransfersOfOneVM(t *testing.T) {
	s := opened(t, "")
	x := backend.Transfer{Spec: backend.TransferSpec{Kind: backend.TransferBackup, Name: "web1", VM: backend.Key{Host: "h", UUID: vm(1)}, Repo: backend.RepoRef{URL: "/a"}}, State: backend.TransferQueued}
	first := addTransfer(t, s, x)
	err := s.Update(t.Context(), func(tx *Tx) error { _, err := tx.AddTransfer(x); return err })
	if !errors.Is(err, backend.ErrBusy) {
		t.Errorf("a second one to the same repository: %v", err)
	}
	elsewhere := x
	elsewhere.Spec.Repo.URL = "/b"
	addTransfer(t, s, elsewhere)
	restore := x
	restore.Spec.Kind = backend.TransferRestore
	addTransfer(t, s, restore)
	x.ID, x.State, x.Ended = first, backend.TransferDone, time.Unix(100, 0)
	update(t, s, func(tx *Tx) error { return tx.PutTransfer(x) })
	again := x
	again.State = backend.TransferQueued
	addTransfer(t, s, again)
	if err := s.Update(t.Context(), func(tx *Tx) error { again.ID = first; return tx.PutTransfer(again) }); !errors.Is(err, backend.ErrBusy) {
		t.Errorf("the ended one brought back: %v", err)
	}
	view(t, s, func(tx *Tx) error {
		for _, c := range []struct {
			f    TransferFilter
			want int
		}{
			{TransferFilter{}, 4}, {TransferFilter{Active: true}, 3}, {TransferFilter{EndedSince: time.Unix(100, 0)}, 1},
			{TransferFilter{Active: true, EndedSince: time.Unix(101, 0)}, 3}, {TransferFilter{IDs: []backend.TransferID{first, 77}}, 1},
			{TransferFilter{Schedule: 5}, 0},
		} {
			if got, err := tx.Transfers(c.f); len(got) != c.want || err != nil {
				t.Errorf("%+v finds %d, want %d: %v", c.f, len(got), c.want, err)
			}
		}
		_, err := tx.Transfer(99)
		if !errors.Is(err, backend.ErrNoTransfer) {
			t.Error(err)
		}
		return nil
	})
	update(t, s, func(tx *Tx) error { return tx.PruneTransfers(time.Unix(101, 0)) })
	view(t, s, func(tx *Tx) error {
		if got, err := tx.Transfers(TransferFilter{}); len(got) != 3 || err != nil {
			t.Errorf("%d are left: %v", len(got), err)
		}
		return nil
	})
}

func TestNotesAreTheEnginesOwn(t *testing.T) {
	s := opened(t, "")
	id := addTransfer(t, s, whole(t, 0))
	before, err := s.Revisions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return tx.SetTransferNote(id, "token") })
	after, err := s.Revisions(t.Context())
	if err != nil || after != before {
		t.Errorf("%+v became %+v: %v", before, after, err)
	}
	view(t, s, func(tx *Tx) error {
		if got, err := tx.TransferNote(id); got != "token" || err != nil {
			t.Errorf("%q %v", got, err)
		}
		if _, err := tx.TransferNote(99); !errors.Is(err, backend.ErrNoTransfer) {
			t.Error(err)
		}
		return nil
	})
}

// Progress wakes those who look at transfers, and nobody else.
func TestProgressWakesOnlyItsWatchers(t *testing.T) {
	s := opened(t, "")
	id := addTransfer(t, s, whole(t, 0))
	before, err := s.Revisions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	queue, stop := context.WithCancel(t.Context())
	defer stop()
	woken := make(chan error, 1)
	go func() { woken <- s.Wait(queue, before.Queue) }()
	watched := make(chan error, 1)
	go func() { watched <- s.WaitTransfers(t.Context(), before.Transfers+before.Catalogue) }()
	p := map[backend.TransferID]backend.Progress{id: {Done: 5}}
	update(t, s, func(tx *Tx) error { return tx.PutProgress(p) })
	if err := <-watched; err != nil {
		t.Error(err)
	}
	stop()
	if err := <-woken; !errors.Is(err, context.Canceled) {
		t.Errorf("the queue's watcher was woken: %v", err)
	}
	now, err := s.Revisions(t.Context())
	if err != nil || now.Queue != before.Queue || now.Catalogue != before.Catalogue || now.Transfers != before.Transfers+1 {
		t.Errorf("%+v became %+v: %v", before, now, err)
	}
	update(t, s, func(tx *Tx) error { return tx.PutProgress(p) })
	if same, err := s.Revisions(t.Context()); err != nil || same != now {
		t.Errorf("progress that is none raised %+v to %+v: %v", now, same, err)
	}
}

func TestCatalogue(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		one, two := filled[backend.Point](t, 0), filled[backend.Point](t, 100)
		one.Repo, two.Repo = "/a", "/a"
		update(t, s, func(tx *Tx) error { return tx.PutPoints("/a", []backend.Point{one, two}) })
		view(t, s, func(tx *Tx) error {
			got, err := tx.Points("/a")
			if want := []backend.Point{two, one}; !reflect.DeepEqual(got, want) {
				t.Errorf("kept\n%+v, want\n%+v", got, want)
			}
			return err
		})
		read := two
		read.Verified, read.Damaged = time.Time{}, ""
		three := filled[backend.Point](t, 200)
		update(t, s, func(tx *Tx) error { return tx.PutPoints("/a", []backend.Point{read, three}) })
		view(t, s, func(tx *Tx) error {
			got, err := tx.Points("")
			if len(got) != 2 || got[0].ID != three.ID || got[0].Repo != "/a" || !reflect.DeepEqual(got[1], two) {
				t.Errorf("read anew: %+v", got)
			}
			return err
		})
		r := filled[backend.RepoState](t, 0)
		r.Ref.URL = "/a"
		update(t, s, func(tx *Tx) error { return errors.Join(tx.PutRepo(r), tx.PutRepo(r)) })
		view(t, s, func(tx *Tx) error {
			got, err := tx.Repos()
			if !reflect.DeepEqual(got, []backend.RepoState{r}) {
				t.Errorf("kept %+v, want %+v", got, r)
			}
			return err
		})
		update(t, s, func(tx *Tx) error { return errors.Join(tx.DeletePoint("/a", three.ID), tx.DeleteRepo("/a")) })
		view(t, s, func(tx *Tx) error {
			points, err := tx.Points("")
			repos, e := tx.Repos()
			if len(points)+len(repos) != 0 {
				t.Errorf("left: %+v, %+v", points, repos)
			}
			return errors.Join(err, e)
		})
	})
}

func TestEveryFieldOfAScheduleIsKept(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		want := filled[backend.Schedule](t, 0)
		want.ID = 0
		empty := backend.Schedule{Cron: "@daily"}
		update(t, s, func(tx *Tx) (err error) {
			if want.ID, err = tx.PutSchedule(want); err != nil {
				return err
			}
			empty.ID, err = tx.PutSchedule(empty)
			return err
		})
		check := func() {
			t.Helper()
			view(t, s, func(tx *Tx) error {
				got, err := tx.Schedules()
				if !reflect.DeepEqual(got, []backend.Schedule{want, empty}) {
					t.Errorf("kept\n%+v, want\n%+v", got, want)
				}
				return err
			})
		}
		check()
		id := want.ID
		want = filled[backend.Schedule](t, 300)
		want.ID, want.Disabled = id, false
		update(t, s, func(tx *Tx) error {
			_, err := tx.PutSchedule(want)
			return errors.Join(err, tx.SetScheduleNote(id, "n"), tx.SetScheduleNote(99, "n"))
		})
		check()
		view(t, s, func(tx *Tx) error {
			note, err := tx.ScheduleNote(id)
			none, e := tx.ScheduleNote(99)
			if note != "n" || none != "" {
				t.Errorf("notes %q %q", note, none)
			}
			if _, err := tx.Schedule(99); !errors.Is(err, backend.ErrInvalid) {
				t.Error(err)
			}
			return errors.Join(err, e)
		})
		update(t, s, func(tx *Tx) error { return tx.DeleteSchedule(id) })
		for _, f := range []func(*Tx) error{
			func(tx *Tx) error { return tx.DeleteSchedule(id) },
			func(tx *Tx) error { _, err := tx.PutSchedule(want); return err },
		} {
			if err := s.Update(t.Context(), f); !errors.Is(err, backend.ErrInvalid) {
				t.Error(err)
			}
		}
	})
}

func TestBackupHosts(t *testing.T) {
	s := opened(t, "")
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutBackupHost("a", "old"), tx.PutBackupHost("a", "new"), tx.PutBackupHost("b", "b"))
	})
	view(t, s, func(tx *Tx) error {
		got, err := tx.BackupHosts()
		if !reflect.DeepEqual(got, map[string]string{"a": "new", "b": "b"}) {
			t.Errorf("%v", got)
		}
		return err
	})
}

// The log of backups has what befell transfers and schedules, and nothing of the
// queue's.
func TestTheLogOfBackups(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		whats := []string{"backup done", "submitted", "schedule failed", "policy", "command failed", "fenced", "verify failed", "backups are no kind"}
		update(t, s, func(tx *Tx) error {
			for i, w := range whats {
				e := backend.JobEvent{At: time.Unix(int64(i), 0), What: w}
				if w == "submitted" {
					e.Job = 1
				}
				if err := tx.AddEvent(e); err != nil {
					return err
				}
			}
			return nil
		})
		view(t, s, func(tx *Tx) error {
			events, err := tx.Events(backend.LogQuery{Backups: true, Limit: 3})
			var got []string
			for _, e := range events {
				got = append(got, e.What)
			}
			if want := []string{"schedule failed", "command failed", "verify failed"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			return err
		})
	})
}
