package store

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/backend"
)

// filledFile is a store of some pages that was closed.
func filledFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "berth.db")
	s := opened(t, path)
	update(t, s, func(tx *Tx) error {
		for i := range 200 {
			if _, err := tx.AddJob(backend.Job{VM: vm(i + 1), Words: strings.Repeat("w", 200)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// scribble overwrites part of a file.
func scribble(t *testing.T, path string, at int64, with string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte(with), at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// A damaged file is told as such, by name, with what to do.
func TestADamagedFile(t *testing.T) {
	for name, damage := range map[string]func(path string){
		"no database": func(path string) { scribble(t, path, 0, strings.Repeat("no database ", 20)) },
		"pages":       func(path string) { scribble(t, path, 4096, strings.Repeat("\xff", 20*4096)) },
		"cut": func(path string) {
			if err := os.Truncate(path, 3*4096); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filledFile(t)
			damage(path)
			err := useAll(t, path)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) || !strings.Contains(backend.Hint(err), ".recover") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// useAll opens a file, checks it and reads it, and returns what went wrong first.
func useAll(t *testing.T, path string) error {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // of a damaged file
	if err := s.Check(t.Context()); err != nil {
		return err
	}
	return s.View(t.Context(), func(tx *Tx) error { _, err := tx.Jobs(Filter{}); return err })
}

// A value that no berth wrote is told, not taken for something else.
func TestAValueOfTheWrongKind(t *testing.T) {
	s := opened(t, "")
	add(t, s, backend.Job{VM: vm(1)})
	update(t, s, func(tx *Tx) error { _, err := tx.exec("UPDATE job SET tags = '{'"); return err })
	err := s.View(t.Context(), func(tx *Tx) error { _, err := tx.Jobs(Filter{}); return err })
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "job 1: file is damaged: column tags: ") {
		t.Errorf("got %v", err)
	}
}

func TestAHealthyFile(t *testing.T) {
	if err := useAll(t, filledFile(t)); err != nil {
		t.Error(err)
	}
}

// behind runs SQL on a file behind the store's back.
func behind(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), query)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// A file that was moved away is another one's, or nobody's.
func TestAFileThatWasMovedAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	s := opened(t, path)
	if err := s.Placed(); err != nil {
		t.Errorf("where it was opened: %v", err)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := s.Placed(); !errors.Is(err, ErrMoved) || backend.Hint(err) == "" {
		t.Errorf("moved away: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Placed(); !errors.Is(err, ErrMoved) {
		t.Errorf("replaced: %v", err)
	}
	if err := opened(t, "").Placed(); err != nil {
		t.Errorf("in memory: %v", err)
	}
}

func TestSomebodyElsesDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	behind(t, path, "CREATE TABLE bookmarks (url TEXT)")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("it was changed, %v", err)
	}
}

func TestANewerFile(t *testing.T) {
	path := filledFile(t)
	s := opened(t, path)
	behind(t, path, "PRAGMA user_version = 999")
	_, atOpen := Open(t.Context(), path)
	for what, err := range map[string]error{
		"opened":        atOpen,
		"open, read":    s.View(t.Context(), func(*Tx) error { return nil }),
		"open, changed": s.Update(t.Context(), func(*Tx) error { return nil }),
	} {
		if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "version 999; this one knows 2") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAPathThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(file, "berth.db"), t.TempDir()} {
		var op *backend.OpError
		if _, err := Open(t.Context(), path); !errors.As(err, &op) || op.Hint == "" || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A path may hold what means something in a URI.
func TestAnOddPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c#d%20é", "berth.db")
	s := opened(t, path)
	add(t, s, backend.Job{VM: vm(1)})
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path + "-wal"); err != nil {
		t.Error(err)
	}
}

// A writer that waits in vain for another says so, and one whose context ends
// says that.
func TestABusyStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	s := opened(t, path)
	impatient, err := open(t.Context(), path, timing{busy: 10 * time.Millisecond, poll: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := impatient.Close(); err != nil {
			t.Error(err)
		}
	}()
	other := opened(t, path)
	update(t, s, func(tx *Tx) error {
		err := impatient.Update(t.Context(), func(*Tx) error { return nil })
		if !errors.Is(err, backend.ErrBusy) || !strings.Contains(err.Error(), "fuser "+path) {
			t.Errorf("got %v", err)
		}
		ctx, cancel := contextSoon(t)
		defer cancel()
		if err := other.Update(ctx, func(*Tx) error { return nil }); !errors.Is(err, ctx.Err()) || err == nil {
			t.Errorf("got %v", err)
		}
		// Nobody who reads waits.
		if _, err := tx.AddJob(backend.Job{VM: vm(1)}); err != nil {
			return err
		}
		return impatient.View(t.Context(), func(tx *Tx) error {
			jobs, err := tx.Jobs(Filter{})
			if len(jobs) > 0 {
				t.Error("a reader saw what was not committed")
			}
			return err
		})
	})
}

func TestMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	s := opened(t, path)
	known := migrations[:len(migrations):len(migrations)]
	if err := s.migrate(t.Context(), append(known, "CREATE TABLE more (x) STRICT")); err == nil {
		t.Error("a step that fails was no error") // STRICT wants a type
	}
	version := func() (n int) {
		t.Helper()
		if err := s.write.QueryRowContext(t.Context(), "PRAGMA user_version").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := version(); got != len(known) {
		t.Errorf("version %d after a step that failed", got)
	}
	if err := s.migrate(t.Context(), append(known, "CREATE TABLE more (x TEXT) STRICT", "INSERT INTO more VALUES ('a')")); err != nil {
		t.Error(err)
	}
	if got := version(); got != len(known)+2 {
		t.Errorf("version %d", got)
	}
}

// From every version there ever was, what testdata/vN.sql puts in is read by
// this berth as the test says. A new version adds a file and a case.
func TestFromEachVersion(t *testing.T) {
	for version := 1; version <= len(migrations); version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "berth.db")
			content, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("v%d.sql", version)))
			if err != nil {
				t.Fatal(err)
			}
			behind(t, path, strings.Join(migrations[:version], "")+string(content)+
				fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, version))
			s := opened(t, path)
			checkFixture(t, s)
			checkBackups(t, s, version)
		})
	}
}

// checkFixture looks at what every testdata/vN.sql holds.
func checkFixture(t *testing.T, s *Store) {
	view(t, s, func(tx *Tx) error {
		jobs, err := tx.Jobs(Filter{})
		if len(jobs) != 2 || jobs[0].Name != "web1" || jobs[0].State != backend.JobRunning || jobs[0].Launch != backend.LaunchResumed ||
			jobs[0].Size.Memory != 4<<30 || !jobs[0].LastStart.Equal(time.Unix(1700000100, 0)) || jobs[0].RunsOn != "host1" ||
			jobs[1].Name != "db1" || jobs[1].State != backend.JobQueued || len(jobs[1].After) != 1 || jobs[1].After[0] != 3 ||
			jobs[1].Position != 1 || jobs[1].Why.Code != backend.WhyDependency || jobs[1].Estimate != time.Hour {
			t.Errorf("jobs %+v", jobs)
		}
		hosts, e := tx.Hosts()
		if len(hosts) != 1 || hosts[0].Capacity.VCPU != 8 || !hosts[0].Drained {
			t.Errorf("hosts %+v", hosts)
		}
		events, ee := tx.Events(backend.LogQuery{})
		if len(events) != 1 || events[0].What != "submitted" || events[0].Job != 3 {
			t.Errorf("events %+v", events)
		}
		policy, chosen, eee := tx.Policy()
		if !chosen || policy.Order != "sjf" || !policy.Preempt {
			t.Errorf("policy %+v", policy)
		}
		lease, eeee := tx.Lease()
		if lease.Epoch != 5 || lease.PID != 77 {
			t.Errorf("lease %+v", lease)
		}
		return errors.Join(err, e, ee, eee, eeee)
	})
}

// checkBackups looks at what files from version 2 on hold of backups; that of
// an earlier one can take them.
func checkBackups(t *testing.T, s *Store, version int) {
	if version < 2 {
		x := backend.Transfer{Spec: backend.TransferSpec{Kind: backend.TransferBackup, VM: backend.Key{Host: "host1", UUID: vm(1)}}, State: backend.TransferQueued}
		update(t, s, func(tx *Tx) error {
			_, err := tx.AddTransfer(x)
			return err
		})
		return
	}
	view(t, s, func(tx *Tx) error {
		transfers, err := tx.Transfers(TransferFilter{})
		if len(transfers) != 1 || transfers[0].Spec.VM.UUID != vm(256) || transfers[0].Spec.Repo.PassphraseFile != "/etc/pass" ||
			transfers[0].State != backend.TransferRunning || transfers[0].Progress.Done != 7 || !transfers[0].Started.Equal(time.Unix(1700000100, 0)) {
			t.Errorf("transfers %+v", transfers)
		}
		points, e := tx.Points("")
		if len(points) != 1 || points[0].Disks[0].Target != "vda" || points[0].Size != 10 {
			t.Errorf("points %+v", points)
		}
		repos, ee := tx.Repos()
		if len(repos) != 1 || repos[0].Ref.URL != "/b" || repos[0].Points != 1 {
			t.Errorf("repositories %+v", repos)
		}
		schedules, eee := tx.Schedules()
		if len(schedules) != 1 || schedules[0].Cron != "@daily" || schedules[0].Keep.Within != time.Hour || schedules[0].VMs[0].UUID != vm(256) || schedules[0].Missed != 2 {
			t.Errorf("schedules %+v", schedules)
		}
		hosts, eeee := tx.BackupHosts()
		if hosts["host1"] != "qemu:///system" {
			t.Errorf("hosts %v", hosts)
		}
		return errors.Join(err, e, ee, eee, eeee)
	})
}
