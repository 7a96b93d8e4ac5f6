package store

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"berth/backend"
)

// opened is a store in a file, or in memory, that the test's end closes.
func opened(t testing.TB, path string) *Store {
	t.Helper()
	var s *Store
	var err error
	if path == "" {
		s, err = OpenMemory(t.Context())
	} else {
		s, err = Open(t.Context(), path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// both runs a test on a file and in memory.
func both(t *testing.T, f func(t *testing.T, s *Store)) {
	t.Run("file", func(t *testing.T) { f(t, opened(t, filepath.Join(t.TempDir(), "berth.db"))) })
	t.Run("memory", func(t *testing.T) { f(t, opened(t, "")) })
}

func update(t testing.TB, s *Store, f func(*Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, s *Store, f func(*Tx) error) {
	t.Helper()
	if err := s.View(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func revision(t testing.TB, s *Store) int64 {
	t.Helper()
	n, err := s.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// add adds a job of a VM of its own.
func add(t testing.TB, s *Store, j backend.Job) backend.JobID {
	t.Helper()
	var id backend.JobID
	update(t, s, func(tx *Tx) (err error) {
		id, err = tx.AddJob(j)
		return err
	})
	return id
}

func vm(n int) (u backend.UUID) {
	u[0], u[1], u[2], u[15] = byte(n>>16), byte(n>>8), byte(n), 1
	return u
}

// filled sets every field of a value to something that is not zero, different
// for each.
func filled[T any](t testing.TB, seed int64) (out T) {
	t.Helper()
	n := seed
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		n++
		switch x := v.Addr().Interface().(type) {
		case *time.Time:
			*x = time.Unix(1700000000+n, n)
			return
		case *backend.UUID:
			*x = vm(int(n))
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0))
			fill(v.Index(1))
		case reflect.String:
			v.SetString("日本'\"\x00" + string(rune('a'+n%26)) + "\n")
		case reflect.Int, reflect.Int64:
			v.SetInt(n)
		case reflect.Uint64:
			v.SetUint(math.MaxInt64 + uint64(n))
		case reflect.Float64:
			v.SetFloat(float64(n) + 0.1)
		case reflect.Bool:
			v.SetBool(true)
		default:
			t.Fatalf("this test cannot fill a %v", v.Type())
		}
	}
	fill(reflect.ValueOf(&out).Elem())
	return out
}

func TestEveryFieldOfAJobIsKept(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		want := filled[backend.Job](t, 0)
		want.ID = add(t, s, want)
		empty := backend.Job{VM: vm(9)}
		empty.ID = add(t, s, empty)
		check := func() {
			t.Helper()
			view(t, s, func(tx *Tx) error {
				for _, w := range []backend.Job{want, empty} {
					got, err := tx.Job(w.ID)
					if err != nil {
						return err
					}
					if !reflect.DeepEqual(got, w) {
						t.Errorf("kept\n%+v, want\n%+v", got, w)
					}
				}
				return nil
			})
		}
		check()
		id, other := want.ID, filled[backend.Job](t, 1000)
		want, other.ID = other, id
		want.ID = id
		update(t, s, func(tx *Tx) error { return tx.PutJob(want) })
		check()
	})
}

func TestEveryFieldOfAHostIsKept(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		first, second := filled[backend.QueueHost](t, 0), filled[backend.QueueHost](t, 100)
		first.Name, second.Name = "b", "a"
		for range 2 { // new, then over itself
			update(t, s, func(tx *Tx) error { return errors.Join(tx.PutHost(first), tx.PutHost(second)) })
		}
		view(t, s, func(tx *Tx) error {
			got, err := tx.Hosts()
			if want := []backend.QueueHost{second, first}; !reflect.DeepEqual(got, want) {
				t.Errorf("kept\n%+v, want\n%+v", got, want)
			}
			return err
		})
		update(t, s, func(tx *Tx) error { return errors.Join(tx.DeleteHost("b"), tx.DeleteHost("never")) })
		view(t, s, func(tx *Tx) error {
			got, err := tx.Hosts()
			if len(got) != 1 || got[0].Name != "a" {
				t.Errorf("left %+v", got)
			}
			return err
		})
	})
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "state")
	s := opened(t, filepath.Join(dir, "berth.db"))
	add(t, s, backend.Job{VM: vm(1)})
	for name, want := range map[string]os.FileMode{"": 0o700 | os.ModeDir, "berth.db": 0o600, "berth.db-wal": 0o600, "berth.db-shm": 0o600} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode() != want {
			t.Errorf("%q: %v, %v", name, st.Mode(), err)
		}
	}
}

func TestFilter(t *testing.T) {
	s := opened(t, "")
	at := time.Unix(1000, 0)
	jobs := []backend.Job{
		{VM: vm(1), State: backend.JobQueued, Owner: "ann"},
		{VM: vm(2), State: backend.JobRunning, RunsOn: "h1", Owner: "bob"},
		{VM: vm(3), State: backend.JobDone, RunsOn: "h1", Ended: at},
		{VM: vm(3), State: backend.JobFailed, Ended: at.Add(time.Hour)},
		{VM: vm(4), State: backend.JobError},
	}
	for i := range jobs {
		jobs[i].ID = add(t, s, jobs[i])
	}
	for _, c := range []struct {
		name string
		f    Filter
		want []int
	}{
		{"all", Filter{}, []int{0, 1, 2, 3, 4}},
		{"active", Filter{Active: true}, []int{0, 1, 4}},
		{"ended since", Filter{EndedSince: at.Add(time.Minute)}, []int{3}},
		{"active or ended since", Filter{Active: true, EndedSince: at}, []int{0, 1, 2, 3, 4}},
		{"active or ended lately", Filter{Active: true, EndedSince: at.Add(1)}, []int{0, 1, 3, 4}},
		{"of a VM", Filter{VM: vm(3)}, []int{2, 3}},
		{"on a host", Filter{Host: "h1"}, []int{1, 2}},
		{"on a host, active", Filter{Host: "h1", Active: true}, []int{1}},
		{"of an owner", Filter{Owner: "ann"}, []int{0}},
		{"by state", Filter{States: []backend.JobState{backend.JobDone, backend.JobError}}, []int{2, 4}},
		{"by number", Filter{IDs: []backend.JobID{jobs[4].ID, 99, jobs[0].ID}}, []int{0, 4}},
		{"by many numbers", Filter{IDs: append(make([]backend.JobID, 100_000), jobs[1].ID)}, []int{1}},
		{"by no number", Filter{IDs: []backend.JobID{}}, nil},
	} {
		view(t, s, func(tx *Tx) error {
			got, err := tx.Jobs(c.f)
			var at []int
			for _, j := range got {
				at = append(at, slices.IndexFunc(jobs, func(k backend.Job) bool { return k.ID == j.ID }))
			}
			if !slices.Equal(at, c.want) {
				t.Errorf("%s: %v, want %v", c.name, at, c.want)
			}
			return err
		})
	}
}

// The column over, which the indexes stand on, agrees with the vocabulary.
func TestOverIsEnded(t *testing.T) {
	s := opened(t, "")
	for i, state := range backend.JobStates() {
		id := add(t, s, backend.Job{VM: vm(i), State: state})
		view(t, s, func(tx *Tx) error {
			active, err := tx.Jobs(Filter{Active: true, IDs: []backend.JobID{id}})
			if (len(active) == 0) != state.Ended() {
				t.Errorf("%s: active %v", state, len(active) == 1)
			}
			return err
		})
	}
}

func TestNoJobOfThatNumber(t *testing.T) {
	s := opened(t, "")
	err := s.View(t.Context(), func(tx *Tx) error { _, err := tx.Job(7); return err })
	if !errors.Is(err, backend.ErrNoJob) || backend.Hint(err) == "" {
		t.Error(err)
	}
	err = s.Update(t.Context(), func(tx *Tx) error { return tx.PutJob(backend.Job{ID: 7}) })
	if !errors.Is(err, backend.ErrNoJob) {
		t.Error(err)
	}
}

func TestAVMIsQueuedOnce(t *testing.T) {
	s := opened(t, "")
	first := add(t, s, backend.Job{VM: vm(1), Name: "web1", State: backend.JobQueued})
	err := s.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.AddJob(backend.Job{VM: vm(1), Name: "web1", State: backend.JobHeld})
		return err
	})
	if !errors.Is(err, backend.ErrState) || err.Error() != "queue web1: not possible in this state: it is job 1 already; see berth queue show 1" {
		t.Error(err)
	}
	update(t, s, func(tx *Tx) error { return tx.PutJob(backend.Job{ID: first, VM: vm(1), State: backend.JobDone}) })
	if second := add(t, s, backend.Job{VM: vm(1), State: backend.JobQueued}); second == first {
		t.Error("a number was given twice")
	}
	err = s.Update(t.Context(), func(tx *Tx) error {
		return tx.PutJob(backend.Job{ID: first, VM: vm(1), State: backend.JobQueued})
	})
	if !errors.Is(err, backend.ErrState) {
		t.Errorf("an ended job came back beside another: %v", err)
	}
}

func TestAnUpdateThatFailsDidNothing(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		before, boom := revision(t, s), errors.New("boom")
		err := s.Update(t.Context(), func(tx *Tx) error {
			_, err := tx.AddJob(backend.Job{VM: vm(1)})
			return errors.Join(err, boom)
		})
		if !errors.Is(err, boom) || revision(t, s) != before {
			t.Errorf("%v, revision %d after %d", err, revision(t, s), before)
		}
		view(t, s, func(tx *Tx) error {
			jobs, err := tx.Jobs(Filter{})
			if len(jobs) > 0 {
				t.Errorf("left %v", jobs)
			}
			return err
		})
	})
}

func TestAViewCannotWrite(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		err := s.View(t.Context(), func(tx *Tx) error { return tx.SetSetting("a", "b") })
		if !errors.Is(err, errReadOnly) {
			t.Error(err)
		}
	})
}

// A context that ends in the middle of a transaction ends it, and the store
// works on, in memory too.
func TestAContextThatEnds(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		add(t, s, backend.Job{VM: vm(1)})
		ctx, cancel := context.WithCancel(t.Context())
		err := s.Update(ctx, func(tx *Tx) error {
			_, err := tx.AddJob(backend.Job{VM: vm(2)})
			cancel()
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if err := s.View(ctx, func(*Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		view(t, s, func(tx *Tx) error {
			jobs, err := tx.Jobs(Filter{})
			if len(jobs) != 1 {
				t.Errorf("left %d jobs", len(jobs))
			}
			return err
		})
	})
}

func TestAClosedStore(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		now := revision(t, s)
		waited := make(chan error, 1)
		go func() { waited <- s.Wait(context.Background(), now) }()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, atRevision := s.Revision(t.Context())
		for what, err := range map[string]error{
			"View":     s.View(t.Context(), func(*Tx) error { return nil }),
			"Update":   s.Update(t.Context(), func(*Tx) error { return nil }),
			"Revision": atRevision,
			"Wait":     <-waited,
		} {
			if !errors.Is(err, backend.ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
	})
}
