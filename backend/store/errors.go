package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"berth/backend"
)

// The sentinels of this package, besides those of package backend that errors
// here wrap.
var (
	// ErrLeaseLost: another engine has taken the lease since; whoever gets this
	// must stop at once.
	ErrLeaseLost = errors.New("another engine has taken over")
	// ErrCorrupt: the file is not a database, or its pages contradict each other.
	ErrCorrupt = errors.New("file is damaged")
	// ErrForeign: the file is a database, but not berth's.
	ErrForeign = errors.New("not a file of berth")
	// ErrNewer: a newer berth has written the file.
	ErrNewer = errors.New("written by a newer berth")
	// ErrMoved: the file was moved away or replaced while it was open.
	ErrMoved = errors.New("file was moved away or replaced")
	// ErrFull: there is no space left where the file is.
	ErrFull = errors.New("no space left on the disk")
)

// explain says what happened to which file and what to do next. Errors that
// are about a job or come from a context pass as they are.
func (s *Store) explain(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	var told *backend.OpError
	if errors.As(err, &told) || errors.Is(err, ErrLeaseLost) {
		return err
	}
	if errors.Is(err, ErrCorrupt) {
		return s.damaged(op, err)
	}
	var sq *sqlite.Error
	if !errors.As(err, &sq) {
		return s.explainOther(ctx, op, err)
	}
	if ctx.Err() != nil && (primary(sq) == sqlite3.SQLITE_INTERRUPT || primary(sq) == sqlite3.SQLITE_BUSY) {
		return context.Cause(ctx)
	}
	hint, what := s.diagnose(sq)
	return &backend.OpError{Op: op, Target: s.name, Err: what, Hint: hint}
}

func (s *Store) explainOther(ctx context.Context, op string, err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil: // database/sql rolled it back
		return context.Cause(ctx)
	case errors.Is(err, sql.ErrConnDone), errors.Is(err, errClosed):
		return &backend.OpError{Op: op, Target: s.name, Err: backend.ErrClosed}
	case errors.Is(err, fs.ErrPermission):
		return &backend.OpError{Op: op, Target: s.name, Err: err, Hint: s.hintAccess()}
	}
	return err
}

// primary is the result code without what extended codes add
// (https://sqlite.org/rescode.html).
func primary(err *sqlite.Error) int { return err.Code() & 0xff }

// diagnose puts SQLite's result code into words.
func (s *Store) diagnose(err *sqlite.Error) (hint string, what error) {
	switch primary(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return "try again; fuser " + s.name + " tells who it is", fmt.Errorf("%w: another berth has been writing for %v", backend.ErrBusy, s.busy)
	case sqlite3.SQLITE_FULL:
		return "nothing was changed; free some space in " + s.folder() + " and try again", ErrFull
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return s.hintRepair(), fmt.Errorf("%w: %w", ErrCorrupt, err)
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH:
		return s.hintAccess(), fmt.Errorf("%w: %w", fs.ErrPermission, err)
	case sqlite3.SQLITE_IOERR:
		return "nothing was changed; see whether " + s.folder() + " has space and its disk works (dmesg)", err
	}
	return "", err
}

// damaged is an error of a file whose content cannot be trusted.
func (s *Store) damaged(op string, what error) error {
	return &backend.OpError{Op: op, Target: s.name, Err: what, Hint: s.hintRepair()}
}

func (s *Store) hintAccess() string {
	return "see that you may write to " + s.folder() + " and the files in it"
}

func (s *Store) hintRepair() string {
	return fmt.Sprintf("stop berth's engine, save what can be read with: sqlite3 %[1]s .recover | sqlite3 %[1]s.new, "+
		"and put that in its place; or move %[1]s, %[1]s-wal and %[1]s-shm away to begin with an empty queue", s.name)
}
