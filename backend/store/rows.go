package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// rows reads what a query of those columns finds. what names a row, by its first
// column, in errors.
func rows[T any](t *Tx, what string, cols []column[T], query string, args ...any) (list []T, err error) {
	err = t.each(query, args, func(vals []any) error {
		var x T
		if err := load(cols, vals, &x); err != nil {
			return fmt.Errorf("%s %v: %w", what, vals[0], err)
		}
		list = append(list, x)
		return nil
	})
	return list, err
}

// insertInto is a statement that adds a row.
func insertInto[T any](table string, cols []column[T]) string {
	return "INSERT INTO " + table + " (" + names(cols, "") + ") VALUES (" + marks(len(cols)) + ")"
}

// updateOf is a statement that writes the row of an id, which is the last argument.
func updateOf[T any](table string, cols []column[T]) string {
	return "UPDATE " + table + " SET (" + names(cols, "") + ") = (" + marks(len(cols)) + ") WHERE id = ?"
}

// upsertInto is a statement that writes a row, new or not; it touches none that
// is so already.
func upsertInto[T any](table, key string, cols []column[T]) string {
	return insertInto(table, cols) + " ON CONFLICT (" + key + ") DO UPDATE SET (" + names(cols, "") + ") = (" + names(cols, "excluded.") + ")" +
		" WHERE (" + names(cols, table+".") + ") IS NOT (" + names(cols, "excluded.") + ")"
}

// terms select rows; all have to be true.
type terms struct {
	all  []string
	args []any
}

func (w *terms) add(term string, args ...any) {
	w.all, w.args = append(w.all, term), append(w.args, args...)
}

// over selects by whether and when something has ended: with both, what has not
// ended or only then.
func (w *terms) over(active bool, endedSince time.Time) {
	switch {
	case active && !endedSince.IsZero():
		w.add("(over = 0 OR over = 1 AND ended >= ?)", instant(endedSince))
	case active:
		w.add("over = 0")
	case !endedSince.IsZero():
		w.add("over = 1 AND ended >= ?", instant(endedSince))
	}
}

// where is the clause; empty without a term.
func (w *terms) where() string {
	if len(w.all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.all, " AND ")
}

// addIn adds that column is one of list, which goes as one JSON argument and
// so may be of any length. A nil list asks for nothing, an empty one finds
// nothing.
func addIn[E ~string | ~int64](w *terms, column string, list []E) {
	if list == nil {
		return
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // of strings and numbers there is none
	}
	w.add(column+" IN (SELECT value FROM json_each(?))", string(b))
}

// taken reports whether err is that a row is there that must be the only one.
func taken(err error) bool {
	var sq *sqlite.Error
	return errors.As(err, &sq) && sq.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
}
