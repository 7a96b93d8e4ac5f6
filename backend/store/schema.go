package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"berth/backend"
)

// applicationID marks berth's files: "brth"
// (https://sqlite.org/pragma.html#pragma_application_id).
const applicationID = 0x62727468

// migrations bring a file from each version to the next; the first makes an
// empty one. A step that was ever released is never changed.
var migrations = []string{schema1, schema2}

// schema1: times are nanoseconds since 1970, NULL when there is none; spans
// are nanoseconds, sizes bytes; lists are JSON.
const schema1 = `
CREATE TABLE meta (
	one      INTEGER PRIMARY KEY CHECK (one = 1),
	revision INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 1);

CREATE TABLE job (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	vm          TEXT    NOT NULL,
	name        TEXT    NOT NULL,
	home        TEXT    NOT NULL,
	owner       TEXT    NOT NULL,
	vcpu        INTEGER NOT NULL,
	memory      INTEGER NOT NULL,
	disk        INTEGER NOT NULL,
	priority    INTEGER NOT NULL,
	nice        INTEGER NOT NULL,
	estimate    INTEGER NOT NULL,
	time_limit  INTEGER NOT NULL,
	host        TEXT    NOT NULL,
	follows     TEXT    NOT NULL,
	not_before  INTEGER,
	held        INTEGER NOT NULL,
	preemptible INTEGER NOT NULL,
	tags        TEXT    NOT NULL,
	near        TEXT    NOT NULL,
	apart       TEXT    NOT NULL,
	state       TEXT    NOT NULL,
	since       INTEGER,
	submitted   INTEGER,
	started     INTEGER,
	ended       INTEGER,
	runs_on     TEXT    NOT NULL,
	last_start  INTEGER,
	launch      TEXT    NOT NULL,
	ran         INTEGER NOT NULL,
	preempted   INTEGER NOT NULL,
	attempts    INTEGER NOT NULL,
	next_try    INTEGER,
	extended    INTEGER NOT NULL,
	front       INTEGER NOT NULL,
	aged        INTEGER NOT NULL,
	aged_at     INTEGER,
	cancel      INTEGER NOT NULL,
	forced      INTEGER NOT NULL,
	words       TEXT    NOT NULL,
	over        INTEGER NOT NULL GENERATED ALWAYS AS
	            (state IN ('done', 'timeout', 'failed', 'cancelled', 'rejected')) VIRTUAL
) STRICT;
CREATE INDEX job_over ON job (over, ended);
CREATE INDEX job_vm ON job (vm, ended);
CREATE INDEX job_owner ON job (owner, ended);
CREATE UNIQUE INDEX job_once ON job (vm) WHERE over = 0;

CREATE TABLE plan (
	job       INTEGER PRIMARY KEY REFERENCES job ON DELETE CASCADE,
	expected  INTEGER NOT NULL,
	why       TEXT    NOT NULL,
	dimension TEXT    NOT NULL,
	why_of    INTEGER NOT NULL,
	why_host  TEXT    NOT NULL,
	detail    TEXT    NOT NULL,
	eta       INTEGER,
	eta_host  TEXT    NOT NULL,
	promised  INTEGER,
	position  INTEGER NOT NULL,
	score     REAL    NOT NULL
) STRICT;

CREATE TABLE host (
	name            TEXT    PRIMARY KEY,
	uri             TEXT    NOT NULL,
	total_vcpu      INTEGER NOT NULL,
	total_memory    INTEGER NOT NULL,
	total_disk      INTEGER NOT NULL,
	capacity_vcpu   INTEGER NOT NULL,
	capacity_memory INTEGER NOT NULL,
	capacity_disk   INTEGER NOT NULL,
	outside_vcpu    INTEGER NOT NULL,
	outside_memory  INTEGER NOT NULL,
	outside_disk    INTEGER NOT NULL,
	used_vcpu       INTEGER NOT NULL,
	used_memory     INTEGER NOT NULL,
	used_disk       INTEGER NOT NULL,
	reserved_vcpu   INTEGER NOT NULL,
	reserved_memory INTEGER NOT NULL,
	reserved_disk   INTEGER NOT NULL,
	drained         INTEGER NOT NULL,
	down            INTEGER NOT NULL,
	since           INTEGER,
	trouble         TEXT    NOT NULL,
	seen_at         INTEGER
) STRICT;

CREATE TABLE event (
	id     INTEGER PRIMARY KEY AUTOINCREMENT,
	at     INTEGER NOT NULL,
	job    INTEGER NOT NULL,
	name   TEXT    NOT NULL,
	what   TEXT    NOT NULL,
	host   TEXT    NOT NULL,
	who    TEXT    NOT NULL,
	detail TEXT    NOT NULL
) STRICT;
CREATE INDEX event_job ON event (job);
CREATE INDEX event_at ON event (at);

CREATE TABLE setting (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT;

CREATE TABLE lease (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	epoch   INTEGER NOT NULL,
	held    INTEGER NOT NULL,
	pid     INTEGER NOT NULL,
	host    TEXT    NOT NULL,
	since   INTEGER,
	beat    INTEGER,
	trouble TEXT    NOT NULL
) STRICT;
INSERT INTO lease VALUES (1, 0, 0, 0, '', NULL, NULL, '');
`

// migrate makes the file what this berth expects: recognised as berth's own,
// in WAL mode, of the newest version. Several processes may do so at once.
func (s *Store) migrate(ctx context.Context, steps []string) error {
	version, err := s.recognise(ctx, s.write)
	if err != nil {
		return err
	}
	if s.read != s.write {
		if err := s.writeAhead(ctx); err != nil {
			return err
		}
	}
	if err := s.checkVersion(version, len(steps)); err != nil || version == len(steps) {
		return err
	}
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // does nothing after Commit
	if version, err = s.recognise(ctx, tx); err != nil {
		return err
	}
	if err := s.checkVersion(version, len(steps)); err != nil {
		return err
	}
	for _, step := range steps[version:] {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("bring %s to version %d: %w", s.name, len(steps), err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(steps))); err != nil {
		return err
	}
	return tx.Commit()
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// recognise returns the file's version, 0 for an empty one. It fails for files
// that are not berth's before anything in them is touched.
func (s *Store) recognise(ctx context.Context, q querier) (version int, err error) {
	var application, tables int
	err = q.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), "+
		"(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)").Scan(&application, &version, &tables)
	switch {
	case err != nil:
		return 0, err
	case application == applicationID, application == 0 && version == 0 && tables == 0:
		return version, nil
	}
	return 0, &backend.OpError{Op: "open the queue", Target: s.name, Err: ErrForeign, Hint: "move that file away; berth then makes its own"}
}

func (s *Store) checkVersion(version, known int) error {
	if version <= known {
		return nil
	}
	return &backend.OpError{
		Op: "open the queue", Target: s.name, Err: fmt.Errorf("%w (version %d; this one knows %d)", ErrNewer, version, known),
		Hint: "update this berth, or set XDG_STATE_HOME to keep a queue of its own",
	}
}

// writeAhead switches the file to WAL mode, which lasts. While another process
// does the same SQLite refuses without waiting.
func (s *Store) writeAhead(ctx context.Context) error {
	var mode string
	for until := time.Now().Add(s.busy); ; {
		err := s.write.QueryRowContext(ctx, "PRAGMA journal_mode = wal").Scan(&mode)
		var sq *sqlite.Error
		if busy := errors.As(err, &sq) && primary(sq) == sqlite3.SQLITE_BUSY; !busy || time.Now().After(until) {
			if err != nil {
				return err
			}
			break
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	if mode == "wal" {
		return nil
	}
	return &backend.OpError{
		Op: "open the queue", Target: s.name, Err: fmt.Errorf("%w: the file system cannot share memory (journal mode %q)", backend.ErrUnsupported, mode),
		Hint: "set XDG_STATE_HOME to a folder on a local disk",
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
