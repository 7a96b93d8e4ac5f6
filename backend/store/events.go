package store

import (
	"slices"
	"time"

	"berth/backend"
)

// eventColumns are the table event but for its id.
var eventColumns = []column[backend.JobEvent]{
	moment("at", func(e *backend.JobEvent) *time.Time { return &e.At }),
	integer("job", func(e *backend.JobEvent) *backend.JobID { return &e.Job }),
	text("name", func(e *backend.JobEvent) *string { return &e.Name }),
	text("what", func(e *backend.JobEvent) *string { return &e.What }),
	text("host", func(e *backend.JobEvent) *string { return &e.Host }),
	text("who", func(e *backend.JobEvent) *string { return &e.Who }),
	text("detail", func(e *backend.JobEvent) *string { return &e.Detail }),
}

var (
	readEvent   = append([]column[backend.JobEvent]{integer("id", func(e *backend.JobEvent) *int64 { return &e.ID })}, eventColumns...)
	insertEvent = insertInto("event", eventColumns)
)

// AddEvent notes what happened; its At must be set, its ID is given here.
func (t *Tx) AddEvent(e backend.JobEvent) error {
	vals, err := values(eventColumns, &e)
	if err != nil {
		return err
	}
	_, err = t.change(insertEvent, vals...)
	return err
}

// backupWords begin the events of backups: a transfer's kind, or what befell a
// schedule.
var backupWords = []string{
	string(backend.TransferBackup), string(backend.TransferRestore), string(backend.TransferVerify), string(backend.TransferForget),
	string(backend.TransferCopy), string(backend.TransferConvert), "schedule", "command",
}

// Events returns what q selects, oldest first.
func (t *Tx) Events(q backend.LogQuery) ([]backend.JobEvent, error) {
	var w terms
	w.add("id > ?", q.After)
	if q.Job != 0 {
		w.add("job = ?", int64(q.Job))
	}
	if q.Backups {
		w.add("job = 0")
		addIn(&w, "substr(what, 1, instr(what || ' ', ' ') - 1)", backupWords)
	}
	if !q.Since.IsZero() {
		w.add("at >= ?", instant(q.Since))
	}
	query := "SELECT " + names(readEvent, "") + " FROM event" + w.where() + " ORDER BY id DESC"
	if q.Limit > 0 {
		query, w.args = query+" LIMIT ?", append(w.args, q.Limit)
	}
	events, err := rows(t, "event", readEvent, query, w.args...)
	slices.Reverse(events)
	return events, err
}
