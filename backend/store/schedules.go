package store

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/backend"
)

// scheduleColumns are the table schedule but for its id and the engine's note.
// The body is what a person chose; what the engine keeps has columns.
var scheduleColumns = []column[backend.Schedule]{
	text("name", func(s *backend.Schedule) *string { return &s.Name }),
	scheduleBody,
	flag("disabled", func(s *backend.Schedule) *bool { return &s.Disabled }),
	moment("last", func(s *backend.Schedule) *time.Time { return &s.Last }),
	text("last_bad", func(s *backend.Schedule) *string { return &s.LastBad }),
	moment("next", func(s *backend.Schedule) *time.Time { return &s.Next }),
	integer("missed", func(s *backend.Schedule) *int { return &s.Missed }),
}

// scheduleBody leaves out what columns of their own tell.
var scheduleBody = func() column[backend.Schedule] {
	whole := object("body", func(s *backend.Schedule) *backend.Schedule { return s }, nil)
	put := whole.put
	whole.put = func(s *backend.Schedule) (any, error) {
		kept := *s
		kept.ID, kept.Last, kept.Next, kept.LastBad, kept.Missed = 0, time.Time{}, time.Time{}, "", 0
		return put(&kept)
	}
	return whole
}()

var (
	scheduleID = integer("id", func(s *backend.Schedule) *int64 { return &s.ID })
	// The id names the row; the body comes before the others, which know better.
	readSchedule   = slices.Concat([]column[backend.Schedule]{scheduleID, scheduleBody, scheduleID}, scheduleColumns[:1], scheduleColumns[2:])
	insertSchedule = insertInto("schedule", scheduleColumns)
	updateSchedule = updateOf("schedule", scheduleColumns)
)

// Schedules returns all of them, by number.
func (t *Tx) Schedules() ([]backend.Schedule, error) {
	return rows(t, "schedule", readSchedule, "SELECT "+names(readSchedule, "")+" FROM schedule ORDER BY id")
}

// Schedule returns one. It wraps backend.ErrInvalid when there is none of that
// number.
func (t *Tx) Schedule(id int64) (backend.Schedule, error) {
	all, err := t.Schedules()
	for _, s := range all {
		if s.ID == id {
			return s, nil
		}
	}
	return backend.Schedule{}, errors.Join(err, noSchedule("look up", id))
}

func noSchedule(op string, id int64) error {
	return &backend.OpError{Op: op, Target: fmt.Sprintf("schedule %d", id), Err: fmt.Errorf("%w: there is none of that number", backend.ErrInvalid),
		Hint: "see berth backup schedule list"}
}

// PutSchedule adds a schedule (ID 0) or replaces one, and returns its number.
// It wraps backend.ErrInvalid when there is none of that number.
func (t *Tx) PutSchedule(s backend.Schedule) (int64, error) {
	vals, err := values(scheduleColumns, &s)
	if err != nil {
		return 0, err
	}
	if s.ID == 0 {
		r, err := t.execResult(insertSchedule, vals...)
		if err != nil {
			return 0, err
		}
		t.dirty |= partCatalogue
		return r.LastInsertId()
	}
	n, err := t.changeIn(partCatalogue, updateSchedule, append(vals, s.ID)...)
	if err == nil && n == 0 {
		err = noSchedule("change", s.ID)
	}
	return s.ID, err
}

// DeleteSchedule forgets one. It wraps backend.ErrInvalid when there is none of
// that number.
func (t *Tx) DeleteSchedule(id int64) error {
	n, err := t.changeIn(partCatalogue, "DELETE FROM schedule WHERE id = ?", id)
	if err == nil && n == 0 {
		err = noSchedule("remove", id)
	}
	return err
}

// ScheduleNote is what the engine keeps of a schedule for itself; "" at first
// and when there is no such schedule.
func (t *Tx) ScheduleNote(id int64) (note string, err error) {
	err = t.row("SELECT note FROM schedule WHERE id = ?", id).Scan(&note)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return note, err
}

// SetScheduleNote keeps it. No revision rises; one that is gone is no error.
func (t *Tx) SetScheduleNote(id int64, note string) error {
	_, err := t.exec("UPDATE schedule SET note = ? WHERE id = ?", note, id)
	return err
}

// BackupHosts returns the addresses of hosts that backups were ordered for, by
// name.
func (t *Tx) BackupHosts() (uris map[string]string, err error) {
	uris = map[string]string{}
	err = t.each("SELECT name, uri FROM backup_host", nil, func(vals []any) error {
		name, ok := vals[0].(string)
		uri, fine := vals[1].(string)
		if !ok || !fine {
			return fmt.Errorf("%w: a host without a name", ErrCorrupt)
		}
		uris[name] = uri
		return nil
	})
	return uris, err
}

// PutBackupHost notes the address of a host that backups are ordered for.
func (t *Tx) PutBackupHost(name, uri string) error {
	_, err := t.exec("INSERT INTO backup_host VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET uri = excluded.uri", name, uri)
	return err
}
